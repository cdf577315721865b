/* The one word of the protected sections: how many are open, whether others
 * may open, and how. */
#include "ge_platform.h"

#include "ge_fork.h"
#include "ge_gate.h"
#include "ge_latch.h"
#include "ge_section.h"

#include <errno.h>
#include <stdatomic.h>

/* 1 s shut, 1 s open, 2 s shut, 2 s open, ... A function of the clock: the
 * handler that shuts the gate starts no timer, and nobody opens it. Sections
 * that end by themselves are gone within the first second; one that waits for
 * a thread that waits here is delayed, not dead. */
int64_t
ge_gate_opens(int64_t now)
{
    int64_t start = atomic_load(&ge__shut_since), length = GE_NS_PER_S;

    if (!(atomic_load(&ge__sections) & GE__GATE) || start == 0) {
        return 0;
    }
    while (now >= start + 2 * length && length < GE_NEVER / 8) {
        start += 2 * length;
        length *= 2;
    }
    return now < start + length ? start + length : 0;
}

bool
ge_gate(void)
{
    return (atomic_load(&ge__sections) & GE__GATE) != 0;
}

void
ge_gate_lift(void)
{
    if (!ge_gate() || ge__gate_wanted()) {
        return;
    }
    atomic_fetch_and(&ge__sections, ~GE__GATE);
    atomic_store(&ge__shut_since, 0);
    if (ge__gate_wanted()) {
        /* A handler came in between, whose gate this was:
         *   handler:  the fact, then shuts     here:  lifts, then the fact */
        ge_gate_shut(ge_now());
    }
    ge__latch_wake(GE_AT_GATE);
}

static int
enter(enum ge_opener who, unsigned refused)
{
    unsigned was = atomic_load(&ge__sections);

    do {
        if (was & GE__CLOSED && who != GE_LAST) {
            return -ECANCELED;
        }
        if (was & refused) {
            return -EBUSY;
        }
        if (was & GE__GATE && who == GE_OUTSIDE &&
            ge_gate_opens(ge_now()) != 0) {
            return -EAGAIN;
        }
    } while (!atomic_compare_exchange_weak(&ge__sections, &was, was + 1u));
    return 0;
}

int
ge_section_enter(enum ge_opener who)
{
    return enter(who, GE__LOOK);
}

int
ge_section_enter_locked(enum ge_opener who)
{
    return enter(who, 0);
}

unsigned
ge_section_leave(void)
{
    unsigned left = atomic_fetch_sub(&ge__sections, 1u) - 1u;

    if ((left & GE__COUNT) == 0) {
        if (ge_state() == GE_HURRY) {
            ge_poke(); /* the end was waiting for this */
        }
        ge__latch_wake(GE_AT_GATE); /* somebody may wait for the drain */
    }
    return left & GE__COUNT;
}

unsigned
ge_sections(void)
{
    return atomic_load(&ge__sections) & GE__COUNT;
}

bool
ge_section_look(bool on)
{
    unsigned was = on ? atomic_fetch_or(&ge__sections, GE__LOOK)
                      : atomic_fetch_and(&ge__sections, ~GE__LOOK);

    return (was & GE__LOOK) != 0;
}

bool
ge_section_close(void)
{
    unsigned was = atomic_load(&ge__sections);

    do {
        if (was & GE__COUNT) {
            return false;
        }
    } while (
        !atomic_compare_exchange_weak(&ge__sections, &was, was | GE__CLOSED));
    return true;
}

void
ge__section_reopen(void)
{
    atomic_fetch_and(&ge__sections, ~GE__CLOSED);
}

void
ge__section_fork_child(unsigned sections)
{
    atomic_store(&ge__sections, sections);
    atomic_store(&ge__shut_since, 0);
}
