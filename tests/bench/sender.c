/* Sends signals on command: lines of stdin.
 *
 *     kill PID SIGNUM DELAY    after DELAY nanoseconds
 *     end  PID SIGNUM DELAY    the same; then waits until PID has ended
 *     when                     prints when the last was sent, right before
 * kill(2), and when PID had ended, or 0
 *
 * Times are CLOCK_MONOTONIC in nanoseconds. It says them only when asked, so
 * that at the signal nobody wakes but who got it. */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
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

static int64_t
send_signal(int pid, int signum, long long delay)
{
    int64_t sent;

    rest(delay);
    sent = now();
    if (kill(pid, signum) != 0) {
        perror("kill");
        exit(1);
    }
    return sent;
}

static int64_t
wait_for(int pidfd)
{
    struct pollfd p = { .fd = pidfd, .events = POLLIN };
    int64_t ended;

    if (poll(&p, 1, -1) != 1) {
        perror("poll");
        exit(1);
    }
    ended = now();
    (void)close(pidfd);
    return ended;
}

int
main(void)
{
    char line[80];
    int64_t sent = 0, ended = 0;

    while (fgets(line, sizeof line, stdin) != NULL) {
        char what[8];
        int pid = 0, signum = 0;
        long long delay = 0;
        int n = sscanf(line, "%7s %d %d %lld", what, &pid, &signum, &delay);

        if (n == 4 && strcmp(what, "kill") == 0) {
            sent = send_signal(pid, signum, delay);
            ended = 0;
        } else if (n == 4 && strcmp(what, "end") == 0) {
            /* Opened before the signal: then the number is certainly its own.
             */
            int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

            if (pidfd < 0) {
                perror("pidfd_open");
                return 1;
            }
            sent = send_signal(pid, signum, delay);
            ended = wait_for(pidfd);
        } else if (n == 1 && strcmp(what, "when") == 0) {
            printf("%lld %lld\n", (long long)sent, (long long)ended);
            (void)fflush(stdout);
        } else {
            return 2;
        }
    }
    return 0;
}
