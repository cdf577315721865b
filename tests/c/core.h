/* What the cases of several files share: taking signals, waiting for facts,
 * other processes that send. */
#ifndef CORE_H
#define CORE_H

#include "check.h"

#include "ge.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CORE_TSAN 1
#endif
#if __has_feature(address_sanitizer)
#define CORE_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define CORE_TSAN 1
#endif
#if defined(__SANITIZE_ADDRESS__)
#define CORE_ASAN 1
#endif

/* TSan is ten times slower, and it keeps one pending signal of a kind for
 * itself: queued signals merge there, as standard ones do in the kernel. */
#if defined(CORE_TSAN)
enum { CORE_SLOW = 20, CORE_QUEUES = 0 };
/* valgrind is slower still, and runs one thread at a time. */
#elif defined(CORE_VALGRIND)
enum { CORE_SLOW = 50, CORE_QUEUES = 1 };
#elif defined(CORE_QEMU) || defined(CORE_QUICK)
enum { CORE_SLOW = 50, CORE_QUEUES = 1 };
#elif defined(CORE_ASAN)
enum { CORE_SLOW = 2, CORE_QUEUES = 1 };
#else
enum { CORE_SLOW = 1, CORE_QUEUES = 1 };
#endif

#define MS INT64_C(1000000)

#if defined(RLIMIT_SIGPENDING)
static struct rlimit queued_before;

static inline void
queue_signals_again(void)
{
    (void)setrlimit(RLIMIT_SIGPENDING, &queued_before);
}
#endif

/* As when others of the same user have queued all that are allowed. Until the
 * case ends: valgrind ends its threads by a real-time signal, which cannot be
 * sent meanwhile, and it would try for ever. */
static inline void
queue_no_signals(void)
{
#if defined(RLIMIT_SIGPENDING)
    struct rlimit none;

    CHECK_EQ(0, getrlimit(RLIMIT_SIGPENDING, &queued_before));
    none = queued_before;
    none.rlim_cur = 0;
    CHECK_EQ(0, setrlimit(RLIMIT_SIGPENDING, &none));
    CHECK_EQ(0, atexit(queue_signals_again));
#else
    CHECK_SKIP("this system knows no limit");
#endif
}

/* Wait for a fact. poll() is a place where TSan delivers what it held back. */
#define WAIT_FOR(fact)                                                        \
    do {                                                                      \
        int64_t wait_until = ge_now() + 100 * GE_NS_PER_S;                    \
        while (!(fact)) {                                                     \
            if (ge_now() > wait_until) {                                      \
                check_end(CHECK_FAILED, "%s:%d: WAIT_FOR(%s)", __FILE__,      \
                          __LINE__, #fact);                                   \
            }                                                                 \
            (void)sched_yield();                                              \
            (void)poll(NULL, 0, 0);                                           \
        }                                                                     \
    } while (0)

/* A case for each back end. Ends skipped where the build lacks it. */
#define IN_BOTH(name)                                                         \
    static void name##_futex(void)                                            \
    {                                                                         \
        need(GE_FUTEX);                                                       \
        name(GE_FUTEX);                                                       \
    }                                                                         \
    static void name##_pipe(void)                                             \
    {                                                                         \
        need(GE_PIPE);                                                        \
        name(GE_PIPE);                                                        \
    }

__attribute__((unused)) static void
need(enum ge_backend backend)
{
    if (!(ge_backends() & 1u << backend)) {
        CHECK_SKIP("this build does not have the back end");
    }
}

/* The table that is wanted; take() and drop() change one row of it. */
static unsigned wanted[GE_NSIG];

__attribute__((unused)) static void
take(int signum, unsigned roles)
{
    wanted[signum] = roles | GE_ROLE_COUNT;
    CHECK_EQ(0, ge_trap_set(wanted));
}

__attribute__((unused)) static void
drop(int signum)
{
    wanted[signum] = 0;
    CHECK_EQ(0, ge_trap_set(wanted));
}

__attribute__((unused)) static void
start(enum ge_backend backend)
{
    /* TSan makes a thread's table of held-back signals at the thread's first
     * blocking call, and loses a signal that comes meanwhile. */
    (void)poll(NULL, 0, 0);
    ge_main_is(pthread_self());
    CHECK_EQ(0, ge_watcher_start(backend));
}

/* Before a fork: ASan holds locks of its own while a thread is being born, and
 * the child would find them held for ever. */
__attribute__((unused)) static void
start_and_let_it_turn(enum ge_backend backend)
{
    unsigned seen = ge_seen(GE_AT_NEWS);

    start(backend);
    WAIT_FOR(ge_seen(GE_AT_NEWS) != seen);
}

__attribute__((unused)) static pthread_t
spawn(void *(*run)(void *), void *arg)
{
    pthread_t thread;

    CHECK_EQ(0, pthread_create(&thread, NULL, run, arg));
    return thread;
}

__attribute__((unused)) static void
join(pthread_t thread)
{
    CHECK_EQ(0, pthread_join(thread, NULL));
}

__attribute__((unused)) static void
mask(int how, int signum)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, signum);
    CHECK_EQ(0, pthread_sigmask(how, &set, NULL));
}

