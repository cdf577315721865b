/* Descriptors of ours in a process where others close what is not theirs.
 *
 * We look whether the number is still ours before each use. Between the look
 * and the use it may change hands, and no call does both. So the use itself
 * is chosen to do no harm to a stranger:
 * - waking is send(), not write(): on all that is not a socket it fails, so no
 *   file, pipe or terminal ever gets a byte;
 * - where it can be, what is sent is a packet without a byte in it, which is
 *   nothing at all to a stream. Only a datagram socket that took the number in
 *   that microsecond sends an empty datagram. Where it cannot, on all systems
 *   but Linux, a stream socket that took it then gets a byte;
 * - emptying is recv() with room for nothing, for the same reasons: a read()
 *   would take what another reader waits for, and may block;
 * - SIGPIPE is not raised, which write() does when the other end went first.
 * A pipe can do none of that, and an eventfd shares its inode with all others.
 *
 * What remains is close(): there is no harmless one. It is never called
 * without the look immediately before it. */
#include "ge_platform.h"

#include "compat/socketpair.h"
#include "ge_own.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(MSG_NOSIGNAL)
#define SOFTLY (MSG_DONTWAIT | MSG_NOSIGNAL)
#else
#define SOFTLY MSG_DONTWAIT /* older macOS: SO_NOSIGPIPE, for our own */
#endif

#if GE_HAVE_EMPTY_PACKET
/* Packets, not datagrams: the end that is left alone hangs up, which wakes who
 * polls it. */
enum { PAIR_TYPE = SOCK_SEQPACKET, WAKE_SIZE = 0, ROOM = 0 };
#else
enum { PAIR_TYPE = SOCK_STREAM, WAKE_SIZE = 1, ROOM = 256 };
#endif

enum {
    MOST_PACKETS = 1024, /* what is left over makes poll() return at once */
    TRIES = 100, /* to open a pair while somebody closes all there is */
};

int
ge_own_note(struct ge_own *own, int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0) {
        return -errno;
    }
    *own = (struct ge_own) { .fd = fd, .dev = st.st_dev, .ino = st.st_ino };
    return 0;
}

bool
ge_own_same(const struct ge_own *own)
{
    struct stat st;

    return own->fd >= 0 && fstat(own->fd, &st) == 0 && st.st_dev == own->dev &&
           st.st_ino == own->ino;
}

bool
ge_own_close(struct ge_own *own)
{
    bool ours = ge_own_same(own);

    if (ours) {
        (void)close(own->fd);
    }
    *own = GE_OWN_NONE;
    return ours;
}

bool
ge_own_put(const struct ge_own *own, unsigned char byte)
{
    return send(own->fd, &byte, 1, SOFTLY) == 1;
}

void
ge_own_wake(const struct ge_own *own)
{
    char byte = 0;

    if (ge_own_same(own)) {
        /* Full is success: the reader has reasons enough to wake. */
        (void)send(own->fd, &byte, WAKE_SIZE, SOFTLY);
    }
}

/* One packet, or all that fits; false if there was none. */
static bool
receive(const struct ge_own *own)
{
    char sink[ROOM + 1];

    return ge_own_same(own) && recv(own->fd, sink, ROOM, SOFTLY) >= 0;
}

void
ge_own_drain(const struct ge_own *own)
{
    /* Bounded: where the other end has hung up, there is no end of nothing. */
    for (int i = 0; i < MOST_PACKETS && receive(own); i++) {
    }
}

void
ge_own_block(const struct ge_own *own)
{
    if (ge_own_same(own)) {
        (void)fcntl(own->fd, F_SETFL, 0);
    }
}

/* On the socket, not on its number. poll() looks the number up again when it
 * is woken: here: poll(n);   stranger: closes both ends, opens its file, gets
 * n; here: woken by the hang-up, finds a silent file at n, sleeps for ever
 * recv() has the socket in hand until it returns. It takes nothing out. */
void
ge_own_sleep(const struct ge_own *own)
{
    char sink[ROOM + 1];

    if (ge_own_same(own)) {
        (void)recv(own->fd, sink, ROOM, MSG_PEEK);
    }
}

/* Out of the way of programs that count on low numbers, such as 0 to 2 of a
 * process that was started without them. Where the limit is lower than that,
 * it stays where it is. */
static void
move_up(struct ge_own *own)
{
    struct ge_own low = *own;
    int up = fcntl(low.fd, F_DUPFD_CLOEXEC, GE_LOWEST_FD);

    if (up < 0 && low.fd <= STDERR_FILENO) {
        up = fcntl(low.fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    }
    if (up >= 0) {
        own->fd = up;
        (void)ge_own_close(&low);
    }
}

/* Others may have closed and used the numbers again before they were noted. If
 * what is sent at one arrives at the other, they had not. */
static bool
note_both(struct ge_own pair[2], const int fds[2])
{
    if (ge_own_note(&pair[0], fds[0]) < 0 ||
        ge_own_note(&pair[1], fds[1]) < 0) {
        return false;
    }
    ge_own_wake(&pair[1]);
    return receive(&pair[0]);
}

static int
try_pair(struct ge_own pair[2])
{
    int fds[2];

    if (ge__socketpair(PAIR_TYPE, fds) < 0) {
        return -errno;
    }
    if (!note_both(pair, fds)) {
        return -EBADF; /* left open: they may be somebody else's */
    }
    move_up(&pair[0]);
    move_up(&pair[1]);
    if (ge_own_same(&pair[0]) && ge_own_same(&pair[1])) {
        return 0;
    }
    (void)ge_own_close(&pair[0]);
    (void)ge_own_close(&pair[1]);
    return -EBADF;
}

int
ge_own_pair(struct ge_own pair[2])
{
    int rc = -EBADF;

    for (int i = 0; i < TRIES && rc == -EBADF; i++) {
        rc = try_pair(pair);
    }
    if (rc < 0) {
        pair[0] = pair[1] = GE_OWN_NONE;
    }
#if defined(SO_NOSIGPIPE)
    if (rc == 0) {
        int on = 1;

        (void)setsockopt(pair[1].fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
    }
#endif
    return rc;
}
