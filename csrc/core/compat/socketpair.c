/* See socketpair.h. */
#include "../ge_platform.h"

#include "socketpair.h"

#include <fcntl.h>
#include <sys/socket.h>

#if GE_HAVE_SOCK_CLOEXEC

int
ge__socketpair(int type, int fds[2])
{
    return socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds);
}

#else

/* A child that is spawned between the calls inherits the pair; there is no way
 * around that without the flags. */
int
ge__socketpair(int type, int fds[2])
{
    if (socketpair(AF_UNIX, type, 0, fds) < 0) {
        return -1;
    }
    for (int i = 0; i < 2; i++) {
        (void)fcntl(fds[i], F_SETFD, FD_CLOEXEC);
        (void)fcntl(fds[i], F_SETFL, O_NONBLOCK);
    }
    return 0;
}

#endif
