/* The watcher: started, stopped, woken, and left alone. */
#include "core.h"

#include "ge_wake.h"

static void
heard(int signum)
{
    unsigned seen = ge_seen(GE_AT_NEWS);

    CHECK_EQ(0, raise(signum));
    while (ge_seen(GE_AT_NEWS) == seen) {
        (void)ge_wait(GE_AT_NEWS, seen, GE_NEVER);
    }
}

static void
started_once(enum ge_backend backend)
{
    start(backend);
    CHECK_EQ(-EALREADY, ge_watcher_start(backend));
    CHECK_EQ(-EALREADY, ge_watcher_start(GE_PIPE));
    ge_watcher_stop();
    ge_watcher_stop();
    start(backend);
    ge_watcher_stop();
}
IN_BOTH(started_once)

static void
an_unknown_back_end_is_refused(void)
{
    CHECK_EQ(-ENOSYS, ge_watcher_start((enum ge_backend)0));
    CHECK_EQ(-ENOSYS, ge_watcher_start((enum ge_backend)7));
    CHECK(ge_backends() & 1u << GE_PIPE);
    if (!(ge_backends() & 1u << GE_FUTEX)) {
        CHECK_EQ(-ENOSYS, ge_watcher_start(GE_FUTEX));
    }
    ge_watcher_stop();
}

static void
a_thousand_starts_leave_nothing(enum ge_backend backend)
{
    int threads, fds;

    take(SIGUSR1, 0);
    start(backend); /* what is made once is there after this */
    threads = entries_in("/proc/self/task") - 1; /* without the watcher */
    ge_watcher_stop();
    fds = entries_in("/proc/self/fd");
    if (threads < 0) {
        CHECK_SKIP("no /proc");
    }
    for (int i = 0; i < 1000; i++) {
        start(backend);
        if (i % 2) {
            CHECK_EQ(0, raise(SIGUSR1));
        }
        ge_watcher_stop();
    }
    /* A joined thread is still listed for a moment. */
    WAIT_FOR(entries_in("/proc/self/task") == threads);
    CHECK_EQ(fds, entries_in("/proc/self/fd"));
}
IN_BOTH(a_thousand_starts_leave_nothing)

static void *
poke_until(void *arg)
{
    while (!atomic_load((atomic_bool *)arg)) {
        ge_poke();
    }
    return NULL;
}

/* Pokes of others may go ahead of the one that says "quit". */
static void
stopped_beside_pokes(enum ge_backend backend)
{
    atomic_bool done = false;
    pthread_t threads[2];

    for (int i = 0; i < 2; i++) {
        threads[i] = spawn(poke_until, &done);
    }
    for (int i = 0; i < 300 / CORE_SLOW; i++) {
        start(backend);
        ge_watcher_stop();
    }
    atomic_store(&done, true);
    for (int i = 0; i < 2; i++) {
        join(threads[i]);
    }
}
IN_BOTH(stopped_beside_pokes)

static void
stopped_at_once(enum ge_backend backend)
{
    for (int i = 0; i < 10000 / CORE_SLOW; i++) {
        start(backend);
        for (int n = i % 200; n > 0; n--) {
            (void)ge_now(); /* another moment of the watcher's each time */
        }
        ge_watcher_stop();
    }
}
IN_BOTH(stopped_at_once)

static void *
start_and_stop(void *arg)
{
    (void)arg;
    for (int i = 0; i < 1000 / CORE_SLOW; i++) {
        int rc = ge_watcher_start(GE_PIPE);

        CHECK(rc == 0 || rc == -EALREADY);
        ge_watcher_stop();
    }
    return NULL;
}

static void
started_and_stopped_by_many(void)
{
    pthread_t threads[4];

    for (int i = 0; i < 4; i++) {
        threads[i] = spawn(start_and_stop, NULL);
    }
    for (int i = 0; i < 4; i++) {
        join(threads[i]);
    }
    start(GE_PIPE);
}

static int
status_number(pid_t tid, const char *key)
{
    char path[64], line[256];
    int n = -1;
    FILE *f;

    (void)snprintf(path, sizeof path, "/proc/self/task/%d/status", (int)tid);
    f = fopen(path, "r");
    CHECK(f != NULL);
    while (fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0) {
            n = atoi(line + strlen(key));
        }
    }
    (void)fclose(f);
    return n;
}

/* The thread that is neither this one nor was there before. */
static pid_t
watchers_tid(void)
{
    DIR *dir = opendir("/proc/self/task");
    pid_t newest = 0;

    CHECK(dir != NULL);
    for (struct dirent *d; (d = readdir(dir)) != NULL;) {
        pid_t tid = (pid_t)atoi(d->d_name);

        newest = tid > newest ? tid : newest;
    }
    (void)closedir(dir);
    return newest;
}

