/* sigwait mode: the thread takes what is blocked, and nothing is lost while
 * that changes. */
#include "core.h"

#include "ge_sigwait.h"
#include "ge_table.h"

#define RT (SIGRTMIN + 3)

static sigset_t
set_of(int first, int second)
{
    sigset_t set;

    (void)sigemptyset(&set);
    if (first != 0) {
        (void)sigaddset(&set, first);
    }
    if (second != 0) {
        (void)sigaddset(&set, second);
    }
    return set;
}

static int
thread_takes(int first, int second)
{
    sigset_t set = set_of(first, second);

    return ge_sigwait_set(&set);
}

static sigset_t
block(int first, int second)
{
    sigset_t set = set_of(first, second), fresh;

    ge_sigwait_block(&set, &fresh);
    return fresh;
}

static bool
blocked(int signum)
{
    sigset_t now;

    CHECK_EQ(0, pthread_sigmask(SIG_BLOCK, NULL, &now));
    return sigismember(&now, signum) == 1;
}

static void
begin(int first, int second)
{
    need(GE_SIGWAIT);
    start(GE_SIGWAIT);
    take(first, GE_ROLE_COUNT);
    if (second != 0) {
        take(second, GE_ROLE_COUNT);
    }
    CHECK_EQ(0, thread_takes(first, second));
    (void)block(first, second);
}

static void
each_is_taken_and_interrupts_nothing(void)
{
    struct sending *s = shared(sizeof *s);
    pid_t sender;

    begin(SIGUSR1, 0);
    sender = send_from_outside(s, SIGUSR1, 1);
    for (unsigned n = 1; n <= 1000; n++) {
        WAIT_FOR(ge_count(SIGUSR1) >= n);
        CHECK_EQ(n, ge_count(SIGUSR1));
        CHECK_EQ(0, poll(NULL, 0, n % 50 == 0));
        (void)atomic_fetch_add(&s->seen, 1);
    }
    end_sending(s, sender);
    WAIT_FOR(ge_count(SIGUSR1) == atomic_load(&s->sent));
}

static void
a_thread_that_does_not_block_takes_them_too(void)
{
    begin(SIGUSR1, 0);
    mask(SIG_UNBLOCK, SIGUSR1);
    for (unsigned n = 1; n <= 1000; n++) {
        CHECK_EQ(0, kill(getpid(), SIGUSR1));
        WAIT_FOR(ge_count(SIGUSR1) == n);
    }
}

static void
changing_what_is_taken_loses_nothing(void)
{
    struct sending *s = shared(sizeof *s);
    pid_t sender;

    begin(RT, 0);
    sender = send_from_outside(s, RT, 100);
    for (int n = 0; n < 1000; n++) {
        CHECK_EQ(0, thread_takes(RT, n % 2 == 0 ? SIGUSR2 : 0));
        atomic_store(&s->seen, (unsigned)ge_count(RT));
    }
    atomic_store(&s->stop, 1);
    end_sending(s, sender);
    WAIT_FOR(ge_count(RT) == atomic_load(&s->sent));
}

static void
what_is_pending_at_the_end_goes_to_the_handler(void)
{
    begin(RT, 0);
    for (unsigned n = 1; n <= 300; n++) {
        sigset_t set = set_of(RT, 0);

        CHECK_EQ(0, kill(getpid(), RT));
        ge_sigwait_unblock(&set);
        CHECK_EQ(0, thread_takes(0, 0));
        WAIT_FOR(ge_count(RT) == n);
        CHECK(!ge_sigwait_takes(RT));
        CHECK_EQ(0, thread_takes(RT, 0));
        (void)block(RT, 0);
    }
}

static atomic_uint owner_runs;

static void
owner(int signum)
{
    (void)signum;
    (void)atomic_fetch_add(&owner_runs, 1);
}

static void
a_stranger_gets_what_is_his(void)
{
    begin(SIGUSR1, 0);
    handle(SIGUSR1, owner);
    for (unsigned n = 1; n <= 300; n++) {
        CHECK_EQ(0, kill(getpid(), SIGUSR1));
        WAIT_FOR(atomic_load(&owner_runs) == n);
    }
    CHECK_EQ(0, ge_count(SIGUSR1));
}

static atomic_uint inside;

static void
tardy_owner(int signum)
{
    struct timespec pause = { .tv_nsec = 20000000 };

    (void)atomic_fetch_add(&inside, 1);
    (void)nanosleep(&pause, NULL);
    owner(signum);
}

/* Who lays our handler again waits for what has not seen it. */
static void
what_a_stranger_gets_has_reached_him(void)
{
    begin(SIGUSR1, 0);
    for (unsigned n = 1; n <= 20; n++) {
        handle(SIGUSR1, tardy_owner);
        CHECK_EQ(0, kill(getpid(), SIGUSR1));
        WAIT_FOR(atomic_load(&inside) == n);
        CHECK(ge_sigwait_put_back(SIGUSR1));
        CHECK_EQ(n, atomic_load(&owner_runs));
        CHECK_EQ(0, kill(getpid(), SIGUSR1));
        WAIT_FOR(ge_count(SIGUSR1) == n);
    }
    CHECK(!ge_sigwait_put_back(SIGUSR2));
}