__attribute__((unused)) static void
handle(int signum, void (*function)(int))
{
    struct sigaction sa = { .sa_handler = function };

    (void)sigemptyset(&sa.sa_mask);
    CHECK_EQ(0, sigaction(signum, &sa, NULL));
}

/* Memory that a forked child shares. */
__attribute__((unused)) static void *
shared(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    CHECK(p != MAP_FAILED);
    return p;
}

/* Run in a process of its own, which ends with 0 if `run` returns; the wait
 * status. The alarm is not inherited: a new one. */
__attribute__((unused)) static int
status_of(void (*run)(void *), void *arg)
{
    int status;
    pid_t pid;

    (void)fflush(stdout);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        (void)alarm(60);
        run(arg);
        _exit(0);
    }
    while (waitpid(pid, &status, 0) < 0) {
        CHECK_EQ(EINTR, errno);
    }
    return status;
}

#define CHECK_DIED_OF(signum, status)                                         \
    do {                                                                      \
        int died_status = (status);                                           \
        CHECK(WIFSIGNALED(died_status));                                      \
        CHECK_EQ(signum, WTERMSIG(died_status));                              \
    } while (0)

#define CHECK_EXITED(code, status)                                            \
    do {                                                                      \
        int exited_status = (status);                                         \
        CHECK(WIFEXITED(exited_status));                                      \
        CHECK_EQ(code, WEXITSTATUS(exited_status));                           \
    } while (0)

/* Entries of a directory of /proc/self; -1 without it. */
__attribute__((unused)) static int
entries_in(const char *path)
{
    DIR *dir = opendir(path);
    int n = 0;

    if (dir == NULL) {
        return -1;
    }
    while (readdir(dir) != NULL) {
        n++;
    }
    (void)closedir(dir);
    return n;
}

/* Two threads meet here, again and again; nobody sleeps. */
struct meeting {
    atomic_uint came;
};

__attribute__((unused)) static void
meet(struct meeting *m, unsigned round, unsigned n)
{
    (void)atomic_fetch_add(&m->came, 1);
    while (atomic_load(&m->came) < (round + 1) * n) {
        (void)sched_yield();
    }
}

/* Close what others may be using, as os.closerange() does. Past TSan, which
 * would report just that. */
__attribute__((unused)) static int
close_rudely(int fd)
{
#if defined(CORE_TSAN) && defined(SYS_close)
    return (int)syscall(SYS_close, fd);
#else
    return close(fd);
#endif
}

__attribute__((unused)) static int
dup2_rudely(int fd, int number)
{
#if defined(CORE_TSAN) && defined(SYS_dup2)
    return (int)syscall(SYS_dup2, fd, number);
#else
    return dup2(fd, number);
#endif
}

__attribute__((unused)) static int
dup_rudely(int fd)
{
#if defined(CORE_TSAN) && defined(SYS_dup)
    return (int)syscall(SYS_dup, fd);
#else
    return dup(fd);
#endif
}

/* A non-blocking pipe. */
__attribute__((unused)) static void
open_pipe(int fds[2])
{
    CHECK_EQ(0, pipe(fds));
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(0, fcntl(fds[i], F_SETFL, O_NONBLOCK));
    }
}

/* Another process that sends `signum` to this one until `stop`, never more
 * than `ahead` beyond what the receiver has reported in `seen`. */
struct sending {
    int signum;
    atomic_uint stop, sent, seen;
};

__attribute__((unused)) static pid_t
send_from_outside(struct sending *s, int signum, unsigned ahead)
{
    pid_t to = getpid(), pid = fork();
    union sigval value = { .sival_int = 7 };

    CHECK(pid >= 0);
    if (pid != 0) {
        s->signum = signum;
        return pid;
    }
    (void)alarm(120);
    while (!atomic_load(&s->stop)) {
        if (atomic_load(&s->sent) - atomic_load(&s->seen) >= ahead ||
            sigqueue(to, signum, value) < 0) { /* EAGAIN: the queue is full */
            (void)sched_yield();
            continue;
        }
        (void)atomic_fetch_add(&s->sent, 1);
    }
    _exit(0);
}

__attribute__((unused)) static void
end_sending(struct sending *s, pid_t pid)
{
    int status;

    atomic_store(&s->stop, 1);
    while (waitpid(pid, &status, 0) < 0) {
        CHECK_EQ(EINTR, errno);
    }
    CHECK_EXITED(0, status);
}

#endif
