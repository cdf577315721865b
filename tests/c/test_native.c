/* What native code of others sees of the stop: the flag, and the sleep. */
#include "core.h"

#include "ge_handler.h"
#include "ge_native.h"

static bool
flag(void)
{
    return __atomic_load_n(ge_stop_flag(), __ATOMIC_RELAXED) != 0;
}

static void
the_handler_itself_flips_the_flag(void)
{
    take(SIGTERM, GE_ROLE_STOP);
    take(SIGUSR1, 0);
    CHECK(!flag());
    CHECK_EQ(0, raise(SIGUSR1));
    CHECK(!flag());
    CHECK_EQ(0, raise(SIGTERM)); /* no watcher: nobody else could */
    CHECK(flag());
    CHECK_EQ(1, *ge_stop_flag());
}

static void
it_is_down_again_for_the_next_killer(void)
{
    const int *before = ge_stop_flag();

    for (int i = 0; i < 3; i++) {
        CHECK(!flag());
        CHECK_EQ(1, ge_stop());
        CHECK(flag());
        ge_reset();
    }
    CHECK(!flag());
    CHECK(before == ge_stop_flag());
}

struct race {
    struct meeting meeting;
    unsigned rounds;
};

static void *
stop_each_round(void *arg)
{
    struct race *r = arg;

    for (unsigned i = 0; i < r->rounds; i++) {
        meet(&r->meeting, 2 * i, 3);
        (void)ge_stop();
        meet(&r->meeting, 2 * i + 1, 3);
    }
    return NULL;
}

/* Two that stop, as the second of them sets a flag that it did not earn. */
static void
flag_and_state_agree_after_every_race(void)
{
    static struct race r = { .rounds = 30000 / CORE_SLOW };
    pthread_t threads[2];
    unsigned stopped = 0;

    for (int i = 0; i < 2; i++) {
        threads[i] = spawn(stop_each_round, &r);
    }
    for (unsigned i = 0; i < r.rounds; i++) {
        (void)ge_stop();
        meet(&r.meeting, 2 * i, 3);
        for (unsigned n = 0; n < i % 64; n++) {
            (void)ge_state();
        }
        ge_reset();
        meet(&r.meeting, 2 * i + 1, 3);
        CHECK_EQ(ge_state() != GE_RUNNING, flag());
        stopped += flag();
    }
    for (int i = 0; i < 2; i++) {
        join(threads[i]);
    }
    CHECK(stopped > 0);
}

static void
the_sleep_is_never_short(void)
{
    for (int i = 0; i < 50; i++) {
        int64_t ns = (i % 5) * MS / 2, before = ge_now();

        CHECK_EQ(0, ge_stop_sleep(ns));
        CHECK(ge_now() - before >= ns);
    }
}

static void
once_stopping_nobody_sleeps(void)
{
    const int64_t times[] = { 0, 1, -1, INT64_MIN, INT64_MAX };

    CHECK_EQ(1, ge_stop());
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        CHECK_EQ(1, ge_stop_sleep(times[i]));
    }
}

static atomic_uint awake;

static void *
sleep_long(void *ns)
{
    CHECK_EQ(1, ge_stop_sleep(*(const int64_t *)ns));
    (void)atomic_fetch_add(&awake, 1);
    return NULL;
}

static void
the_stop_wakes_all_who_sleep(enum ge_backend backend)
{
    static const int64_t times[] = { -1, INT64_MIN, INT64_MAX, INT64_MAX - 1,
                                     1000 * GE_NS_PER_S };
    enum { N = sizeof times / sizeof times[0] };
    pthread_t threads[N];

    start(backend);
    take(SIGTERM, GE_ROLE_STOP);
    for (unsigned round = 0; round < 100; round++) {
        for (int i = 0; i < N; i++) {
            threads[i] = spawn(sleep_long, (void *)(intptr_t)&times[i]);
        }
        for (unsigned n = 0; n < round % 8; n++) {
            (void)sched_yield();
        }
        CHECK_EQ(0, kill(getpid(), SIGTERM));
        for (int i = 0; i < N; i++) {
            join(threads[i]);
        }
        CHECK_EQ(N * (round + 1), atomic_load(&awake));
        ge_reset();
    }
    ge_watcher_stop();
}
IN_BOTH(the_stop_wakes_all_who_sleep)

static atomic_uint tries;

static void *
sleep_again_and_again(void *unused)
{
    (void)unused;
    do {
        (void)atomic_fetch_add(&tries, 1);
    } while (ge_stop_sleep(10 * MS) == 0);
    (void)atomic_fetch_add(&awake, 1);
    return NULL;
}

/* The killer was closed before the sleeper had the processor. Each stop is
 * over at once; one that falls between two sleeps may be missed. */
static void
a_stop_that_is_over_is_not_slept_through(void)
{
    unsigned stops = 0;

    for (unsigned n = 1; n <= 50; n++) {
        unsigned last = atomic_load(&tries);
        pthread_t thread = spawn(sleep_again_and_again, NULL);

        while (atomic_load(&awake) < n) {
            WAIT_FOR(atomic_load(&tries) != last || atomic_load(&awake) == n);
            last = atomic_load(&tries);
            (void)poll(NULL, 0, 1); /* mostly it is asleep then */
            (void)ge_stop();
            ge_reset();
            ge_wake_all(GE_AT_STOP);
            CHECK(stops++ < 500);
        }
        join(thread);
    }
}

static void
a_wake_for_another_reason_does_not_end_the_sleep(void)
{
    static const int64_t for_ever = -1;
    pthread_t thread = spawn(sleep_long, (void *)(intptr_t)&for_ever);

    for (int i = 0; i < 100; i++) {
        ge_wake_all(GE_AT_STOP);
        (void)pthread_kill(thread, SIGCONT);
        (void)sched_yield();
    }
    CHECK_EQ(0, atomic_load(&awake));
    CHECK_EQ(1, ge_stop());
    ge_wake_all(GE_AT_STOP);
    join(thread);
}

static void
be_a_child(void *unused)
{
    (void)unused;
    CHECK(flag()); /* nobody has repaired it yet */
    ge_fork_child(0);
    CHECK(!flag());
    CHECK_EQ(0, ge_stop_sleep(1));
    take(SIGTERM, GE_ROLE_STOP);
    CHECK_EQ(0, raise(SIGTERM));
    CHECK(flag());
}

static void
a_forked_child_begins_afresh(void)
{
    CHECK_EQ(1, ge_stop());
    CHECK_EXITED(0, status_of(be_a_child, NULL));
    CHECK(flag());
}

static const struct check_case cases[] = {
    CASE(the_handler_itself_flips_the_flag),
    CASE(it_is_down_again_for_the_next_killer),
    CASE_WITHIN(flag_and_state_agree_after_every_race, 240),
    CASE(the_sleep_is_never_short),
    CASE(once_stopping_nobody_sleeps),
    CASE_WITHIN(the_stop_wakes_all_who_sleep_futex, 240),
    CASE_WITHIN(the_stop_wakes_all_who_sleep_pipe, 240),
    CASE_WITHIN(a_stop_that_is_over_is_not_slept_through, 240),
    CASE(a_wake_for_another_reason_does_not_end_the_sleep),
    CASE(a_forked_child_begins_afresh),
};
CHECK_MAIN(cases)
