/* A place where threads sleep until something changes: a sequence number and
 * a way to sleep on it. ge_latch_futex.c and ge_latch_cond.c are the two ways;
 * one of them is empty. */
#ifndef GE_LATCH_H
#define GE_LATCH_H

#include "ge.h"

/* latch: seen, then look at the facts, then wait; wake after the fact. */
unsigned ge__latch_seen(enum ge_where where);
int ge__latch_wait(enum ge_where where, unsigned seen, int64_t until);
void ge__latch_wake(enum ge_where where);

/* Wakes those who have slept longest, a few. Call from: a handler too. It
 * spares them the way through the watcher, which wakes all: one system call
 * wakes N threads at the price of N, and whoever was interrupted would pay it.
 */
#if GE_HAVE_FUTEX
void ge__latch_rouse(enum ge_where where);
void ge__latch_rouse_turn(void); /* the first at GE_IN_TURN */
#else /* a condition variable is not for handlers: the watcher does it */
static inline void
ge__latch_rouse(enum ge_where where)
{
    (void)where;
}

static inline void
ge__latch_rouse_turn(void)
{
}
#endif

/* The watcher's part in waking those at GE_IN_TURN, at each of its turns while
 * stopping. Returns when to look again. */
int64_t ge__latch_pace(int64_t now);

#endif
