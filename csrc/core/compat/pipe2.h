/* pipe2(), or the same in three calls where it is missing. */
#ifndef GE_COMPAT_PIPE2_H
#define GE_COMPAT_PIPE2_H

/* 0, or -1 with errno. `flags`: O_NONBLOCK | O_CLOEXEC. */
int ge__pipe2(int fds[2], int flags);

#endif
