/* The top half: whom it serves, what it leaves alone, what it counts. */
#include "core.h"

#include "ge_handler.h"
#include "ge_wake.h"

#include <sys/socket.h>

#define RT (SIGRTMIN + 4)

static atomic_uint owner_runs, owner_in_main;
static pthread_t main_thread;

static void
owner(int signum)
{
    (void)signum;
    (void)atomic_fetch_add(&owner_runs, 1);
    if (pthread_equal(pthread_self(), main_thread)) {
        (void)atomic_fetch_add(&owner_in_main, 1);
    }
}

static void
info_owner(int signum, siginfo_t *info, void *context)
{
    CHECK_EQ(signum, info->si_signo);
    CHECK_EQ(getpid(), info->si_pid);
    CHECK(context != NULL);
    (void)atomic_fetch_add(&owner_runs, 1);
}

/* ---- a handler that is not wanted any more -------------------------------
 */

/* What somebody does who saved the table while we were in it. */
static void
put_us_back(int signum)
{
    struct sigaction ours;

    take(signum, GE_ROLE_STOP);
    CHECK_EQ(0, sigaction(signum, NULL, &ours));
    drop(signum);
    CHECK_EQ(0, sigaction(signum, &ours, NULL));
    CHECK(ge_trap_ours(signum));
}

static void
raise_put_back(void *arg)
{
    put_us_back(*(int *)arg);
    (void)raise(*(int *)arg);
}

static void
unwanted_it_takes_the_default_action(void)
{
    int signum = SIGTERM;

    CHECK_DIED_OF(SIGTERM, status_of(raise_put_back, &signum));
    signum = RT;
    CHECK_DIED_OF(RT, status_of(raise_put_back, &signum));
    signum = SIGCHLD;
    CHECK_EXITED(0, status_of(raise_put_back, &signum));
}

static void
unwanted_it_calls_the_function_before(void)
{
    handle(SIGUSR1, owner);
    put_us_back(SIGUSR1);
    CHECK_EQ(0, raise(SIGUSR1));
    CHECK_EQ(1, atomic_load(&owner_runs));
    CHECK_EQ(0, ge_count(SIGUSR1));
    CHECK_EQ(GE_RUNNING, ge_state());
}

static void
unwanted_it_calls_the_siginfo_function_before(void)
{
    struct sigaction sa = { .sa_flags = SA_SIGINFO };

    sa.sa_sigaction = info_owner;
    CHECK_EQ(0, sigaction(SIGUSR1, &sa, NULL));
    put_us_back(SIGUSR1);
    CHECK_EQ(0, raise(SIGUSR1));
    CHECK_EQ(1, atomic_load(&owner_runs));
    CHECK_EQ(0, ge_count(SIGUSR1));
}

static void
unwanted_it_ignores_what_was_ignored(void)
{
    handle(SIGTERM, SIG_IGN);
    put_us_back(SIGTERM);
    CHECK_EQ(0, raise(SIGTERM));
    CHECK_EQ(0, ge_count(SIGTERM));
    CHECK_EQ(GE_RUNNING, ge_state());
}

/* The kernel had chosen us before the give-back: called by hand, as late. */
static void
too_late_it_serves_the_present_owner(void)
{
    siginfo_t info = { .si_signo = SIGUSR1, .si_code = SI_USER };

    take(SIGUSR1, 0);
    drop(SIGUSR1);
    handle(SIGUSR1, owner);
    ge__on_signal(SIGUSR1, &info, NULL);
    CHECK_EQ(1, atomic_load(&owner_runs));
    CHECK_EQ(0, ge_count(SIGUSR1));
}

static void
too_late(void *arg)
{
    siginfo_t info = { .si_signo = SIGTERM, .si_code = SI_USER };

    (void)arg;
    take(SIGTERM, 0);
    drop(SIGTERM);
    mask(SIG_BLOCK, SIGTERM); /* as the kernel does around a handler */
    ge__on_signal(SIGTERM, &info, NULL);
}

static void
too_late_for_a_default_it_dies(void)
{
    CHECK_DIED_OF(SIGTERM, status_of(too_late, NULL));
}