static void
every_signal_is_blocked_in_it(enum ge_backend backend)
{
    char path[64], line[256];
    unsigned long long blocked = 0;
    sigset_t mine;
    FILE *f;

    start(backend);
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/status",
                   (int)watchers_tid());
    f = fopen(path, "r");
    CHECK(f != NULL);
    while (fgets(line, sizeof line, f) != NULL) {
        (void)sscanf(line, "SigBlk: %llx", &blocked);
    }
    (void)fclose(f);
    for (int s = 1; s < GE_NSIG; s++) {
        if (ge_sig_check(s) == 0) {
            CHECK_EQ(s, blocked >> (s - 1) & 1 ? s : -s);
        }
    }
    CHECK_EQ(0, pthread_sigmask(SIG_BLOCK, NULL, &mine));
    for (int s = 1; s < GE_NSIG; s++) {
        CHECK(sigismember(&mine, s) != 1);
    }
}
IN_BOTH(every_signal_is_blocked_in_it)

/* Nothing is waited for here: that nothing happens for a while is the fact.
 * A watcher that polls or spins goes to sleep, or is torn from the processor,
 * many times meanwhile. */
static bool
quiet_for(int ms)
{
    pid_t tid = watchers_tid();
    int before = status_number(tid, "voluntary_ctxt_switches:");
    unsigned turns = ge_seen(GE_AT_NEWS);

    (void)poll(NULL, 0, ms);
    return turns == ge_seen(GE_AT_NEWS) &&
           before == status_number(tid, "voluntary_ctxt_switches:");
}

static void
it_sleeps(void)
{
    /* It looks at a pipe once more, 10 ms after; or later, on a busy machine.
     */
    WAIT_FOR(quiet_for(160));
}

/* After its pipe was closed it looks a second long whether it is again. */
static void
it_sleeps_in_the_end(void)
{
    WAIT_FOR(quiet_for(1200));
}

static void
idle_it_sleeps(enum ge_backend backend)
{
    take(SIGTERM, GE_ROLE_STOP);
    start(backend);
    it_sleeps();
    heard(SIGTERM);
    it_sleeps();
}
IN_BOTH(idle_it_sleeps)

/* ---- the pipe in other people's hands ------------------------------------
 */

static void
close_all(void)
{
    for (int fd = 3; fd < 256; fd++) {
        (void)close_rudely(fd);
    }
}

static void
a_closed_pipe_is_heard_all_the_same(enum ge_backend backend)
{
    take(SIGUSR1, 0);
    start(backend);
    for (int i = 0; i < 200; i++) {
        close_all();
        heard(SIGUSR1);
    }
    CHECK_EQ(200, ge_count(SIGUSR1));
    it_sleeps_in_the_end();
    close_all();
    ge_watcher_stop();
}
IN_BOTH(a_closed_pipe_is_heard_all_the_same)

/* All numbers that a pipe of ours may have had belong to the user's file. */
static void
a_victim_stays_empty(enum ge_backend backend)
{
    char path[] = "/tmp/ge-victim-XXXXXX";
    struct stat st;
    int victim;

    take(SIGUSR1, 0);
    start(backend);
    heard(SIGUSR1);
    close_all();
    victim = mkstemp(path);
    CHECK(victim >= 0);
    CHECK_EQ(0, unlink(path));
    for (int fd = GE_LOWEST_FD; fd < GE_LOWEST_FD + 16; fd++) {
        (void)dup2(victim, fd);
    }
    for (int i = 0; i < 100; i++) {
        heard(SIGUSR1);
    }
    CHECK_EQ(0, fstat(victim, &st));
    CHECK_EQ(0, st.st_size);
    it_sleeps_in_the_end();
    ge_watcher_stop();
    CHECK_EQ(0, fstat(victim, &st));
    CHECK_EQ(0, st.st_size);
    for (int fd = GE_LOWEST_FD; fd < GE_LOWEST_FD + 16; fd++) {
        CHECK(fcntl(fd, F_GETFD) >= 0); /* nor is the user's file closed */
    }
}
IN_BOTH(a_victim_stays_empty)

/* The numbers lead to a file that never has news before the watcher, which is
 * woken by the loss, can look. */
static void
numbers_taken_at_once_are_noticed(enum ge_backend backend)
{
    int victim[2];

    CHECK_EQ(0, pipe(victim));
    take(SIGUSR1, 0);
    start(backend);
    it_sleeps();
    CHECK_EQ(GE_LOWEST_FD, dup2(victim[0], GE_LOWEST_FD));
    CHECK_EQ(GE_LOWEST_FD + 1, dup2(victim[0], GE_LOWEST_FD + 1));
    heard(SIGUSR1);
    it_sleeps_in_the_end();
    heard(SIGUSR1);
}
IN_BOTH(numbers_taken_at_once_are_noticed)

static void
one_end_closed_is_heard_all_the_same(enum ge_backend backend)
{
    take(SIGUSR1, 0);
    start(backend);
    for (int i = 0; i < 200; i++) { /* and no SIGPIPE, if the reader's goes */
        for (int fd = GE_LOWEST_FD + i % 2; fd < 256; fd += 2) {
            (void)close_rudely(fd);
        }
        heard(SIGUSR1);
    }
    it_sleeps_in_the_end();
}
IN_BOTH(one_end_closed_is_heard_all_the_same)

