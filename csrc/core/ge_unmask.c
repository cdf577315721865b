/* sigwait mode: what a thread unblocks for a child; see ge_sigwait.h. */
#include "ge_platform.h"

#include "ge_handler.h"
#include "ge_sigwait.h"

/* Of each thread, as another may be making a child of another kind. */
static _Thread_local bool keeping;
static _Thread_local sigset_t kept;

void
ge_sigwait_keep(const sigset_t *signals)
{
    keeping = signals != NULL;
    if (keeping) {
        kept = *signals;
    }
}

void
ge_sigwait_pause(struct ge_unblocked *was)
{
    sigset_t ours, before;

    (void)sigemptyset(&ours);
    (void)sigemptyset(&was->taken);
    (void)sigemptyset(&was->left);
    for (int s = 1; s < GE_NSIG; s++) {
        if (atomic_load(&ge__mailbox.signals[s].masked) &&
            !(keeping && sigismember(&kept, s) == 1)) {
            (void)sigaddset(&ours, s);
        }
    }
    (void)pthread_sigmask(SIG_UNBLOCK, &ours, &before);
    for (int s = 1; s < GE_NSIG; s++) {
        if (sigismember(&ours, s) == 1 && sigismember(&before, s) == 1) {
            (void)sigaddset(ge_sigwait_takes(s) ? &was->taken : &was->left, s);
        }
    }
}

void
ge_sigwait_resume(const struct ge_unblocked *was)
{
    sigset_t again = was->left;

    for (int s = 1; s < GE_NSIG; s++) {
        if (sigismember(&was->taken, s) == 1 && ge_sigwait_takes(s)) {
            (void)sigaddset(&again, s);
        }
    }
    (void)pthread_sigmask(SIG_BLOCK, &again, NULL);
}

void
ge_sigwait_forget(void)
{
    for (int s = 1; s < GE_NSIG; s++) {
        atomic_store(&ge__mailbox.signals[s].masked, ge_sigwait_takes(s));
    }
}
