/* The floor of deadline.py: sleeps until SIGTERM, then for the grace, and dies
 * of the signal. deadline busy|... SECONDS */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void *
spin(void *arg)
{
    for (;;) {
        __asm__ volatile("");
    }
    return arg;
}

static struct timespec
later_by(struct timespec t, double seconds)
{
    int64_t ns = t.tv_nsec + (int64_t)(seconds * 1e9);

    t.tv_sec += (time_t)(ns / 1000000000);
    t.tv_nsec = (long)(ns % 1000000000);
    return t;
}

int
main(int argc, char **argv)
{
    struct timespec end;
    pthread_t thread;
    sigset_t set;
    int signum;

    if (argc != 3) {
        return 2;
    }
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    /* One: of Python's busy threads one runs at a time. */
    if (strcmp(argv[1], "busy") == 0 &&
        pthread_create(&thread, NULL, spin, NULL) != 0) {
        return 2;
    }
    (void)puts("ready");
    (void)fflush(stdout);
    (void)sigwait(&set, &signum);
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    end = later_by(end, atof(argv[2]));
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) != 0) {
    }
    (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    (void)raise(SIGTERM);
    return 1;
}
