/* See ge_pass.h. */
#include "ge_platform.h"

#include "ge_handler.h"
#include "ge_pass.h"

#include <unistd.h>

typedef void (*plain_fn)(int);
typedef void (*info_fn)(int, siginfo_t *, void *);

uintptr_t
ge__pass_owner(int signum, int *flags)
{
    struct ge__action *original = &ge__mailbox.signals[signum].original;
    struct sigaction now;

    if (sigaction(signum, NULL, &now) == 0 && !ge__is_ours(&now)) {
        *flags = now.sa_flags;
        if (now.sa_flags & SA_SIGINFO && now.sa_handler != SIG_DFL &&
            now.sa_handler != SIG_IGN) {
            return (uintptr_t)now.sa_sigaction;
        }
        return (uintptr_t)now.sa_handler;
    }
    *flags = atomic_load(&original->flags);
    return atomic_load(&original->function);
}

void
ge__pass_call(uintptr_t function, int flags, int signum, siginfo_t *info,
              void *context)
{
    if (function == (uintptr_t)SIG_DFL || function == (uintptr_t)SIG_IGN) {
        return;
    }
    if (flags & SA_SIGINFO) {
        ((info_fn)function)(signum, info, context);
    } else {
        ((plain_fn)function)(signum);
    }
}

void
ge__pass_default(int signum)
{
    struct sigaction dfl = { .sa_handler = SIG_DFL }, now;
    sigset_t set;

    (void)sigemptyset(&dfl.sa_mask);
    /* Only in our own place: a handler that somebody has just put there is
     * theirs, and the signal with it. */
    if (sigaction(signum, NULL, &now) == 0 && ge__is_ours(&now)) {
        (void)sigaction(signum, &dfl, NULL);
    }
    (void)sigemptyset(&set);
    (void)sigaddset(&set, signum);
    (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    (void)kill(getpid(), signum);
}

bool
ge_pass_hears(int signum)
{
    struct ge__action *beneath = &ge__mailbox.signals[signum].beneath;
    struct sigaction now;

    return sigaction(signum, NULL, &now) == 0 &&
           (uintptr_t)now.sa_handler == atomic_load(&beneath->function);
}

void
ge_pass_begin(int signum)
{
    struct ge__signal *s = &ge__mailbox.signals[signum];

    /* In this order: ge_passed() takes the count and then waits for who is in
     * it. */
    atomic_fetch_add(&s->passing, 1);
    atomic_fetch_add(&s->passes, 1);
}

void
ge_pass_end(int signum)
{
    atomic_fetch_sub(&ge__mailbox.signals[signum].passing, 1);
}
