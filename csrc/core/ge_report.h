/* The native report: what is said of a stop that comes near its deadline where
 * Python says nothing. */
#ifndef GE_REPORT_H
#define GE_REPORT_H

#include "ge.h"
#include "ge_own.h"

/* From now on, report on descriptor 2, if it still leads where it leads now,
 * should nobody call ge_told() in the last fifth of a grace. Then
 * `dump_signal` is raised, whose handler writes the stacks, if it is still the
 * one that the kernel's table has now; 0: there is none.
 *
 * Starts a native thread that sleeps until then. The watcher could start it
 * when it is needed; but it would have to wait for locks of the C library,
 * which may be held for ever by what holds up the stop.
 *
 * Call from: any thread. Returns 0; -EALREADY; -EBADF: nobody can write to
 * descriptor 2; -errno. */
int ge_report_arm(int dump_signal);

/* No more. A report that is being written is left to its own end: who reads
 * it may never do so. Call from: any thread. */
void ge_report_disarm(void);

/* Python has said what the stop waits for. Call from: any thread. */
void ge_told(void);

/* ---- for the core --------------------------------------------------------
 */

/* Have it written if it is time. Never blocks. Returns when to look again.
 * Call from: the watcher. */
int64_t ge__report_turn(int64_t now);

/* Nobody has told of the next stop. Call from: any thread. */
void ge__report_reset(void);

/* Raise the signal where that can do no harm, if its handler is `handler`, and
 * wait until it is done. Call from: the reporter. */
void ge__report_dump(int signum, void (*handler)(int));

/* The text. `go_on` is asked before each line: may it still be written?
 * Returns whether all of it was. Call from: the reporter. */
bool ge__report_write(const struct ge_own *out, bool (*go_on)(void));

/* Is there room for a line? A write() without it would wait for who reads, and
 * might be left behind there. Waits until the deadline. */
bool ge__report_has_room(const struct ge_own *out);

#endif
