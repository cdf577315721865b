/* Having the stacks written, by a signal handler of somebody else's.
 *
 * In a child, which has a copy of all memory and this one thread. In the
 * process itself the handler would walk through stacks that may be changing
 * while it does: faulthandler.dump_traceback_later() crashed CPython 3.10 to
 * 3.13 within seconds, beside threads at work. And while the interpreter is
 * finalised the signal gets its default action back: raised in that moment it
 * would end the process, with a wrong status. */
#include "ge_platform.h"

#include "ge_report.h"

#if GE_HAVE_QUIET_CHILD

#include <errno.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Faults end it silently: every signal is blocked here, and a fault that is
 * blocked has its default action. */
_Noreturn static void
dump_here(pid_t parent, int signum, void (*handler)(int))
{
    struct sigaction now;
    sigset_t set;

    /* Its reader may never read, and the deadline comes all the same. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)prctl(PR_SET_DUMPABLE, 0); /* no core file */
#if defined(SYS_close_range)
    /* Nobody shall wait for the end of a socket for the sake of a copy. */
    (void)syscall(SYS_close_range, 3U, ~0U, 0U);
#endif
    if (getppid() == parent && sigaction(signum, NULL, &now) == 0 &&
        now.sa_handler == handler) {
        (void)sigemptyset(&set);
        (void)sigaddset(&set, signum);
        (void)kill(getpid(), signum);
        (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    }
    _exit(0);
}

void
ge__report_dump(int signum, void (*handler)(int))
{
    pid_t parent = getpid();
    /* Not fork(), which runs other people's hooks, and whose child any wait()
     * of the program might be told of, with a SIGCHLD. */
    pid_t child = (pid_t)syscall(SYS_clone, 0L, 0L, 0L, 0L, 0L);

    if (child == 0) {
        dump_here(parent, signum, handler);
    }
    while (child > 0 && waitpid(child, NULL, __WALL) < 0 && errno == EINTR) {
    }
}

#else

void
ge__report_dump(int signum, void (*handler)(int))
{
    (void)signum;
    (void)handler;
}

#endif