/* ---- errno ---------------------------------------------------------------
 */

/* STYLE 3.5 rule 7: SIGUSR1, from another thread, a write that fails. */
static void *
hit_main(void *arg)
{
    unsigned *rounds = arg;

    mask(SIG_BLOCK, SIGUSR1);
    for (unsigned i = 0; i < *rounds; i++) {
        CHECK_EQ(0, pthread_kill(main_thread, SIGUSR1));
        while (ge_count(SIGUSR1) == i) {
            (void)sched_yield();
        }
    }
    return NULL;
}

static void
errno_survives_a_dead_wake_pipe(void)
{
    unsigned rounds = 2000 / CORE_SLOW;
    uint64_t seen = 0;
    pthread_t thread;

    main_thread = pthread_self();
    take(SIGUSR1, 0);
    CHECK_EQ(0, ge__wake_pipe_open());
    atomic_store(&ge__mailbox.backend, GE_PIPE); /* no watcher mends it */
    for (int fd = GE_LOWEST_FD; fd < GE_LOWEST_FD + 10; fd++) {
        (void)close(fd);
    }
    thread = spawn(hit_main, &rounds);
    errno = 77;
    while ((seen = ge_count(SIGUSR1)) < rounds) {
        (void)sched_yield();
        CHECK_EQ(77, errno);
        (void)ge_now(); /* where TSan delivers */
        CHECK_EQ(77, errno);
    }
    join(thread);
    CHECK_EQ(rounds, seen);
}

static void
spoil(int signum)
{
    (void)signum;
    errno = 99;
}

static void
errno_survives_the_functions_of_others(void)
{
    handle(SIGUSR1, spoil);
    take(SIGUSR1, GE_ROLE_CHAIN);
    errno = 77;
    CHECK_EQ(0, raise(SIGUSR1));
    CHECK_EQ(77, errno);
    drop(SIGUSR1);
    put_us_back(SIGUSR1);
    errno = 77;
    CHECK_EQ(0, raise(SIGUSR1));
    CHECK_EQ(77, errno);
}

/* ---- children that were not repaired -------------------------------------
 */

static void
hit_by(void *arg)
{
    (void)raise(*(int *)arg);
}

/* The wake pipe without a watcher to empty it. */
static int
wake_pipe(void)
{
    CHECK_EQ(0, ge__wake_pipe_open());
    atomic_store(&ge__mailbox.backend, GE_PIPE);
    return GE_LOWEST_FD; /* the read end is opened first */
}

/* How many, and they are taken out. */
static int
pokes_in(int fd)
{
    char byte;
    int n = 0;

    while (recv(fd, &byte, 1, MSG_DONTWAIT) >= 0) {
        n++;
    }
    return n;
}

static void
a_fork_child_dies_by_default_and_tells_nobody(void)
{
    int signum = SIGUSR1, fd = wake_pipe();

    take(SIGUSR1, GE_ROLE_STOP);
    CHECK_DIED_OF(SIGUSR1, status_of(hit_by, &signum));
    CHECK_EQ(0, pokes_in(fd));
    CHECK_EQ(0, ge_count(SIGUSR1));
    CHECK_EQ(GE_RUNNING, ge_state());
    CHECK(ge_trap_ours(SIGUSR1));
    CHECK_EQ(0, raise(SIGUSR1));
    CHECK_EQ(1, pokes_in(fd));
    CHECK_EQ(GE_STOPPING, ge_state());
}

static void
a_fork_child_ignores_what_is_ignored_by_default(void)
{
    int signum = SIGCHLD, fd = wake_pipe();

    take(SIGCHLD, 0);
    CHECK_EXITED(0, status_of(hit_by, &signum));
    /* The child's own end was a SIGCHLD to us. */
    WAIT_FOR(ge_count(SIGCHLD) == 1);
    CHECK_EQ(1, pokes_in(fd));
}

