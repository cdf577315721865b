/* The kernel's table of dispositions, one signal at a time. */
#include "ge_platform.h"

#include "ge_handler.h"
#include "ge_table.h"

#include <errno.h>

/* Protects `before` and the order of changes to the kernel's table by us.
 * Outermost of the core's locks: nothing else is locked while it is held, and
 * no handler takes it, so handlers may be waited for under it. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction before[GE_NSIG];
static bool known[GE_NSIG];

void
ge__table_lock(void)
{
    pthread_mutex_lock(&lock);
}

void
ge__table_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

void
ge__table_fork_child(void)
{
    /* Another thread of the parent may have held it at the fork. */
    lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
}

static void
publish(struct ge__action *a, const struct sigaction *sa)
{
    bool function = sa->sa_handler != SIG_DFL && sa->sa_handler != SIG_IGN;

    /* Flags first: see struct ge__action. */
    atomic_store(&a->flags, sa->sa_flags);
    atomic_store(&a->function, function && sa->sa_flags & SA_SIGINFO
                                   ? (uintptr_t)sa->sa_sigaction
                                   : (uintptr_t)sa->sa_handler);
}

void
ge__table_remember(int signum, const struct sigaction *sa)
{
    before[signum] = *sa;
    known[signum] = true;
    publish(&ge__mailbox.signals[signum].original, sa);
}

int
ge__table_swap_in(int signum, unsigned roles)
{
    struct sigaction ours = { .sa_flags = SA_SIGINFO | SA_ONSTACK };
    struct sigaction old;

    ours.sa_sigaction = ge__on_signal;
    (void)sigfillset(&ours.sa_mask); /* no nesting between our own */
    /* What a Python handler wants is to interrupt; everybody else wants to go
     * on sleeping, reading, connecting as if nothing had come. */
    if (!(roles & (GE_ROLE_TRIP | GE_ROLE_CHAIN))) {
        ours.sa_flags |= SA_RESTART;
    }
    if (sigaction(signum, &ours, &old) < 0) {
        return -errno;
    }
    if (ge__is_ours(&old)) {
        return 0;
    }
    publish(&ge__mailbox.signals[signum].beneath, &old);
    return 1;
}

void
ge__table_give_back(int signum)
{
    struct sigaction now;

    if (sigaction(signum, NULL, &now) == 0 && ge__is_ours(&now)) {
        /* Somebody may take it between the look and the swap; then the swap
         * shows it, and theirs is put back. */
        (void)sigaction(signum, &before[signum], &now);
        if (!ge__is_ours(&now)) {
            (void)sigaction(signum, &now, NULL);
        }
    }
}

bool
ge__table_before(int signum, struct sigaction *out)
{
    if (known[signum]) {
        *out = before[signum];
    }
    return known[signum];
}
