/* Signal numbers: which there are, which may be handled, which end a process
 * by default. Tables only. */
#include "ge_platform.h"

#include "ge.h"

#include <errno.h>

/* The C library keeps the first real-time signals for its threads: 32 and 33
 * with glibc, 34 too with musl. SIGRTMIN is a call that knows. */
static bool
reserved(int signum)
{
#if defined(SIGRTMIN) && defined(__SIGRTMIN)
    return signum >= __SIGRTMIN && signum < SIGRTMIN;
#elif defined(SIGRTMIN) && GE_HAVE_FUTEX
    return signum >= 32 && signum < SIGRTMIN;
#else
    (void)signum;
    return false;
#endif
}

int
ge_sig_check(int signum)
{
    if (signum <= 0 || signum >= GE_NSIG || reserved(signum)) {
        return -EINVAL;
    }
    switch (signum) {
    case SIGKILL:
    case SIGSTOP:
        return -EPERM;
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
    case SIGTRAP:
    case SIGSYS:
        /* Returning from the handler runs into the same fault again. */
        return -EFAULT;
    default:
        return 0;
    }
}

bool
ge_sig_ends(int signum)
{
    switch (signum) {
    case SIGCHLD:
    case SIGCONT:
    case SIGURG:
    case SIGTSTP:
    case SIGTTIN:
    case SIGTTOU:
    case SIGSTOP:
#if defined(SIGWINCH)
    case SIGWINCH:
#endif
#if defined(SIGINFO)
    case SIGINFO:
#endif
        return false;
    default:
        return signum > 0 && signum < GE_NSIG;
    }
}
