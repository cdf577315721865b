/* Waking the watcher through a pipe to ourselves. */
#include "ge_platform.h"

#include "compat/pipe2.h"
#include "ge_wake.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

/* The identity is remembered because others close descriptors that they did
 * not open: after os.closerange() and an open(), a write by number alone went
 * into the user's file. wr is the last to be set and the first to be reset,
 * so a handler that sees it sees the identity too. */
static struct {
    int rd;
    atomic_int wr;
    dev_t dev;
    ino_t ino;
} wake = { .rd = -1, .wr = -1 };

/* To GE_LOWEST_FD or above, out of the way of programs that count on low
 * numbers; where the limit is lower than that, it stays where it is. */
static int
move_up(int fd)
{
    int up = fcntl(fd, F_DUPFD_CLOEXEC, GE_LOWEST_FD);

    if (up < 0) {
        return fd;
    }
    (void)close(fd);
    return up;
}

/* Is `fd` still the pipe that we opened? */
static bool
still_ours(int fd)
{
    struct stat st;

    return fd >= 0 && fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode) &&
           st.st_dev == wake.dev && st.st_ino == wake.ino;
}

int
ge__wake_pipe_open(void)
{
    struct stat st;
    int fds[2];

    if (ge__pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0) {
        return -errno;
    }
    fds[0] = move_up(fds[0]);
    fds[1] = move_up(fds[1]);
    if (fstat(fds[1], &st) < 0) {
        int err = errno;

        (void)close(fds[0]);
        (void)close(fds[1]);
        return -err;
    }
    wake.dev = st.st_dev;
    wake.ino = st.st_ino;
    wake.rd = fds[0];
    atomic_store(&wake.wr, fds[1]);
    return 0;
}

bool
ge__wake_pipe_whole(void)
{
    return still_ours(wake.rd) && still_ours(atomic_load(&wake.wr));
}

unsigned
ge__wake_pipe_seen(void)
{
    /* Empty it first, look at the facts afterwards: a byte that comes later
     * stays in the pipe and ends the next wait. */
    char sink[256];
    ssize_t n;

    if (!still_ours(wake.rd)) {
        return 0;
    }
    do {
        n = read(wake.rd, sink, sizeof sink);
    } while (n == (ssize_t)sizeof sink || (n < 0 && errno == EINTR));
    return 0;
}

void
ge__wake_pipe_wait(unsigned seen, int64_t until)
{
    struct pollfd p = { .fd = wake.rd, .events = POLLIN };
    int ms = -1;

    (void)seen;
    if (until != GE_NEVER) {
        int64_t left = until - ge_now();

        /* Rounded up, or the last millisecond is a busy loop. */
        left = left <= 0 ? 0 : (left + 999999) / 1000000;
        ms = left > INT_MAX ? INT_MAX : (int)left;
    }
    (void)poll(&p, 1, ms);
}

void
ge__wake_pipe_poke(void)
{
    int fd = atomic_load(&wake.wr);
    char byte = 0;

    if (still_ours(fd)) {
        /* A full pipe is success: the reader has reasons enough to wake. */
        ssize_t n = write(fd, &byte, 1);
        (void)n;
    }
}

void
ge__wake_pipe_close(void)
{
    int wr = atomic_exchange(&wake.wr, -1);

    if (still_ours(wr)) {
        (void)close(wr);
    }
    if (still_ours(wake.rd)) {
        (void)close(wake.rd);
    }
    wake.rd = -1;
}
