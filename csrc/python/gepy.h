/* The CPython binding of the core: parse, call, convert, in that order and
 * nothing else. Helpers are gepy_; a function that Python sees carries the
 * name that Python sees. */
#ifndef GEPY_H
#define GEPY_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "../core/ge.h"

/* 3.12 moved the member types into Python.h and gave them a prefix. */
#if PY_VERSION_HEX < 0x030C0000
#include <structmember.h>
#define Py_T_OBJECT_EX T_OBJECT_EX
#define Py_READONLY READONLY
#endif

/* What one import of the module owns. traverse, clear and free in module.c
 * list the same fields in the same order. */
struct gepy_state {
    PyTypeObject *types[3]; /* in the order of specs in module.c */
};

static inline struct gepy_state *
gepy_get_state(PyObject *module)
{
    return (struct gepy_state *)PyModule_GetState(module);
}

/* convert.c */

/* A negative errno of `call` as OSError. Returns NULL. */
PyObject *gepy_raise(int rc, const char *call);

/* Seconds (None: no limit, negative: now) to a point in time. 0 or -1 with a
 * ValueError or TypeError set. */
int gepy_until(PyObject *seconds, int64_t *until);

/* Seconds as a span; None and infinity are GE_NEVER. */
int gepy_span(PyObject *seconds, int64_t *span);

/* For PyArg_Parse "O&": a signal number that may index our tables. */
int gepy_signum(PyObject *arg, void *signum);

/* A point in time as time.monotonic() would give it; GE_NEVER is None. */
PyObject *gepy_seconds(int64_t ns);

/* (signum, si_code, si_pid, si_uid, si_value, when). */
PyObject *gepy_info(const struct ge_info *info);

/* One table of functions for each subject; module.c joins them. */
extern PyMethodDef gepy_signal_methods[];
extern PyMethodDef gepy_watch_methods[];
extern PyMethodDef gepy_end_methods[];
extern PyMethodDef gepy_section_methods[];

/* flag.c: the type behind GracefulKiller.kill_now. */
extern PyType_Spec gepy_flag_spec;

/* section.c: what TerminateProtected is built on. */
extern PyType_Spec gepy_token_spec;
extern PyType_Spec gepy_section_spec;

/* end.c: registers the hook that lets the process die of a signal after the
 * interpreter has finished. 0 or -1. */
int gepy_end_init(void);

#endif
