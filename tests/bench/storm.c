/* storm PID SIGNUM SENDERS NUMBER: so many processes send NUMBER signals each,
 * as fast as they can. A real-time signal for which there is no room is sent
 * again. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int
send_all(pid_t pid, int signum, int number)
{
    union sigval none = { .sival_int = 0 };

    for (int i = 0; i < number; i++) {
        while (sigqueue(pid, signum, none) != 0) {
            if (errno != EAGAIN) {
                perror("sigqueue");
                return 1;
            }
            (void)sched_yield();
        }
    }
    return 0;
}

int
main(int argc, char **argv)
{
    int start[2], senders, failed = 0;
    char byte;

    if (argc != 5 || pipe(start) != 0) {
        return 2;
    }
    senders = atoi(argv[3]);
    for (int i = 0; i < senders; i++) {
        pid_t child = fork();

        if (child < 0) {
            return 1;
        }
        if (child == 0) {
            (void)close(start[1]);
            (void)read(start[0], &byte, 1); /* until all are there */
            _exit(send_all(atoi(argv[1]), atoi(argv[2]), atoi(argv[4])));
        }
    }
    (void)close(start[1]);
    for (int i = 0; i < senders; i++) {
        int status;

        failed |= wait(&status) < 0 || status != 0;
    }
    return failed;
}
