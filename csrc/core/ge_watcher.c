/* The native thread. It wakes sleepers, feeds descriptors and keeps the
 * deadline. It never takes the GIL, calls Python or writes a report: each of
 * these can block, and the deadline must hold when they do. */
#include "ge_platform.h"

#include "ge_end.h"
#include "ge_fds.h"
#include "ge_fork.h"
#include "ge_handler.h"
#include "ge_latch.h"
#include "ge_nudge.h"
#include "ge_report.h"
#include "ge_section.h"
#include "ge_thread.h"
#include "ge_wake.h"

#include <errno.h>
#include <limits.h>

/* lock: protects started and thread; held over start and join, so that two
 * callers cannot both do it. Outside the locks of descriptors and latches,
 * never taken by the watcher itself or a handler. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool started;
static pthread_t thread;

static atomic_int quit;
static atomic_int ending;

/* While a deadline is on its way the clock is looked at this often: where a
 * machine was suspended, or its clock was put on, the kernel may end a long
 * sleep by the time that it would have taken without. At no other time. */
#define TICK GE_NS_PER_S

unsigned
ge_backends(void)
{
    return (GE_HAVE_FUTEX ? 1u << GE_FUTEX : 0u) | 1u << GE_PIPE |
           (GE_HAVE_SIGWAITINFO ? 1u << GE_SIGWAIT : 0u);
}

bool
ge_ending(void)
{
    return atomic_load(&ending) && ge_state() == GE_HURRY;
}

/* HURRY and no section open: the end. A thread that has the GIL may log and
 * flush first; if none comes, the watcher does it alone. */
static int64_t
hurry(int64_t now)
{
    static int64_t last_words;

    if (!ge_section_close()) {
        return GE_NEVER; /* the section that closes last pokes us */
    }
    if (!atomic_exchange(&ending, 1)) {
        last_words = now + GE_LAST_WORDS_NS;
    }
    if (now >= last_words) {
        ge_end();
    }
    return last_words;
}

static int64_t
earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Look at everything; returns when to look again at the latest. */
static int64_t
turn(void)
{
    int64_t now = ge_now(), deadline = ge_deadline();
    int64_t until = ge__nudge_again(now);

    if (ge_state() != GE_RUNNING) {
        /* At every turn, not once a stop: who wakes looks at its own flag, and
         * the handler may have been preempted before it flipped it. It pokes
         * when it has. Nobody sleeps there for long now, so this is cheap. */
        ge__latch_wake(GE_AT_STOP);
        until = earlier(until, ge__latch_pace(now));
    }
    if (deadline <= now) {
        ge_end();
    }
    if (deadline != GE_NEVER) {
        until = earlier(until, earlier(deadline, now + TICK));
    }
    until = earlier(until, ge__report_turn(now));
    if (ge_state() == GE_HURRY) {
        until = earlier(until, hurry(now));
    } else if (atomic_exchange(&ending, 0)) {
        ge__section_reopen(); /* closed by a turn that ge_reset() overtook */
    }
    ge__fds_feed();
    ge__latch_wake(GE_AT_NEWS);
    return until;
}

/* In both loops `quit` is a fact like all others: looked at after seen(), or
 * its poke is lost:
 *   watcher: quit is 0;  stopper: quit = 1, poke;  watcher: seen, wait */
static void *
futex_main(void *arg)
{
    (void)arg;
    for (;;) {
        unsigned seen = ge__wake_futex_seen();

        if (atomic_load(&quit)) {
            return NULL;
        }
        ge__wake_futex_wait(seen, turn());
    }
}

static void
close_backend(void)
{
    int backend = atomic_exchange(&ge__mailbox.backend, 0);

    /* A handler may be about to write into the pipe. */
    ge__quiesce();
    if (backend == GE_PIPE) {
        ge__wake_pipe_close();
    }
}

/* Others close descriptors that they did not open. Closing the write end wakes
 * the watcher, which in a moment makes itself a new pipe. A poke that found
 * the old one closed, or none, is not missed: its fact came before it, and the
 * turn that looks at the facts comes after this. Returns when to try again. */
static int64_t
mend_pipe(void)
{
    int64_t retry = GE_NEVER;

    if (!ge__wake_pipe_whole()) {
        close_backend();
        if (ge__wake_pipe_reopen() < 0) {
            /* Not yet, or none is to be had: nobody can wake us, so we look.
             */
            retry = ge_now() + GE_NS_PER_S / 100;
        }
        atomic_store(&ge__mailbox.backend, GE_PIPE);
    }
    return retry;
}

static void *
pipe_main(void *arg)
{
    (void)arg;
    for (;;) {
        int64_t retry = mend_pipe();
        unsigned seen = ge__wake_pipe_seen();

        if (atomic_load(&quit)) {
            return NULL;
        }
        ge__wake_pipe_wait(seen, earlier(retry, turn()));
    }
}

/* GE_SIGWAIT is about who runs the handler; the handler wakes us as ever. */
static enum ge_backend
wake_of(enum ge_backend backend)
{
    if (backend != GE_SIGWAIT) {
        return backend;
    }
    return GE_HAVE_FUTEX ? GE_FUTEX : GE_PIPE;
}

static int
start(enum ge_backend backend)
{
    int rc = backend == GE_PIPE ? ge__fork_watch() : 0;

    if (rc == 0 && backend == GE_PIPE) {
        rc = ge__wake_pipe_open();
    }
    if (rc < 0) {
        return rc;
    }
    ge__fork_adopt();
    atomic_store(&quit, 0);
    atomic_store(&ending, 0);
    ge__section_reopen();
    ge__end_reset();
    ge__report_reset();
    atomic_store(&ge__mailbox.backend, (int)backend);
    /* All signals are blocked in the watcher: it must not be taken away by
     * one. */
    rc = ge__thread_start(&thread, "ge-watcher",
                          backend == GE_PIPE ? pipe_main : futex_main, NULL);
    if (rc < 0) {
        close_backend();
    }
    return rc;
}

int
ge_watcher_start(enum ge_backend backend)
{
    int rc = -EALREADY;

    if (!(ge_backends() & 1u << backend)) {
        return -ENOSYS;
    }
    pthread_mutex_lock(&lock);
    {
        if (!started) {
            rc = start(wake_of(backend));
            started = rc == 0;
        }
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

void
ge_watcher_stop(void)
{
    pthread_mutex_lock(&lock);
    {
        if (started) {
            atomic_store(&quit, 1);
            ge_poke();
            (void)pthread_join(thread, NULL);
            close_backend();
            started = false;
        }
    }
    pthread_mutex_unlock(&lock);
}

void
ge__watcher_fork_child(void)
{
    lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    started = false;
    atomic_store(&ge__mailbox.backend, 0);
    ge__wake_pipe_close(); /* if there is one; the watcher may be mending it */
}

unsigned
ge_seen(enum ge_where where)
{
    return ge__latch_seen(where);
}

int
ge_wait(enum ge_where where, unsigned seen, int64_t until)
{
    return ge__latch_wait(where, seen, until);
}

void
ge_wake_all(enum ge_where where)
{
    ge__latch_wake(where);
}
