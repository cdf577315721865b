/* The short way for a section that is alone: signals that nobody else wants,
 * taken and given back by the main thread together with CPython's own call.
 * The same as ge_trap_set(), with a quarter of the system calls. */
#include "ge_platform.h"

#include "ge_fork.h"
#include "ge_handler.h"
#include "ge_section.h"
#include "ge_table.h"

#include <errno.h>

#define ROLES (GE_ROLE_COUNT | GE_ROLE_HOLD | GE_ROLE_GATE)

static void
set_roles(const int *signums, int n, unsigned roles)
{
    for (int i = 0; i < n; i++) {
        struct ge__signal *s = &ge__mailbox.signals[signums[i]];

        if (roles == 0) {
            atomic_store(&s->covered, false);
        }
        atomic_store(&s->roles, roles);
    }
    atomic_store(&ge__mailbox.holding, roles != 0);
    ge__quiesce(); /* as after every change, see published() in ge_trap.c */
}

int
ge_solo_begin(const int *signums, int n)
{
    int rc = 0;

    ge__table_lock();
    {
        if (atomic_load(&ge__mailbox.owner) == 0) {
            ge__fork_adopt(); /* else it is right: the fork's child says so */
        }
        for (int i = 0; i < n && rc == 0; i++) {
            struct sigaction found;

            if (atomic_load(&ge__mailbox.signals[signums[i]].roles) != 0 ||
                sigaction(signums[i], NULL, &found) < 0 ||
                ge__is_ours(&found) || found.sa_handler == SIG_IGN) {
                rc = -EBUSY;
            } else {
                ge__table_remember(signums[i], &found);
            }
        }
        if (rc == 0) {
            set_roles(signums, n, ROLES);
        }
    }
    ge__table_unlock();
    return rc;
}

void
ge_solo_cover(int signum)
{
    ge__table_lock();
    {
        if (ge__table_swap_in(signum, ROLES) >= 0) {
            atomic_store(&ge__mailbox.signals[signum].covered, true);
        }
    }
    ge__table_unlock();
}

/* Under the lock. */
static bool
all_ours(const int *signums, int n)
{
    for (int i = 0; i < n; i++) {
        struct sigaction now;

        if (sigaction(signums[i], NULL, &now) < 0 || !ge__is_ours(&now)) {
            return false;
        }
    }
    return true;
}

bool
ge_solo_end(const int *signums, int n)
{
    bool done = false;

    ge__table_lock();
    {
        if (all_ours(signums, n)) {
            done = true;
            set_roles(signums, n, 0);
            for (int i = 0; i < n; i++) {
                done = done && ge_held(signums[i]) == 0;
            }
            if (!done) {
                set_roles(signums, n, ROLES);
                for (int i = 0; i < n; i++) {
                    atomic_store(&ge__mailbox.signals[signums[i]].covered,
                                 true);
                }
            }
        }
    }
    ge__table_unlock();
    return done;
}

void
ge_solo_restore(int signum)
{
    struct sigaction before;

    ge__table_lock();
    {
        if (atomic_load(&ge__mailbox.signals[signum].roles) == 0 &&
            ge__table_before(signum, &before)) {
            (void)sigaction(signum, &before, NULL);
        }
    }
    ge__table_unlock();
}
