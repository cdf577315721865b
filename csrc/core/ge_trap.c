/* Dispositions: taking signals and giving them back. */
#include "ge_platform.h"

#include "ge_fork.h"
#include "ge_handler.h"
#include "ge_nudge.h"
#include "ge_table.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

/* Unarmed before the give-back: a handler that enters after it must not
 * swallow what belongs to the previous owner. */
static void
drop_all(const unsigned roles[GE_NSIG], const unsigned was[GE_NSIG])
{
    ge__quiesce(); /* whoever saw it armed has sent its nudge */
    for (int s = 1; s < GE_NSIG; s++) {
        if (roles[s] == 0 && was[s] != 0) {
            ge__nudge_settle(s);
            ge__table_give_back(s);
        }
    }
}

/* Every change is waited for: a handler that read the roles of before has
 * done what they said when this returns. Else, for a change from HOLD:
 *   handler:  reads HOLD    here:  looks at held    handler:  held++
 * and for one from 0:
 *   handler:  reads 0    here:  a section opens    handler:  default action */
static void
published(const unsigned roles[GE_NSIG], const unsigned was[GE_NSIG])
{
    if (memcmp(roles, was, GE_NSIG * sizeof roles[0]) != 0) {
        ge__quiesce();
    }
    for (int s = 1; s < GE_NSIG; s++) {
        if (was[s] & ~roles[s] & GE_ROLE_TRIP) {
            /* Nobody will take it; who trips next must not find it. */
            atomic_store(&ge__mailbox.signals[s].trip, GE_TAKEN);
        }
        if (roles[s] & (GE_ROLE_STOP | GE_ROLE_HOLD)) {
            atomic_store(&ge__mailbox.signals[s].covered, true);
        }
    }
}

/* What changes something; under the lock.
 *
 * Armed before the swap: a handler that enters because of the swap finds
 * itself wanted. */
static int
apply(const unsigned roles[GE_NSIG], unsigned was[GE_NSIG], bool *dropped)
{
    bool hold = false;

    for (int s = 1; s < GE_NSIG; s++) {
        hold = hold || roles[s] & GE_ROLE_HOLD;
        if (!(roles[s] & (GE_ROLE_STOP | GE_ROLE_HOLD))) {
            atomic_store(&ge__mailbox.signals[s].covered, false);
        }
        was[s] = atomic_exchange(&ge__mailbox.signals[s].roles, roles[s]);
        if (roles[s] == 0) {
            *dropped = *dropped || was[s] != 0;
            continue;
        }
        bool restart = (roles[s] ^ was[s]) & (GE_ROLE_TRIP | GE_ROLE_CHAIN);
        if (was[s] == 0 || (restart && ge_trap_ours(s))) {
            int rc = ge__table_swap_in(s, roles[s]);

            if (rc < 0) {
                /* Undo what this call did, newest first. */
                for (; s > 0; s--) {
                    atomic_store(&ge__mailbox.signals[s].roles, was[s]);
                    if (roles[s] != 0 && was[s] == 0) {
                        ge__table_give_back(s);
                    }
                }
                return rc;
            }
        }
    }
    atomic_store(&ge__mailbox.holding, hold);
    if (*dropped) {
        drop_all(roles, was);
    }
    published(roles, was);
    return 0;
}

/* Look at everything that is to be taken before anything is changed. */
static int
look(const unsigned roles[GE_NSIG])
{
    struct sigaction found;

    for (int s = 1; s < GE_NSIG; s++) {
        if (roles[s] == 0 || atomic_load(&ge__mailbox.signals[s].roles) != 0) {
            continue;
        }
        if (ge_sig_check(s) < 0) {
            return ge_sig_check(s);
        }
        if (sigaction(s, NULL, &found) < 0) {
            return -errno;
        }
    }
    for (int s = 1; s < GE_NSIG; s++) {
        if (roles[s] != 0 && atomic_load(&ge__mailbox.signals[s].roles) == 0 &&
            sigaction(s, NULL, &found) == 0 && !ge__is_ours(&found)) {
            ge__table_remember(s, &found);
        }
    }
    return 0;
}

int
ge_trap_set(const unsigned roles[GE_NSIG])
{
    unsigned was[GE_NSIG] = { 0 };
    bool dropped = false;
    int rc;

    ge__table_lock();
    {
        ge__fork_adopt();
        rc = look(roles);
        if (rc == 0) {
            rc = apply(roles, was, &dropped);
        }
    }
    ge__table_unlock();
    if (dropped || rc < 0) {
        ge__quiesce();
    }
    return rc;
}

int
ge_trap_lay(int signum, bool adopt)
{
    unsigned roles;
    int rc;

    if (ge_sig_check(signum) < 0) {
        return ge_sig_check(signum);
    }
    ge__table_lock();
    {
        struct sigaction now;

        roles = atomic_load(&ge__mailbox.signals[signum].roles);
        rc = roles == 0 ? -ENOENT : 0;
        if (rc == 0 && sigaction(signum, NULL, &now) < 0) {
            rc = -errno;
        }
        if (rc == 0 && !ge__is_ours(&now)) {
            if (adopt) {
                ge__table_remember(signum, &now);
            }
            rc = ge__table_swap_in(signum, roles);
        }
    }
    ge__table_unlock();
    return rc;
}

bool
ge_trap_relay(int signum)
{
    struct ge__action *beneath = &ge__mailbox.signals[signum].beneath;
    bool in_place = false;

    ge__table_lock();
    {
        unsigned roles = atomic_load(&ge__mailbox.signals[signum].roles);
        struct sigaction now;

        if (roles != 0 && sigaction(signum, NULL, &now) == 0) {
            in_place = ge__is_ours(&now);
            if (!in_place &&
                (uintptr_t)now.sa_handler == atomic_load(&beneath->function)) {
                in_place = ge__table_swap_in(signum, roles) >= 0;
            }
        }
    }
    ge__table_unlock();
    return in_place;
}

bool
ge_trap_ours(int signum)
{
    struct sigaction now;

    return sigaction(signum, NULL, &now) == 0 && ge__is_ours(&now);
}

int
ge_trap_after_us(int signum, struct sigaction *out)
{
    struct ge__action *beneath = &ge__mailbox.signals[signum].beneath;
    int rc = -ENOENT;

    ge__table_lock();
    {
        struct sigaction now;

        if (ge__table_before(signum, out) &&
            sigaction(signum, NULL, &now) == 0) {
            bool wiped =
                (uintptr_t)now.sa_handler == atomic_load(&beneath->function);

            if (!ge__is_ours(&now) && !wiped) {
                *out = now;
            }
            rc = 0;
        }
    }
    ge__table_unlock();
    return rc;
}

void
ge__trap_fork_child(void)
{
    ge__table_fork_child();
    atomic_store(&ge__mailbox.holding, false);
    for (int s = 1; s < GE_NSIG; s++) {
        if (atomic_exchange(&ge__mailbox.signals[s].roles, 0) != 0) {
            ge__table_give_back(s);
        }
    }
}
