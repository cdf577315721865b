/* The native report, and the clock that it and the deadline go by. */
#include "core.h"

#include "ge_report.h"
#include "ge_section.h"

/* ---- the clock ------------------------------------------------------------
 *
 * In place of the C library's: a grace of ten minutes is over when the test
 * says so. Frozen, no machine is too slow. */

static _Atomic(int64_t) frozen; /* 0: it goes */
static _Atomic(int64_t) put_on;

int
clock_gettime(clockid_t which, struct timespec *t)
{
    int64_t now = atomic_load(&frozen);

    if (syscall(SYS_clock_gettime, which, t) < 0) {
        return -1;
    }
    if (which == CLOCK_MONOTONIC) {
        now = now != 0 ? now : (int64_t)t->tv_sec * GE_NS_PER_S + t->tv_nsec;
        *t = ge_timespec(now + atomic_load(&put_on));
    }
    return 0;
}

/* The watcher has looked at everything since the call. */
static void
let_it_look(void)
{
    for (int i = 0; i < 2; i++) {
        unsigned seen = ge_seen(GE_AT_NEWS);

        ge_poke();
        WAIT_FOR(ge_seen(GE_AT_NEWS) != seen);
    }
}

static void
put_clock_on(int64_t seconds)
{
    (void)atomic_fetch_add(&put_on, seconds * GE_NS_PER_S);
    let_it_look();
}

/* ---- descriptor 2 is a pipe, which the test reads -------------------------
 */

static int err[2];

static void
catch_stderr(void)
{
    CHECK_EQ(0, pipe(err));
    CHECK_EQ(2, dup2(err[1], 2));
}

/* All that is there; it does not wait. */
static const char *
text_so_far(void)
{
    static char text[16384];
    static size_t n;
    struct pollfd p = { .fd = err[0], .events = POLLIN };

    while (poll(&p, 1, 0) > 0) {
        ssize_t got = read(err[0], text + n, sizeof text - 1 - n);

        CHECK(got > 0);
        n += (size_t)got;
    }
    text[n] = '\0';
    return text;
}

static bool
is_said(const char *what)
{
    return strstr(text_so_far(), what) != NULL;
}

static void
dump(int signum)
{
    const char text[] = "all stacks\n";

    CHECK(signum == SIGUSR2);
    CHECK_EQ(sizeof text - 1, write(2, text, sizeof text - 1));
}

/* Stopping, with ten minutes of grace. */
static void
stop_with(enum ge_backend backend, int dump_signal)
{
    atomic_store(&frozen, ge_now());
    catch_stderr();
    handle(SIGUSR2, dump);
    ge_policy(600 * GE_NS_PER_S, GE_EXIT_SIGNAL);
    take(SIGTERM, GE_ROLE_STOP);
    start(backend);
    CHECK_EQ(0, ge_report_arm(dump_signal));
    CHECK_EQ(0, raise(SIGTERM));
    let_it_look();
}

/* How often it has gone to sleep; -1: it has ended. */
static int
sleeps_of_reporter(void)
{
    DIR *dir = opendir("/proc/self/task");
    int sleeps = -1;

    for (struct dirent *d; dir != NULL && (d = readdir(dir)) != NULL;) {
        char path[300], text[4096];
        const char *at;
        ssize_t n;

        (void)snprintf(path, sizeof path, "/proc/self/task/%s/status",
                       d->d_name);
        n = ge_own_read(path, text, sizeof text - 1);
        text[n < 0 ? 0 : n] = '\0';
        at = strstr(text, "\nvoluntary_ctxt_switches:");
        if (strstr(text, "ge-reporter") != NULL && at != NULL) {
            sleeps = atoi(strchr(at, ':') + 1);
        }
    }
    (void)closedir(dir);
    return sleeps;
}

/* For who finds nothing to read: it is done with what it was asked for. */
static void
let_it_end(void)
{
    if (entries_in("/proc/self/task") < 0) {
        CHECK_SKIP("no /proc");
    }
    WAIT_FOR(sleeps_of_reporter() < 0);
}

/* ---- the cases ------------------------------------------------------------
 */