static void
a_vfork_child_dies_by_default_and_touches_nothing(void)
{
#if defined(CORE_TSAN)
    CHECK_SKIP("TSan makes a fork of it");
#elif defined(CORE_ASAN)
    CHECK_SKIP("ASan marks the stack, which the child shares");
#else
    int status, fd = wake_pipe();
    pid_t pid;

    take(SIGUSR1, GE_ROLE_STOP | GE_ROLE_HOLD);
    errno = 77;
    pid = vfork();
    if (pid == 0) {
        (void)kill(getpid(), SIGUSR1);
        _exit(3);
    }
    CHECK_EQ(77, errno);
    CHECK(pid > 0);
    CHECK_EQ(pid, waitpid(pid, &status, 0));
    CHECK_DIED_OF(SIGUSR1, status);
    CHECK_EQ(0, pokes_in(fd));
    CHECK_EQ(0, ge_count(SIGUSR1));
    CHECK_EQ(0, ge_held(SIGUSR1));
    CHECK_EQ(GE_RUNNING, ge_state());
    CHECK(ge_trap_ours(SIGUSR1));
    CHECK_EQ(0, atomic_load(&ge__mailbox.inflight[0]));
    CHECK_EQ(0, atomic_load(&ge__mailbox.inflight[1]));
    CHECK_EQ(0, raise(SIGUSR1));
    CHECK_EQ(1, ge_count(SIGUSR1));
#endif
}

/* ---- counts --------------------------------------------------------------
 */

static void
nothing_queued_is_missed(enum ge_backend backend)
{
    enum { SENDERS = 8, EACH = 10000 / CORE_SLOW };
    pid_t pids[SENDERS], to = getpid();

    if (!CORE_QUEUES) {
        CHECK_SKIP("TSan merges queued signals");
    }
    take(RT, GE_ROLE_STOP | GE_ROLE_HOLD);
    start(backend);
    for (int i = 0; i < SENDERS; i++) {
        pids[i] = fork();
        CHECK(pids[i] >= 0);
        if (pids[i] == 0) {
            (void)alarm(60);
            for (int n = 0; n < EACH; n++) {
                union sigval value = { .sival_int = n };

                while (sigqueue(to, RT, value) < 0) {
                    (void)sched_yield(); /* EAGAIN: the queue is full */
                }
            }
            _exit(0);
        }
    }
    for (int i = 0; i < SENDERS; i++) {
        int status;

        while (waitpid(pids[i], &status, 0) < 0) {
            CHECK_EQ(EINTR, errno);
        }
        CHECK_EXITED(0, status);
    }
    WAIT_FOR(ge_count(RT) >= SENDERS * EACH);
    CHECK_EQ(SENDERS * EACH, ge_count(RT));
    CHECK_EQ(SENDERS * EACH, ge_held(RT));
    CHECK_EQ(SENDERS * EACH, ge_held_take(RT));
    CHECK_EQ(0, ge_held(RT));
    CHECK_EQ(GE_STOPPING, ge_state());
}
IN_BOTH(nothing_queued_is_missed)

static void *
hit_myself_often(void *arg)
{
    for (int i = 0; i < 20000 / CORE_SLOW; i++) {
        CHECK_EQ(0, raise(*(int *)arg));
    }
    return NULL;
}

/* raise() returns after the handler has run: so many calls, so many runs. */
static void
runs_on_many_threads_are_counted_and_nudges_are_not(enum ge_backend backend)
{
    int signum = SIGUSR1;
    pthread_t threads[4];

    take(SIGUSR1, 0);
    start(backend);
    for (int i = 0; i < 4; i++) {
        threads[i] = spawn(hit_myself_often, &signum);
    }
    for (int i = 0; i < 4; i++) {
        join(threads[i]);
    }
    CHECK_EQ(4 * (20000 / CORE_SLOW), ge_count(SIGUSR1));
}
IN_BOTH(runs_on_many_threads_are_counted_and_nudges_are_not)

/* ---- nudges --------------------------------------------------------------
 */

static void *
hit_myself_until(void *arg)
{
    atomic_bool *done = arg;
    uintptr_t n = 0;

    while (!atomic_load(done)) {
        CHECK_EQ(0, raise(SIGUSR1));
        n++;
        (void)poll(NULL, 0, 1); /* main may get to its system call */
    }
    return (void *)n;
}

