/* Sleeping places on Linux: one futex word each. Waking all of N sleepers is
 * one system call. */
#include "ge_platform.h"

#include "ge_fork.h"
#include "ge_futex.h"
#include "ge_latch.h"

#if GE_HAVE_FUTEX

#define ROUSED 4 /* at some 5 us each */

/* `sleepers` spares the system call where nobody sleeps. No wake-up is lost:
 *   wake:  seq++         then  reads sleepers
 *   wait:  sleepers++    then  the kernel compares seq with seen
 * If wake reads 0, its seq++ came before the sleepers++, and the compare
 * fails. All four are sequentially consistent. */
static struct {
    atomic_uint seq;
    atomic_uint sleepers;
} latches[GE_PLACES];

unsigned
ge__latch_seen(enum ge_where where)
{
    return atomic_load(&latches[where].seq);
}

int
ge__latch_wait(enum ge_where where, unsigned seen, int64_t until)
{
    int rc;

    atomic_fetch_add(&latches[where].sleepers, 1);
    rc = ge__futex_wait(&latches[where].seq, seen, until);
    atomic_fetch_sub(&latches[where].sleepers, 1);
    return rc == -EAGAIN ? 0 : rc;
}

static void
wake(enum ge_where where, int most)
{
    atomic_fetch_add(&latches[where].seq, 1);
    if (atomic_load(&latches[where].sleepers) != 0) {
        ge__futex_wake_some(&latches[where].seq, most);
    }
}

void
ge__latch_wake(enum ge_where where)
{
    wake(where, INT_MAX);
}

void
ge__latch_rouse(enum ge_where where)
{
    wake(where, ROUSED);
}

void
ge__latch_fork_child(void)
{
    /* The sleepers were the parent's. */
    for (int i = 0; i < GE_PLACES; i++) {
        atomic_store(&latches[i].sleepers, 0);
    }
}

#endif
