/* The one word of the protected sections, as far as a handler changes it. */
#ifndef GE_GATE_H
#define GE_GATE_H

#include "ge.h"

#include <stdatomic.h>

/* One word, so that nothing can open between a look and what follows from it:
 *   CLOSED: swapped in for "none is open": the process ends.
 *   GATE:   a signal waits for the open sections; who has none open waits.
 *   LOOK:   what is held is being changed; openers go by way of the lock that
 *           the changer holds.
 * Rejected: a count and flags beside it. Between the count's 0 and the flag's
 * "closed" a section opens, and the process ends in it. */
#define GE__CLOSED 0x80000000u
#define GE__GATE 0x40000000u
#define GE__LOOK 0x20000000u
#define GE__COUNT 0x1fffffffu

extern atomic_uint ge__sections;
extern _Atomic(int64_t) ge__shut_since; /* 0: not known yet; counts as open */

#endif