static void
without_an_answer_it_reports(enum ge_backend backend)
{
    char pid[32];

    stop_with(backend, SIGUSR2);
    CHECK_EQ(0, ge_section_enter(GE_OUTSIDE));
    put_clock_on(479);
    CHECK(!is_said("gracefulexit"));
    put_clock_on(2); /* the last fifth: now it asks */
    CHECK(!is_said("gracefulexit"));
    put_clock_on(3);
    WAIT_FOR(is_said(GE_HAVE_QUIET_CHILD ? "all stacks\n"
                                         : "protected sections: 1\n"));
    CHECK(is_said("gracefulexit: 116.0 s left until the end, "));
    CHECK(is_said("stopping for 484.0 s, by signal 15 (SIGTERM) from pid "));
    (void)snprintf(pid, sizeof pid, "from pid %d;", (int)getpid());
    CHECK(is_said(pid));
    CHECK(is_said("open protected sections: 1\n"));
    WAIT_FOR(!GE_HAVE_TASK_FOLDERS || is_said("ge-watcher"));
    WAIT_FOR(!GE_HAVE_TASK_FOLDERS || is_said("ge-reporter: running"));
    put_clock_on(100); /* once is enough */
    CHECK(strstr(strstr(text_so_far(), "left until") + 1, "left until") ==
          NULL);
    CHECK_EQ(0, ge_section_leave());
    ge_report_disarm();
}
IN_BOTH(without_an_answer_it_reports)

static void
with_an_answer_it_is_silent(enum ge_backend backend)
{
    stop_with(backend, SIGUSR2);
    put_clock_on(481);
    ge_told();
    put_clock_on(3);
    put_clock_on(100);
    ge_report_disarm(); /* waits for the reporter */
    CHECK_EQ(0, strlen(text_so_far()));
}
IN_BOTH(with_an_answer_it_is_silent)

/* The whole process was stopped: Python had no time to answer. */
static void
who_asks_late_waits_for_the_answer(enum ge_backend backend)
{
    stop_with(backend, 0);
    put_clock_on(550);
    CHECK(!is_said("gracefulexit"));
    ge_told();
    put_clock_on(3);
    ge_report_disarm();
    CHECK_EQ(0, strlen(text_so_far()));
}
IN_BOTH(who_asks_late_waits_for_the_answer)

static void
extended_it_asks_again(enum ge_backend backend)
{
    stop_with(backend, 0);
    put_clock_on(481);
    ge_extend(600 * GE_NS_PER_S);
    put_clock_on(3);
    put_clock_on(400);
    CHECK(!is_said("gracefulexit"));
    put_clock_on(100); /* 984 of 1200 */
    CHECK(!is_said("gracefulexit"));
    put_clock_on(3);
    WAIT_FOR(is_said("left until"));
    ge_report_disarm();
}
IN_BOTH(extended_it_asks_again)

static void
an_answer_counts_for_one_stop(enum ge_backend backend)
{
    stop_with(backend, 0);
    put_clock_on(481);
    ge_told();
    drop(SIGTERM);
    ge_reset();
    CHECK_EQ(1, ge_stop());
    let_it_look();
    put_clock_on(481);
    put_clock_on(3);
    WAIT_FOR(is_said("by the program itself;"));
    ge_report_disarm();
}
IN_BOTH(an_answer_counts_for_one_stop)

static void
unarmed_it_says_nothing(enum ge_backend backend)
{
    stop_with(backend, SIGUSR2);
    ge_report_disarm();
    ge_report_disarm();
    put_clock_on(481);
    put_clock_on(3);
    put_clock_on(100);
    CHECK_EQ(0, strlen(text_so_far()));
}
IN_BOTH(unarmed_it_says_nothing)

static void
other_dump(int signum)
{
    (void)signum;
    CHECK_EQ(12, write(2, "other stacks", 12));
}

static void
a_lost_dump_signal_is_not_raised(enum ge_backend backend)
{
    stop_with(backend, SIGUSR2);
    handle(SIGUSR2, other_dump);
    put_clock_on(481);
    put_clock_on(3);
    let_it_end();
    CHECK(is_said("left until"));
    CHECK(!is_said("other stacks"));
    ge_report_disarm();
    CHECK(!is_said("all stacks"));
}
IN_BOTH(a_lost_dump_signal_is_not_raised)

static void
crash(int signum)
{
    int *volatile nowhere = NULL;

    *nowhere = signum;
}

