/* See ge_nudge.h. Async-signal-safe throughout. */
#include "ge_platform.h"

#include "ge_handler.h"
#include "ge_nudge.h"

#include <errno.h>

bool
ge__in_main(void)
{
    return atomic_load(&ge__mailbox.have_main) &&
           pthread_equal(pthread_self(), ge__mailbox.main);
}

/* Armed comes before the swap, and others put their handlers over ours. */
static bool
in_place(int signum)
{
    struct sigaction now;

    return atomic_load(&ge__mailbox.signals[signum].roles) != 0 &&
           sigaction(signum, NULL, &now) == 0 && ge__is_ours(&now);
}

void
ge_nudge(int signum)
{
    struct ge__signal *s = &ge__mailbox.signals[signum];
    unsigned side;

    /* Counted in, so that ge__mailbox.main does not change meanwhile, and so
     * that no nudge outlives the trap:
     *   here:  enters          then  reads roles,      then  sends
     *   trap:  roles = 0       then  quiesces, waits for nudged == 0,
     *                          then  gives back
     * Either roles reads 0 here, or the trap waits for what is sent. */
    side = ge__enter();
    /* Where main blocks it one would stay pending, and nothing is to be
     * interrupted. */
    if (atomic_load(&ge__mailbox.have_main) && !atomic_load(&s->quiet) &&
        in_place(signum) && atomic_exchange(&s->nudged, 1) == 0 &&
        pthread_kill(ge__mailbox.main, signum) != 0) {
        atomic_store(&s->nudged, 0);
    }
    ge__leave(side);
}

/* One without a sender may be a signal of somebody else's:
 *   nudger:  nudged = 1                                    sends
 *   main:                 the other's comes, nudged = 0             the nudge
 *                         is taken for the nudge                    is counted
 * The count is right, and so is who has it: only the nudge says of itself that
 * it comes from here. */
bool
ge__nudge_came(int signum, const siginfo_t *info)
{
    return info != NULL &&
           (ge__record_is_bare(info) ||
            (info->si_code == GE_SI_THREAD &&
             (int)info->si_pid == atomic_load(&ge__mailbox.owner))) &&
           atomic_exchange(&ge__mailbox.signals[signum].nudged, 0) == 1;
}

/* Nothing to do where main has taken it without having been woken. */
void
ge__nudge_due(int signum)
{
    unsigned tripped = GE_TRIPPED;

    (void)atomic_compare_exchange_strong(&ge__mailbox.signals[signum].trip,
                                         &tripped, GE_TOLD);
}

int
ge_trip_begin(int signum)
{
    struct ge__signal *s;

    if (!ge__valid(signum)) {
        return -ENOENT;
    }
    s = &ge__mailbox.signals[signum];
    if (!(atomic_load(&s->roles) & GE_ROLE_TRIP)) {
        return -ENOENT;
    }
    atomic_store(&s->trip, GE_TRIPPED);
    return 0;
}

void
ge_trip_end(int signum)
{
    ge__nudge_due(signum);
    ge_nudge(signum);
    ge_poke(); /* the watcher repeats it until main has taken it */
}

/* A wake-up can fall between a thread's check and its system call (3 of
 * 12,000), so it is repeated, at growing distance. */
int64_t
ge__nudge_again(int64_t now)
{
    static int64_t next, step;
    bool waiting = false;

    for (int s = 1; s < GE_NSIG; s++) {
        struct ge__signal *sig = &ge__mailbox.signals[s];
        unsigned trip = atomic_load(&sig->trip);

        if (atomic_load(&sig->roles) & GE_ROLE_TRIP && trip != GE_TAKEN) {
            waiting = true;
            if (trip == GE_TOLD && next != 0 && now >= next) {
                ge_nudge(s);
            }
        }
    }
    if (!waiting) {
        next = 0;
        return GE_NEVER;
    }
    if (next == 0) {
        step = GE_NS_PER_S / 1000;
        next = now + step;
    } else if (now >= next) {
        step = step < GE_NS_PER_S ? step * 10 : step;
        next = now + step;
    }
    return next;
}
