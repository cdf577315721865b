/* Which signals may be handled, and which end a process. */
#include "core.h"

#include <sys/resource.h>

static void
only_harmless_signals_may_be_handled(void)
{
    CHECK_EQ(-EINVAL, ge_sig_check(-1));
    CHECK_EQ(-EINVAL, ge_sig_check(0));
    CHECK_EQ(-EINVAL, ge_sig_check(GE_NSIG));
    CHECK_EQ(-EINVAL, ge_sig_check(1000000));
    CHECK_EQ(-EPERM, ge_sig_check(SIGKILL));
    CHECK_EQ(-EPERM, ge_sig_check(SIGSTOP));
    CHECK_EQ(-EFAULT, ge_sig_check(SIGSEGV));
    CHECK_EQ(-EFAULT, ge_sig_check(SIGBUS));
    CHECK_EQ(-EFAULT, ge_sig_check(SIGFPE));
    CHECK_EQ(-EFAULT, ge_sig_check(SIGILL));
    CHECK_EQ(0, ge_sig_check(SIGTERM));
    CHECK_EQ(0, ge_sig_check(SIGINT));
    CHECK_EQ(0, ge_sig_check(SIGHUP));
    CHECK_EQ(0, ge_sig_check(SIGCHLD));
    CHECK_EQ(0, ge_sig_check(SIGRTMIN));
    CHECK_EQ(0, ge_sig_check(SIGRTMAX));
    CHECK_EQ(-EINVAL, ge_sig_check(SIGRTMAX + 1));
}

static void
the_c_librarys_own_signals_are_refused(void)
{
#if defined(__SIGRTMIN)
    for (int s = __SIGRTMIN; s < SIGRTMIN; s++) {
        CHECK_EQ(-EINVAL, ge_sig_check(s));
    }
#else
    CHECK_SKIP("no __SIGRTMIN");
#endif
}

static void
what_may_be_handled_can_be_taken(void)
{
    for (int s = 1; s < GE_NSIG; s++) {
        if (ge_sig_check(s) == 0) {
            take(s, 0);
            CHECK(ge_trap_ours(s));
            drop(s);
        }
    }
}

static void
hit_by(void *arg)
{
    struct rlimit no_core = { 0, 0 };

    (void)setrlimit(RLIMIT_CORE, &no_core);
    (void)raise(*(int *)arg);
}

/* The kernel is asked: a child sends itself the signal. */
static bool
really_ends(int signum)
{
    int status;
    pid_t pid = fork();

    CHECK(pid >= 0);
    if (pid == 0) {
        (void)alarm(60);
        hit_by(&signum);
        _exit(0);
    }
    CHECK_EQ(pid, waitpid(pid, &status, WUNTRACED));
    if (WIFSTOPPED(status)) {
        (void)kill(pid, SIGKILL);
        CHECK_EQ(pid, waitpid(pid, &status, 0));
        return false;
    }
    return WIFSIGNALED(status) && WTERMSIG(status) == signum;
}

static void
the_kernel_agrees_which_signals_end_a_process(void)
{
    for (int s = 1; s < GE_NSIG; s++) {
        if (ge_sig_check(s) == 0) {
            CHECK_EQ(really_ends(s) ? s : -s, ge_sig_ends(s) ? s : -s);
        }
    }
    CHECK(!ge_sig_ends(0));
    CHECK(!ge_sig_ends(-1));
    CHECK(!ge_sig_ends(GE_NSIG));
}

static void
numbers_out_of_range_touch_nothing(void)
{
    struct ge_info info;
    const int bad[] = { -1, 0, GE_NSIG, GE_NSIG + 1000000 };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_EQ(0, ge_count(bad[i]));
        CHECK_EQ(0, ge_first(bad[i], &info));
        CHECK_EQ(0, ge_last(bad[i], &info));
        CHECK_EQ(0, ge_held(bad[i]));
        CHECK_EQ(0, ge_held_take(bad[i]));
        CHECK(!ge_took(bad[i]));
        CHECK(!ge_trap_ours(bad[i]));
        CHECK_EQ(0, ge_forward(bad[i]));
        CHECK_EQ(-ENOENT, ge_trip_begin(bad[i]));
        CHECK(ge_trap_lay(bad[i], true) < 0);
        CHECK(!ge_covered(bad[i]));
    }
}

static const struct check_case cases[] = {
    CASE(only_harmless_signals_may_be_handled),
    CASE(the_c_librarys_own_signals_are_refused),
    CASE(what_may_be_handled_can_be_taken),
    CASE(the_kernel_agrees_which_signals_end_a_process),
    CASE(numbers_out_of_range_touch_nothing),
};
CHECK_MAIN(cases)
