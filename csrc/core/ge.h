/* The core of gracefulexit: everything that the binding and the C tests may
 * use. Plain C11 and POSIX threads; knows no Python.
 *
 * Results are 0 or a count, or a negative errno. Times are nanoseconds of
 * CLOCK_MONOTONIC; GE_NEVER means no limit.
 *
 * "Call from" names one of four contexts: any thread; one thread at start;
 * a handler; the child of a fork. */
#ifndef GE_H
#define GE_H

#include "ge_platform.h"

#include "ge_own.h"

#include <pthread.h>
#include <stddef.h>

#define GE_NEVER INT64_MAX
#define GE_MAX_CELLS 32

/* ---- what the process is doing ------------------------------------------ */

enum ge_state {
    GE_RUNNING = 0,
    GE_STOPPING = 1, /* somebody asked; there is time until the deadline */
    GE_HURRY = 2,    /* asked again: only protected sections are waited for */
};

/* A further signal counts as "again" only this long after the last step: a
 * terminal's Ctrl-C often comes with a SIGTERM, or with a second SIGINT from
 * a parent process, within milliseconds. */
#define GE_HURRY_GAP_NS INT64_C(500000000)

/* What is known about one signal. */
struct ge_info {
    int signum; /* 0: nothing came, or a stop by ge_stop() */
    int code;   /* si_code */
    int pid;    /* si_pid; -1 where the sender is not known */
    int uid;
    int value; /* si_value.sival_int */
    int64_t when;
};

/* Call from: any thread. */
enum ge_state ge_state(void);

/* Time of the last accepted step, 0 while running. Call from: any thread. */
int64_t ge_state_since(void);

/* Enter GE_STOPPING as a signal would, without one.
 *
 * Call from: any thread; never from a handler of the kernel's.
 * Returns 1 if this call began the stop, 0 if it had begun before. */
int ge_stop(void);

/* The same for a signal that came earlier and was only remembered: the record
 * is that signal's, the time is now. Call from: as above. */
int ge_promote(int signum);

/* Who began the stop. Call from: any thread.
 * Returns 1 and fills *out once the record is complete, else 0. */
int ge_stop_record(struct ge_info *out);

/* Back to GE_RUNNING, for the next killer: the stop record is forgotten, and
 * the marks of signals that are not armed; counters go on.
 *
 * Call from: any thread, with no signal armed as a stop signal. */
void ge_reset(void);

/* ---- signals --------------------------------------------------------------
 */

enum {
    GE_ROLE_COUNT = 1 << 0, /* counted and passed to descriptors; always set */
    GE_ROLE_STOP = 1 << 1,  /* begins the stop */
    GE_ROLE_HURRY = 1 << 2, /* escalates */
    GE_ROLE_TRIP = 1 << 3,  /* the handler beneath ours runs as well; the main
                             * thread is nudged until ge_took() */
    GE_ROLE_HOLD = 1 << 4,  /* remembered for the end of a section */
    GE_ROLE_CHAIN = 1 << 5, /* the function that was there before us runs too,
                             * in the handler */
    GE_ROLE_GATE = 1 << 6,  /* sections that are not open yet shall wait */
};

/* May this signal be handled at all? 0; -EINVAL: no such signal, or the C
 * library's own; -EPERM: SIGKILL, SIGSTOP; -EFAULT: a fault of the program
 * itself (SIGSEGV and its like). Call from: any thread. */
int ge_sig_check(int signum);

/* Does the default action end the process? Call from: any thread. */
bool ge_sig_ends(int signum);

/* Make `roles` the wanted state of all signals: roles[s] == 0 is not ours.
 *
 * Newly wanted signals get our handler over what is there, by one atomic
 * swap each; dropped ones get back what was there before, if they are still
 * ours; then every handler that is running has left. What reached the core
 * before the give-back has been recorded when this returns.
 *
 * Call from: any thread; never from a handler.
 * All or nothing: on failure nothing has changed. Returns 0 or -errno. */
int ge_trap_set(const unsigned roles[GE_NSIG]);

