/* See pipe2.h. */
#include "../ge_platform.h"

#include "pipe2.h"

#include <fcntl.h>
#include <unistd.h>

#if GE_HAVE_PIPE2

int
ge__pipe2(int fds[2], int flags)
{
    return pipe2(fds, flags);
}

#else

/* A child that is spawned between pipe() and fcntl() inherits the pipe; there
 * is no way around that without pipe2(). */
int
ge__pipe2(int fds[2], int flags)
{
    if (pipe(fds) < 0) {
        return -1;
    }
    for (int i = 0; i < 2; i++) {
        if (flags & O_CLOEXEC) {
            (void)fcntl(fds[i], F_SETFD, FD_CLOEXEC);
        }
        if (flags & O_NONBLOCK) {
            (void)fcntl(fds[i], F_SETFL, O_NONBLOCK);
        }
    }
    return 0;
}

#endif