static void
a_signal_at_a_worker_ends_mains_pause(enum ge_backend backend)
{
    atomic_bool done = false;
    pthread_t thread;
    void *n;

    take(SIGUSR1, 0);
    start(backend);
    thread = spawn(hit_myself_until, &done);
    CHECK_EQ(-1, pause());
    CHECK_EQ(EINTR, errno);
    atomic_store(&done, true);
    CHECK_EQ(0, pthread_join(thread, &n));
    CHECK_EQ((uintptr_t)n, ge_count(SIGUSR1));
}
IN_BOTH(a_signal_at_a_worker_ends_mains_pause)

static void *
hit_myself_once(void *arg)
{
    (void)arg;
    mask(SIG_UNBLOCK, SIGUSR1);
    CHECK_EQ(0, raise(SIGUSR1));
    return NULL;
}

static void
nudged_a_thousand_times(enum ge_backend backend)
{
    sigset_t none, pending;

    (void)sigemptyset(&none);
    take(SIGUSR1, 0);
    start(backend);
    mask(SIG_BLOCK, SIGUSR1);
    for (int i = 0; i < 1000 / CORE_SLOW; i++) {
        join(spawn(hit_myself_once, NULL));
        CHECK_EQ(-1, sigsuspend(&none)); /* hangs if there was no nudge */
        CHECK_EQ(0, sigpending(&pending));
        CHECK_EQ(0, sigismember(&pending, SIGUSR1));
        CHECK_EQ(i + 1, ge_count(SIGUSR1));
    }
}

static void
one_signal_is_one_nudge(enum ge_backend backend)
{
    nudged_a_thousand_times(backend);
}
IN_BOTH(one_signal_is_one_nudge)

/* The kernel then forgets who has sent it. */
static void
so_it_is_where_none_can_be_queued(enum ge_backend backend)
{
    queue_no_signals();
    nudged_a_thousand_times(backend);
}
IN_BOTH(so_it_is_where_none_can_be_queued)

static void
a_real_signal_to_main_is_no_nudge(enum ge_backend backend)
{
    take(SIGUSR1, 0);
    start(backend);
    for (int i = 1; i <= 100; i++) {
        CHECK_EQ(0, pthread_kill(pthread_self(), SIGUSR1));
        WAIT_FOR(ge_count(SIGUSR1) >= (uint64_t)i);
        CHECK_EQ(i, ge_count(SIGUSR1));
    }
}
IN_BOTH(a_real_signal_to_main_is_no_nudge)

static void
tripped_it_nudges_until_it_is_taken(enum ge_backend backend)
{
    sigset_t none, pending;

    (void)sigemptyset(&none);
    handle(SIGUSR1, owner);
    take(SIGUSR1, GE_ROLE_TRIP);
    start(backend);
    mask(SIG_BLOCK, SIGUSR1);
    join(spawn(hit_myself_once, NULL));
    CHECK_EQ(1, atomic_load(&owner_runs)); /* the one beneath ran as well */
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(-1, sigsuspend(&none)); /* hangs if it is not repeated */
        CHECK_EQ(EINTR, errno);
    }
    CHECK(ge_took(SIGUSR1));
    CHECK(!ge_took(SIGUSR1));
    CHECK_EQ(1, ge_count(SIGUSR1));
    /* Let one that was under way arrive; none comes after it. */
    ge_poke();
    (void)ge_wait(GE_AT_NEWS, ge_seen(GE_AT_NEWS), ge_now() + 10 * MS);
    mask(SIG_UNBLOCK, SIGUSR1);
    mask(SIG_BLOCK, SIGUSR1);
    for (int i = 0; i < 3; i++) {
        unsigned seen = ge_seen(GE_AT_NEWS);

        ge_poke();
        (void)ge_wait(GE_AT_NEWS, seen, ge_now() + GE_NS_PER_S);
    }
    CHECK_EQ(0, sigpending(&pending));
    CHECK_EQ(0, sigismember(&pending, SIGUSR1));
    CHECK_EQ(1, ge_count(SIGUSR1));
    CHECK_EQ(1, atomic_load(&owner_runs));
}
IN_BOTH(tripped_it_nudges_until_it_is_taken)

