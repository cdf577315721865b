/* Entering a section and leaving it.
 *
 * Both are C, for two reasons. No handler of other code can raise between the
 * `with` and the first line here, or between the last and the block. And the
 * usual case, where somebody hears or holds the signals already, is a few
 * counters. Everything else is Python, called from here: `_open` once, and
 * `_steps` until they have returned (see insist.c). */
#include "section.h"

#include <errno.h>

/* ---- one entry -----------------------------------------------------------
 */

static struct gepy_opened *
new_entry(struct gepy_section *self, uint64_t serial, bool task)
{
    struct gepy_opened *o = &self->first;
    int64_t now = self->timeout == GE_NEVER ? ge_now_coarse() : ge_now();

    if (atomic_exchange(&self->first_is_open, true)) {
        o = PyMem_Malloc(sizeof *o);
        if (o == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
    }
    *o = (struct gepy_opened) {
        .owner = (PyObject *)self,
        .serial = serial,
        .ident = PyThread_get_thread_ident(),
        .since = now,
        .until = self->timeout == GE_NEVER ? GE_NEVER : now + self->timeout,
        .task = task,
    };
    return o;
}

static void
free_entry(struct gepy_opened *o)
{
    struct gepy_section *self = (struct gepy_section *)o->owner;

    if (o == &self->first) {
        atomic_store(&self->first_is_open, false);
    } else {
        PyMem_Free(o);
    }
}

void
gepy_discard(struct gepy_opened *o)
{
    PyObject *owner = o->owner;

    free_entry(o);
    Py_DECREF(owner);
}

/* Or ignored, which nobody here wants to hear: each section of a program that
 * runs under nohup would take the long way. */
static bool
covered(struct gepy_section *self)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(self->signals); i++) {
        PyObject *signum = PyTuple_GET_ITEM(self->signals, i);

        if (!ge_covered((int)PyLong_AsLong(signum)) && !gepy_ignored(signum)) {
            return false;
        }
    }
    return true;
}

/* What follows when the last section was left, or main owes something. */
static int
conclude(PyObject *self, PyObject **met)
{
    PyObject *steps = NULL;
    int rc = -1;

    for (int i = 0; steps == NULL && i < GEPY_ENOUGH; i++) {
        gepy_met(met, gepy_take_exception());
        steps = PyObject_GetAttrString(self, "_steps");
    }

    if (steps != NULL && PyTuple_Check(steps)) {
        rc = gepy_conclude(steps, met);
    }
    Py_XDECREF(steps);
    return rc;
}

/* ---- __enter__ -----------------------------------------------------------
 */

/* An entry that was not completed: as if it had never been. */
static void
undo(PyObject *op, uint64_t serial)
{
    PyObject *error = gepy_take_exception(), *met = NULL;
    bool last = false;
    struct gepy_opened *o = gepy_close(serial, &last);

    if (o != NULL) {
        gepy_discard(o);
        if (last && conclude(op, &met) < 0) {
            PyErr_WriteUnraisable(op);
        }
        if (met != NULL) { /* what is delivered now is the news */
            PyException_SetContext(met, error);
            error = met;
        }
    }
    gepy_give_exception(error);
}

/* The usual entry: 0, or 1 if Python has to see to it; -1 with an exception.
 */
static int
enter_quickly(struct gepy_section *self, uint64_t serial)
{
    struct gepy_opened *o;
    bool held = false;
    int rc;

    if (self->timeout != GE_NEVER) {
        return 1;
    }
    o = new_entry(self, serial, false);
    if (o == NULL) {
        return -1;
    }
    rc = gepy_open(o, false, GE_OUTSIDE);
    if (rc == -EAGAIN && gepy_inside(o->ident, true)) {
        rc = gepy_open(o, false, GE_INSIDE);
        held = true;
    }
    if (rc < 0) {
        free_entry(o);
        return 1;
    }
    if (held) {
        PyObject *said = gepy_call_method((PyObject *)self, "_say_held", NULL);

        if (said == NULL) {
            return -1;
        }
        Py_DECREF(said);
    }
    if (!covered(self)) {
        return gepy_solo_enter(self);
    }
    return gepy_bare && gepy_in_main() ? 1 : 0;
}

PyDoc_STRVAR(enter_doc, "__enter__($self, /)\n--\n\nOpen the section.");

