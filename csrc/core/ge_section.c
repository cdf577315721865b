/* How many protected sections are open, and whether one may still open. */
#include "ge_platform.h"

#include "ge_fork.h"
#include "ge_section.h"

#include <errno.h>
#include <stdatomic.h>

/* Count and CLOSED share one word, so that no section can open between the
 * look ("none is open") and the end of the process. */
#define CLOSED 0x80000000u

static atomic_uint word;

int
ge_section_enter(void)
{
    unsigned was = atomic_load(&word);

    do {
        if (was & CLOSED) {
            return -ECANCELED;
        }
    } while (!atomic_compare_exchange_weak(&word, &was, was + 1u));
    return 0;
}

unsigned
ge_section_leave(void)
{
    unsigned left = atomic_fetch_sub(&word, 1u) - 1u;

    if (left == 0 && ge_state() == GE_HURRY) {
        ge_poke(); /* the end was waiting for this */
    }
    return left;
}

unsigned
ge_sections(void)
{
    return atomic_load(&word) & ~CLOSED;
}

bool
ge__section_close(void)
{
    unsigned none = 0;

    return atomic_compare_exchange_strong(&word, &none, CLOSED) ||
           none == CLOSED;
}

void
ge__section_reopen(void)
{
    atomic_fetch_and(&word, ~CLOSED);
}

void
ge__section_fork_child(unsigned sections)
{
    atomic_store(&word, sections);
}