static void
tripped_by_hand_it_nudges_and_counts_nothing(enum ge_backend backend)
{
    sigset_t none;

    (void)sigemptyset(&none);
    CHECK_EQ(-ENOENT, ge_trip_begin(SIGUSR1));
    take(SIGUSR1, 0);
    CHECK_EQ(-ENOENT, ge_trip_begin(SIGUSR1));
    take(SIGUSR1, GE_ROLE_TRIP);
    start(backend);
    mask(SIG_BLOCK, SIGUSR1);
    CHECK_EQ(0, ge_trip_begin(SIGUSR1));
    ge_trip_end(SIGUSR1);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(-1, sigsuspend(&none));
    }
    CHECK(ge_took(SIGUSR1));
    CHECK_EQ(0, ge_count(SIGUSR1));
    CHECK_EQ(GE_RUNNING, ge_state());
}
IN_BOTH(tripped_by_hand_it_nudges_and_counts_nothing)

/* Long enough for the watcher's first two nudges. */
static void
let_the_watcher_turn(void)
{
    for (int i = 0; i < 5; i++) {
        unsigned seen = ge_seen(GE_AT_NEWS);
        int64_t pace = ge_now() + 5 * MS;

        ge_poke();
        while (ge_seen(GE_AT_NEWS) == seen) {
            (void)ge_wait(GE_AT_NEWS, seen, GE_NEVER);
        }
        WAIT_FOR(ge_now() >= pace);
    }
}

static void
marked_by_hand_it_nudges_nobody_yet(enum ge_backend backend)
{
    sigset_t none, pending;

    (void)sigemptyset(&none);
    take(SIGUSR1, GE_ROLE_TRIP);
    start(backend);
    mask(SIG_BLOCK, SIGUSR1);
    CHECK_EQ(0, ge_trip_begin(SIGUSR1));
    let_the_watcher_turn();
    CHECK_EQ(0, sigpending(&pending));
    CHECK_EQ(0, sigismember(&pending, SIGUSR1));
    ge_trip_end(SIGUSR1);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(-1, sigsuspend(&none));
    }
    CHECK(ge_took(SIGUSR1));
}
IN_BOTH(marked_by_hand_it_nudges_nobody_yet)

static atomic_bool beneath_entered, beneath_may_go;

static void
slow_beneath(int signum)
{
    (void)signum;
    atomic_store(&beneath_entered, true);
    while (!atomic_load(&beneath_may_go)) {
        (void)sched_yield();
    }
}

static void
the_handler_beneath_hears_before_main_is_nudged(enum ge_backend backend)
{
    sigset_t none, pending;
    pthread_t thread;

    (void)sigemptyset(&none);
    handle(SIGUSR1, slow_beneath);
    take(SIGUSR1, GE_ROLE_TRIP);
    start(backend);
    mask(SIG_BLOCK, SIGUSR1);
    thread = spawn(hit_myself_once, NULL);
    WAIT_FOR(atomic_load(&beneath_entered));
    let_the_watcher_turn();
    CHECK_EQ(0, sigpending(&pending));
    CHECK_EQ(0, sigismember(&pending, SIGUSR1));
    atomic_store(&beneath_may_go, true);
    join(thread);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(-1, sigsuspend(&none));
    }
    CHECK(ge_took(SIGUSR1));
}
IN_BOTH(the_handler_beneath_hears_before_main_is_nudged)

static void
chained_it_calls_the_original(void)
{
    main_thread = pthread_self();
    handle(SIGUSR1, owner);
    take(SIGUSR1, GE_ROLE_CHAIN | GE_ROLE_STOP);
    CHECK_EQ(0, raise(SIGUSR1));
    CHECK_EQ(1, atomic_load(&owner_runs));
    CHECK_EQ(1, atomic_load(&owner_in_main));
    CHECK_EQ(1, ge_count(SIGUSR1));
    CHECK_EQ(GE_STOPPING, ge_state());
    take(SIGUSR1, GE_ROLE_CHAIN | GE_ROLE_TRIP); /* one function, one call */
    CHECK_EQ(0, raise(SIGUSR1));
    CHECK_EQ(2, atomic_load(&owner_runs));
    take(SIGUSR1, GE_ROLE_STOP);
    CHECK_EQ(0, raise(SIGUSR1));
    CHECK_EQ(2, atomic_load(&owner_runs));
}

