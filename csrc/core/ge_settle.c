/* Waiting for what is on its way to main; see ge_nudge.h for the nudge. A file
 * of its own because it does what a handler may not. */
#include "ge_platform.h"

#include "ge_handler.h"
#include "ge_nudge.h"
#include "ge_pass.h"

#include <sched.h>

void
ge_nudge_bar(int signum, bool on)
{
    struct ge__signal *s = &ge__mailbox.signals[signum];
    int64_t until = ge_now() + GE_NS_PER_S;

    /* Who sends one exchanges the same mark first. */
    if (!on) {
        atomic_store(&s->nudged, 0);
        return;
    }
    while (atomic_exchange(&s->nudged, 1) == 1 && ge_now() < until) {
        ge__nudge_settle(signum);
    }
}

void
ge__nudge_settle(int signum)
{
    struct ge__signal *s = &ge__mailbox.signals[signum];
    int64_t until = ge_now() + GE_NS_PER_S;

    while (atomic_load(&s->nudged) && ge_now() < until) {
        sigset_t pending, only;
        int taken;

        (void)sigemptyset(&only);
        (void)sigaddset(&only, signum);
        if (pthread_equal(pthread_self(), ge__mailbox.main) &&
            sigpending(&pending) == 0 && sigismember(&pending, signum) == 1) {
            (void)sigwait(&only, &taken);
            atomic_store(&s->nudged, 0);
        } else {
            (void)sched_yield();
        }
    }
}

unsigned
ge_passed(int signum)
{
    struct ge__signal *s = &ge__mailbox.signals[signum];
    int64_t until = ge_now() + GE_NS_PER_S;
    unsigned passes = atomic_exchange(&s->passes, 0);

    while (atomic_load(&s->passing) > 0 && ge_now() < until) {
        (void)sched_yield();
    }
    return passes;
}
