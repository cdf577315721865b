/* The top half and its mailbox: what a signal handler may touch. */
#ifndef GE_HANDLER_H
#define GE_HANDLER_H

#include "ge.h"
#include "ge_record.h"

#include <stdatomic.h>

/* A function of somebody else's, as two atomics: a handler that the kernel
 * chose long ago may read it while a new install writes it. */
struct ge__action {
    _Atomic(uintptr_t) function;
    atomic_int flags;
};

struct ge__signal {
    atomic_uint roles; /* 0: not ours */
    _Atomic(uint64_t) count;
    atomic_uint held;
    atomic_uint trip;   /* 1: the main thread has yet to take it */
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
    atomic_int inflight;    /* handlers and pokes between entry and exit */
    _Atomic(uint64_t) word; /* state in the two lowest bits, time above */
    struct ge_record stop;
    _Atomic(struct ge_cell *) cells[GE_MAX_CELLS];
    atomic_int have_main;
    pthread_t main; /* valid while have_main */
    struct ge__signal signals[GE_NSIG];
};

extern struct ge__mailbox ge__mailbox;

/* The handler. Installed with SA_SIGINFO, every signal blocked. */
void ge__on_signal(int signum, siginfo_t *info, void *context);

static inline bool
ge__valid(int signum)
{
    return signum > 0 && signum < GE_NSIG; /* half-open, like the arrays */
}

/* Is this action our handler? */
bool ge__is_ours(const struct sigaction *sa);

/* Wake the main thread out of pause() and the like by sending it the signal
 * again; the handler there tells it from a real one. At most one is on its
 * way: while it is, main has a signal pending and needs no other. Nothing
 * happens for a signal that is not armed: without our handler the nudge would
 * be the previous owner's signal, and mostly death.
 *
 * Call from: any thread, a handler too. */
void ge__nudge(int signum);

/* Wait until no handler and no poke is under way that began before the call.
 *
 * Call from: any thread; never from a handler, which would wait for itself. */
void ge__quiesce(void);

#endif
