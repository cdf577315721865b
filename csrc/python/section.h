/* What section.c and entry.c know of a TerminateProtected. */
#ifndef GEPY_SECTION_H
#define GEPY_SECTION_H

#include "gepy.h"

#include <stdatomic.h>

struct gepy_section {
    PyObject_HEAD
    PyObject *signals; /* tuple of int */
    PyObject *name;    /* str or None */
    PyObject *code;    /* where it was made: code object or NULL */
    int lasti;
    int64_t timeout; /* GE_NEVER: none */
    /* Where this one is open for the first time at once; further ones, nested
     * or of other threads, are allocated. */
    struct gepy_opened first;
    atomic_bool first_is_open;
};

/* Leave the entry of that name (0: there is none), and deliver what came
 * inside; `ours`: in the thread that opened it. */
PyObject *gepy_leave(PyObject *op, uint64_t serial, bool ours);

/* tasks.c: the tuple of (serial, section) of this asyncio task. */
PyObject *gepy_section_aexit(PyObject *op, PyObject *const *args,
                             Py_ssize_t n);

/* Its time counts from now: the entry of that name, or this thread's. */
PyObject *gepy_section_renew(PyObject *op, PyObject *serial);

/* entry.c: __enter__, __exit__ and what Python needs for the slow ones. */
extern PyMethodDef gepy_entry_methods[];

/* solo.c. Lay both layers for a section that is counted and alone, and give
 * them back after it has been left: 0, or 1 if Python has to see to it, or -1
 * with an exception and Python has to see to it. */
int gepy_solo_enter(struct gepy_section *self);
int gepy_solo_leave(void);

#endif
