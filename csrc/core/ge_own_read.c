/* Reading a small file where others close what is ours; see ge_own.h. A file
 * of its own because it does what a handler may not. */
#include "ge_platform.h"

#include "ge_own.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* By pread(), which fails on sockets, pipes and terminals: a read() would take
 * what others wait for, and may block. What comes out of another file is not
 * told. */
ssize_t
ge_own_read(const char *path, char *to, size_t most)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct ge_own own;
    ssize_t n;

    if (fd < 0 || ge_own_note(&own, fd) < 0) {
        return -errno;
    }
    n = pread(fd, to, most, 0);
    n = n < 0 ? -errno : n;
    return ge_own_close(&own) ? n : -EBADF;
}