/* Put our handler over whatever is in the kernel's table now, which becomes
 * the one beneath; with `adopt` also the one to give back to.
 *
 * Call from: any thread. Returns 1 if it was not ours, 0 if it was;
 * -ENOENT if the signal is not armed; -errno. */
int ge_trap_lay(int signum, bool adopt);

/* Put our handler back if it was wiped: if the kernel's table shows what it
 * was laid over. What a stranger has put there stays.
 *
 * Call from: any thread. Returns whether our handler is in place. */
bool ge_trap_relay(int signum);

/* Is our handler in the kernel's table? Call from: any thread. */
bool ge_trap_ours(int signum);

/* What shall be in the kernel's table once we have left it: what is there now,
 * if a stranger put it there; else the original, flags and mask too. For who
 * is about to change the table by a call that knows only functions (CPython's
 * signal.signal()) and then puts this in. Call from: any thread. 0 or -errno.
 */
int ge_trap_after_us(int signum, struct sigaction *out);

/* Accept a signal that reached the process by another way than our handler.
 * Call from: any thread, a handler too. 1, or 0 if it is not armed. */
int ge_forward(int signum);

/* Handler runs since the process started to count. Call from: any thread. */
uint64_t ge_count(int signum);

/* The first and the last siginfo of a signal since its count was zero.
 * Call from: any thread. Returns 1 if there was one, else 0. */
int ge_first(int signum, struct ge_info *out);
int ge_last(int signum, struct ge_info *out);

/* Runs recorded with GE_ROLE_HOLD since the last call; clears them.
 * Call from: any thread. */
unsigned ge_held_take(int signum);
unsigned ge_held(int signum);

/* The main thread has noticed a signal of GE_ROLE_TRIP. Returns whether one
 * was waiting. Call from: the main thread. */
bool ge_took(int signum);

/* The thread that nudges go to. Call from: any thread; never from a handler.
 */
void ge_main_is(pthread_t main);

/* Are there signals that only sections want? Call from: any thread. */
bool ge_holding(void);

/* Does somebody hear or hold it? Call from: any thread. */
bool ge_covered(int signum);

/* Wake the main thread out of pause() and the like by sending it the signal
 * again; the handler there tells it from a real one. At most one is on its
 * way: while it is, main has a signal pending and needs no other. Nothing is
 * sent where our handler is not in place: the nudge would be somebody else's
 * signal, and mostly death. Call from: any thread, a handler too. */
void ge_nudge(int signum);

/* Send no nudge until the call with `on` false, and none is on its way when
 * this returns: CPython's signal.signal() is about to change the kernel's
 * table, and would take a nudge for a real signal.
 * Call from: the main thread, not nested. */
void ge_nudge_bar(int signum, bool on);

/* Mark the signal as waiting for main, uncounted. Tell who runs handlers
 * there, and then call ge_trip_end(), which wakes main repeatedly until
 * ge_took(). Call from: any thread. 0; -ENOENT without GE_ROLE_TRIP. */
int ge_trip_begin(int signum);
void ge_trip_end(int signum);

/* ---- flags, waiters ----------------------------------------------------- */

/* A pointer that the handler replaces by `on` at the stop. */
struct ge_cell {
    _Atomic(void *) slot;
    void *on;
};

/* Call from: any thread. A cell added after the stop began is flipped before
 * this returns. Returns 0; -ENOSPC beyond GE_MAX_CELLS. */
int ge_cell_add(struct ge_cell *cell);

/* Then no handler touches the cell. Call from: any thread, no handler. */
void ge_cell_remove(struct ge_cell *cell);

/* The places to sleep natively: everybody who waits for the stop, the one who
 * wants to hear of every change, who wants to open a section, the reporter;
 * and at the stop, too, those who all need one lock next. */
enum ge_where { GE_AT_STOP, GE_AT_NEWS, GE_AT_GATE, GE_AT_REPORT, GE_IN_TURN };
#define GE_PLACES 5

/* The number to give to ge_wait(). Read it before you look whether there is
 * a reason to sleep. Call from: any thread. */
