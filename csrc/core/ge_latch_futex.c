/* Sleeping places on Linux: one futex word each. Waking all of N sleepers is
 * one system call. */
#include "ge_platform.h"

#include "ge_fork.h"
#include "ge_futex.h"
#include "ge_latch.h"

#if GE_HAVE_FUTEX

#define ROUSED 4 /* at some 5 us each */

/* The least that is woken at GE_IN_TURN, whether or not its lock is free: less
 * than the chain wakes by itself, so as not to become the herd. */
#define PACE 100
#define PACE_NS (GE_NS_PER_S / 200)

/* Some ten of the chain have the lock in it. */
#define NAP_NS (GE_NS_PER_S / 20000)

/* `sleepers` spares the system call where nobody sleeps. No wake-up is lost:
 *   wake:  seq++         then  reads sleepers
 *   wait:  sleepers++    then  the kernel compares seq with seen
 * If wake reads 0, its seq++ came before the sleepers++, and the compare
 * fails. All four are sequentially consistent. */
static struct {
    atomic_uint seq;
    atomic_uint sleepers;
} latches[GE_PLACES];

unsigned
ge__latch_seen(enum ge_where where)
{
    return atomic_load(&latches[where].seq);
}

int
ge__latch_wait(enum ge_where where, unsigned seen, int64_t until)
{
    int rc;

    atomic_fetch_add(&latches[where].sleepers, 1);
    rc = ge__futex_wait(&latches[where].seq, seen, until);
    atomic_fetch_sub(&latches[where].sleepers, 1);
    return rc == -EAGAIN ? 0 : rc;
}

static void
wake(enum ge_where where, int most)
{
    atomic_fetch_add(&latches[where].seq, 1);
    if (atomic_load(&latches[where].sleepers) != 0) {
        ge__futex_wake_some(&latches[where].seq, most);
    }
}

void
ge__latch_wake(enum ge_where where)
{
    wake(where, INT_MAX);
}

void
ge__latch_rouse(enum ge_where where)
{
    wake(where, ROUSED);
}

/* Waking all who need one lock next makes a herd: they sleep again, on that
 * lock, and CPython's has each of them look again every 5 ms. So they are a
 * chain:
 *   handler:  wakes one     it: has the lock, wakes the next    it: ...
 * What a chain alone would get wrong:
 *   one has been woken, and waits for the lock, which others take in turns;
 *     the next joins that queue only when it has had it: a whole round each
 *   one is woken for another reason, or too early (the handler is preempted
 *     before it flips the flag), sleeps again, and wakes nobody
 *   one does not run, for its priority or a debugger
 * So the watcher wakes, too, as many as are missing to PACE in PACE_NS, until
 * nobody sleeps. Who falls asleep meanwhile, and must not:
 *   waiter:   seen     no flag                      sleepers++    compares seq
 *   handler:               flag, poke
 *   watcher:                            seq++, reads sleepers
 * Either the watcher sees it among the sleepers, or the compare fails. */
void
ge__latch_rouse_turn(void)
{
    wake(GE_IN_TURN, 1);
}

void
ge_wake_next(void)
{
    /* seq stays: whoever sleeps has not seen what we were woken for. */
    if (ge_in_turn()) {
        ge__futex_wake_some(&latches[GE_IN_TURN].seq, 1);
    }
}

bool
ge_in_turn(void)
{
    return atomic_load(&latches[GE_IN_TURN].sleepers) != 0;
}

void
ge_let_pass(void)
{
    static atomic_uint nobody_wakes;

    for (int i = 0; i < 10 && ge_in_turn(); i++) {
        (void)ge__futex_wait(&nobody_wakes, 0, ge_now() + NAP_NS);
    }
}

int64_t
ge__latch_pace(int64_t now)
{
    static int64_t next;     /* 0: nobody slept */
    static unsigned allowed; /* so many may still sleep at `next` */
    unsigned asleep;

    atomic_fetch_add(&latches[GE_IN_TURN].seq, 1);
    asleep = atomic_load(&latches[GE_IN_TURN].sleepers);
    if (asleep == 0) {
        next = 0;
        return GE_NEVER;
    }
    if (next == 0) {
        allowed = asleep;
        ge_wake_next();
    } else if (now < next) {
        return next;
    } else if (asleep > allowed) {
        ge__futex_wake_some(&latches[GE_IN_TURN].seq, (int)(asleep - allowed));
    } else {
        allowed = asleep;
    }
    allowed = allowed > PACE ? allowed - PACE : 0;
    next = now + PACE_NS;
    return next;
}

void
ge__latch_fork_child(void)
{
    /* The sleepers were the parent's. */
    for (int i = 0; i < GE_PLACES; i++) {
        atomic_store(&latches[i].sleepers, 0);
    }
}

#endif
