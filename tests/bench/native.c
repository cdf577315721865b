/* What the measured Python programs call by ctypes. */
#define _GNU_SOURCE
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int64_t
now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* A long call into C, which no signal ends before its time: a computation. */
void
compute(int64_t ns)
{
    int64_t end = now() + ns;

    while (now() < end) {
    }
}

/* A thread that has no need of Python and looks at a pointer all the time:
 * when did it become this one? */
static struct {
    _Atomic(void *) *cell;
    void *wanted;
    pthread_t thread;
    int64_t seen;
} poller;

static void *
poll_main(void *arg)
{
    (void)arg;
    while (atomic_load_explicit(poller.cell, memory_order_relaxed) !=
           poller.wanted) {
    }
    poller.seen = now();
    return NULL;
}

int
poller_start(void *cell, void *wanted)
{
    poller.cell = cell;
    poller.wanted = wanted;
    return pthread_create(&poller.thread, NULL, poll_main, NULL);
}

int64_t
poller_join(void)
{
    (void)pthread_join(poller.thread, NULL);
    return poller.seen;
}

/* A thread that has nothing to do with signals: for how long did it not run?
 * Times of at least `least` ns are added up. */
static struct {
    pthread_t thread;
    atomic_int quit;
    int64_t least, longest, sum;
} bystander;

static void *
stand_by(void *arg)
{
    int64_t last = now();

    (void)arg;
    while (!atomic_load_explicit(&bystander.quit, memory_order_relaxed)) {
        int64_t then = now();
        int64_t gap = then - last;

        last = then;
        if (gap >= bystander.least) {
            bystander.sum += gap;
            if (gap > bystander.longest) {
                bystander.longest = gap;
            }
        }
    }
    return NULL;
}

int
bystander_start(int64_t least)
{
    bystander.least = least;
    bystander.longest = bystander.sum = 0;
    atomic_store(&bystander.quit, 0);
    return pthread_create(&bystander.thread, NULL, stand_by, NULL);
}

void
bystander_join(int64_t *longest, int64_t *sum)
{
    atomic_store(&bystander.quit, 1);
    (void)pthread_join(bystander.thread, NULL);
    *longest = bystander.longest;
    *sum = bystander.sum;
}

/* The least that can count signals. */
static atomic_llong runs;

static void
count(int signum)
{
    (void)signum;
    atomic_fetch_add(&runs, 1);
}

int
counter_start(int signum)
{
    struct sigaction action = { .sa_handler = count, .sa_flags = SA_RESTART };

    return sigaction(signum, &action, NULL);
}

int64_t
counter_read(void)
{
    return atomic_load(&runs);
}

/* Threads that sleep on one futex until all are woken, once a begin. */
static atomic_uint woken;

void
sleepers_begin(void)
{
    atomic_store(&woken, 0);
}

void
sleep_once(void)
{
    while (!atomic_load(&woken)) {
        (void)syscall(SYS_futex, &woken, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    }
}

void
wake_sleepers(void)
{
    atomic_store(&woken, 1);
    (void)syscall(SYS_futex, &woken, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL,
                  0);
}