/* The stacks were changing while they were looked at. */
static void
a_dump_that_crashes_harms_nobody(enum ge_backend backend)
{
    stop_with(backend, SIGUSR2);
    ge_report_disarm();
    handle(SIGUSR2, crash);
    CHECK_EQ(0, ge_report_arm(SIGUSR2));
    put_clock_on(481);
    put_clock_on(3);
    let_it_end();
    CHECK(is_said("left until"));
    ge_report_disarm();
    CHECK_EQ(-1, waitpid(-1, NULL, 0));
    CHECK_EQ(ECHILD, errno);
}
IN_BOTH(a_dump_that_crashes_harms_nobody)

static void
children_heard_of(int signum)
{
    CHECK(signum != SIGCHLD);
}

static void
the_program_hears_of_no_child(enum ge_backend backend)
{
    if (!GE_HAVE_QUIET_CHILD) {
        CHECK_SKIP("no child that tells nobody of its end");
    }
    handle(SIGCHLD, children_heard_of);
    stop_with(backend, SIGUSR2);
    put_clock_on(481);
    put_clock_on(3);
    while (!is_said("all stacks\n")) {
        CHECK_EQ(-1, waitpid(-1, NULL, WNOHANG));
        CHECK_EQ(ECHILD, errno);
    }
    ge_report_disarm();
}
IN_BOTH(the_program_hears_of_no_child)

/* ---- descriptor 2 is not ours ---------------------------------------------
 */

static void
a_stranger_at_number_2_gets_nothing(enum ge_backend backend)
{
    int other[2];
    struct pollfd p = { .events = POLLIN };

    stop_with(backend, SIGUSR2);
    CHECK_EQ(0, pipe(other));
    CHECK_EQ(2, dup2_rudely(other[1], 2));
    put_clock_on(481);
    put_clock_on(3);
    let_it_end();
    ge_report_disarm();
    p.fd = other[0];
    CHECK_EQ(0, poll(&p, 1, 0));
    CHECK_EQ(0, strlen(text_so_far()));
}
IN_BOTH(a_stranger_at_number_2_gets_nothing)

static void
without_a_writable_stderr_it_is_refused(void)
{
    int null = open("/dev/null", O_RDONLY);

    CHECK(null >= 0);
    CHECK_EQ(2, dup2(null, 2));
    CHECK_EQ(-EBADF, ge_report_arm(0));
    CHECK_EQ(0, close(2));
    CHECK_EQ(-EBADF, ge_report_arm(0));
    CHECK_EQ(2, dup2(1, 2));
    CHECK_EQ(0, ge_report_arm(0));
    CHECK_EQ(-EALREADY, ge_report_arm(0));
    ge_report_disarm();
}

/* Nobody reads. */
static void
fill_stderr(void)
{
    char bytes[512] = { 0 };

    CHECK_EQ(0, fcntl(2, F_SETFL, O_NONBLOCK));
    while (write(2, bytes, sizeof bytes) > 0) {
    }
    CHECK_EQ(EAGAIN, errno);
    CHECK_EQ(0, fcntl(2, F_SETFL, 0));
}

static void
ask_with_a_full_stderr(enum ge_backend backend)
{
    int sleeps;

    stop_with(backend, SIGUSR2);
    if (entries_in("/proc/self/task") < 0) {
        CHECK_SKIP("no /proc");
    }
    fill_stderr();
    WAIT_FOR(sleeps_of_reporter() > 0); /* until it is needed */
    sleeps = sleeps_of_reporter();
    put_clock_on(481);
    put_clock_on(3);
    WAIT_FOR(sleeps_of_reporter() > sleeps); /* for a reader */
}

static void
stuck_on_a_full_stderr(void *arg)
{
    ask_with_a_full_stderr(*(enum ge_backend *)arg);
    put_clock_on(117); /* the deadline */
    for (;;) {
        (void)poll(NULL, 0, -1);
    }
}

static void
the_deadline_does_not_wait_for_a_reader(enum ge_backend backend)
{
    CHECK_DIED_OF(SIGTERM, status_of(stuck_on_a_full_stderr, &backend));
}
IN_BOTH(the_deadline_does_not_wait_for_a_reader)

static void
giving_up_does_not_wait_for_a_reader(enum ge_backend backend)
{
    char bytes[4096];
    struct pollfd p = { .events = POLLIN };
    int threads;

    ask_with_a_full_stderr(backend);
    p.fd = err[0];
    threads = entries_in("/proc/self/task") - 1; /* without the reporter */
    ge_report_disarm();
    CHECK_EQ(0, ge_report_arm(SIGUSR2)); /* another one, at once */
    ge_report_disarm();
    while (poll(&p, 1, 0) > 0) {
        ssize_t n = read(err[0], bytes, sizeof bytes);

        CHECK(n > 0 && memchr(bytes, 'g', (size_t)n) == NULL);
    }
    /* The one that was left behind finds that there is room, and that it is
     * too late. */
    WAIT_FOR(entries_in("/proc/self/task") <= threads);
    CHECK_EQ(0, strlen(text_so_far()));
}
IN_BOTH(giving_up_does_not_wait_for_a_reader)