/* His handler may only note it, for code that runs where we sleep. */
static void
what_a_stranger_gets_ends_our_sleep(void)
{
    begin(SIGUSR1, 0);
    handle(SIGUSR1, owner);
    for (unsigned n = 1; n <= 300; n++) {
        enum ge_where where = n % 2 == 0 ? GE_IN_TURN : GE_AT_GATE;

        CHECK_EQ(0, kill(getpid(), SIGUSR1));
        for (;;) {
            unsigned seen = ge_seen(where);

            if (atomic_load(&owner_runs) == n) {
                break;
            }
            CHECK_EQ(0, ge_wait(where, seen, ge_now() + 100 * GE_NS_PER_S));
        }
    }
}

static atomic_uint ending;

/* In the thread, until what ends it is on its way, or was long enough not. */
static void
slow_owner(int signum)
{
    struct timespec pause = { .tv_nsec = 1000000 };
    sigset_t pending;

    owner(signum);
    atomic_store(&ending, 1);
    for (int i = 0; i < 200; i++) {
        (void)sigpending(&pending);
        if (sigismember(&pending, signum) == 1) {
            break;
        }
        (void)nanosleep(&pause, NULL);
    }
}

/* Two real-time signals would not merge. */
static void
what_ends_the_thread_is_no_signal_of(int signum)
{
    handle(signum, slow_owner);
    begin(signum, 0);
    drop(signum);
    for (unsigned n = 1; n <= 5; n++) {
        atomic_store(&ending, 0);
        CHECK_EQ(0, kill(getpid(), signum));
        WAIT_FOR(atomic_load(&ending) == 1);
        CHECK_EQ(0, thread_takes(0, 0));
        CHECK_EQ(n, atomic_load(&owner_runs));
        CHECK_EQ(0, thread_takes(signum, 0));
    }
}

static void
what_ends_the_thread_reaches_no_stranger(void)
{
    what_ends_the_thread_is_no_signal_of(SIGUSR1);
}

static void
what_ends_the_thread_is_not_queued_for_one(void)
{
    what_ends_the_thread_is_no_signal_of(RT);
}

/* Neither what ends the thread nor what is to be heard has a sender then. */
static void
nor_where_no_signal_can_be_queued(void)
{
    const union sigval none = { 0 };

    begin(SIGUSR1, 0);
    queue_no_signals();
    for (unsigned n = 1; n <= 3000 / CORE_SLOW; n++) {
        if (n % 3 != 0) {
            CHECK_EQ(0, sigqueue(getpid(), SIGUSR1, none));
        }
        CHECK_EQ(0, thread_takes(SIGUSR1, n % 2 == 1 ? SIGUSR2 : 0));
        WAIT_FOR(ge_count(SIGUSR1) >= n - n / 3);
        CHECK_EQ(n - n / 3, ge_count(SIGUSR1));
    }
    CHECK_EQ(0, thread_takes(0, 0));
    CHECK_EQ(2000 / CORE_SLOW, ge_count(SIGUSR1));
}

/* As when another thread closes a killer while main is in a system call. */
static void
the_previous_owner_gets_what_main_still_blocks(void)
{
    handle(SIGUSR1, owner);
    begin(SIGUSR1, 0);
    drop(SIGUSR1);
    for (unsigned n = 1; n <= 300; n++) {
        CHECK_EQ(0, kill(getpid(), SIGUSR1));
        WAIT_FOR(atomic_load(&owner_runs) == n);
    }
    CHECK(blocked(SIGUSR1));
}

static void
default_over_ours(void *unused)
{
    (void)unused;
    begin(SIGUSR1, 0);
    handle(SIGUSR1, SIG_DFL);
    CHECK_EQ(0, kill(getpid(), SIGUSR1));
    for (;;) {
        (void)poll(NULL, 0, 1000);
    }
}

static void
the_default_action_ends_the_process(void)
{
    need(GE_SIGWAIT); /* a child could not tell */
    CHECK_DIED_OF(SIGUSR1, status_of(default_over_ours, NULL));
}

static void
be_a_clean_child(void *unused)
{
    (void)unused;
    CHECK(!blocked(SIGUSR1));
    CHECK(blocked(SIGUSR2)); /* that was not our doing */
    ge_fork_child(0);
    CHECK(!ge_sigwait_takes(SIGUSR1));
    CHECK_EQ(0, thread_takes(0, 0));
}

