/* The top half: everything that runs in a signal handler.
 *
 * Lock-free atomics and async-signal-safe calls, nothing else; no thread-local
 * storage, whose first use may allocate. Fact first, wake-up second: in the
 * other order a sleeper can wake, find nothing, and sleep through the fact. */
#include "ge_platform.h"

#include "ge_handler.h"
#include "ge_latch.h"
#include "ge_nudge.h"
#include "ge_pass.h"
#include "ge_section.h"
#include "ge_wake.h"

#include <errno.h>
#include <unistd.h>

_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "a lock in a handler deadlocks");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "the state word must be atomic");
_Static_assert(ATOMIC_POINTER_LOCK_FREE == 2, "cells must be atomic");

struct ge__mailbox ge__mailbox;
struct ge__stop_flag ge__stop_flag;

static inline uint64_t
pack(enum ge_state state, int64_t when)
{
    return ((uint64_t)when & ~UINT64_C(3)) | (uint64_t)state;
}

static inline enum ge_state
state_of(uint64_t word)
{
    return (enum ge_state)(word & 3u);
}

static inline int64_t
time_of(uint64_t word)
{
    return (int64_t)(word & ~UINT64_C(3));
}

/* One accepted step, or none. State and time are one word, so two signals at
 * the same moment cannot both be the first, nor can the second be measured
 * against the time before the first:
 *   A reads RUNNING; B reads RUNNING; A writes STOPPING at t;
 *   B's exchange fails, B reads STOPPING at t, and t is too young.
 * Returns the state that this call entered, GE_RUNNING if none. */
static enum ge_state
advance(unsigned roles, int64_t now)
{
    uint64_t was = atomic_load(&ge__mailbox.word);
    uint64_t next;

    do {
        if (state_of(was) == GE_RUNNING && roles & GE_ROLE_STOP) {
            next = pack(GE_STOPPING, now);
        } else if (state_of(was) == GE_STOPPING && roles & GE_ROLE_HURRY &&
                   now - time_of(was) >= GE_HURRY_GAP_NS) {
            next = pack(GE_HURRY, now);
        } else {
            return GE_RUNNING;
        }
    } while (!atomic_compare_exchange_weak(&ge__mailbox.word, &was, next));
    return state_of(next);
}

static void
flip_cells(void)
{
    for (int i = 0; i < GE_MAX_CELLS; i++) {
        struct ge_cell *cell = atomic_load(&ge__mailbox.cells[i]);

        if (cell != NULL) {
            atomic_store(&cell->slot, cell->on);
        }
    }
}

static void
poke(void)
{
    switch (atomic_load(&ge__mailbox.backend)) {
    case GE_FUTEX:
        ge__wake_futex_poke();
        break;
    case GE_PIPE:
        ge__wake_pipe_poke();
        break;
    default:
        break;
    }
}

/* The part that a signal and ge_stop() share. */
static bool
step(unsigned roles, const struct ge_info *info)
{
    enum ge_state entered = advance(roles, info->when);

    if (entered == GE_HURRY) {
        ge_gate_shut(info->when);
    }
    if (entered == GE_STOPPING) {
        /* Only who began the stop: the one who enters HURRY may overtake it
         * between its step and this line. */
        (void)ge__record_first(&ge__mailbox.stop, info);
    }
    if (roles & GE_ROLE_STOP) {
        /* Whoever lost the exchange flips too: the winner may have been
         * preempted between the two. */
        atomic_store(&ge__stop_flag.on, 1);
        flip_cells();
    }
    if (entered == GE_STOPPING) {
        /* After the flag: ge_stop_sleep() reads them the other way round. */
        atomic_fetch_add(&ge__mailbox.stops, 1);
        /* Before the watcher, who wakes the dispatcher too: that would take
         * the GIL first, and a worker had to wait for it. */
        ge__latch_rouse_turn();
        ge__latch_rouse(GE_AT_STOP);
    }
    poke();
    return entered == GE_STOPPING;
}

static void
accept_signal(int signum, unsigned roles, const siginfo_t *info)
{
    struct ge__signal *s = &ge__mailbox.signals[signum];
    struct ge_info what;

    ge__record_describe(&what, signum, info);
    if (atomic_load(&s->ringed) != 0) {
        ge__rings_put(&what); /* whoever sees it counted finds it there */
    }
    atomic_fetch_add(&s->count, 1);
    (void)ge__record_first(&s->first, &what);
    (void)ge__record_write(&s->last, &what);
    if (roles & GE_ROLE_HOLD) {
        atomic_fetch_add(&s->held, 1);
    }
    if (roles & GE_ROLE_GATE) {
        ge_gate_shut(what.when);
    }
    if (roles & GE_ROLE_TRIP) {
        atomic_store(&s->trip, GE_TRIPPED);
    }
    (void)step(roles, &what);
}