static void
armed_and_disarmed_nothing_is_left(void)
{
    int threads;

    catch_stderr();
    CHECK_EQ(0, ge_report_arm(0));
    threads = entries_in("/proc/self/task") - 1; /* without the reporter */
    ge_report_disarm();
    if (threads < 0) {
        CHECK_SKIP("no /proc");
    }
    for (int i = 0; i < 1000; i++) {
        CHECK_EQ(0, ge_report_arm(0));
        ge_report_disarm();
    }
    /* A joined thread is still listed for a moment. */
    WAIT_FOR(entries_in("/proc/self/task") == threads);
}

/* ---- the clock ------------------------------------------------------------
 */

static void
clock_put_on_beside_it(void *arg)
{
    ge_policy(600 * GE_NS_PER_S, GE_EXIT_SIGNAL);
    take(SIGTERM, GE_ROLE_STOP);
    start(*(enum ge_backend *)arg);
    CHECK_EQ(0, raise(SIGTERM));
    let_it_look();
    (void)atomic_fetch_add(&put_on, 601 * GE_NS_PER_S); /* and no poke */
    for (;;) {
        (void)poll(NULL, 0, -1);
    }
}

/* As after a suspended machine wakes up: no sleep of the watcher is so long
 * that it would miss that the time is over. */
static void
the_deadline_follows_the_clock(enum ge_backend backend)
{
    CHECK_DIED_OF(SIGTERM, status_of(clock_put_on_beside_it, &backend));
}
IN_BOTH(the_deadline_follows_the_clock)

static const struct check_case cases[] = {
    CASE_WITHIN(without_an_answer_it_reports_futex, 240),
    CASE_WITHIN(without_an_answer_it_reports_pipe, 240),
    CASE_WITHIN(with_an_answer_it_is_silent_futex, 240),
    CASE_WITHIN(with_an_answer_it_is_silent_pipe, 240),
    CASE_WITHIN(who_asks_late_waits_for_the_answer_futex, 240),
    CASE_WITHIN(who_asks_late_waits_for_the_answer_pipe, 240),
    CASE_WITHIN(extended_it_asks_again_futex, 240),
    CASE_WITHIN(extended_it_asks_again_pipe, 240),
    CASE_WITHIN(an_answer_counts_for_one_stop_futex, 240),
    CASE_WITHIN(an_answer_counts_for_one_stop_pipe, 240),
    CASE_WITHIN(unarmed_it_says_nothing_futex, 240),
    CASE_WITHIN(unarmed_it_says_nothing_pipe, 240),
    CASE_WITHIN(a_lost_dump_signal_is_not_raised_futex, 240),
    CASE_WITHIN(a_lost_dump_signal_is_not_raised_pipe, 240),
    CASE_WITHIN(a_dump_that_crashes_harms_nobody_futex, 240),
    CASE_WITHIN(a_dump_that_crashes_harms_nobody_pipe, 240),
    CASE_WITHIN(the_program_hears_of_no_child_futex, 240),
    CASE_WITHIN(the_program_hears_of_no_child_pipe, 240),
    CASE_WITHIN(a_stranger_at_number_2_gets_nothing_futex, 240),
    CASE_WITHIN(a_stranger_at_number_2_gets_nothing_pipe, 240),
    CASE(without_a_writable_stderr_it_is_refused),
    CASE_WITHIN(the_deadline_does_not_wait_for_a_reader_futex, 240),
    CASE_WITHIN(the_deadline_does_not_wait_for_a_reader_pipe, 240),
    CASE_WITHIN(giving_up_does_not_wait_for_a_reader_futex, 240),
    CASE_WITHIN(giving_up_does_not_wait_for_a_reader_pipe, 240),
    CASE_WITHIN(armed_and_disarmed_nothing_is_left, 240),
    CASE_WITHIN(the_deadline_follows_the_clock_futex, 240),
    CASE_WITHIN(the_deadline_follows_the_clock_pipe, 240),
};
CHECK_MAIN(cases)