unsigned ge_seen(enum ge_where where);

/* Sleep until something changed since `seen`, or until the time `until`.
 * Call from: any thread. Returns 0, -ETIMEDOUT, or -EINTR (futex only). */
int ge_wait(enum ge_where where, unsigned seen, int64_t until);

/* Wake all who wait there, for a reason of the caller's own. */
void ge_wake_all(enum ge_where where);

/* The stop wakes the first at GE_IN_TURN, and who has the lock the next. */
void ge_wake_next(void);

/* Is anybody there? Then sleep without the lock, for a ms at most. */
bool ge_in_turn(void);
void ge_let_pass(void);

/* ---- wake-up descriptors --------------------------------------------------
 */

enum ge_fd_kind {
    GE_FD_SIGNALS, /* one byte a handler run, the signal's number */
    GE_FD_STOP,    /* woken once, at the stop */
};

/* Fed by the watcher. Call from: any thread. Returns 0; -EBADF; -EAGAIN: the
 * descriptor blocks; -EEXIST; -ENOMEM. */
int ge_fd_add(int fd);

/* The same for the second end of a ge_own_pair(). */
int ge_fd_add_stop(const struct ge_own *own);

/* After these return nothing of ours is written to it. Call from: any thread.
 * Returns 0; -ENOENT. The second leaves alone whoever has the number now. */
int ge_fd_remove(int fd);
void ge_fd_remove_stop(const struct ge_own *own);

/* One that was dropped when it was to be fed, as it had become another's or
 * blocked; told once. Call from: any thread. Returns its number; -ENOENT. */
int ge_fd_lost(enum ge_fd_kind *kind);

/* ---- the watcher and the end ----------------------------------------------
 */

enum ge_backend {
    GE_FUTEX = 1,
    GE_PIPE = 2,
    GE_SIGWAIT = 3, /* the first of them that there is, and ge_sigwait.h */
};

/* The back ends this build can do, as a bit mask of 1 << ge_backend. */
unsigned ge_backends(void);

/* Start the native thread that wakes, feeds and keeps the deadline. Once for
 * each process; more starts are counted by the caller.
 * Call from: any thread. 0; -EALREADY; -ENOSYS; -errno. */
int ge_watcher_start(enum ge_backend backend);

/* Stop it and wait until it has ended. Nothing to do if it does not run.
 * Call from: any thread; never from a handler. */
void ge_watcher_stop(void);

/* Let the watcher look again. Call from: any thread, a handler too. */
void ge_poke(void);

enum { GE_EXIT_SIGNAL = -1, GE_EXIT_CODE = -2 };

/* The grace (GE_NEVER: none) and how the process is to end: GE_EXIT_SIGNAL,
 * GE_EXIT_CODE (128 + n) or a number of 0 to 255. Call from: any thread. */
void ge_policy(int64_t grace_ns, int exit_how);

/* When the process will be ended; GE_NEVER if it will not (yet).
 * Call from: any thread. */
int64_t ge_deadline(void);

/* Move the deadline by `ns`. Call from: any thread. */
void ge_extend(int64_t ns);

/* True once nothing can stop the end any more: HURRY and no section open. A
 * thread that then wants to write and flush has GE_LAST_WORDS_NS for it. */
bool ge_ending(void);
#define GE_LAST_WORDS_NS INT64_C(1000000000)

/* End the process now, as ge_policy() says, for the signal of the stop.
 * Call from: any thread, a handler too. Does not return. */
_Noreturn void ge_end(void);

/* Die of `signum`, or, where the kernel will not have it (PID 1), exit with
 * 128 + signum. Call from: any thread, a handler too. Does not return. */
_Noreturn void ge_die(int signum);

/* ---- fork --------------------------------------------------------------- */

/* In a forked child: give every signal back, forget the parent's threads,
 * cells, descriptors and counters. `sections` stay open, the forking
 * thread's own. Call from: the fork child, its only thread. */
void ge_fork_child(unsigned sections);

#endif
