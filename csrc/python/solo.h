/* What solo.c does, and solo_take.c hands over. */
#ifndef GEPY_SOLO_H
#define GEPY_SOLO_H

#include "section.h"

#define GEPY_SOLO_MOST 8 /* signals; sections with more take the long way */

enum gepy_phase { NONE, ENTERING, STANDING, LEAVING };

/* The section that is alone. Under the lock of the process. */
struct gepy_solo {
    enum gepy_phase phase;
    bool idle; /* nobody wants anything */
    int n, signums[GEPY_SOLO_MOST];
    PyObject *previous[GEPY_SOLO_MOST];
    bool laid[GEPY_SOLO_MOST]; /* Python's table shows us */
};

extern struct gepy_solo gepy_solo;

#endif
