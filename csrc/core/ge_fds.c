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
    int64_t told;          /* GE_FD_STOP: the stop that it was told of */
    uint64_t fed[GE_NSIG]; /* GE_FD_SIGNALS: how many runs it was told of */
    dev_t dev;
    ino_t ino;
};

/* lock: protects all of this; held over the writes, which do not block, so
 * that after ge_fd_remove() nothing is written any more. Nothing else is
 * locked while it is held. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct entry *entries;
static size_t used, room;

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
feed_signals(struct entry *e)
{
    for (int s = 1; s < GE_NSIG; s++) {
        uint64_t count = ge_count(s);

        if (count != e->fed[s] && still_same(e)) {
            write_byte(e->fd, (unsigned char)s, count - e->fed[s]);
        }
        e->fed[s] = count;
    }
}

/* Which stop is told by its time, as HURRY is not another one. The record is
 * there before the watcher is woken. */
static void
feed_stop(struct entry *e)
{
    struct ge_info stop;

    if (ge_state() != GE_RUNNING && ge_stop_record(&stop) &&
        stop.when != e->told) {
        e->told = stop.when;
        if (still_same(e)) {
            write_byte(e->fd, 0, 1);
        }
    }
}

void
ge__fds_feed(void)
{
    pthread_mutex_lock(&lock);
    {
        for (size_t i = 0; i < used; i++) {
            if (entries[i].kind == GE_FD_STOP) {
                feed_stop(&entries[i]);
            } else {
                feed_signals(&entries[i]);
            }
        }
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
    entries[used] = *e;
    /* What came before now is not this descriptor's. It is not fed here: only
     * the watcher has SIGPIPE blocked. */
    for (int s = 1; s < GE_NSIG; s++) {
        entries[used].fed[s] = ge_count(s);
    }
    used++;
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
}