/* No descriptor is to be had for a new pipe: slower, never deaf. */
static void
without_a_descriptor_it_is_heard_all_the_same(enum ge_backend backend)
{
    take(SIGUSR1, 0);
    start(backend);
    close_all();
    while (dup_rudely(0) >= 0) { /* perhaps the watcher was quicker */
    }
    CHECK_EQ(EMFILE, errno);
    for (int i = 0; i < 5; i++) {
        heard(SIGUSR1);
    }
    ge_watcher_stop();
    for (int fd = 3; fd < 20; fd++) {
        (void)close_rudely(fd); /* LeakSanitizer needs one */
    }
}
IN_BOTH(without_a_descriptor_it_is_heard_all_the_same)

static bool
pipe_is_readable(void)
{
    struct pollfd p = { .fd = GE_LOWEST_FD, .events = POLLIN };

    CHECK(poll(&p, 1, 0) >= 0);
    CHECK_EQ(0, p.revents & ~POLLIN);
    return p.revents != 0;
}

/* Filled while nobody reads. The back end is the pipe in any case. */
static void
a_full_pipe_still_wakes(void)
{
    CHECK_EQ(0, ge__wake_pipe_open());
    CHECK(!pipe_is_readable());
    for (int i = 0; i < 100000; i++) {
        ge__wake_pipe_poke();
    }
    CHECK(pipe_is_readable());
    ge__wake_pipe_wait(0, GE_NEVER);
    (void)ge__wake_pipe_seen();
    CHECK(!pipe_is_readable());
    CHECK(ge__wake_pipe_whole());
    ge__wake_pipe_poke();
    ge__wake_pipe_wait(0, GE_NEVER);
    ge__wake_pipe_close();
    ge__wake_pipe_close();
    CHECK_EQ(-1, fcntl(GE_LOWEST_FD, F_GETFD));
    CHECK_EQ(-1, fcntl(GE_LOWEST_FD + 1, F_GETFD));
}

static void
the_pipe_stays_out_of_the_way(void)
{
    CHECK_EQ(0, ge__wake_pipe_open());
    for (int fd = GE_LOWEST_FD; fd <= GE_LOWEST_FD + 1; fd++) {
        CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        /* The watcher sleeps in the one end; nobody may at the other. */
        CHECK_EQ(fd > GE_LOWEST_FD,
                 (fcntl(fd, F_GETFL) & O_NONBLOCK) == O_NONBLOCK);
    }
    CHECK_EQ(-1, fcntl(3, F_GETFD));
    ge__wake_pipe_close();
}

static void
without_descriptors_the_start_fails_cleanly(void)
{
    int fds;

    while (dup(0) >= 0) {
    }
    CHECK_EQ(-EMFILE, ge_watcher_start(GE_PIPE));
    for (fds = 3; fds < 10; fds++) {
        (void)close(fds);
    }
    CHECK_EQ(0, ge_watcher_start(GE_PIPE));
}

static const struct check_case cases[] = {
    CASE(started_once_futex),
    CASE(started_once_pipe),
    CASE(an_unknown_back_end_is_refused),
    CASE_WITHIN(a_thousand_starts_leave_nothing_futex, 240),
    CASE_WITHIN(a_thousand_starts_leave_nothing_pipe, 240),
    CASE_WITHIN(stopped_beside_pokes_futex, 240),
    CASE_WITHIN(stopped_beside_pokes_pipe, 240),
    CASE_WITHIN(stopped_at_once_futex, 240),
    CASE_WITHIN(stopped_at_once_pipe, 240),
    CASE_WITHIN(started_and_stopped_by_many, 240),
    CASE(every_signal_is_blocked_in_it_futex),
    CASE(every_signal_is_blocked_in_it_pipe),
    CASE(idle_it_sleeps_futex),
    CASE(idle_it_sleeps_pipe),
    CASE_WITHIN(a_closed_pipe_is_heard_all_the_same_futex, 240),
    CASE_WITHIN(a_closed_pipe_is_heard_all_the_same_pipe, 240),
    CASE_WITHIN(a_victim_stays_empty_futex, 240),
    CASE_WITHIN(a_victim_stays_empty_pipe, 240),
    CASE_WITHIN(numbers_taken_at_once_are_noticed_futex, 240),
    CASE_WITHIN(numbers_taken_at_once_are_noticed_pipe, 240),
    CASE_WITHIN(one_end_closed_is_heard_all_the_same_futex, 240),
    CASE_WITHIN(one_end_closed_is_heard_all_the_same_pipe, 240),
    CASE(without_a_descriptor_it_is_heard_all_the_same_futex),
    CASE(without_a_descriptor_it_is_heard_all_the_same_pipe),
    CASE(a_full_pipe_still_wakes),
    CASE(the_pipe_stays_out_of_the_way),
    CASE(without_descriptors_the_start_fails_cleanly),
};
CHECK_MAIN(cases)
