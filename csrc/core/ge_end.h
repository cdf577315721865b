/* The deadline's own part of ge_end.c. */
#ifndef GE_END_H
#define GE_END_H

#include "ge.h"

/* Forget what ge_extend() gave. Call from: any thread. */
void ge__end_reset(void);

#endif
