/* Flag cells: flipped by whoever stops, never touched once removed. */
#include "core.h"

#include "ge_handler.h"

static int off, on;

static struct ge_cell *
new_cell(void)
{
    struct ge_cell *cell = malloc(sizeof *cell);

    CHECK(cell != NULL);
    atomic_init(&cell->slot, &off);
    cell->on = &on;
    return cell;
}

static bool
is_on(struct ge_cell *cell)
{
    return atomic_load(&cell->slot) == &on;
}

static void
all_are_flipped_by_a_signal(void)
{
    struct ge_cell *cells[GE_MAX_CELLS], *more = new_cell();

    take(SIGTERM, GE_ROLE_STOP);
    for (int i = 0; i < GE_MAX_CELLS; i++) {
        cells[i] = new_cell();
        CHECK_EQ(0, ge_cell_add(cells[i]));
        CHECK(!is_on(cells[i]));
    }
    CHECK_EQ(-ENOSPC, ge_cell_add(more));
    CHECK_EQ(0, raise(SIGTERM));
    CHECK(!is_on(more));
    free(more);
    for (int i = 0; i < GE_MAX_CELLS; i++) {
        CHECK(is_on(cells[i]));
        ge_cell_remove(cells[i]);
        free(cells[i]);
    }
}

static void
a_removed_cell_makes_room_and_stays_as_it_is(void)
{
    struct ge_cell *a = new_cell(), *b = new_cell();

    for (int i = 0; i < 10 * GE_MAX_CELLS; i++) {
        CHECK_EQ(0, ge_cell_add(a));
        ge_cell_remove(a);
    }
    CHECK_EQ(0, ge_cell_add(b));
    ge_cell_remove(a); /* not there: nothing happens */
    CHECK_EQ(1, ge_stop());
    CHECK(!is_on(a));
    CHECK(is_on(b));
    ge_cell_remove(b);
    free(a);
    free(b);
}

static void
added_after_the_stop_it_is_on(void)
{
    struct ge_cell *cell = new_cell();

    CHECK_EQ(1, ge_stop());
    CHECK_EQ(0, ge_cell_add(cell));
    CHECK(is_on(cell));
    ge_cell_remove(cell);
    free(cell);
}

struct race {
    struct meeting meeting;
    unsigned rounds;
    pthread_t resets;
};

static void *
stop_rounds(void *arg)
{
    struct race *r = arg;

    for (unsigned i = 0; i < r->rounds; i++) {
        meet(&r->meeting, 2 * i, 2);
        if (i % 2) {
            (void)ge_stop();
        } else {
            CHECK_EQ(0, raise(SIGTERM));
        }
        meet(&r->meeting, 2 * i + 1, 2);
    }
    return NULL;
}

static void
added_during_the_stop_it_is_never_missed(void)
{
    static struct race r = { .rounds = 50000 / CORE_SLOW };
    pthread_t thread;

    take(SIGTERM, GE_ROLE_STOP);
    thread = spawn(stop_rounds, &r);
    for (unsigned i = 0; i < r.rounds; i++) {
        struct ge_cell *cell = new_cell();

        meet(&r.meeting, 2 * i, 2);
        CHECK_EQ(0, ge_cell_add(cell));
        meet(&r.meeting, 2 * i + 1, 2);
        CHECK(is_on(cell));
        ge_cell_remove(cell);
        free(cell);
        ge_reset();
    }
    join(thread);
}

static void *
raise_until(void *arg)
{
    while (!atomic_load((atomic_bool *)arg)) {
        CHECK_EQ(0, raise(SIGTERM));
    }
    return NULL;
}

/* Freed memory is written over: a handler that still had the cell would put
 * its `on` there, and ASan would see the store. */
