/* Records: whole or absent, whoever writes at the same time. */
#include "core.h"

#include "ge_record.h"

static struct ge_record record;
static atomic_bool done;

/* All fields follow from one number, so that a mixture shows. */
static struct ge_info
derived(int n)
{
    struct ge_info info = { .signum = n,
                            .code = n + 1,
                            .pid = n + 2,
                            .uid = n + 3,
                            .value = n + 4,
                            .when = (int64_t)n * 3 };
    return info;
}

static void
check_whole(const struct ge_info *info)
{
    struct ge_info want = derived(info->signum);

    CHECK_EQ(want.code, info->code);
    CHECK_EQ(want.pid, info->pid);
    CHECK_EQ(want.uid, info->uid);
    CHECK_EQ(want.value, info->value);
    CHECK_EQ(want.when, info->when);
}

static atomic_uint got; /* whole records that the reader has seen */

static void *
write_many(void *arg)
{
    int first = *(int *)arg;

    /* And until the reader has had one between two of them. */
    for (int n = first;
         n < first + 300000 / CORE_SLOW || atomic_load(&got) == 0; n++) {
        struct ge_info info = derived(n);

        (void)ge__record_write(&record, &info);
    }
    return NULL;
}

static void *
read_many(void *arg)
{
    (void)arg;
    while (!atomic_load(&done)) {
        struct ge_info info;

        if (ge__record_read(&record, &info)) {
            check_whole(&info);
            (void)atomic_fetch_add(&got, 1);
        }
    }
    return NULL;
}

static void
never_torn_under_concurrent_writers(void)
{
    int firsts[3] = { 1, 1000000, 2000000 };
    struct ge_info info;
    pthread_t writers[3], reader = spawn(read_many, NULL);

    for (int i = 0; i < 3; i++) {
        writers[i] = spawn(write_many, &firsts[i]);
    }
    for (int i = 0; i < 3; i++) {
        join(writers[i]);
    }
    atomic_store(&done, true);
    join(reader);

    CHECK_EQ(1, ge__record_read(&record, &info));
    check_whole(&info);
}

static void
nothing_is_read_before_the_first_write(void)
{
    struct ge_info info = derived(5);

    CHECK_EQ(0, ge__record_read(&record, &info));
    CHECK_EQ(5, info.signum);
}

static void
a_write_halfway_is_nothing(void)
{
    struct ge_info info = derived(5);

    atomic_store(&record.seq, 3u);
    CHECK_EQ(0, ge__record_read(&record, &info));
    CHECK(!ge__record_write(&record, &info));
    CHECK(!ge__record_first(&record, &info));
}

static void
the_count_of_writes_may_wrap(void)
{
    struct ge_info info = derived(9), out;

    atomic_store(&record.seq, ~1u);
    CHECK(ge__record_write(&record, &info));
    CHECK_EQ(1, ge__record_read(&record, &out));
    check_whole(&out);
    CHECK_EQ(2, atomic_load(&record.seq));
}

struct race {
    struct meeting meeting;
    struct ge_record records[1000];
    atomic_uint won[1000];
};

static void *
write_first(void *arg)
{
    static atomic_int next = 1;
    struct race *r = arg;
    struct ge_info info = derived(atomic_fetch_add(&next, 1));

    for (unsigned i = 0; i < 1000; i++) {
        meet(&r->meeting, i, 3);
        if (ge__record_first(&r->records[i], &info)) {
            (void)atomic_fetch_add(&r->won[i],
                                   (unsigned)info.signum * 100 + 1);
        }
    }
    return NULL;
}

static void
exactly_one_is_first(void)
{
    static struct race r;
    pthread_t threads[3];

    for (int i = 0; i < 3; i++) {
        threads[i] = spawn(write_first, &r);
    }
    for (int i = 0; i < 3; i++) {
        join(threads[i]);
    }

    for (int i = 0; i < 1000; i++) {
        struct ge_info info;

        CHECK_EQ(1, ge__record_read(&r.records[i], &info));
        check_whole(&info);
        CHECK_EQ(info.signum * 100 + 1, atomic_load(&r.won[i]));
    }
}

