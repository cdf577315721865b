/* socketpair() with flags, where the system has only the one without. */
#ifndef GE_SOCKETPAIR_H
#define GE_SOCKETPAIR_H

/* A non-blocking, close-on-exec pair of local sockets of this type. Returns
 * -1 with errno, as socketpair(). Call from: any thread. */
int ge__socketpair(int type, int fds[2]);

#endif
