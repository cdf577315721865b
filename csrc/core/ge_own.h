/* Descriptors that others may close and whose numbers they may use again. */
#ifndef GE_OWN_H
#define GE_OWN_H

#include <stdbool.h>
#include <sys/types.h>

/* A number and what it led to. Others close what they did not open
 * (os.closerange(), daemonisers), and the next open() gets the number. */
struct ge_own {
    int fd;
    dev_t dev;
    ino_t ino;
};

#define GE_OWN_NONE ((struct ge_own) { .fd = -1 })

/* Remember what `fd` leads to now. Call from: any thread. Returns 0; -EBADF.
 */
int ge_own_note(struct ge_own *own, int fd);

/* Does the number still lead there? Call from: any thread, a handler too. */
bool ge_own_same(const struct ge_own *own);

/* Close it if it does; GE_OWN_NONE is left behind. Returns whether it did.
 * Call from: any thread, the fork child. */
bool ge_own_close(struct ge_own *own);

/* Send a byte, if it is a socket and there is room. Never blocks, raises no
 * SIGPIPE. Call from: any thread, a handler too. Returns whether it did. */
bool ge_own_put(const struct ge_own *own, unsigned char byte);

/* The first `most` bytes of a file, such as those of /proc. It is never waited
 * for, and never what others have at the number meanwhile. Call from: any
 * thread. Returns how many; -errno, -EBADF if the number was taken away. */
ssize_t ge_own_read(const char *path, char *to, size_t most);

/* Two connected ends, non-blocking, close-on-exec, at GE_LOWEST_FD or above:
 * `pair[0]` becomes readable when `pair[1]` is woken through. Poll it, and
 * empty it with ge_own_drain(). All or nothing. Returns 0; -errno.
 * Call from: any thread. */
int ge_own_pair(struct ge_own pair[2]);

/* Make the other end readable. Never blocks, raises no SIGPIPE, and writes to
 * no file that has got the number. Call from: any thread, a handler too. */
void ge_own_wake(const struct ge_own *own);

/* Sleep until the other end wakes this one or hangs up. `pair[0]` must have
 * been given to ge_own_block() before. Call from: a thread that has nothing
 * else to do. */
void ge_own_block(const struct ge_own *own);
void ge_own_sleep(const struct ge_own *own);

/* Not readable any more, until the next wake. Call from: any thread. */
void ge_own_drain(const struct ge_own *own);

#endif
