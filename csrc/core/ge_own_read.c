/* Reading a small file where others close what is ours; see ge_own.h. A file
 * of its own because it does what a handler may not. */
#include "ge_platform.h"

#include "ge_own.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Is that the name of what the number leads to? */
static bool
is_named(const struct ge_own *own, const struct stat *st)
{
    return st->st_dev == own->dev && st->st_ino == own->ino;
}

/* Others may have closed and used the number again before it was noted, and
 * what is noted is closed in the end. If it is the file of that name, they had
 * not. The name may lead elsewhere since, or nowhere: a thread that /proc had
 * has ended. So it is asked `before`, too. */
static bool
note_file(struct ge_own *own, int fd, const char *path,
          const struct stat *before)
{
    struct stat now;

    return ge_own_note(own, fd) == 0 &&
           (is_named(own, before) ||
            (stat(path, &now) == 0 && is_named(own, &now)));
}

/* By pread(), which fails on sockets, pipes and terminals: a read() would take
 * what others wait for, and may block. What comes out of another file is not
 * told. */
ssize_t
ge_own_read(const char *path, char *to, size_t most)
{
    struct stat before;
    struct ge_own own;
    ssize_t n;
    int fd;

    if (stat(path, &before) < 0 ||
        (fd = open(path, O_RDONLY | O_CLOEXEC)) < 0) {
        return -errno;
    }
    if (!note_file(&own, fd, path, &before)) {
        return -EBADF; /* left open: it may be somebody else's */
    }
    n = pread(fd, to, most, 0);
    n = n < 0 ? -errno : n;
    return ge_own_close(&own) ? n : -EBADF;
}
