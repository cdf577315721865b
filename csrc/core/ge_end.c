/* How and when the process ends. ge_end() and ge_die() are async-signal-safe
 * but for sched_yield(), which is a bare system call everywhere. */
#include "ge_platform.h"

#include "ge_end.h"

#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

static _Atomic(int64_t) grace = GE_NEVER;
static _Atomic(int64_t) extra;
static atomic_int how = GE_EXIT_SIGNAL;

/* A sum that stays at GE_NEVER, or its opposite, where it would overflow. */
static int64_t
later_by(int64_t a, int64_t b)
{
    if (b > 0 && a > GE_NEVER - b) {
        return GE_NEVER;
    }
    return b < 0 && a < -GE_NEVER - b ? -GE_NEVER : a + b;
}

void
ge_policy(int64_t grace_ns, int exit_how)
{
    atomic_store(&grace, grace_ns);
    atomic_store(&how, exit_how);
    ge_poke();
}

void
ge_extend(int64_t ns)
{
    int64_t was = atomic_load(&extra), sum;

    do {
        sum = later_by(was, ns);
    } while (!atomic_compare_exchange_weak(&extra, &was, sum));
    ge_poke();
}

void
ge__end_reset(void)
{
    atomic_store(&extra, 0);
}

int64_t
ge_deadline(void)
{
    int64_t g = atomic_load(&grace);
    struct ge_info stop;

    /* The record's time, not the word's, which the second step moves. While
     * it is being written it is not known of what to die; who writes it pokes
     * the watcher afterwards. */
    if (g == GE_NEVER || ge_state() == GE_RUNNING || !ge_stop_record(&stop)) {
        return GE_NEVER;
    }
    g = later_by(stop.when, g);
    return g == GE_NEVER ? GE_NEVER : later_by(g, atomic_load(&extra));
}

_Noreturn void
ge_die(int signum)
{
    struct sigaction dfl = { .sa_handler = SIG_DFL };
    sigset_t set;

    (void)sigemptyset(&dfl.sa_mask);
    (void)sigaction(signum, &dfl, NULL);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, signum);
    (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    (void)raise(signum);
    (void)sched_yield();
    (void)kill(getpid(), signum);
    (void)sched_yield();
    /* The kernel gives PID 1 of a container no default actions. */
    _exit(128 + signum);
}

_Noreturn void
ge_end(void)
{
    struct ge_info stop = { .signum = 0 };
    int h = atomic_load(&how);

    (void)ge_stop_record(&stop);
    if (h >= 0) {
        _exit(h);
    }
    if (stop.signum == 0) {
        /* A stop from code that had to be cut short: no signal to die of, and
         * not a success. */
        _exit(1);
    }
    if (h == GE_EXIT_CODE) {
        _exit(128 + stop.signum);
    }
    ge_die(stop.signum);
}
