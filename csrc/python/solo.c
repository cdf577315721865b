/* The usual outermost section: main opens one, nobody else wants its signals,
 * and it is left without one having come. What _layers and _delivery do for
 * every case is done here for this one, without Python, for a tenth of the
 * price. Whatever is different is left to them: `solo_take` hands them what
 * stands, at any point of it.
 *
 * Under the lock of the process, which main takes if it is free; so nobody
 * else changes anything meanwhile. signal.signal() runs handlers that are due,
 * and they may: they find the truth by `solo_take`, and we look again after
 * it. */
#include "solo.h"

#include "../core/ge_pass.h"

struct gepy_solo gepy_solo;

/* By solo_init(), for the life of the process. */
static PyObject *acquire, *release, *layer1, *set_python;
static PyObject *no_wait; /* (False,) */

PyDoc_STRVAR(init_doc, "solo_init(lock, layer1, set_python, /)\n"
                       "--\n\nWhat it works with.");

static PyObject *
solo_init(PyObject *module, PyObject *args)
{
    PyObject *lock, *first, *set;

    (void)module;
    if (!PyArg_ParseTuple(args, "OOO:solo_init", &lock, &first, &set)) {
        return NULL;
    }
    Py_XSETREF(acquire, PyObject_GetAttrString(lock, "acquire"));
    Py_XSETREF(release, PyObject_GetAttrString(lock, "release"));
    Py_XSETREF(layer1, Py_NewRef(first));
    Py_XSETREF(set_python, Py_NewRef(set));
    if (no_wait == NULL) {
        no_wait = Py_BuildValue("(O)", Py_False);
    }
    if (release != NULL && no_wait != NULL && acquire != NULL) {
        Py_RETURN_NONE;
    }
    Py_CLEAR(acquire); /* then nothing is done here */
    return NULL;
}

PyDoc_STRVAR(idle_doc, "idle(yes, /)\n--\n\nNobody wants anything now.");

static PyObject *
set_idle(PyObject *module, PyObject *arg)
{
    (void)module;
    gepy_solo.idle = PyObject_IsTrue(arg) == 1;
    Py_RETURN_NONE;
}

static bool
lock(void)
{
    PyObject *got;
    bool yes;

    if (acquire == NULL) {
        return false;
    }
    got = PyObject_CallObject(acquire, no_wait);
    yes = got == Py_True;
    PyErr_Clear();
    Py_XDECREF(got);
    return yes;
}

static void
unlock(void)
{
    PyObject *error = gepy_take_exception(); /* a handler's, for our caller */
    PyObject *done = PyObject_CallNoArgs(release);

    if (done == NULL) {
        PyErr_WriteUnraisable(release);
    }
    Py_XDECREF(done);
    if (error != NULL) {
        gepy_give_exception(error);
    }
}

static void
forget(void)
{
    for (int i = 0; i < gepy_solo.n; i++) {
        Py_CLEAR(gepy_solo.previous[i]);
    }
    gepy_solo.n = 0;
}

