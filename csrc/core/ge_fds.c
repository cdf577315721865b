/* Descriptors that loops read, fed by the watcher and never by a handler. */
#include "ge_platform.h"

#include "ge_fds.h"
#include "ge_fork.h"
#include "ge_handler.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct entry {
    int fd;
    enum ge_fd_kind kind;
    bool told; /* GE_FD_STOP: the byte was written */
    dev_t dev;
    ino_t ino;
};

/* lock: protects all of this; held over the writes, which do not block, so
 * that after ge_fd_remove() nothing is written any more. Nothing else is
 * locked while it is held. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct entry *entries;
static size_t used, room;
static uint64_t fed[GE_NSIG];

/* The user may have closed it, and the number may be somebody else's now. */
static bool
still_same(const struct entry *e)
{
    struct stat st;

    return fstat(e->fd, &st) == 0 && st.st_dev == e->dev &&
           st.st_ino == e->ino;
}

/* A full descriptor wakes its reader as it is: the rest is dropped. */
static void
write_byte(int fd, unsigned char byte, uint64_t times)
{
    while (times-- > 0) {
        ssize_t n = write(fd, &byte, 1);

        if (n < 0 && errno != EINTR) {
            return;
        }
    }
}

static void
forget(size_t i)
{
    entries[i] = entries[--used];
}

static void
feed_signal(int signum)
{
    uint64_t count = ge_count(signum);
    uint64_t new = count - fed[signum];

    fed[signum] = count;
    for (size_t i = 0; new > 0 && i < used; i++) {
        if (entries[i].kind == GE_FD_SIGNALS && still_same(&entries[i])) {
            write_byte(entries[i].fd, (unsigned char)signum, new);
        }
    }
}

static void
feed(void)
{
    bool stopping = ge_state() != GE_RUNNING;

    for (size_t i = used; i-- > 0;) {
        struct entry *e = &entries[i];

        if (e->kind == GE_FD_STOP && stopping && !e->told) {
            e->told = true;
            if (still_same(e)) {
                write_byte(e->fd, 0, 1);
            }
        }
    }
    for (int s = 1; s < GE_NSIG; s++) {
        feed_signal(s);
    }
}

void
ge__fds_feed(void)
{
    pthread_mutex_lock(&lock);
    {
        feed();
    }
    pthread_mutex_unlock(&lock);
}

static size_t
find(int fd)
{
    size_t i = 0;

    while (i < used && entries[i].fd != fd) {
        i++;
    }
    return i;
}

static int
append(const struct entry *e)
{
    size_t old = find(e->fd);

    if (old < used) {
        if (still_same(&entries[old])) {
            return -EEXIST;
        }
        forget(old); /* closed behind our back, and the number came again */
    }
    if (used == room) {
        size_t more = room ? room * 2 : 8;
        struct entry *bigger = realloc(entries, more * sizeof *bigger);

        if (bigger == NULL) {
            return -ENOMEM;
        }
        entries = bigger;
        room = more;
    }
    feed(); /* what came before now is not this descriptor's */
    entries[used++] = *e;
    return 0;
}

int
ge_fd_add(int fd, enum ge_fd_kind kind)
{
    struct entry e = { .fd = fd, .kind = kind };
    struct stat st;
    int flags = fcntl(fd, F_GETFL);
    int rc;

    if (flags < 0 || fstat(fd, &st) < 0) {
        return -errno;
    }
    if (!(flags & O_NONBLOCK)) {
        return -EAGAIN; /* a full one would hold up the watcher */
    }
    e.dev = st.st_dev;
    e.ino = st.st_ino;
    pthread_mutex_lock(&lock);
    {
        rc = append(&e);
    }
    pthread_mutex_unlock(&lock);
    ge_poke(); /* a GE_FD_STOP added after the stop is told at once */
    return rc;
}

int
ge_fd_remove(int fd)
{
    size_t i;

    pthread_mutex_lock(&lock);
    {
        i = find(fd);
        if (i < used) {
            forget(i);
        } else {
            i = SIZE_MAX;
        }
    }
    pthread_mutex_unlock(&lock);
    return i == SIZE_MAX ? -ENOENT : 0;
}

void
ge__fds_fork_child(void)
{
    /* The memory stays: another thread may have been inside malloc(). */
    lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    used = 0;
    for (int s = 0; s < GE_NSIG; s++) {
        fed[s] = 0;
    }
}
