/* Sends signals on command, and says when: CLOCK_MONOTONIC in nanoseconds.
 *
 *     kill PID SIGNUM DELAY    after DELAY ns; prints the time before kill(2)
 *     end  PID SIGNUM DELAY    the same, and the time when PID had ended */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
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

static void
rest(long long ns)
{
    struct timespec t = { ns / 1000000000, ns % 1000000000 };

    (void)nanosleep(&t, NULL);
}

int
main(void)
{
    char what[8];
    int pid, signum;
    long long delay;

    while (scanf("%7s %d %d %lld", what, &pid, &signum, &delay) == 4) {
        int fd = -1;
        int64_t sent;

        if (strcmp(what, "end") == 0) {
            /* Before the signal: the number is certainly its own. */
            fd = (int)syscall(SYS_pidfd_open, pid, 0);
            if (fd < 0) {
                perror("pidfd_open");
                return 1;
            }
        }
        rest(delay);
        sent = now();
        if (kill(pid, signum) != 0) {
            perror("kill");
            return 1;
        }
        printf("%lld", (long long)sent);
        if (fd >= 0) {
            struct pollfd p = { .fd = fd, .events = POLLIN };

            if (poll(&p, 1, -1) != 1) {
                perror("poll");
                return 1;
            }
            printf(" %lld", (long long)now());
            (void)close(fd);
        }
        printf("\n");
        (void)fflush(stdout);
    }
    return 0;
}
