/* sigwait mode: the masks of the program's threads; see ge_sigwait.h. */
#include "ge_platform.h"

#include "ge_handler.h"
#include "ge_nudge.h"
#include "ge_sigwait.h"
#include "ge_thread.h"

static void
set_quiet(const sigset_t *signals, bool quiet)
{
    for (int s = 1; ge__in_main() && s < GE_NSIG; s++) {
        if (sigismember(signals, s) == 1) {
            atomic_store(&ge__mailbox.signals[s].quiet, quiet);
            if (quiet) {
                ge__nudge_settle(s); /* one of before is pending, or comes */
            }
        }
    }
}

void
ge_sigwait_block(const sigset_t *signals, sigset_t *fresh)
{
    ge_thread_block(signals, fresh);
    set_quiet(signals, true);
}

void
ge_sigwait_unblock(const sigset_t *signals)
{
    ge_thread_unblock(signals);
    set_quiet(signals, false);
}

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