static void
cleared_it_takes_a_first_again(void)
{
    struct ge_info info = derived(1), out;

    CHECK(ge__record_first(&record, &info));
    info = derived(2);
    CHECK(!ge__record_first(&record, &info));
    ge__record_clear(&record);
    CHECK_EQ(0, ge__record_read(&record, &out));
    CHECK(ge__record_first(&record, &info));
    CHECK_EQ(1, ge__record_read(&record, &out));
    CHECK_EQ(2, out.signum);
}

/* ---- what a handler writes ---------------------------------------------- */

static void *
kill_main(void *arg)
{
    CHECK_EQ(0, pthread_kill(*(pthread_t *)arg, SIGUSR1));
    return NULL;
}

static void
every_kind_of_sender_is_named(void)
{
    struct ge_info info;
    union sigval value = { .sival_int = -12 };
    pthread_t me = pthread_self();

    take(SIGUSR1, 0);
    CHECK_EQ(0, ge_last(SIGUSR1, &info));

    CHECK_EQ(0, kill(getpid(), SIGUSR1));
    WAIT_FOR(ge_count(SIGUSR1) == 1);
    CHECK_EQ(1, ge_last(SIGUSR1, &info));
    CHECK_EQ(SIGUSR1, info.signum);
    CHECK_EQ(SI_USER, info.code);
    CHECK_EQ(getpid(), info.pid);
    CHECK_EQ((int)getuid(), info.uid);
    CHECK(info.when > 0 && info.when <= ge_now());

    CHECK_EQ(0, sigqueue(getpid(), SIGUSR1, value));
    WAIT_FOR(ge_count(SIGUSR1) == 2);
    CHECK_EQ(1, ge_last(SIGUSR1, &info));
    CHECK_EQ(SI_QUEUE, info.code);
    CHECK_EQ(-12, info.value);
    CHECK_EQ(getpid(), info.pid);

    join(spawn(kill_main, &me));
    WAIT_FOR(ge_count(SIGUSR1) == 3);
    CHECK_EQ(1, ge_last(SIGUSR1, &info));
    CHECK_EQ(GE_SI_THREAD, info.code);
    CHECK_EQ(getpid(), info.pid);
    CHECK_EQ((int)getuid(), info.uid);

    CHECK_EQ(1, ge_forward(SIGUSR1));
    CHECK_EQ(1, ge_last(SIGUSR1, &info));
    CHECK_EQ(-1, info.pid);

    CHECK_EQ(1, ge_first(SIGUSR1, &info));
    CHECK_EQ(SI_USER, info.code);
}

static void
a_timers_signal_has_no_sender(void)
{
    struct ge_info info;
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL,
                              .sigev_signo = SIGUSR1 };
    struct itimerspec soon = { .it_value = { .tv_nsec = 1 } };
    timer_t timer;

    event.sigev_value.sival_int = 3;
    take(SIGUSR1, 0);
    CHECK_EQ(0, timer_create(CLOCK_MONOTONIC, &event, &timer));
    CHECK_EQ(0, timer_settime(timer, 0, &soon, NULL));
    WAIT_FOR(ge_count(SIGUSR1) == 1);
    CHECK_EQ(1, ge_last(SIGUSR1, &info));
    CHECK_EQ(SI_TIMER, info.code);
    CHECK_EQ(3, info.value);
    CHECK_EQ(-1, info.pid);
    CHECK_EQ(0, timer_delete(timer));
}

static const struct check_case cases[] = {
    CASE_WITHIN(never_torn_under_concurrent_writers, 240),
    CASE(nothing_is_read_before_the_first_write),
    CASE(a_write_halfway_is_nothing),
    CASE(the_count_of_writes_may_wrap),
    CASE_WITHIN(exactly_one_is_first, 240),
    CASE(cleared_it_takes_a_first_again),
    CASE(every_kind_of_sender_is_named),
    CASE(a_timers_signal_has_no_sender),
};
CHECK_MAIN(cases)
