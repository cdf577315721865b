/* count_instructions PROGRAM [ARG...]: how many instructions the main thread executes
 * between two marks, exactly, in its signal handlers too, one by one.
 *
 * A mark is a SIGSTOP that the program sends to itself and that never reaches it. The
 * number is printed to descriptor 3 at every second mark. Other threads go on
 * undisturbed. Exits with 77 where the system does not let us trace. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NO_TRACE = 77 };

static void
become(char **argv)
{
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) {
        _exit(NO_TRACE);
    }
    (void)raise(SIGSTOP);
    execvp(argv[0], argv);
    _exit(127);
}

int
main(int argc, char **argv)
{
    unsigned long steps = 0;
    bool counting = false;
    int status;
    pid_t child;

    if (argc < 2) {
        return 2;
    }
    child = fork();
    if (child == 0) {
        become(argv + 1);
    }
    if (child < 0 || waitpid(child, &status, 0) < 0) {
        return NO_TRACE;
    }
    if (!WIFSTOPPED(status)) {
        return WIFEXITED(status) ? WEXITSTATUS(status) : NO_TRACE;
    }
    if (ptrace(PTRACE_SETOPTIONS, child, NULL, PTRACE_O_EXITKILL) != 0 ||
        ptrace(PTRACE_CONT, child, NULL, NULL) != 0) {
        return NO_TRACE;
    }
    while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
        long signum = WSTOPSIG(status);

        if (signum == SIGSTOP) {
            signum = 0;
            if (counting) {
                dprintf(3, "%lu\n", steps);
            }
            counting = !counting;
            steps = 0;
        } else if (signum == SIGTRAP) {
            signum = 0; /* a step; or the exec */
            steps++;
        }
        if (ptrace(counting ? PTRACE_SINGLESTEP : PTRACE_CONT, child, NULL,
                   (void *)signum) != 0 &&
            errno != ESRCH) {
            return NO_TRACE;
        }
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
