/* The queue of signals: each once, with its payload, and what does not fit is
 * counted. */
#include "core.h"

#include "ge_handler.h"
#include "ge_ring.h"
#include "ge_sigwait.h"

#define RT (SIGRTMIN + 3)

static struct ge_ring *
new_ring(int signum)
{
    struct ge_ring *ring = calloc(1, sizeof *ring);

    CHECK(ring != NULL);
    ring->signum = signum;
    return ring;
}

/* All fields follow from one number, so that a mixture shows. */
static struct ge_info
derived(int n)
{
    struct ge_info info = { .signum = RT,
                            .code = n + 1,
                            .pid = n + 2,
                            .uid = n + 3,
                            .value = n,
                            .when = (int64_t)n * 3 };
    return info;
}

static void
put(struct ge_ring *ring, int n)
{
    struct ge_info info = derived(n);

    CHECK(ge__ring_put(ring, &info));
}

static int
take_whole(struct ge_ring *ring)
{
    struct ge_info info, want;

    if (!ge_ring_take(ring, &info)) {
        return -1;
    }
    want = derived(info.value);
    CHECK_EQ(want.code, info.code);
    CHECK_EQ(want.pid, info.pid);
    CHECK_EQ(want.uid, info.uid);
    CHECK_EQ(want.when, info.when);
    return info.value;
}

static void
first_in_first_out_over_many_laps(void)
{
    struct ge_ring *ring = new_ring(RT);
    int in = 0, out = 0;

    CHECK_EQ(-1, take_whole(ring));
    while (in < 5 * GE_RING_SIZE) {
        for (int i = 0; i < 1000; i++) {
            put(ring, in++);
        }
        for (int i = 0; i < 990 && out < in; i++) {
            CHECK_EQ(out++, take_whole(ring));
        }
    }
    while (out < in) {
        CHECK_EQ(out++, take_whole(ring));
    }
    CHECK_EQ(-1, take_whole(ring));
    CHECK_EQ(0, atomic_load(&ring->lost));
    free(ring);
}

static void
what_does_not_fit_is_counted(void)
{
    struct ge_ring *ring = new_ring(RT);
    struct ge_info more = derived(-5);

    for (int lap = 0; lap < 3; lap++) {
        for (int n = 0; n < GE_RING_SIZE; n++) {
            put(ring, n);
        }
        for (int n = 0; n < 7; n++) {
            CHECK(!ge__ring_put(ring, &more));
        }
        CHECK_EQ(7 * (lap + 1), atomic_load(&ring->lost));
        CHECK_EQ(0, take_whole(ring));
        put(ring, GE_RING_SIZE); /* there is room for one again */
        CHECK(!ge__ring_put(ring, &more));
        CHECK_EQ(7 * (lap + 1) + 1, atomic_fetch_sub(&ring->lost, 1));
        for (int n = 1; n <= GE_RING_SIZE; n++) {
            CHECK_EQ(n, take_whole(ring));
        }
        CHECK_EQ(-1, take_whole(ring));
    }
    free(ring);
}

/* ---- threads -------------------------------------------------------------
 */

enum { WRITERS = 4, READERS = 2, EACH = 100000 / CORE_SLOW };

static struct ge_ring *common;
static atomic_uint seen[WRITERS * EACH];
static atomic_int in_all;

static void *
put_many(void *arg)
{
    int first = *(int *)arg;

    for (int n = first; n < first + EACH; n++) {
        struct ge_info info = derived(n);

        while (!ge__ring_put(common, &info)) {
            (void)sched_yield();
        }
    }
    return NULL;
}

static void *
take_many(void *ordered)
{
    int last[WRITERS];

    for (int i = 0; i < WRITERS; i++) {
        last[i] = -1;
    }
    while (atomic_load(&in_all) < WRITERS * EACH) {
        int n = take_whole(common);

        if (n < 0) {
            (void)sched_yield();
            continue;
        }
        (void)atomic_fetch_add(&in_all, 1);
        CHECK_EQ(0, atomic_fetch_add(&seen[n], 1));
        CHECK(!ordered || last[n / EACH] < n);
        last[n / EACH] = n;
    }
    return NULL;
}

