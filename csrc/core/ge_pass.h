/* Passing a signal on to whom it belongs. Async-signal-safe, where a comment
 * does not say otherwise. */
#ifndef GE_PASS_H
#define GE_PASS_H

#include "ge.h"

/* We hold the process's handler but do not want the signal. Find out whom it
 * belongs to. Two ways lead here:
 *   the kernel had chosen us before the give-back: the table shows the owner;
 *   the give-back is under way, or somebody put us back: the original.
 * Returns the function (SIG_DFL and SIG_IGN too) and its sa_flags. */
uintptr_t ge__pass_owner(int signum, int *flags);

/* Call it, in the form that its flags ask for; SIG_DFL and SIG_IGN: nothing.
 */
void ge__pass_call(uintptr_t function, int flags, int signum, siginfo_t *info,
                   void *context);

/* Have the kernel do what it does without a handler. */
void ge__pass_default(int signum);

/* Around what makes the handler beneath ours run: ours does it, others after
 * ge_trip_begin(). Call from: any thread, a handler too. */
void ge_pass_begin(int signum);
void ge_pass_end(int signum);

/* How many began since the last call, and have ended now (waits 1 s at most).
 * Call from: the main thread; not from a handler. */
unsigned ge_passed(int signum);

/* Is the handler beneath ours in the kernel's table, in our place? Call from:
 * any thread. */
bool ge_pass_hears(int signum);

#endif
