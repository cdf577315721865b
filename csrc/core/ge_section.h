/* Protected sections: how many are open, and the gate before those that are
 * not. The part of the core's interface that ge.h would be too long with. */
#ifndef GE_SECTION_H
#define GE_SECTION_H

#include "ge.h"

enum ge_opener {
    GE_OUTSIDE, /* has none open, and may have to wait */
    GE_INSIDE,  /* has one open already, and never waits */
    GE_LAST,    /* ends the process, and may open some on the way */
};

/* Count one more.
 *
 * Call from: any thread. 0; -ECANCELED: the process is ending; -EBUSY: what is
 * held is being changed; -EAGAIN: the gate is shut. */
int ge_section_enter(enum ge_opener who);

/* The same for who holds the lock under which ge_section_look() is called. */
int ge_section_enter_locked(enum ge_opener who);

/* Returns how many are still open. Call from: any thread. */
unsigned ge_section_leave(void);
unsigned ge_sections(void);

/* Send openers by way of the caller's lock, or no longer: between the two,
 * who is counted was counted before. Call from: any thread, under that lock.
 * Returns what was set before. */
bool ge_section_look(bool on);

/* Swap "none open" to "closed": from now on none can open, and the process may
 * end. Call from: any thread. Returns whether that is so (or was). */
bool ge_section_close(void);

/* From now on, until ge_gate_lift(), who has no section open waits for those
 * that are. Call from: any thread, a handler too. */
void ge_gate_shut(int64_t now);

/* The same, and for a second from now in any case. Call from: any thread. */
void ge_gate_shut_anew(int64_t now);

/* Does a signal wait for the open sections? Call from: any thread. */
bool ge_gate(void);

/* When the gate opens for a while to who waits at it; 0 if it is open now.
 * Sleep at GE_AT_GATE. Call from: any thread. */
int64_t ge_gate_opens(int64_t now);

/* Let all in, unless the gate is to be shut: a signal is held, or the process
 * is in a hurry. Call from: any thread. */
void ge_gate_lift(void);

/* ---- one section alone, in the main thread ---------------------------------
 *
 * ge_trap_set() for signals that nobody wants but this section. CPython's
 * table is changed by its own signal.signal(), once for each signal:
 *
 *   in:   ge_solo_begin(), then signal.signal(ours), ge_solo_cover()
 *   out:  ge_solo_end(), then signal.signal(before), ge_solo_restore()
 *
 * A handler that runs between the first two finds itself wanted; one between
 * the last two passes the signal on. */

/* 0, or -EBUSY: it is not that simple, and nothing has changed. */
int ge_solo_begin(const int *signums, int n);

/* Our handler over CPython's; not covered if that fails. */
void ge_solo_cover(int signum);

/* False: one was held, or somebody else is in the table; all is as before. */
bool ge_solo_end(const int *signums, int n);

/* Flags and mask too, which signal.signal() does not know. */
void ge_solo_restore(int signum);

/* ---- for the core alone ---------------------------------------------------
 */

/* Has the gate a reason to be shut? */
bool ge__gate_wanted(void);

/* The process goes on after all (the last killer was closed). */
void ge__section_reopen(void);

#endif
