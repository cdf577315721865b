/* The watcher's side of the wake-up descriptors. */
#ifndef GE_FDS_H
#define GE_FDS_H

/* Write what has come since the last call. Call from: the watcher. */
void ge__fds_feed(void);

#endif
