/* broadcast NUMBER: so many threads sleep on one futex. For each line of stdin
 * all are woken, and it prints after how many nanoseconds the last of them
 * ran. */
#define _GNU_SOURCE
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static atomic_uint word;
static atomic_int asleep, awake;
static atomic_llong last;

static int64_t
now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void *
work(void *arg)
{
    unsigned seen = atomic_load(&word);

    (void)arg;
    atomic_fetch_add(&asleep, 1);
    for (;;) {
        while (atomic_load(&word) == seen) {
            (void)syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, seen, NULL,
                          NULL, 0);
        }
        long long mine = now(), before = atomic_load(&last);

        while (before < mine &&
               !atomic_compare_exchange_weak(&last, &before, mine)) {
        }
        seen++;
        atomic_fetch_add(&awake, 1);
    }
    return NULL;
}

static void
until(const atomic_int *count, int number)
{
    /* And then a moment to fall asleep in. */
    struct timespec t = { 0, 10 * 1000000 };

    do {
        (void)nanosleep(&t, NULL);
    } while (atomic_load(count) < number);
    (void)nanosleep(&t, NULL);
}

int
main(int argc, char **argv)
{
    int number = argc == 2 ? atoi(argv[1]) : 0;
    char line[16];
    pthread_attr_t attr;

    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, 256 * 1024);
    for (int i = 0; i < number; i++) {
        pthread_t thread;

        if (pthread_create(&thread, &attr, work, NULL) != 0) {
            return 1;
        }
    }
    until(&asleep, number);
    while (fgets(line, sizeof line, stdin) != NULL) {
        int64_t start = now();

        atomic_store(&awake, 0);
        atomic_fetch_add(&word, 1);
        (void)syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL,
                      NULL, 0);
        until(&awake, number);
        printf("%lld\n", (long long)(atomic_load(&last) - start));
        (void)fflush(stdout);
    }
    return 0;
}
