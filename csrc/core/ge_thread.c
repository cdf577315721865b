/* See ge_thread.h. */
#include "ge_platform.h"

#include "ge_thread.h"

#include <errno.h>

int
ge__thread_start(pthread_t *thread, const char *name, void *(*run)(void *),
                 void *arg)
{
    pthread_attr_t attr;
    sigset_t all, old;
    int rc = pthread_attr_init(&attr);

    if (rc != 0) {
        return -rc;
    }
    /* It inherits the mask, so there is no moment before. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    (void)pthread_attr_setstacksize(&attr, GE_STACK_SIZE);
    rc = pthread_create(thread, &attr, run, arg);
    if (rc == EINVAL) {
        /* The static TLS of the loaded libraries does not fit. */
        rc = pthread_create(thread, NULL, run, arg);
    }
    if (rc == 0) {
        GE_NAME_THREAD(*thread, name);
    }
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    (void)pthread_attr_destroy(&attr);
    return -rc;
}

void
ge_thread_block(const sigset_t *signals, sigset_t *fresh)
{
    sigset_t before;

    (void)pthread_sigmask(SIG_BLOCK, signals, &before);
    (void)sigemptyset(fresh);
    for (int s = 1; s < GE_NSIG; s++) {
        if (sigismember(signals, s) == 1 && sigismember(&before, s) != 1) {
            (void)sigaddset(fresh, s);
        }
    }
}

void
ge_thread_unblock(const sigset_t *signals)
{
    (void)pthread_sigmask(SIG_UNBLOCK, signals, NULL);
}
