/* The mailbox seen from the threads: state, counters, cells. */
#include "ge_platform.h"

#include "ge_end.h"
#include "ge_handler.h"
#include "ge_report.h"
#include "ge_section.h"

#include <errno.h>
#include <sched.h>

/* One quiesce at a time. Innermost but for what it waits for, which takes no
 * lock. */
static pthread_mutex_t quiesce = PTHREAD_MUTEX_INITIALIZER;

/* One counter for all would be simpler and does not do: where several threads
 * get signals all the time it is never seen at 0 (eight threads: not once in
 * minutes). So those who enter from now on are counted on the other side, and
 * this side can only run empty.
 *
 * Both sides, one after the other, because of who reads the phase, is
 * preempted, and counts in late, on the side that is not waited for:
 *   handler: side = 0;   we: phase = 1, side 0 is empty;   handler: 0++
 * We need not wait for that one: it looks at the facts after its 0++, which is
 * after our change of them. But it is the *next* quiesce's to wait for, while
 * the phase is 1. */
void
ge__quiesce(void)
{
    pthread_mutex_lock(&quiesce);
    {
        for (int i = 0; i < 2; i++) {
            unsigned side = atomic_fetch_add(&ge__mailbox.phase, 1) & 1u;

            while (atomic_load(&ge__mailbox.inflight[side]) != 0) {
                /* A handler is short: it needs only the processor. */
                (void)sched_yield();
            }
        }
    }
    pthread_mutex_unlock(&quiesce);
}

void
ge__quiesce_fork_child(void)
{
    /* Another thread of the parent may have held it, and handlers of other
     * threads were copied halfway. */
    quiesce = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    atomic_store(&ge__mailbox.inflight[0], 0);
    atomic_store(&ge__mailbox.inflight[1], 0);
}

enum ge_state
ge_state(void)
{
    return (enum ge_state)(atomic_load(&ge__mailbox.word) & 3u);
}

int64_t
ge_state_since(void)
{
    return (int64_t)(atomic_load(&ge__mailbox.word) & ~UINT64_C(3));
}

int
ge_stop_record(struct ge_info *out)
{
    return ge__record_read(&ge__mailbox.stop, out);
}

/* Who saw the stop that is over and sets the flag for it has done so after the
 * wait. Who begins a new one meanwhile is not overruled:
 *   stopper:  word = STOPPING    then  flag = 1
 *   here:     flag = 0           then  reads word */
static void
clear_flag(void)
{
    ge__quiesce();
    atomic_store(&ge__stop_flag.on, 0);
    if (ge_state() != GE_RUNNING) {
        atomic_store(&ge__stop_flag.on, 1);
    }
}

void
ge_reset(void)
{
    /* The record first: cleared after the word, it could be the record of a
     * stop that began in between. */
    ge__record_clear(&ge__mailbox.stop);
    atomic_store(&ge__mailbox.word, 0);
    clear_flag();
    for (int i = 1; i < GE_NSIG; i++) {
        struct ge__signal *s = &ge__mailbox.signals[i];

        /* A section may still hold the others, and deliver them. */
        if (atomic_load(&s->roles) == 0) {
            atomic_store(&s->held, 0);
            atomic_store(&s->trip, GE_TAKEN);
        }
    }
    ge__end_reset();
    ge__report_reset();
    ge__section_reopen();
    ge_gate_lift();
    ge_poke(); /* the watcher may still run for others, and keeps notes */
}

void
ge_main_is(pthread_t main)
{
    atomic_store(&ge__mailbox.have_main, 0);
    ge__quiesce(); /* nobody compares with `main` while it changes */
    ge__mailbox.main = main;
    atomic_store(&ge__mailbox.have_main, 1);
}

bool
ge_holding(void)
{
    return atomic_load(&ge__mailbox.holding);
}

bool
ge_covered(int signum)
{
    return ge__valid(signum) &&
           atomic_load(&ge__mailbox.signals[signum].covered);
}

bool
ge__gate_wanted(void)
{
    if (ge_state() == GE_HURRY) {
        return true;
    }
    for (int i = 1; i < GE_NSIG; i++) {
        struct ge__signal *s = &ge__mailbox.signals[i];

        if (atomic_load(&s->roles) & GE_ROLE_GATE && atomic_load(&s->held)) {
            return true;
        }
    }
    return false;
}

uint64_t
ge_count(int signum)
{
    return ge__valid(signum) ? atomic_load(&ge__mailbox.signals[signum].count)
                             : 0;
}

int
ge_first(int signum, struct ge_info *out)
{
    return ge__valid(signum)
               ? ge__record_read(&ge__mailbox.signals[signum].first, out)
               : 0;
}

int
ge_last(int signum, struct ge_info *out)
{
    return ge__valid(signum)
               ? ge__record_read(&ge__mailbox.signals[signum].last, out)
               : 0;
}

unsigned
ge_held(int signum)
{
    return ge__valid(signum) ? atomic_load(&ge__mailbox.signals[signum].held)
                             : 0;
}

unsigned
ge_held_take(int signum)
{
    return ge__valid(signum)
               ? atomic_exchange(&ge__mailbox.signals[signum].held, 0)
               : 0;
}

bool
ge_took(int signum)
{
    return ge__valid(signum) &&
           atomic_exchange(&ge__mailbox.signals[signum].trip, GE_TAKEN) !=
               GE_TAKEN;
}

int
ge_cell_add(struct ge_cell *cell)
{
    for (int i = 0; i < GE_MAX_CELLS; i++) {
        struct ge_cell *none = NULL;

        if (atomic_compare_exchange_strong(&ge__mailbox.cells[i], &none,
                                           cell)) {
            /* A stop at this moment is not missed:
             *   handler: state = STOPPING, then reads the slots
             *   here:    slot = cell,      then reads the state
             * One of the two sees the other. */
            if (ge_state() != GE_RUNNING) {
                atomic_store(&cell->slot, cell->on);
            }
            return 0;
        }
    }
    return -ENOSPC;
}

void
ge_cell_remove(struct ge_cell *cell)
{
    for (int i = 0; i < GE_MAX_CELLS; i++) {
        struct ge_cell *want = cell;

        if (atomic_compare_exchange_strong(&ge__mailbox.cells[i], &want,
                                           NULL)) {
            /* A handler that read the slot before counted in before that, so
             * the wait below is for it. One that counts in later reads NULL.
             */
            ge__quiesce();
            return;
        }
    }
}

int
ge_ring_add(struct ge_ring *ring)
{
    struct ge__signal *s = &ge__mailbox.signals[ring->signum];

    atomic_fetch_add(&s->ringed, 1);
    for (int i = 0; i < GE_MAX_RINGS; i++) {
        struct ge_ring *none = NULL;

        if (atomic_compare_exchange_strong(&ge__mailbox.rings[i], &none,
                                           ring)) {
            return 0;
        }
    }
    atomic_fetch_sub(&s->ringed, 1);
    return -ENOSPC;
}

void
ge_ring_remove(struct ge_ring *ring)
{
    for (int i = 0; i < GE_MAX_RINGS; i++) {
        struct ge_ring *want = ring;

        if (atomic_compare_exchange_strong(&ge__mailbox.rings[i], &want,
                                           NULL)) {
            atomic_fetch_sub(&ge__mailbox.signals[ring->signum].ringed, 1);
            ge__quiesce(); /* as for a cell */
            return;
        }
    }
}