static void
each_is_taken_once_whoever_puts_and_takes(void)
{
    pthread_t writers[WRITERS], readers[READERS];
    int firsts[WRITERS];

    common = new_ring(RT);
    for (int i = 0; i < READERS; i++) {
        /* What one takes is in the order of each who puts. */
        readers[i] = spawn(take_many, &common);
    }
    for (int i = 0; i < WRITERS; i++) {
        firsts[i] = i * EACH;
        writers[i] = spawn(put_many, &firsts[i]);
    }
    for (int i = 0; i < WRITERS; i++) {
        join(writers[i]);
    }
    for (int i = 0; i < READERS; i++) {
        join(readers[i]);
    }
    for (int n = 0; n < WRITERS * EACH; n++) {
        CHECK_EQ(1, atomic_load(&seen[n]));
    }
    CHECK_EQ(-1, take_whole(common));
    free(common);
}

/* ---- signals -------------------------------------------------------------
 */

static void
queue(int signum, int value)
{
    union sigval payload = { .sival_int = value };

    CHECK_EQ(0, sigqueue(getpid(), signum, payload));
}

static void
every_ring_of_the_number_gets_it(void)
{
    struct ge_ring *a = new_ring(RT), *b = new_ring(RT),
                   *other = new_ring(RT + 1);
    struct ge_info info;

    CHECK_EQ(0, ge_ring_add(a));
    CHECK_EQ(0, ge_ring_add(b));
    CHECK_EQ(0, ge_ring_add(other));
    take(RT, 0);
    queue(RT, 42);
    WAIT_FOR(ge_count(RT) == 1);
    CHECK_EQ(1, ge_ring_take(a, &info));
    CHECK_EQ(RT, info.signum);
    CHECK_EQ(SI_QUEUE, info.code);
    CHECK_EQ(42, info.value);
    CHECK_EQ(getpid(), info.pid);
    CHECK_EQ(0, ge_ring_take(a, &info));
    CHECK_EQ(0, ge_ring_take(other, &info));
    ge_ring_remove(a);
    ge_ring_remove(a); /* not there: nothing happens */
    queue(RT, 43);
    WAIT_FOR(ge_count(RT) == 2);
    CHECK_EQ(0, ge_ring_take(a, &info));
    CHECK_EQ(1, ge_ring_take(b, &info));
    CHECK_EQ(1, ge_ring_take(b, &info));
    CHECK_EQ(43, info.value);
    ge_ring_remove(b);
    ge_ring_remove(other);
    CHECK_EQ(0, atomic_load(&ge__mailbox.signals[RT].ringed));
    CHECK_EQ(0, atomic_load(&ge__mailbox.signals[RT + 1].ringed));
    free(a);
    free(b);
    free(other);
}

static void
there_is_room_for_so_many(void)
{
    static struct ge_ring rings[GE_MAX_RINGS + 1];

    for (int i = 0; i <= GE_MAX_RINGS; i++) {
        rings[i].signum = RT;
        CHECK_EQ(i < GE_MAX_RINGS ? 0 : -ENOSPC, ge_ring_add(&rings[i]));
    }
    CHECK_EQ(GE_MAX_RINGS, atomic_load(&ge__mailbox.signals[RT].ringed));
    ge_ring_remove(&rings[5]);
    CHECK_EQ(0, ge_ring_add(&rings[GE_MAX_RINGS]));
}

/* Another process that queues 0, 1, 2, ... to this one. */
static pid_t
queue_from_outside(int signum, int number)
{
    pid_t to = getpid(), pid = fork();

    CHECK(pid >= 0);
    for (int n = 0; pid == 0 && n < number;) {
        union sigval value = { .sival_int = n };

        if (sigqueue(to, signum, value) == 0) {
            n++;
        } else {
            CHECK_EQ(EAGAIN, errno); /* the kernel's own queue is full */
            (void)sched_yield();
        }
    }
    if (pid == 0) {
        _exit(0);
    }
    return pid;
}

static void
reap(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) < 0) {
        CHECK_EQ(EINTR, errno);
    }
    CHECK_EXITED(0, status);
}

static atomic_bool quit;

static void *
be_there(void *unused)
{
    (void)unused;
    while (!atomic_load(&quit)) {
        (void)poll(NULL, 0, 1);
    }
    return NULL;
}

static void
check_values(struct ge_ring *ring, int number, bool in_order)
{
    static bool got[GE_RING_SIZE];
    struct ge_info info;

    for (int n = 0; n < number; n++) {
        CHECK_EQ(1, ge_ring_take(ring, &info));
        CHECK(info.value >= 0 && info.value < number);
        CHECK(!got[info.value]);
        got[info.value] = true;
        CHECK(!in_order || info.value == n);
    }
    CHECK_EQ(0, ge_ring_take(ring, &info));
}

