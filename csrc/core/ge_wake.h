/* The two ways in which a handler wakes the watcher. Chosen once, when the
 * watcher starts. Both files hold async-signal-safe calls only.
 *
 * wake: the watcher's side is open, seen, wait, close; the handler's is poke.
 * A poke between seen() and wait() makes wait() return at once. */
#ifndef GE_WAKE_H
#define GE_WAKE_H

#include "ge.h"

/* No descriptor: nothing to exhaust, nothing for os.closerange() or a
 * daemoniser to close, nothing that a forked child could share. */
unsigned ge__wake_futex_seen(void);
void ge__wake_futex_wait(unsigned seen, int64_t until);
void ge__wake_futex_poke(void);

/* The self-pipe, for systems without a futex. Opened and closed while no
 * handler can poke. */
int ge__wake_pipe_open(void);
int ge__wake_pipe_reopen(void); /* after a loss; -EAGAIN: not yet */
bool ge__wake_pipe_whole(void); /* are both ends still ours? */
unsigned ge__wake_pipe_seen(void);
void ge__wake_pipe_wait(unsigned seen, int64_t until);
void ge__wake_pipe_poke(void);
void ge__wake_pipe_close(void);

#endif
