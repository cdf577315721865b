/* The harness of the plain C tests. Use:
 *
 *     #include "check.h"
 *
 *     static void
 *     pipe_wakes_its_reader(void)
 *     {
 *         CHECK_EQ(0, ge_pipe_open(&p));
 *         CHECK(p.rd >= 64);
 *     }
 *
 *     static const struct check_case cases[] = {
 *         CASE(pipe_wakes_its_reader),
 *         CASE_WITHIN(storm_of_eight_senders, 240),
 *     };
 *     CHECK_MAIN(cases)
 *
 * Each case is a forked process that starts with every signal at its default
 * and unblocked, and that has 150 seconds unless CASE_WITHIN says otherwise
 * (what many threads do in turns takes as often a turn of a busy machine). A
 * case passes by returning. It fails by a CHECK, a signal, another exit
 * status, or a sanitizer's report (which ends in an exit status).
 *
 *     prog                run all; TAP output; exit status 1 if any failed
 *     prog NAME [NAME...] run only these
 *     prog --list         print the names
 *
 * tests/test_c.py reads the CASE lines too: one a line, each name once. */
#ifndef CHECK_H
#define CHECK_H

#include "ge_platform.h" /* the feature macros, before any header */

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* How many times longer than usual a case may take, as under valgrind. */
#ifndef CHECK_PATIENCE
#define CHECK_PATIENCE 1
#endif

struct check_case {
    const char *name;
    void (*run)(void);
    unsigned seconds;
};

enum { CHECK_FAILED = 1, CHECK_SKIPPED = 77, CHECK_DEFAULT_SECONDS = 150 };

// clang-format off
#define CASE(function) { #function, function, CHECK_DEFAULT_SECONDS }
#define CASE_WITHIN(function, seconds) { #function, function, seconds }
// clang-format on

/* Unlike assert() these are there with NDEBUG too. Call from: any thread. */
#define CHECK(condition)                                                      \
    do {                                                                      \
        if (!(condition)) {                                                   \
            check_end(CHECK_FAILED, "%s:%d: CHECK(%s)", __FILE__, __LINE__,   \
                      #condition);                                            \
        }                                                                     \
    } while (0)

/* For integers: also shows both values. */
#define CHECK_EQ(expected, actual)                                            \
    do {                                                                      \
        long long check_e = (long long)(expected);                            \
        long long check_a = (long long)(actual);                              \
        if (check_e != check_a) {                                             \
            check_end(CHECK_FAILED,                                           \
                      "%s:%d: CHECK_EQ(%s, %s): %lld, not %lld", __FILE__,    \
                      __LINE__, #expected, #actual, check_a, check_e);        \
        }                                                                     \
    } while (0)

/* End the case as skipped. `why` is one line: what is missing here. */
#define CHECK_SKIP(why) check_end(CHECK_SKIPPED, "skipped: %s", why)

#define CHECK_MAIN(cases)                                                     \
    int main(int argc, char **argv)                                           \
    {                                                                         \
        return check_main(argc, argv, cases,                                  \
                          sizeof(cases) / sizeof((cases)[0]));                \
    }

/* Print one diagnostic line and end the process, without stdio's lock, which
 * another thread may hold. */
__attribute__((format(printf, 2, 3), noreturn, unused)) static void
check_end(int status, const char *format, ...)
{
    char line[512] = "# ";
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(line + 2, sizeof(line) - 3, format, args);
    va_end(args);
    n = n < 0 ? 2 : n + 2;
    n = n > (int)sizeof(line) - 2 ? (int)sizeof(line) - 2 : n;
    line[n] = '\n';
    if (write(STDOUT_FILENO, line, (size_t)n + 1) < 0) {
        /* Nowhere to say it; the status still tells. */
    }
    _exit(status);
}

/* Who started us may have ignored or blocked signals (a shell does so with
 * SIGINT for a background job). No case shall depend on that. */
static void
check_normal_signals(void)
{
    struct sigaction normal = { .sa_handler = SIG_DFL };
    sigset_t none;
    int signum;

    for (signum = 1; signum < GE_NSIG; signum++) {
        /* It refuses KILL, STOP and the C library's own; they are normal. */
        (void)sigaction(signum, &normal, NULL);
    }
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Returns the wait status. */
static int
check_fork(const struct check_case *c)
{
    int status = 0;
    pid_t pid;

    (void)fflush(stdout); /* or the child prints our lines once more */
    pid = fork();
    if (pid < 0) {
        check_end(CHECK_FAILED, "fork: %s", strerror(errno));
    }
    if (pid == 0) {
        (void)alarm(c->seconds * CHECK_PATIENCE);
        c->run();
        exit(0); /* not _exit(): LeakSanitizer looks at normal exit only */
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

/* Returns whether the case passed or was skipped. */
static bool
check_run(const struct check_case *c, size_t number)
{
    int status = check_fork(c);
    bool skipped = WIFEXITED(status) && WEXITSTATUS(status) == CHECK_SKIPPED;
    bool ok = skipped || (WIFEXITED(status) && WEXITSTATUS(status) == 0);

    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
        printf("# time limit of %u s\n", c->seconds);
    } else if (WIFSIGNALED(status)) {
        printf("# ended by signal %d\n", WTERMSIG(status));
    } else if (!ok) {
        printf("# exit status %d\n", WEXITSTATUS(status));
    }
    printf("%s %zu - %s%s\n", ok ? "ok" : "not ok", number, c->name,
           skipped ? " # SKIP" : "");
    return ok;
}

static bool
check_wanted(const char *name, int argc, char **argv)
{
    int i;

    for (i = 1; i < argc; i++) {
        if (strcmp(argv[i], name) == 0) {
            return true;
        }
    }
    return argc == 1;
}

#ifdef HELGRIND_H
/* Helgrind knows no fork: what threads of the parent did is no race in the
 * child, which has none of them. */
static void
check_forget(void)
{
    extern char __data_start, _end; /* the linker's: all static data */

    VALGRIND_HG_CLEAN_MEMORY(&__data_start, (size_t)(&_end - &__data_start));
}
#define CHECK_AT_FORK() (void)pthread_atfork(NULL, NULL, check_forget)
#else
#define CHECK_AT_FORK() (void)0
#endif

static int
check_main(int argc, char **argv, const struct check_case *cases, size_t n)
{
    bool list = argc == 2 && strcmp(argv[1], "--list") == 0;
    size_t wanted = 0;
    size_t number = 0;
    bool all_ok = true;
    size_t i;

    for (i = 0; i < n; i++) {
        wanted += check_wanted(cases[i].name, argc, argv) ? 1 : 0;
        if (list) {
            printf("%s\n", cases[i].name);
        }
    }
    if (list) {
        return 0;
    }
    if (argc > 1 && wanted != (size_t)argc - 1) {
        fprintf(stderr, "%s: no such case; see --list\n", argv[0]);
        return 2;
    }
    check_normal_signals();
    CHECK_AT_FORK();
    printf("1..%zu\n", wanted);
    for (i = 0; i < n; i++) {
        if (check_wanted(cases[i].name, argc, argv)) {
            all_ok = check_run(&cases[i], ++number) && all_ok;
        }
    }
    return all_ok ? 0 : 1;
}

#endif
