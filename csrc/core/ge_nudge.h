/* Nudges: the main thread is sent a signal once more, to wake it. */
#ifndef GE_NUDGE_H
#define GE_NUDGE_H

#include "ge.h"

/* Is this the thread to nudge? Call from: any thread, a handler too. */
bool ge__in_main(void);

/* Is this siginfo that of the nudge on its way? Then it has arrived.
 * Call from: the handler in main. */
bool ge__nudge_came(int signum, const siginfo_t *info);

/* Whoever runs handlers in main knows of what was marked; from now on main may
 * be woken for it. Call from: any thread, a handler too. */
void ge__nudge_due(int signum);

/* Repeat what main was told of and has not taken. Returns when to call again.
 * Call from: the watcher. */
int64_t ge__nudge_again(int64_t now);

/* A nudge that is on its way to main must arrive while our handler is there:
 * by then it would be a signal to the previous owner, and mostly death. Main
 * needs only the processor for it, unless it has the signal blocked. A main
 * that is here itself then takes the nudge out: a thread's own signals come
 * before the process's, so it is the one that sigwait() returns. Another
 * thread can only give main a while to unblock it, which is the limit.
 *
 * Call from: any thread but a handler, once the signal is no longer armed. */
void ge__nudge_settle(int signum);

#endif