static void
chained_to_a_default_it_survives(void)
{
    take(SIGTERM, GE_ROLE_CHAIN);
    CHECK_EQ(0, raise(SIGTERM));
    CHECK_EQ(1, ge_count(SIGTERM));
    drop(SIGTERM);
    handle(SIGTERM, SIG_IGN);
    take(SIGTERM, GE_ROLE_CHAIN);
    CHECK_EQ(0, raise(SIGTERM));
    CHECK_EQ(2, ge_count(SIGTERM));
}

static void
forwarded_it_counts_as_a_signal(void)
{
    struct ge_info info;

    CHECK_EQ(0, ge_forward(SIGTERM));
    take(SIGTERM, GE_ROLE_STOP);
    CHECK_EQ(1, ge_forward(SIGTERM));
    CHECK_EQ(1, ge_count(SIGTERM));
    CHECK_EQ(GE_STOPPING, ge_state());
    CHECK_EQ(1, ge_stop_record(&info));
    CHECK_EQ(SIGTERM, info.signum);
    CHECK_EQ(-1, info.pid);
    CHECK_EQ(info.when & ~INT64_C(3), ge_state_since());
}

static const struct check_case cases[] = {
    CASE(unwanted_it_takes_the_default_action),
    CASE(unwanted_it_calls_the_function_before),
    CASE(unwanted_it_calls_the_siginfo_function_before),
    CASE(unwanted_it_ignores_what_was_ignored),
    CASE(too_late_it_serves_the_present_owner),
    CASE(too_late_for_a_default_it_dies),
    CASE(errno_survives_a_dead_wake_pipe),
    CASE(errno_survives_the_functions_of_others),
    CASE(a_fork_child_dies_by_default_and_tells_nobody),
    CASE(a_fork_child_ignores_what_is_ignored_by_default),
    CASE(a_vfork_child_dies_by_default_and_touches_nothing),
    CASE_WITHIN(nothing_queued_is_missed_futex, 240),
    CASE_WITHIN(nothing_queued_is_missed_pipe, 240),
    CASE_WITHIN(runs_on_many_threads_are_counted_and_nudges_are_not_futex,
                240),
    CASE_WITHIN(runs_on_many_threads_are_counted_and_nudges_are_not_pipe, 240),
    CASE(a_signal_at_a_worker_ends_mains_pause_futex),
    CASE(a_signal_at_a_worker_ends_mains_pause_pipe),
    CASE(one_signal_is_one_nudge_futex),
    CASE(one_signal_is_one_nudge_pipe),
    CASE(so_it_is_where_none_can_be_queued_futex),
    CASE(so_it_is_where_none_can_be_queued_pipe),
    CASE(a_real_signal_to_main_is_no_nudge_futex),
    CASE(a_real_signal_to_main_is_no_nudge_pipe),
    CASE(tripped_it_nudges_until_it_is_taken_futex),
    CASE(tripped_it_nudges_until_it_is_taken_pipe),
    CASE(tripped_by_hand_it_nudges_and_counts_nothing_futex),
    CASE(tripped_by_hand_it_nudges_and_counts_nothing_pipe),
    CASE(marked_by_hand_it_nudges_nobody_yet_futex),
    CASE(marked_by_hand_it_nudges_nobody_yet_pipe),
    CASE(the_handler_beneath_hears_before_main_is_nudged_futex),
    CASE(the_handler_beneath_hears_before_main_is_nudged_pipe),
    CASE(chained_it_calls_the_original),
    CASE(chained_to_a_default_it_survives),
    CASE(forwarded_it_counts_as_a_signal),
};
CHECK_MAIN(cases)
