/* _core.Flag: one bool that a signal handler flips, and the wait for it.
 *
 * kill_now is a member of type "object", not a bool member and not a property,
 * because CPython 3.11 and newer read only that kind with a specialised
 * instruction: polling costs what a plain attribute costs. */
#include "gepy.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

struct flag {
    PyObject_HEAD
    struct ge_cell cell; /* slot: Py_False or Py_True, never NULL */
    atomic_bool attached;
};

_Static_assert(sizeof(_Atomic(void *)) == sizeof(PyObject *),
               "the interpreter reads the cell as a PyObject *");

static PyObject *
flag_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    struct flag *self = (struct flag *)type->tp_alloc(type, 0);

    (void)args; /* the subclass's __init__ takes them */
    (void)kwargs;
    if (self == NULL) {
        return NULL;
    }
    /* The handler exchanges the two without counting, so the object owns a
     * reference to each for all its life. */
    Py_INCREF(Py_True);
    Py_INCREF(Py_False);
    self->cell.on = Py_True;
    atomic_init(&self->cell.slot, (void *)Py_False);
    atomic_init(&self->attached, false);
    return (PyObject *)self;
}

static int
flag_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    return 0;
}

static void
flag_dealloc(PyObject *op)
{
    struct flag *self = (struct flag *)op;
    PyTypeObject *type = Py_TYPE(op);

    PyObject_GC_UnTrack(op);
    ge_cell_remove(&self->cell);
    Py_DECREF(Py_True);
    Py_DECREF(Py_False);
    type->tp_free(op);
    Py_DECREF(type);
}

PyDoc_STRVAR(attach_doc, "_attach($self, /)\n--\n\n"
                         "Let the stop flip kill_now from now on.");

static PyObject *
flag_attach(PyObject *op, PyObject *unused)
{
    struct flag *self = (struct flag *)op;
    int rc;

    (void)unused;
    if (atomic_exchange(&self->attached, true)) {
        Py_RETURN_NONE;
    }
    rc = ge_cell_add(&self->cell);
    if (rc < 0) {
        atomic_store(&self->attached, false);
        PyErr_Format(PyExc_RuntimeError,
                     "more than %d killers are alive at once; close() those "
                     "that are no longer needed",
                     GE_MAX_CELLS);
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(detach_doc, "_detach($self, /)\n--\n\n"
                         "kill_now keeps its value; wait() returns.");

static PyObject *
flag_detach(PyObject *op, PyObject *unused)
{
    struct flag *self = (struct flag *)op;

    (void)unused;
    if (atomic_exchange(&self->attached, false)) {
        ge_cell_remove(&self->cell);
        ge_wake_all(GE_IN_TURN);
    }
    Py_RETURN_NONE;
}

static bool
over(struct flag *self)
{
    return atomic_load(&self->cell.slot) == (void *)Py_True ||
           !atomic_load(&self->attached);
}

/* The next one gets ready while we run, and finds the interpreter lock free or
 * about to be; without one they can all run. */
static void
wake_next(void)
{
#ifdef Py_GIL_DISABLED
    ge_wake_all(GE_IN_TURN);
#else
    ge_wake_next();
#endif
}

PyDoc_STRVAR(
    wait_doc,
    "_sleep($self, timeout=None, /)\n--\n\n"
    "Sleep natively until kill_now is true, _detach(), or the timeout "
    "in seconds.");

static PyObject *
flag_sleep(PyObject *op, PyObject *args)
{
    struct flag *self = (struct flag *)op;
    PyObject *timeout = Py_None;
    int64_t until;
    int rc = 0;

    if (!PyArg_ParseTuple(args, "|O:_sleep", &timeout) ||
        gepy_until(timeout, &until) < 0) {
        return NULL;
    }
    for (;;) {
        unsigned seen = ge_seen(GE_IN_TURN);

        /* In the main thread: handlers written in Python run here. Between the
         * two, as CPython's own look between bytecodes can miss one that was
         * noted by another thread, which wakes us afterwards. */
        if (PyErr_CheckSignals() < 0) {
            return NULL;
        }
        if (over(self) || rc == -ETIMEDOUT) {
            break;
        }
        Py_BEGIN_ALLOW_THREADS
        rc = ge_wait(GE_IN_TURN, seen, until);
        Py_END_ALLOW_THREADS
        if (over(self)) {
            wake_next();
        }
    }
    return PyBool_FromLong(atomic_load(&self->cell.slot) == (void *)Py_True);
}

PyDoc_STRVAR(renew_doc, "_renew($self, /)\n--\n\n"
                        "In a forked child: false and not attached again.");

static PyObject *
flag_renew(PyObject *op, PyObject *unused)
{
    struct flag *self = (struct flag *)op;

    (void)unused;
    atomic_store(&self->attached, false);
    atomic_store(&self->cell.slot, (void *)Py_False);
    Py_RETURN_NONE;
}

static PyMethodDef flag_methods[] = {
    { "_attach", flag_attach, METH_NOARGS, attach_doc },
    { "_detach", flag_detach, METH_NOARGS, detach_doc },
    { "_sleep", flag_sleep, METH_VARARGS, wait_doc },
    { "_renew", flag_renew, METH_NOARGS, renew_doc },
    { NULL, NULL, 0, NULL },
};

PyDoc_STRVAR(kill_now_doc,
             "True from the stop on. Flipped by the signal handler itself.");

static PyMemberDef flag_members[] = {
    { "kill_now", Py_T_OBJECT_EX,
      offsetof(struct flag, cell) + offsetof(struct ge_cell, slot),
      Py_READONLY, kill_now_doc },
    { NULL, 0, 0, 0, NULL },
};

PyDoc_STRVAR(flag_doc, "A bool that the stop flips, wherever Python is.");

static PyType_Slot flag_slots[] = {
    { Py_tp_doc, (void *)flag_doc },
    { Py_tp_new, (void *)flag_new },
    { Py_tp_dealloc, (void *)flag_dealloc },
    { Py_tp_traverse, (void *)flag_traverse },
    { Py_tp_methods, flag_methods },
    { Py_tp_members, flag_members },
    { 0, NULL },
};

PyType_Spec gepy_flag_spec = {
    .name = "gracefulexit._core.Flag",
    .basicsize = sizeof(struct flag),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = flag_slots,
};
