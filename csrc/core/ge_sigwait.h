/* sigwait mode: the signals are blocked in the program's threads, and a native
 * thread takes them. Our handler stays in the kernel's table for every thread
 * that does not block them: one that is older, or that a library unblocks. */
#ifndef GE_SIGWAIT_H
#define GE_SIGWAIT_H

#include "ge.h"

/* Have the thread take these and no others; with none of them it ends. What is
 * pending stays pending meanwhile. The masks of other threads are the caller's
 * affair: a signal that is blocked in all and not in the set waits for ever.
 *
 * Call from: any thread. 0; -ENOSYS; -errno: nothing has changed. */
int ge_sigwait_set(const sigset_t *signals);

/* Who wiped our handler has just given the signal back to us: lay it again,
 * over what is there. What the thread took meanwhile has reached the other one
 * when this returns (some seconds at most), or will reach ours. Returns
 * whether it is laid: not if the signal is not ours, nor in a forked child
 * that is not repaired yet. Call from: any thread, not from a handler. */
bool ge_sigwait_put_back(int signum);

/* Call from: any thread, a handler too. */
bool ge_sigwait_takes(int signum);

/* Block or unblock them in this thread. No nudge is sent to a main thread that
 * has blocked the signal so. *fresh: what was not blocked before. Call from:
 * any thread. */
void ge_sigwait_block(const sigset_t *signals, sigset_t *fresh);
void ge_sigwait_unblock(const sigset_t *signals);

/* What a thread has unblocked for a call that makes a child, or that sends a
 * signal to the thread itself. */
struct ge_unblocked {
    sigset_t taken, left;
};

/* Until the call with NULL, children of this thread keep these blocked if it
 * blocks them: one that will take them by handlers of its own must not get
 * them before. Call from: any thread. */
void ge_sigwait_keep(const sigset_t *signals);

/* Unblock what we ever had blocked, as the child inherits the mask; the
 * handler hears what comes meanwhile. Call from: any thread. */
void ge_sigwait_pause(struct ge_unblocked *was);

/* Block it again, but for what we have let go of meanwhile.
 * Call from: the same thread. */
void ge_sigwait_resume(const struct ge_unblocked *was);

/* No thread is left that inherited our mask. Call from: any thread. */
void ge_sigwait_forget(void);

#endif
