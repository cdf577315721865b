/* The one word of the protected sections. */
#ifndef GE_SECTION_H
#define GE_SECTION_H

#include "ge.h"

/* Swap "none open" to CLOSED: from now on none can open, and the process may
 * end. Call from: the watcher. Returns whether that is so (or was). */
bool ge__section_close(void);

/* The process goes on after all (the last killer was closed). */
void ge__section_reopen(void);

#endif
