/* waiters NUMBER: so many threads wait for SIGTERM, whose handler wakes them
 * all.
 *
 * Prints "ready" when all have been started, and ends when all have ended:
 * what waiters.py does, at the least cost. */
#define _GNU_SOURCE
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_uint stop;

static void
on_signal(int signum)
{
    (void)signum;
    atomic_store(&stop, 1);
    (void)syscall(SYS_futex, &stop, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL,
                  0);
}

static void *
work(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop)) {
        (void)syscall(SYS_futex, &stop, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    }
    return NULL;
}

int
main(int argc, char **argv)
{
    struct sigaction action = { .sa_handler = on_signal,
                                .sa_flags = SA_RESTART };
    int number = argc == 2 ? atoi(argv[1]) : 0;
    pthread_t *threads = calloc((size_t)number, sizeof *threads);
    pthread_attr_t attr;

    if (threads == NULL || sigaction(SIGTERM, &action, NULL) != 0) {
        return 1;
    }
    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, 256 * 1024);
    for (int i = 0; i < number; i++) {
        if (pthread_create(&threads[i], &attr, work, NULL) != 0) {
            return 1;
        }
    }
    printf("ready\n");
    (void)fflush(stdout);
    for (int i = 0; i < number; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    return 0;
}
