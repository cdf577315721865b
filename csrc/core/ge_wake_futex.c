/* Waking the watcher through a futex word. */
#include "ge_platform.h"

#include "ge_futex.h"
#include "ge_wake.h"

#if GE_HAVE_FUTEX

/* `asleep` spares the system call of a poke while the watcher is busy, which
 * in a storm is most of them. No wake-up is lost:
 *   poke:  word++        then  reads asleep
 *   wait:  asleep = 1    then  the kernel compares word with seen
 * All four are sequentially consistent. If poke reads 0, its word++ came
 * before the watcher's asleep = 1, so the compare fails and nobody sleeps. */
static struct {
    atomic_uint word;
    atomic_uint asleep;
} wake;

unsigned
ge__wake_futex_seen(void)
{
    return atomic_load(&wake.word);
}

void
ge__wake_futex_wait(unsigned seen, int64_t until)
{
    atomic_store(&wake.asleep, 1);
    /* Whatever ended it, the watcher looks at everything again. */
    (void)ge__futex_wait(&wake.word, seen, until);
    atomic_store(&wake.asleep, 0);
}

void
ge__wake_futex_poke(void)
{
    atomic_fetch_add(&wake.word, 1);
    if (atomic_load(&wake.asleep)) {
        ge__futex_wake(&wake.word);
    }
}

#else /* never called: ge_backends() does not offer it */

unsigned
ge__wake_futex_seen(void)
{
    return 0;
}

void
ge__wake_futex_wait(unsigned seen, int64_t until)
{
    (void)seen;
    (void)until;
}

void
ge__wake_futex_poke(void)
{
}

#endif
