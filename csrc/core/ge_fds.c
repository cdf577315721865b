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
    struct ge_own own; /* as it was added */
    enum ge_fd_kind kind;
    bool socket;
    bool lost;             /* seen to be another's, or to block */
    int64_t told;          /* GE_FD_STOP: the stop that it was told of */
    uint64_t fed[GE_NSIG]; /* GE_FD_SIGNALS: how many runs it was told of */
};

/* lock: protects all of this; held over the writes, which do not block, so
 * that after ge_fd_remove() nothing is written any more. Nothing else is
 * locked while it is held. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct entry *entries;
static size_t used, room;

/* The user may have closed it, and the number may be somebody else's now; or
 * made it a blocking one, which would hold up the watcher. */
static bool
still_fit(const struct entry *e)
{
    int flags;

    if (!ge_own_same(&e->own)) {
        return false;
    }
    flags = e->socket ? O_NONBLOCK : fcntl(e->own.fd, F_GETFL);
    return flags >= 0 && flags & O_NONBLOCK;
}

/* To a socket by a call that fails on all else, see ge_own.c. For a pipe of
 * the user's there is only write(): if it is closed and its number used again
 * between the look and the write, the byte is in the new file. So the two are
 * next to each other, for each byte anew. */
static bool
write_byte(const struct entry *e, unsigned char byte)
{
    return e->socket ? ge_own_put(&e->own, byte)
                     : write(e->own.fd, &byte, 1) == 1;
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

        while (e->fed[s] != count && !e->lost) {
            e->fed[s]++;
            e->lost = !still_fit(e);
            if (!e->lost && !write_byte(e, (unsigned char)s)) {
                e->fed[s] = count; /* full, it wakes its reader as it is */
            }
        }
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
        e->lost = !ge_own_same(&e->own);
        ge_own_wake(&e->own);
    }
}

void
ge__fds_feed(void)
{
    pthread_mutex_lock(&lock);
    {
        for (size_t i = 0; i < used; i++) {
            if (entries[i].lost) {
                continue;
            }
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

    while (i < used && entries[i].own.fd != fd) {
        i++;
    }
    return i;
}

static int
append(const struct entry *e)
{
    size_t old = find(e->own.fd);

    if (old < used) {
        if (!entries[old].lost && ge_own_same(&entries[old].own)) {
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

static int
add(const struct entry *e)
{
    int rc;

    pthread_mutex_lock(&lock);
    {
        rc = append(e);
    }
    pthread_mutex_unlock(&lock);
    ge_poke(); /* a GE_FD_STOP added after the stop is told at once */
    return rc;
}

int
ge_fd_add(int fd)
{
    struct entry e = { .kind = GE_FD_SIGNALS };
    struct stat st;
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || ge_own_note(&e.own, fd) < 0 || fstat(fd, &st) < 0) {
        return -EBADF;
    }
    if (!(flags & O_NONBLOCK)) {
        return -EAGAIN; /* a full one would hold up the watcher */
    }
    e.socket = S_ISSOCK(st.st_mode);
    return add(&e);
}

int
ge_fd_add_stop(const struct ge_own *own)
{
    struct entry e = { .own = *own, .kind = GE_FD_STOP, .socket = true };

    return add(&e);
}

static bool
remove_if(int fd, const struct ge_own *own)
{
    bool found;

    pthread_mutex_lock(&lock);
    {
        size_t i = find(fd);

        found = i < used && (own == NULL || (entries[i].own.dev == own->dev &&
                                             entries[i].own.ino == own->ino));
        if (found) {
            forget(i);
        }
    }
    pthread_mutex_unlock(&lock);
    return found;
}

int
ge_fd_remove(int fd)
{
    return remove_if(fd, NULL) ? 0 : -ENOENT;
}

void
ge_fd_remove_stop(const struct ge_own *own)
{
    (void)remove_if(own->fd, own);
}

int
ge_fd_lost(enum ge_fd_kind *kind)
{
    int fd = -ENOENT;

    pthread_mutex_lock(&lock);
    {
        for (size_t i = 0; i < used && fd < 0; i++) {
            if (entries[i].lost) {
                fd = entries[i].own.fd;
                *kind = entries[i].kind;
                forget(i);
            }
        }
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

void
ge__fds_fork_child(void)
{
    /* The memory stays: another thread may have been inside malloc(). */
    lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    used = 0;
}