static void
all_that_were_queued_are_there(void)
{
    struct ge_ring *ring = new_ring(RT);
    pthread_t threads[4];
    pid_t sender;

    if (!CORE_QUEUES) {
        CHECK_SKIP("TSan merges queued signals");
    }
    CHECK_EQ(0, ge_ring_add(ring));
    take(RT, 0);
    for (int i = 0; i < 4; i++) {
        threads[i] = spawn(be_there, NULL);
    }
    sender = queue_from_outside(RT, 10000);
    WAIT_FOR(ge_count(RT) == 10000);
    reap(sender);
    check_values(ring, 10000, false);
    atomic_store(&quit, true);
    for (int i = 0; i < 4; i++) {
        join(threads[i]);
    }
    CHECK_EQ(0, atomic_load(&ring->lost));
    drop(RT);
    ge_ring_remove(ring);
    free(ring);
}

static void
one_thread_that_takes_them_keeps_the_order(void)
{
    struct ge_ring *ring = new_ring(RT);
    sigset_t set, fresh;
    pid_t sender;

    need(GE_SIGWAIT);
    if (!CORE_QUEUES) {
        CHECK_SKIP("TSan merges queued signals");
    }
    CHECK_EQ(0, ge_ring_add(ring));
    take(RT, 0);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, RT);
    CHECK_EQ(0, ge_sigwait_set(&set));
    ge_sigwait_block(&set, &fresh);
    sender = queue_from_outside(RT, 10000);
    WAIT_FOR(ge_count(RT) == 10000);
    reap(sender);
    check_values(ring, 10000, true);
    (void)sigemptyset(&set);
    CHECK_EQ(0, ge_sigwait_set(&set));
    drop(RT);
    ge_ring_remove(ring);
    free(ring);
}

static void *
raise_until(void *unused)
{
    (void)unused;
    while (!atomic_load(&quit)) {
        CHECK_EQ(0, raise(RT));
    }
    return NULL;
}

/* A handler that still had the ring would write into freed memory, and ASan
 * would see it. */
static void
removed_while_handlers_run_it_is_never_touched(void)
{
    pthread_t threads[3];

    take(RT, 0);
    for (int i = 0; i < 3; i++) {
        threads[i] = spawn(raise_until, NULL);
    }
    for (int i = 0; i < 2000 / CORE_SLOW; i++) {
        struct ge_ring *ring = new_ring(RT);
        struct ge_info info;

        CHECK_EQ(0, ge_ring_add(ring));
        WAIT_FOR(ge_ring_take(ring, &info));
        ge_ring_remove(ring);
        memset(ring, 0xff, sizeof *ring);
        free(ring);
    }
    atomic_store(&quit, true);
    for (int i = 0; i < 3; i++) {
        join(threads[i]);
    }
}

static void
be_a_child(void *ring)
{
    struct ge_info info;

    ge_fork_child(0);
    take(RT, 0);
    CHECK_EQ(0, raise(RT));
    CHECK_EQ(0, ge_ring_take(ring, &info));
    CHECK_EQ(0, ge_ring_add(ring));
    CHECK_EQ(0, raise(RT));
    CHECK_EQ(1, ge_ring_take(ring, &info));
    CHECK_EQ(getpid(), info.pid);
}

static void
a_forked_child_puts_nothing_into_it(void)
{
    struct ge_ring *ring = new_ring(RT);

    CHECK_EQ(0, ge_ring_add(ring));
    take(RT, 0);
    CHECK_EXITED(0, status_of(be_a_child, ring));
    drop(RT);
    ge_ring_remove(ring);
    free(ring);
}

static const struct check_case cases[] = {
    CASE(first_in_first_out_over_many_laps),
    CASE(what_does_not_fit_is_counted),
    CASE_WITHIN(each_is_taken_once_whoever_puts_and_takes, 240),
    CASE(every_ring_of_the_number_gets_it),
    CASE(there_is_room_for_so_many),
    CASE_WITHIN(all_that_were_queued_are_there, 240),
    CASE_WITHIN(one_thread_that_takes_them_keeps_the_order, 240),
    CASE_WITHIN(removed_while_handlers_run_it_is_never_touched, 240),
    CASE(a_forked_child_puts_nothing_into_it),
};
CHECK_MAIN(cases)