static void
removed_while_handlers_run_it_is_never_touched(void)
{
    enum { KEPT = 16 };
    struct ge_cell *kept[KEPT] = { NULL };
    atomic_bool done = false;
    pthread_t threads[3];

    take(SIGTERM, GE_ROLE_STOP);
    for (int i = 0; i < 3; i++) {
        threads[i] = spawn(raise_until, &done);
    }
    for (int i = 0; i < 20000 / CORE_SLOW; i++) {
        struct ge_cell **cell = &kept[i % KEPT];

        if (*cell != NULL) {
            CHECK(atomic_load(&(*cell)->slot) == NULL);
            free(*cell);
        }
        *cell = new_cell();
        CHECK_EQ(0, ge_cell_add(*cell));
        ge_cell_remove(*cell);
        atomic_store(&(*cell)->slot, NULL);
    }
    atomic_store(&done, true);
    for (int i = 0; i < 3; i++) {
        join(threads[i]);
    }
    for (int i = 0; i < KEPT; i++) {
        free(kept[i]);
    }
}

static struct ge_cell *common;

/* Stop, and look at the flag at once: also who came second finds it on. */
static void
stop_and_look(struct race *r)
{
    for (unsigned i = 0; i < r->rounds; i++) {
        meet(&r->meeting, 3 * i, 2);
        CHECK_EQ(1, ge_forward(SIGTERM));
        CHECK(is_on(common));
        meet(&r->meeting, 3 * i + 1, 2);
        if (pthread_equal(pthread_self(), r->resets)) {
            ge_reset();
            atomic_store(&common->slot, &off);
        }
        meet(&r->meeting, 3 * i + 2, 2);
    }
}

static void *
stop_and_look_too(void *arg)
{
    stop_and_look(arg);
    return NULL;
}

static void
whoever_stops_finds_the_flag_on(void)
{
    static struct race r = { .rounds = 100000 / CORE_SLOW };
    pthread_t thread;

    r.resets = pthread_self();
    common = new_cell();
    CHECK_EQ(0, ge_cell_add(common));
    take(SIGTERM, GE_ROLE_STOP);
    thread = spawn(stop_and_look_too, &r);
    stop_and_look(&r);
    join(thread);
    ge_cell_remove(common);
    free(common);
}

static void *
quiesce_once(void *arg)
{
    ge__quiesce();
    atomic_store((atomic_bool *)arg, true);
    return NULL;
}

/* Read the phase, was preempted, counted in late: on either side. */
static void
whoever_counted_in_late_is_waited_for(void)
{
    for (unsigned i = 0; i < 4; i++) { /* 0, 0, 1, 1: in each phase */
        unsigned side = i / 2;
        atomic_bool done = false;
        pthread_t thread;

        atomic_fetch_add(&ge__mailbox.inflight[side], 1);
        thread = spawn(quiesce_once, &done);
        for (int n = 0; n < 20; n++) { /* it would return within these */
            (void)poll(NULL, 0, 1);
            CHECK(!atomic_load(&done));
        }
        ge__leave(side);
        join(thread);
    }
}

static void *
forward_until(void *arg)
{
    while (!atomic_load((atomic_bool *)arg)) {
        CHECK_EQ(1, ge_forward(SIGTERM));
    }
    return NULL;
}

/* At every moment some thread is in the core: waiting for a moment at which
 * none is would be waiting for ever. */
static void
removed_in_a_storm_it_comes_back(void)
{
    struct ge_cell *cell = new_cell();
    atomic_bool done = false;
    pthread_t threads[8];

    take(SIGTERM, GE_ROLE_STOP);
    for (int i = 0; i < 8; i++) {
        threads[i] = spawn(forward_until, &done);
    }
    for (int i = 0; i < 100 / CORE_SLOW; i++) {
        CHECK_EQ(0, ge_cell_add(cell));
        ge_cell_remove(cell);
    }
    atomic_store(&done, true);
    for (int i = 0; i < 8; i++) {
        join(threads[i]);
    }
    free(cell);
}

static const struct check_case cases[] = {
    CASE(all_are_flipped_by_a_signal),
    CASE(a_removed_cell_makes_room_and_stays_as_it_is),
    CASE(added_after_the_stop_it_is_on),
    CASE_WITHIN(added_during_the_stop_it_is_never_missed, 240),
    CASE_WITHIN(removed_while_handlers_run_it_is_never_touched, 240),
    CASE_WITHIN(whoever_stops_finds_the_flag_on, 240),
    CASE(whoever_counted_in_late_is_waited_for),
    CASE_WITHIN(removed_in_a_storm_it_comes_back, 240),
};
CHECK_MAIN(cases)
