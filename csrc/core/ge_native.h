/* The stop as native code of other people sees it, by the C interface of the
 * package: no Python, no killer, one flag for the process. */
#ifndef GE_NATIVE_H
#define GE_NATIVE_H

#include "ge.h"

/* Not 0 from the stop until ge_reset(); flipped in the handler. There for as
 * long as the process. Call from: any thread, a handler too. */
const int *ge_stop_flag(void);

/* Sleep until the stop, or for `ns`; negative: without a limit, as poll()
 * does. Wakes only while a watcher runs, and stops come only then.
 *
 * Call from: any thread. Returns 1 once stopping, also if that stop is over by
 * now; 0 after the time. */
int ge_stop_sleep(int64_t ns);

#endif
