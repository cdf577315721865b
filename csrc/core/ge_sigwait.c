/* See ge_sigwait.h. */
#include "ge_platform.h"

#include "ge_fork.h"
#include "ge_handler.h"
#include "ge_sigwait.h"
#include "ge_thread.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#if GE_HAVE_SIGWAITINFO

struct taker {
    pthread_t thread;
    sigset_t signals;
    atomic_bool quit;
};

/* lock: protects the two below; held over start and join. Outermost of the
 * core's but for the lock of the traps, which may be held; never taken by the
 * thread itself or a handler. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct taker takers[2];
static struct taker *present; /* NULL: none */

/* Innermost. Held by the thread while it hands over, and by who ends it over
 * quit and kick: a kick in between would be one more run of the owner's. */
static pthread_mutex_t handing = PTHREAD_MUTEX_INITIALIZER;

static int
first_of(const sigset_t *set)
{
    int s = 1;

    while (s < GE_NSIG && sigismember(set, s) != 1) {
        s++;
    }
    return s < GE_NSIG ? s : 0;
}

/* Who has put himself in our place gets it as from the kernel: the thread
 * unblocks it for a moment, with all others blocked. What came with it in
 * siginfo is lost, and so is the interruption of main's system call, which is
 * the price of this mode. */
static void
hand_to_owner(struct taker *me, int signum)
{
    sigset_t one;

    (void)sigemptyset(&one);
    (void)sigaddset(&one, signum);
    pthread_mutex_lock(&handing);
    {
        /* A kick of this number that is pending by now stands for it: two
         * real-time signals would not merge. */
        if (!atomic_load(&me->quit) || signum != first_of(&me->signals)) {
            (void)pthread_kill(pthread_self(), signum);
        }
        (void)pthread_sigmask(SIG_UNBLOCK, &one, NULL);
        (void)pthread_sigmask(SIG_BLOCK, &one, NULL);
    }
    pthread_mutex_unlock(&handing);
    /* Handlers of Python's run in main, which may sleep in one of our calls.
     */
    ge_wake_all(GE_IN_TURN);
    ge_wake_all(GE_AT_GATE);
}

/* Nobody else knows this thread, so nobody else sends to it alone. One without
 * a sender may be either:
 *   ender:  has `handing`, quit = 1, kicks, gives `handing` back
 *   here:   took one; waits for `handing`, so the kick is that one or pending
 * One more pending: two came, and of these it does not matter which is which.
 * None: that one was the kick. */
static bool
is_our_kick(struct taker *me, int signum, siginfo_t *info)
{
    const struct timespec at_once = { 0 };
    sigset_t same;
    bool kicked;

    if (info->si_code == GE_SI_THREAD && info->si_pid == getpid()) {
        return true;
    }
    if (!ge__record_is_bare(info) || signum != first_of(&me->signals)) {
        return false;
    }
    pthread_mutex_lock(&handing);
    kicked = atomic_load(&me->quit);
    pthread_mutex_unlock(&handing);
    (void)sigemptyset(&same);
    (void)sigaddset(&same, signum);
    return kicked && sigtimedwait(&same, info, &at_once) < 0;
}

static void *
taker_main(void *arg)
{
    struct taker *me = arg;

    while (!atomic_load(&me->quit)) {
        siginfo_t info;
        int signum = GE_SIGWAITINFO(&me->signals, &info);

        if (signum < 0 || is_our_kick(me, signum, &info)) {
            continue;
        }
        /* As if the kernel had chosen this thread for the handler. */
        if (atomic_load(&ge__mailbox.signals[signum].roles) != 0 &&
            ge_trap_ours(signum)) {
            ge__on_signal(signum, &info, NULL);
        } else {
            hand_to_owner(me, signum);
        }
    }
    return NULL;
}

static bool
within(const sigset_t *small, const sigset_t *big)
{
    for (int s = 1; s < GE_NSIG; s++) {
        if (sigismember(small, s) == 1 && sigismember(big, s) != 1) {
            return false;
        }
    }
    return true;
}

static void
end(struct taker *taker)
{
    pthread_mutex_lock(&handing);
    {
        atomic_store(&taker->quit, true);
        /* To the thread alone: it cannot merge with one to the process, which
         * the next taker finds pending. */
        while (pthread_kill(taker->thread, first_of(&taker->signals)) ==
               EAGAIN) {
            /* Of the queued kind, and the user has as many as are allowed. */
            (void)sched_yield();
        }
    }
    pthread_mutex_unlock(&handing);
    (void)pthread_join(taker->thread, NULL);
}

/* Beside the last one, so that a failure changes nothing. */
static int
begin(struct taker *taker, const sigset_t *signals)
{
    int rc = ge__fork_watch();

    taker->signals = *signals;
    atomic_store(&taker->quit, false);
    return rc < 0 ? rc
                  : ge__thread_start(&taker->thread, "ge-sigwait", taker_main,
                                     taker);
}

/* Under the lock. */
static int
replace(const sigset_t *signals)
{
    struct taker *last = present;
    struct taker *next = last == &takers[0] ? &takers[1] : &takers[0];
    int rc = 0;

    if (last != NULL && within(signals, &last->signals) &&
        within(&last->signals, signals)) {
        return 0;
    }
    if (first_of(signals) == 0) {
        next = NULL;
    } else {
        rc = begin(next, signals);
    }
    if (rc < 0) {
        /* One that takes more than it should gives that to its owner. */
        return last != NULL && within(signals, &last->signals) ? 0 : rc;
    }
    present = next;
    if (last != NULL) {
        end(last);
    }
    return 0;
}

int
ge_sigwait_set(const sigset_t *signals)
{
    int rc;

    pthread_mutex_lock(&lock);
    {
        rc = replace(signals);
        for (int s = 1; rc == 0 && s < GE_NSIG; s++) {
            bool taken = sigismember(signals, s) == 1;

            atomic_store(&ge__mailbox.signals[s].taken, taken);
            if (taken) {
                atomic_store(&ge__mailbox.signals[s].masked, true);
            }
        }
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

/* Naps are counted, not the clock: a machine that stands still is no handler
 * that does not return. */
static void
settle(void)
{
    const struct timespec nap = { .tv_nsec = GE_NS_PER_S / 10000 };

    for (int i = 0; pthread_mutex_trylock(&handing) != 0; i++) {
        if (i == 10000) {
            return;
        }
        (void)nanosleep(&nap, NULL);
    }
    pthread_mutex_unlock(&handing);
}

bool
ge_sigwait_put_back(int signum)
{
    /* In a forked child both locks may be somebody's who is not there. */
    if (getpid() != atomic_load(&ge__mailbox.owner) ||
        ge_trap_lay(signum, false) < 0) {
        return false;
    }
    settle();
    return true;
}

void
ge__sigwait_fork_child(void)
{
    lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    handing = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    present = NULL;
    for (int s = 1; s < GE_NSIG; s++) {
        atomic_store(&ge__mailbox.signals[s].taken, false);
        atomic_store(&ge__mailbox.signals[s].quiet, false);
    }
    ge_sigwait_forget();
}

#else

int
ge_sigwait_set(const sigset_t *signals)
{
    (void)signals;
    return -ENOSYS;
}

bool
ge_sigwait_put_back(int signum)
{
    (void)signum;
    return false;
}

void
ge__sigwait_fork_child(void)
{
}

#endif

bool
ge_sigwait_takes(int signum)
{
    return ge__valid(signum) &&
           atomic_load(&ge__mailbox.signals[signum].taken);
}
