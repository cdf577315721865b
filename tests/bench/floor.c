/* What no program can do faster: a signal that wakes a thread, in plain C.
 *
 *     floor handler    the signal handler wakes it
 *     floor watcher    the handler wakes a thread, which wakes it
 *     floor sigwait    a thread in sigwaitinfo(2) wakes it
 *
 * At each line of stdin it prints "ready" and sleeps until SIGTERM; then it
 * prints the time: CLOCK_MONOTONIC in nanoseconds. */
#define _GNU_SOURCE
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static atomic_uint worker_word, watcher_word;
static atomic_uint *woken_by_handler = &worker_word;

static void
sleep_on(atomic_uint *word, unsigned seen)
{
    while (atomic_load(word) == seen) {
        (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL,
                      0);
    }
}

static void
wake(atomic_uint *word)
{
    atomic_fetch_add(word, 1);
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void
on_signal(int signum)
{
    (void)signum;
    wake(woken_by_handler);
}

static void *
watch(void *arg)
{
    unsigned seen = 0;

    (void)arg;
    for (;; seen++) {
        sleep_on(&watcher_word, seen);
        wake(&worker_word);
    }
    return NULL;
}

static void *
take(void *arg)
{
    const sigset_t *set = arg;
    siginfo_t info;

    for (;;) {
        if (sigwaitinfo(set, &info) == SIGTERM) {
            wake(&worker_word);
        }
    }
    return NULL;
}

static void *
work(void *arg)
{
    char line[16];
    struct timespec t;

    (void)arg;
    while (fgets(line, sizeof line, stdin) != NULL) {
        unsigned seen = atomic_load(&worker_word);

        printf("ready\n");
        (void)fflush(stdout);
        sleep_on(&worker_word, seen);
        (void)clock_gettime(CLOCK_MONOTONIC, &t);
        printf("woken=%lld\n", (long long)t.tv_sec * 1000000000 + t.tv_nsec);
        (void)fflush(stdout);
    }
    exit(0);
}

static int
start(void *(*func)(void *), void *arg, const sigset_t *blocked)
{
    pthread_t thread;
    sigset_t before;
    int rc;

    (void)pthread_sigmask(SIG_BLOCK, blocked, &before);
    rc = pthread_create(&thread, NULL, func, arg);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

int
main(int argc, char **argv)
{
    struct sigaction action = { .sa_handler = on_signal,
                                .sa_flags = SA_RESTART };
    sigset_t term;
    int rc = 0;

    if (argc != 2) {
        return 2;
    }
    (void)sigemptyset(&term);
    (void)sigaddset(&term, SIGTERM);
    if (strcmp(argv[1], "sigwait") == 0) {
        (void)sigprocmask(SIG_BLOCK, &term, NULL);
        rc = start(take, &term, &term);
    } else if (strcmp(argv[1], "watcher") == 0) {
        woken_by_handler = &watcher_word;
        rc = start(watch, NULL, &term);
    }
    if (sigaction(SIGTERM, &action, NULL) != 0 || rc != 0 ||
        start(work, NULL, &term) != 0) {
        return 1;
    }
    for (;;) {
        (void)pause();
    }
}