/* signal.signal(), then the core's part; no nudge falls in between. */
static bool
change(int i, PyObject *handler, void (*then)(int))
{
    PyObject *args[] = { NULL, PyLong_FromLong(gepy_solo.signums[i]),
                         handler };
    PyObject *was = NULL;

    Py_INCREF(handler); /* handlers that run in there may change it */
    if (args[1] != NULL) {
        ge_nudge_bar(gepy_solo.signums[i], true);
        was = PyObject_Vectorcall(set_python, args + 1,
                                  2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
        if (was != NULL) {
            then(gepy_solo.signums[i]);
        }
        ge_nudge_bar(gepy_solo.signums[i], false);
        Py_DECREF(args[1]);
    }
    Py_DECREF(handler);
    Py_XDECREF(was);
    return was != NULL;
}

#if !defined(Py_GIL_DISABLED)

/* Does the simple case hold? Fills `gepy_solo` but for the phase. */
static bool
simple(struct gepy_section *self)
{
    Py_ssize_t n = PyTuple_GET_SIZE(self->signals);

    forget();
    if (n > GEPY_SOLO_MOST) {
        return false;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *signum = PyTuple_GET_ITEM(self->signals, i);
        PyObject *there;

        if (gepy_ignored(signum)) {
            continue; /* nohup meant it */
        }
        there = gepy_python_handler(signum);
        if (there == NULL) {
            return false;
        }
        gepy_solo.signums[gepy_solo.n] = (int)PyLong_AsLong(signum);
        gepy_solo.previous[gepy_solo.n] = there;
        gepy_solo.laid[gepy_solo.n] = false;
        gepy_solo.n++;
        /* None: a handler of C code; ours: put there by somebody who had saved
         * it; SIG_IGN: of a signal that Python ignores, or of another thread's
         * os.system() just now. */
        if (there == layer1 ||
            !(PyCallable_Check(there) || gepy_handler_is(there, SIG_DFL))) {
            return false;
        }
    }
    return gepy_solo.n > 0;
}

/* Lay both layers. 0; 1: not done, or not by us alone; -1. */
static int
lay(void)
{
    if (ge_solo_begin(gepy_solo.signums, gepy_solo.n) < 0) {
        return 1;
    }
    gepy_solo.idle = false;
    gepy_solo.phase = ENTERING;
    for (int i = 0; i < gepy_solo.n; i++) {
        (void)ge_passed(gepy_solo.signums[i]);
        if (!change(i, layer1, ge_solo_cover)) {
            return -1;
        }
        if (gepy_solo.phase != ENTERING) {
            return 1;
        }
        gepy_solo.laid[i] = true;
    }
    gepy_solo.phase = STANDING;
    return 0;
}

int
gepy_solo_enter(struct gepy_section *self)
{
    int rc = 1;

    if (gepy_solo.idle && gepy_in_main() && lock()) {
        if (gepy_solo.idle && simple(self)) {
            rc = lay();
        }
        unlock();
    }
    return rc;
}

#else

/* Never alone: another thread may change what `gepy_solo` was filled from. */
int
gepy_solo_enter(struct gepy_section *self)
{
    (void)self;
    return 1;
}

#endif

/* Is it still what we laid? */
static bool
untouched(void)
{
    for (int i = 0; i < gepy_solo.n; i++) {
        PyObject *signum = PyLong_FromLong(gepy_solo.signums[i]);
        PyObject *there = signum == NULL ? NULL : gepy_python_handler(signum);

        PyErr_Clear();
        Py_XDECREF(signum);
        Py_XDECREF(there);
        if (there != layer1) {
            return false;
        }
    }
    return true;
}

/* Give both layers back. 0; 1: Python has to go on; -1. */
static int
give_back(void)
{
    if (!untouched() || !ge_solo_end(gepy_solo.signums, gepy_solo.n)) {
        return 1;
    }
    gepy_solo.phase = LEAVING;
    for (int i = 0; i < gepy_solo.n; i++) {
        if (!change(i, gepy_solo.previous[i], ge_solo_restore)) {
            return -1;
        }
        if (gepy_solo.phase != LEAVING) {
            return 1;
        }
        gepy_solo.laid[i] = false;
    }
    gepy_solo.phase = NONE;
    forget();
    gepy_solo.idle = true;
    return 0;
}

int
gepy_solo_leave(void)
{
    int rc = 1;

    if (gepy_solo.phase == STANDING && gepy_in_main() && lock()) {
        bool looked = ge_section_look(true);

        if (gepy_solo.phase == STANDING && ge_sections() == 0 && !ge_gate() &&
            !looked) {
            rc = give_back();
        }
        (void)ge_section_look(looked);
        unlock();
    }
    return rc;
}

PyMethodDef gepy_solo_methods[] = {
    { "solo_init", solo_init, METH_VARARGS, init_doc },
    { "idle", set_idle, METH_O, idle_doc },
    { NULL, NULL, 0, NULL },
};
