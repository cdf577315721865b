/* What the parts forget in a forked child. */
#ifndef GE_FORK_H
#define GE_FORK_H

/* The mailbox is about this process from now on. Call from: any thread,
 * under the lock of the traps. */
void ge__fork_adopt(void);

/* From now on children have no copy of the wake pipe, and none of sigwait
 * mode's mask. Call from: any thread. Returns 0; -ENOMEM. */
int ge__fork_watch(void);

/* Each in its own file. Call from: the fork child, its only thread. */
void ge__trap_fork_child(void);
void ge__fds_fork_child(void);
void ge__sigwait_fork_child(void);
void ge__watcher_fork_child(void);
void ge__latch_fork_child(void);
void ge__section_fork_child(unsigned sections);
void ge__report_fork_child(void);

#endif
