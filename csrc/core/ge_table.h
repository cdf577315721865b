/* The kernel's table of dispositions, one signal at a time; who wants what is
 * ge_trap.c. All but the first three under the lock. */
#ifndef GE_TABLE_H
#define GE_TABLE_H

#include "ge.h"

void ge__table_lock(void);
void ge__table_unlock(void);

/* Call from: the fork child, its only thread. */
void ge__table_fork_child(void);

/* This is what is to be given back. */
void ge__table_remember(int signum, const struct sigaction *sa);

/* What that was; false if the signal was never taken. */
bool ge__table_before(int signum, struct sigaction *out);

/* One atomic swap. 1 if something else was there, 0 if we were; -errno. */
int ge__table_swap_in(int signum, unsigned roles);

/* Only what is still ours is given back. */
void ge__table_give_back(int signum);

#endif
