/* Layer 1: what Python's table of handlers shows, and CPython calls in main.
 *
 * CPython has one mark a signal for "came", our handler one for "passed on",
 * and two handlers may run at once. Then one call is for both, and another may
 * follow that nobody is behind:
 *
 *   thread:  marks, is preempted
 *   main:    its handler marks, CPython calls layer 1, which takes both marks
 *   thread:  tells CPython, which calls layer 1 again, and finds no mark
 *
 * That one must not be taken for a signal that came past our handler, and be
 * counted again. So the handler says before it tells CPython that it will, and
 * layer 1 counts: where there are more passes than calls, what CPython has
 * noted since is run here, for nothing. It begins at zero whenever layer 1 is
 * laid: passes of before were for somebody else.
 *
 * In C, or CPython calls it a second time before the first call has looked. */
#include "gepy.h"

#include "../core/ge_pass.h"
#include "../core/ge_sigwait.h"

/* Main's alone. */
static bool absorbing[GE_NSIG];

/* By hear(), for the life of the process. */
static PyObject *heard;

/* Have CPython call layer 1 for what it has noted. Other signals' handlers run
 * as well, and may raise. */
static bool
absorb(int signum)
{
    bool ok;

    absorbing[signum] = true;
    ok = PyErr_CheckSignals() == 0;
    absorbing[signum] = false;
    return ok;
}

bool
gepy_trip(int signum, PyObject *then)
{
    if (ge_trip_begin(signum) < 0) {
        return false;
    }
    /* In this order, as the handler does: without a GIL main is at it as soon
     * as it is woken. */
    ge_pass_begin(signum);
    (void)PyErr_SetInterruptEx(signum);
    ge_pass_end(signum);
    /* Main runs handlers before pending calls; no Python is between these. */
    if (then != NULL) {
        (void)gepy_in_main_soon(then);
    }
    ge_trip_end(signum);
    return true;
}

enum news {
    PASSED_ON, /* by our handler */
    STALE,     /* a call before was told of it */
    NOT_OURS,  /* came past our handler */
    RAISED
};

static enum news
look(int signum)
{
    bool took = false, passed = false;

    for (unsigned calls = 1;; calls = 0) {
        /* In this order: a mark that comes between the two has its pass later,
         * and the call of that finds a pass without a mark. */
        unsigned passes = ge_passed(signum);

        took = ge_took(signum) || took;
        passed = passed || passes > 0;
        if (!ge_trap_ours(signum)) {
            /* Signals come past our handler now. Where CPython hears them,
             * rather count one twice than let one be lost; where it does not,
             * as the last killer is just closing, a pass is all that this can
             * be:
             *   thread:  marks                                  tells CPython
             *   main:            layer 1 takes the mark; closes
             */
            return took                               ? PASSED_ON
                   : passed && !ge_pass_hears(signum) ? STALE
                                                      : NOT_OURS;
        }
        if (passes <= calls) {
            return took ? PASSED_ON : passed ? STALE : NOT_OURS;
        }
        if (!absorb(signum)) {
            if (took) {
                (void)gepy_trip(signum, NULL); /* nobody has been told yet */
            }
            return RAISED;
        }
    }
}

PyDoc_STRVAR(
    hear_doc,
    "hear(func, /)\n--\n\n"
    "What layer 1 calls: func(signum, frame, passed_on). passed_on: the\n"
    "C handler has accepted the signal.");

static PyObject *
hear(PyObject *module, PyObject *func)
{
    (void)module;
    Py_XSETREF(heard, Py_NewRef(func));
    Py_RETURN_NONE;
}

PyDoc_STRVAR(on_python_signal_doc,
             "on_python_signal(signum, frame, /)\n--\n\n"
             "gracefulexit hears this signal; see signal.getsignal().");

static PyObject *
on_python_signal(PyObject *module, PyObject *args)
{
    PyObject *number, *frame, *result;
    enum news news;
    int signum;
    bool lent;

    (void)module;
    if (!PyArg_UnpackTuple(args, "on_python_signal", 2, 2, &number, &frame) ||
        !gepy_signum(number, &signum)) {
        return NULL;
    }
    if (absorbing[signum]) {
        Py_RETURN_NONE;
    }
    news = look(signum);
    if (news == RAISED) {
        return NULL;
    }
    if (news == STALE || heard == NULL) {
        Py_RETURN_NONE;
    }
    lent = gepy_lend();
    result = PyObject_CallFunctionObjArgs(
        heard, number, frame, news == PASSED_ON ? Py_True : Py_False, NULL);
    gepy_take_back(lent);
    return result;
}

PyDoc_STRVAR(relay_doc,
             "relay(signum, /)\n--\n\n"
             "Undo a wipe by what we lie on, where layer 1 is in place; do we "
             "hear the signal now?");

static bool
is_layer_1(PyObject *handler)
{
    return PyCFunction_Check(handler) &&
           PyCFunction_GetFunction(handler) == on_python_signal;
}

/* No Python between the look and the undoing: main may set a handler there,
 * whose layer 2 is that of a wipe. */
static PyObject *
relay(PyObject *module, PyObject *number)
{
    PyObject *there;
    bool layer_1;
    int signum;

    (void)module;
    if (!gepy_signum(number, &signum)) {
        return NULL;
    }
    there = gepy_python_handler(number);
    layer_1 = there != NULL && is_layer_1(there);
    Py_XDECREF(there);
    return PyBool_FromLong(layer_1 ? ge_trap_relay(signum)
                                   : ge_trap_ours(signum));
}

PyDoc_STRVAR(
    signal_doc,
    "signal_and_lay(set_python, /, *args)\n--\n\n"
    "set_python(*args), and our handler over it at once where that puts\n"
    "layer 1 back. For sigwait mode.");

/* There no system call of main ends when CPython notes a signal, so it is to
 * note none for us once this has returned:
 *   main:    wipes                          lays             waits   looks
 *   thread:         takes one, not for us           unblocks it
 * That runs our handler or CPython's; either has returned after the wait. */
static PyObject *
signal_and_lay(PyObject *module, PyObject *const *args, Py_ssize_t n)
{
    PyObject *was;
    bool laid;
    int signum;

    (void)module;
    if (n < 1) {
        PyErr_SetString(PyExc_TypeError, "a callable is needed");
        return NULL;
    }
    was = PyObject_Vectorcall(args[0], args + 1, (size_t)n - 1, NULL);
    if (was == NULL || n != 3 || !is_layer_1(args[2])) {
        return was;
    }
    if (!gepy_signum(args[1], &signum)) {
        Py_DECREF(was);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS /* a handler that is waited for may want it */
    laid = ge_sigwait_put_back(signum);
    Py_END_ALLOW_THREADS
    if (laid && PyErr_CheckSignals() < 0) {
        Py_CLEAR(was);
    }
    return was;
}

PyMethodDef gepy_called_methods[] = {
    { "hear", hear, METH_O, hear_doc },
    { "on_python_signal", on_python_signal, METH_VARARGS,
      on_python_signal_doc },
    { "relay", relay, METH_O, relay_doc },
    { "signal_and_lay", (PyCFunction)(void (*)(void))signal_and_lay,
      METH_FASTCALL, signal_doc },
    { NULL, NULL, 0, NULL },
};
