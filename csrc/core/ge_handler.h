/* The top half and its mailbox: what a signal handler may touch. */
#ifndef GE_HANDLER_H
#define GE_HANDLER_H

#include "ge.h"
#include "ge_record.h"
#include "ge_ring.h"

#include <stdatomic.h>

/* A function of somebody else's, as two atomics: a handler that the kernel
 * chose long ago may read it while a new install writes it. */
struct ge__action {
    _Atomic(uintptr_t) function;
    atomic_int flags;
};

enum ge__trip {
    GE_TAKEN,
    GE_TRIPPED, /* main has yet to take it, and has not been told of it */
    GE_TOLD     /* nor has it taken it since it was told */
};

struct ge__signal {
    atomic_uint roles;   /* 0: not ours */
    atomic_bool covered; /* heard or held, and the kernel's table says so */
    atomic_bool taken;   /* by the thread of ge_sigwait.c */
    atomic_bool quiet;   /* main blocks it for our sake */
    atomic_bool masked;  /* there may be threads that block it for our sake */
    _Atomic(uint64_t) count;
    atomic_uint ringed; /* so many rings want it */
    atomic_uint held;
    atomic_uint trip;   /* enum ge__trip: has main yet to take it? */
    atomic_uint passes; /* to the handler beneath, since ge_passed() */
    atomic_int passing; /* of those, the ones that have not returned */
    atomic_uint nudged; /* 1: a pthread_kill() of ours is on its way to main */
    struct ge__action original; /* to give back to */
    struct ge__action beneath;  /* what our handler was laid over last */
    struct ge_record first, last;
};

/* A process has one signal table and one stop, so there is one of these.
 * Whatever is not a property of the process belongs in an object. */
struct ge__mailbox {
    atomic_int owner;       /* pid that the rest is about; 0: nobody yet */
    atomic_int backend;     /* enum ge_backend; 0: no watcher to wake */
    atomic_uint phase;      /* its lowest bit: where to count in */
    atomic_int inflight[2]; /* handlers and pokes between entry and exit */
    _Atomic(uint64_t) word; /* state in the two lowest bits, time above */
    struct ge_record stop;
    atomic_uint stops; /* how many have begun */
    _Atomic(struct ge_cell *) cells[GE_MAX_CELLS];
    _Atomic(struct ge_ring *) rings[GE_MAX_RINGS];
    atomic_bool holding; /* there are signals of GE_ROLE_HOLD */
    atomic_int have_main;
    pthread_t main; /* valid while have_main */
    struct ge__signal signals[GE_NSIG];
};

extern struct ge__mailbox ge__mailbox;

/* 1 from the stop to ge_reset(). On a cache line of its own: native loops look
 * at it all the time, and every handler writes to the mailbox. */
struct ge__stop_flag {
    _Alignas(64) atomic_int on;
};

extern struct ge__stop_flag ge__stop_flag;

/* The handler. Installed with SA_SIGINFO, every signal blocked. */
void ge__on_signal(int signum, siginfo_t *info, void *context);

/* Count in and out; what is between is what ge__quiesce() waits for. Call
 * from: any thread, a handler too. */
static inline unsigned
ge__enter(void)
{
    unsigned side = atomic_load(&ge__mailbox.phase) & 1u;

    atomic_fetch_add(&ge__mailbox.inflight[side], 1);
    return side;
}

static inline void
ge__leave(unsigned side)
{
    atomic_fetch_sub(&ge__mailbox.inflight[side], 1);
}

static inline bool
ge__valid(int signum)
{
    return signum > 0 && signum < GE_NSIG; /* half-open, like the arrays */
}

/* Is this action our handler? */
bool ge__is_ours(const struct sigaction *sa);

/* Wait until no handler and no poke is under way that began before the call.
 *
 * Call from: any thread; never from a handler, which would wait for itself. */
void ge__quiesce(void);

/* Nobody is under way in the child of a fork. Call from: the fork child. */
void ge__quiesce_fork_child(void);

#endif