bool
ge__is_ours(const struct sigaction *sa)
{
    /* The flag is looked at second: macOS may report it with SIG_DFL. */
    return sa->sa_handler != SIG_DFL && sa->sa_handler != SIG_IGN &&
           sa->sa_flags & SA_SIGINFO && sa->sa_sigaction == ge__on_signal;
}

void
ge__on_signal(int signum, siginfo_t *info, void *context)
{
    int saved = errno; /* we may have interrupted code about to read it */
    struct ge__signal *s = &ge__mailbox.signals[signum];
    uintptr_t first = (uintptr_t)SIG_DFL, second = (uintptr_t)SIG_DFL;
    int first_flags = 0, second_flags = 0;
    bool main, accepted = false;
    unsigned roles, side;

    if (getpid() != atomic_load(&ge__mailbox.owner)) {
        /* A child of fork() before its repair, or one of vfork(), in whose
         * hands the parent's memory still is: nothing may be touched. */
        ge__pass_default(signum);
        errno = saved;
        return;
    }
    side = ge__enter();
    roles = atomic_load(&s->roles);
    if (roles & GE_ROLE_HOLD) {
        /* One of before may be on its way to main; this one waits. */
        roles &= ~(unsigned)GE_ROLE_TRIP;
    }
    main = ge__in_main();
    if (main && ge__nudge_came(signum, info)) {
        /* It has done its work by coming; no less when the trap has been
         * dropped meanwhile. */
    } else if (roles == 0) {
        first = ge__pass_owner(signum, &first_flags);
        if (first == (uintptr_t)SIG_DFL) {
            ge__pass_default(signum);
        }
    } else {
        accept_signal(signum, roles, info);
        if (roles & GE_ROLE_CHAIN) {
            first_flags = atomic_load(&s->original.flags);
            first = atomic_load(&s->original.function);
        }
        if (roles & GE_ROLE_TRIP) {
            second_flags = atomic_load(&s->beneath.flags);
            second = atomic_load(&s->beneath.function);
        }
        accepted = true;
    }
    ge__leave(side);
    /* Other people's functions run after the mailbox was left: one that jumps
     * out of the handler would otherwise be waited for for ever. */
    if (first != second) {
        ge__pass_call(first, first_flags, signum, info, context);
    }
    if (second != (uintptr_t)SIG_DFL) {
        ge_pass_begin(signum);
        ge__pass_call(second, second_flags, signum, info, context);
        ge_pass_end(signum);
    }
    if (accepted) {
        /* After CPython's handler has noted the signal: a main thread that is
         * woken before would find nothing and go back to sleep. */
        if (roles & GE_ROLE_TRIP) {
            ge__nudge_due(signum);
        }
        if (!main) {
            ge_nudge(signum);
        }
    }
    errno = saved;
}

int
ge_forward(int signum)
{
    unsigned roles, side;

    if (!ge__valid(signum)) {
        return 0;
    }
    side = ge__enter();
    roles = atomic_load(&ge__mailbox.signals[signum].roles);
    if (roles != 0) {
        /* No siginfo: who sent it is not known. */
        accept_signal(signum, roles & ~(unsigned)GE_ROLE_TRIP, NULL);
    }
    ge__leave(side);
    return roles != 0;
}

int
ge_stop(void)
{
    struct ge_info what = { .pid = -1, .when = ge_now() };
    unsigned side;
    bool moved;

    side = ge__enter();
    moved = step(GE_ROLE_STOP, &what);
    ge__leave(side);
    return moved;
}

int
ge_promote(int signum)
{
    struct ge__signal *s = &ge__mailbox.signals[signum];
    struct ge_info what = { .signum = signum, .pid = -1 };
    unsigned side;
    bool moved;

    side = ge__enter();
    (void)ge__record_read(&s->last, &what);
    what.when = ge_now();
    moved = step(GE_ROLE_STOP, &what);
    ge__leave(side);
    return moved;
}

void
ge_poke(void)
{
    unsigned side = ge__enter();

    poke();
    ge__leave(side);
}
