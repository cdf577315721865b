/* The one word of the protected sections: how many are open, whether others
 * may open, and how. */
#include "ge_platform.h"

#include "ge_fork.h"
#include "ge_latch.h"
#include "ge_section.h"

#include <errno.h>
#include <stdatomic.h>

/* One word, so that nothing can open between a look and what follows from it:
 *   CLOSED: swapped in for "none is open": the process ends.
 *   GATE:   a signal waits for the open sections; who has none open waits.
 *   LOOK:   what is held is being changed; openers go by way of the lock that
 *           the changer holds.
 * Rejected: a count and flags beside it. Between the count's 0 and the flag's
 * "closed" a section opens, and the process ends in it. */
#define CLOSED 0x80000000u
#define GATE 0x40000000u
#define LOOK 0x20000000u
#define COUNT 0x1fffffffu

static atomic_uint word;
static _Atomic(int64_t) shut_since; /* 0: not known yet; counts as open */

/* 1 s shut, 1 s open, 2 s shut, 2 s open, ... A function of the clock: the
 * handler that shuts the gate starts no timer, and nobody opens it. Sections
 * that end by themselves are gone within the first second; one that waits for
 * a thread that waits here is delayed, not dead. */
int64_t
ge_gate_opens(int64_t now)
{
    int64_t start = atomic_load(&shut_since), length = GE_NS_PER_S;

    if (!(atomic_load(&word) & GATE) || start == 0) {
        return 0;
    }
    while (now >= start + 2 * length && length < GE_NEVER / 8) {
        start += 2 * length;
        length *= 2;
    }
    return now < start + length ? start + length : 0;
}

void
ge_gate_shut(int64_t now)
{
    int64_t none = 0;

    (void)atomic_compare_exchange_strong(&shut_since, &none, now);
    atomic_fetch_or(&word, GATE);
}

void
ge_gate_shut_anew(int64_t now)
{
    atomic_store(&shut_since, now);
    atomic_fetch_or(&word, GATE);
}

bool
ge_gate(void)
{
    return (atomic_load(&word) & GATE) != 0;
}

void
ge_gate_lift(void)
{
    if (!ge_gate() || ge__gate_wanted()) {
        return;
    }
    atomic_fetch_and(&word, ~GATE);
    atomic_store(&shut_since, 0);
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
    unsigned was = atomic_load(&word);

    do {
        if (was & CLOSED && who != GE_LAST) {
            return -ECANCELED;
        }
        if (was & refused) {
            return -EBUSY;
        }
        if (was & GATE && who == GE_OUTSIDE && ge_gate_opens(ge_now()) != 0) {
            return -EAGAIN;
        }
    } while (!atomic_compare_exchange_weak(&word, &was, was + 1u));
    return 0;
}

int
ge_section_enter(enum ge_opener who)
{
    return enter(who, LOOK);
}

int
ge_section_enter_locked(enum ge_opener who)
{
    return enter(who, 0);
}

unsigned
ge_section_leave(void)
{
    unsigned left = atomic_fetch_sub(&word, 1u) - 1u;

    if ((left & COUNT) == 0) {
        if (ge_state() == GE_HURRY) {
            ge_poke(); /* the end was waiting for this */
        }
        ge__latch_wake(GE_AT_GATE); /* somebody may wait for the drain */
    }
    return left & COUNT;
}

unsigned
ge_sections(void)
{
    return atomic_load(&word) & COUNT;
}

bool
ge_section_look(bool on)
{
    unsigned was =
        on ? atomic_fetch_or(&word, LOOK) : atomic_fetch_and(&word, ~LOOK);

    return (was & LOOK) != 0;
}

bool
ge_section_close(void)
{
    unsigned was = atomic_load(&word);

    do {
        if (was & COUNT) {
            return false;
        }
    } while (!atomic_compare_exchange_weak(&word, &was, was | CLOSED));
    return true;
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
    atomic_store(&shut_since, 0);
}