static PyObject *
section_enter(PyObject *op, PyObject *unused)
{
    uint64_t serial = gepy_serial();
    int rc = enter_quickly((struct gepy_section *)op, serial);

    (void)unused;
    if (rc == 1) {
        PyObject *arg = PyLong_FromUnsignedLongLong(serial);
        PyObject *opened =
            arg == NULL ? NULL : gepy_call_method(op, "_open", arg);

        Py_XDECREF(arg);
        rc = opened == NULL ? -1 : 0;
        Py_XDECREF(opened);
    }
    /* What came before the layers stood runs here, not in the block. */
    if (rc == 0 && PyErr_CheckSignals() < 0) {
        rc = -1;
    }
    if (rc < 0) {
        undo(op, serial);
        return NULL;
    }
    return Py_NewRef(op);
}

PyDoc_STRVAR(try_doc,
             "_try($self, serial, task, who, /)\n--\n\n"
             "Count and list this entry, under the process's lock: 0, or the "
             "errno that says why not. who: OUTSIDE, INSIDE or LAST.");

static PyObject *
section_try(PyObject *op, PyObject *args)
{
    unsigned long long serial;
    struct gepy_opened *o;
    int task, who, rc;

    if (!PyArg_ParseTuple(args, "Kpi:_try", &serial, &task, &who)) {
        return NULL;
    }
    if (gepy_find(NULL, 0, serial) != 0) {
        return PyLong_FromLong(0); /* it was not covered, and is open */
    }
    o = new_entry((struct gepy_section *)op, serial, task != 0);
    if (o == NULL) {
        return NULL;
    }
    rc = gepy_open(o, true, (enum ge_opener)who);
    if (rc < 0) {
        free_entry(o);
    }
    return PyLong_FromLong(-rc);
}

/* ---- __exit__ ------------------------------------------------------------
 */

PyObject *
gepy_leave(PyObject *op, uint64_t serial, bool ours)
{
    bool in_main = gepy_in_main(), last = false;
    PyObject *met = NULL, *done = Py_None;
    struct gepy_opened *o = serial == 0 ? NULL : gepy_close(serial, &last);

    if (o == NULL) {
        return gepy_call_method(op, "_not_open", NULL);
    }
    gepy_discard(o);
    if (!ours) {
        PyObject *error = gepy_call_method(op, "_not_ours", NULL);

        gepy_met(&met, error != NULL ? error : gepy_take_exception());
    }
    if (last) {
        int rc = gepy_solo_leave();

        if (rc < 0) {
            gepy_met(&met, gepy_take_exception());
        }
        last = rc != 0;
    }
    if ((last || (in_main && gepy_main_owes)) && conclude(op, &met) < 0) {
        done = NULL;
    }
    return gepy_finish(Py_XNewRef(done), met);
}

PyDoc_STRVAR(exit_doc, "__exit__($self, /, *exc_info)\n--\n\n"
                       "Leave the section, and deliver what came inside.");

static PyObject *
section_exit(PyObject *op, PyObject *const *args, Py_ssize_t n)
{
    unsigned long me = PyThread_get_thread_ident();
    uint64_t serial = gepy_find(op, me, 0);
    bool ours = serial != 0;

    (void)args;
    (void)n;
    return gepy_leave(op, ours ? serial : gepy_find(op, 0, 0), ours);
}

PyDoc_STRVAR(shut_doc, "_shut($self, serial, /)\n--\n\n"
                       "Leave the entry of that name.");

static PyObject *
section_shut(PyObject *op, PyObject *arg)
{
    uint64_t serial = PyLong_AsUnsignedLongLong(arg);

    if (serial == (uint64_t)-1 && PyErr_Occurred()) {
        return NULL;
    }
    return gepy_leave(op, serial, true);
}

PyDoc_STRVAR(aexit_doc,
             "__aexit__($self, /, *exc_info)\n--\n\n"
             "Leave the section of this task; await what it returns.");

PyDoc_STRVAR(renew_doc, "_renew($self, serial, /)\n--\n\n"
                        "Count its time from now: the entry of that name, or "
                        "with 0 this thread's; is there one?");

PyMethodDef gepy_entry_methods[] = {
    { "__enter__", section_enter, METH_NOARGS, enter_doc },
    { "__exit__", (PyCFunction)(void (*)(void))section_exit, METH_FASTCALL,
      exit_doc },
    { "__aexit__", (PyCFunction)(void (*)(void))gepy_section_aexit,
      METH_FASTCALL, aexit_doc },
    { "_try", section_try, METH_VARARGS, try_doc },
    { "_shut", section_shut, METH_O, shut_doc },
    { "_renew", gepy_section_renew, METH_O, renew_doc },
    { NULL, NULL, 0, NULL },
};
