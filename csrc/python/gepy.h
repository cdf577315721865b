/* The CPython binding of the core: parse, call, convert, in that order and
 * nothing else. Helpers are gepy_; a function that Python sees carries the
 * name that Python sees. */
#ifndef GEPY_H
#define GEPY_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "../core/ge.h"
#include "../core/ge_section.h"

#include <stdatomic.h>

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
extern PyMethodDef gepy_called_methods[];
extern PyMethodDef gepy_watch_methods[];
extern PyMethodDef gepy_fds_methods[];
extern PyMethodDef gepy_end_methods[];
extern PyMethodDef gepy_report_methods[];
extern PyMethodDef gepy_insist_methods[];
extern PyMethodDef gepy_opened_methods[];
extern PyMethodDef gepy_gate_methods[];
extern PyMethodDef gepy_solo_methods[];
extern PyMethodDef gepy_solo_take_methods[];
extern PyMethodDef gepy_mains_methods[];
extern PyMethodDef gepy_sigwait_methods[];
extern PyMethodDef gepy_capi_methods[];

/* capi.c: adds the capsule for extensions of others. 0 or -1. */
int gepy_capi_init(PyObject *module);

/* flag.c: the type behind GracefulKiller.kill_now. */
extern PyType_Spec gepy_flag_spec;

/* ring.c: the type behind GracefulKiller.on() of real-time signals. */
extern PyType_Spec gepy_ring_spec;

/* end.c: have main call it between two bytecodes. 0, or -1: no room. */
int gepy_in_main_soon(PyObject *callable);

/* called.c: have CPython call layer 1, and `then`, if not NULL, after it.
 * False: the signal has no GE_ROLE_TRIP. */
bool gepy_trip(int signum, PyObject *then);

/* room.c */

/* Raise this thread's limit of recursion for what is ours, and whether it was
 * raised: gepy_take_back() is to be told. */
bool gepy_lend(void);
void gepy_take_back(bool lent);

/* insist.c */

/* The exception that is set, as an object, and unset; and set it as it is,
 * which steals the reference. */
PyObject *gepy_take_exception(void);
void gepy_give_exception(PyObject *error);

/* With one argument, or with none. */
PyObject *gepy_call_method(PyObject *self, const char *name, PyObject *arg);

/* One more exception that was met: the latest is raised in the end, and tells
 * of those before as its context. Steals `error`. */
void gepy_met(PyObject **met, PyObject *error);

/* A function that fails for a reason of its own must not be repeated for ever;
 * signals that raise do not come that often in a row. */
#define GEPY_ENOUGH 1000

/* Call until it returns; the exceptions that came meanwhile go into *met.
 * Returns the result, or NULL with the last exception set. */
PyObject *gepy_repeat(PyObject *func, PyObject **met);

/* The same for each of a tuple of steps, and what they owe. 0 or -1. */
int gepy_conclude(PyObject *steps, PyObject **met);

/* Return the result, or raise what was met; steals both references. */
PyObject *gepy_finish(PyObject *result, PyObject *met);

/* opened.c: the sections that are open. */

struct gepy_opened {
    struct gepy_opened *older;
    PyObject *owner; /* the Section; owned while in the list */
    uint64_t serial; /* its name, never 0, never used again */
    unsigned long ident;
    int64_t since, until;
    bool expired; /* over its timeout: not counted any more */
    bool task;    /* of an asyncio task, not of its thread */
};

/* table.c: finds what it asks. 0 or -1. */
int gepy_table_init(void);

/* Main's handlers, from any thread. NULL without an exception: not to
 * be had. */
PyObject *gepy_python_handler(PyObject *signum);

/* Is that one SIG_DFL, or SIG_IGN? */
bool gepy_handler_is(PyObject *handler, void (*which)(int));

/* As is_ignored() in _layers.py. */
bool gepy_ignored(PyObject *signum);

uint64_t gepy_serial(void);
bool gepy_in_main(void);

/* Main has something to do when it leaves its outermost section. */
extern atomic_bool gepy_main_owes;

/* Something is held that Python's table does not show: main lays that. */
extern atomic_bool gepy_bare;

/* Count and list it; results as of ge_section_enter(). */
int gepy_open(struct gepy_opened *o, bool locked, enum ge_opener who);

/* The opposite: the entry, for gepy_discard(), or NULL if it is not in the
 * list (any more). *last: it was the last one, and something is held. */
struct gepy_opened *gepy_close(uint64_t serial, bool *last);

/* The name of one, or 0: by its serial, or, with 0, the newest of this owner
 * in that thread, or, with ident 0, in any. Not the entry itself: without a
 * GIL another thread may free it at any moment. */
uint64_t gepy_find(const PyObject *owner, unsigned long ident,
                   uint64_t serial);

/* The newest of this owner in any task. */
uint64_t gepy_find_task(const PyObject *owner);

/* Its time counts from `now`; false if there is no such one. */
bool gepy_renew(uint64_t serial, int64_t now, int64_t timeout);

/* Has this thread one that holds? `tasks`: those of its tasks count as well.
 */
bool gepy_inside(unsigned long ident, bool tasks);

/* Those of this thread hold nothing up any more. */
void gepy_expire(unsigned long ident);

/* One as it was; the owner is the caller's. */
struct gepy_copy {
    PyObject *owner;
    unsigned long ident;
    int64_t since;
    bool holds;
};

/* All, the newest first, or those that are over their time at `now`, which
 * hold no longer. The number of them, or -1: no memory. *next: when the next
 * one is over. *copies is the caller's, to PyMem_RawFree(). */
Py_ssize_t gepy_copy_opened(struct gepy_copy **copies, bool overdue,
                            int64_t now, int64_t *next);

/* In a forked child, whose only thread this is: forget those of others. How
 * many count. */
unsigned gepy_keep_opened(unsigned long ident);

/* entry.c: free one that is not in the list any more. */
void gepy_discard(struct gepy_opened *o);

/* section.c: what TerminateProtected is built on. */
extern PyType_Spec gepy_section_spec;
int gepy_section_init(void);

/* tasks.c: adds the context variable. 0 or -1. */
int gepy_tasks_init(PyObject *module);

/* end.c: registers the hook that lets the process die of a signal after the
 * interpreter has finished. 0 or -1. */
int gepy_end_init(void);

#endif