static void
children_of_fork_are_clean(void)
{
    mask(SIG_BLOCK, SIGUSR2);
    begin(SIGUSR1, 0);
    CHECK_EQ(0,
             poll(NULL, 0, 10 * CORE_SLOW)); /* see start_and_let_it_turn() */
    CHECK_EXITED(0, status_of(be_a_clean_child, NULL));
    CHECK(blocked(SIGUSR1));
}

static void
put_back_in_a_child(void *unused)
{
    (void)unused;
    (void)alarm(60);
    CHECK(!ge_sigwait_put_back(SIGUSR1));
    ge__table_unlock(); /* of this copy; helgrind wants none held at the end */
}

/* Of a thread that has the lock of the table: its owner is not there. */
static void
a_child_waits_for_nobody(void)
{
    begin(SIGUSR1, 0);
    handle(SIGUSR1, owner);
    CHECK_EQ(0,
             poll(NULL, 0, 10 * CORE_SLOW)); /* see start_and_let_it_turn() */
    ge__table_lock();
    CHECK_EXITED(0, status_of(put_back_in_a_child, NULL));
    ge__table_unlock();
}

static void
paused_and_resumed(void)
{
    struct ge_unblocked was;

    begin(SIGUSR1, SIGUSR2);
    for (unsigned n = 1; n <= 300; n++) {
        ge_sigwait_pause(&was);
        CHECK(!blocked(SIGUSR1));
        CHECK_EQ(0, raise(SIGUSR1));
        WAIT_FOR(ge_count(SIGUSR1) == n);
        ge_sigwait_resume(&was);
        CHECK(blocked(SIGUSR1));
        CHECK(blocked(SIGUSR2));
    }
    ge_sigwait_pause(&was);
    CHECK_EQ(0, thread_takes(SIGUSR2, 0));
    ge_sigwait_resume(&was);
    CHECK(!blocked(SIGUSR1)); /* let go of meanwhile */
    CHECK(blocked(SIGUSR2));
}

static void
what_was_blocked_before_is_not_ours(void)
{
    sigset_t fresh;

    mask(SIG_BLOCK, SIGUSR2);
    begin(SIGUSR1, 0);
    fresh = block(SIGHUP, SIGUSR2);
    CHECK_EQ(1, sigismember(&fresh, SIGHUP));
    CHECK_EQ(0, sigismember(&fresh, SIGUSR2));
}

static void
started_and_ended_often(void)
{
    int before;

    begin(SIGUSR1, 0);
    before = entries_in("/proc/self/task");
    for (int n = 0; n < 500; n++) {
        CHECK_EQ(0, thread_takes(0, 0));
        CHECK_EQ(0, thread_takes(SIGUSR1, 0));
        CHECK_EQ(0, thread_takes(SIGUSR1, 0)); /* nothing to do */
    }
    WAIT_FOR(entries_in("/proc/self/task") == before);
}

static void
without_a_thread_nothing_changes(void)
{
    struct rlimit none = { 0, 0 };

    if (CORE_SLOW > 1) {
        CHECK_SKIP("sanitizers need address space themselves");
    }
    begin(SIGUSR1, SIGUSR2);
    none.rlim_max = RLIM_INFINITY;
    CHECK_EQ(0, setrlimit(RLIMIT_AS, &none));
    CHECK_EQ(-EAGAIN, thread_takes(SIGUSR1, SIGHUP));
    CHECK(ge_sigwait_takes(SIGUSR2));
    CHECK(!ge_sigwait_takes(SIGHUP));
    CHECK_EQ(0, thread_takes(SIGUSR1, 0)); /* fewer needs none */
    CHECK(!ge_sigwait_takes(SIGUSR2));
    CHECK_EQ(0, kill(getpid(), SIGUSR1));
    WAIT_FOR(ge_count(SIGUSR1) == 1);
    CHECK_EQ(0, thread_takes(0, 0));
}

static const struct check_case cases[] = {
    CASE_WITHIN(each_is_taken_and_interrupts_nothing, 240),
    CASE_WITHIN(a_thread_that_does_not_block_takes_them_too, 240),
    CASE_WITHIN(changing_what_is_taken_loses_nothing, 240),
    CASE_WITHIN(what_is_pending_at_the_end_goes_to_the_handler, 240),
    CASE(a_stranger_gets_what_is_his),
    CASE(what_a_stranger_gets_has_reached_him),
    CASE(what_a_stranger_gets_ends_our_sleep),
    CASE(what_ends_the_thread_reaches_no_stranger),
    CASE(what_ends_the_thread_is_not_queued_for_one),
    CASE_WITHIN(nor_where_no_signal_can_be_queued, 240),
    CASE(the_previous_owner_gets_what_main_still_blocks),
    CASE(the_default_action_ends_the_process),
    CASE(children_of_fork_are_clean),
    CASE(a_child_waits_for_nobody),
    CASE(paused_and_resumed),
    CASE(what_was_blocked_before_is_not_ours),
    CASE_WITHIN(started_and_ended_often, 240),
    CASE(without_a_thread_nothing_changes),
};
CHECK_MAIN(cases)
