/* The end of the process, and what the main thread and a fork's child do. */
#include "gepy.h"

#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

/* Written by the last Python code that runs, read when no Python is left. 0
 * and -1: the interpreter's own exit status stands. */
static atomic_int die_of;
static atomic_int exit_with = -1;

/* After atexit, after the flush of the standard streams, after finalisation:
 * the only place where the process can die of a signal and lose nothing. */
static void
on_exit_of_interpreter(void)
{
    int signum = atomic_load(&die_of), code = atomic_load(&exit_with);

    if (signum != 0 || code >= 0) {
        (void)fflush(NULL);
    }
    if (signum != 0) {
        ge_die(signum);
    }
    if (code >= 0) {
        _exit(code);
    }
}

int
gepy_end_init(void)
{
    static bool registered; /* the hook outlives the module; under the GIL */

    if (!registered && Py_AtExit(on_exit_of_interpreter) == 0) {
        registered = true;
    }
    /* All 32 places taken: GracefulExit's code, 128 + n, stands instead. */
    return 0;
}

PyDoc_STRVAR(
    at_exit_doc,
    "at_exit(signum, code, /)\n--\n\n"
    "When the interpreter has finished, die of the signal, or exit with "
    "the code; 0, -1: neither.");

static PyObject *
at_exit(PyObject *module, PyObject *args)
{
    int signum, code;

    (void)module;
    if (!PyArg_ParseTuple(args, "ii:at_exit", &signum, &code)) {
        return NULL;
    }
    atomic_store(&die_of, signum);
    atomic_store(&exit_with, code);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(policy_doc, "policy(grace, how, /)\n--\n\n"
                         "Seconds or None; EXIT_SIGNAL, EXIT_CODE or 0-255.");

static PyObject *
policy(PyObject *module, PyObject *args)
{
    PyObject *grace;
    int64_t span;
    int how;

    (void)module;
    if (!PyArg_ParseTuple(args, "Oi:policy", &grace, &how) ||
        gepy_span(grace, &span) < 0) {
        return NULL;
    }
    ge_policy(span, how);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(deadline_doc, "deadline()\n--\n\ntime.monotonic() of the end, or "
                           "None.");

static PyObject *
deadline(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return gepy_seconds(ge_deadline());
}

PyDoc_STRVAR(extend_doc, "extend(seconds, /)\n--\n\nMove the deadline.");

static PyObject *
extend(PyObject *module, PyObject *arg)
{
    int64_t span;

    (void)module;
    if (gepy_span(arg, &span) < 0) {
        return NULL;
    }
    ge_extend(span);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(ending_doc, "ending()\n--\n\nIs this the moment for last words?");

static PyObject *
ending(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return PyBool_FromLong(ge_ending());
}

PyDoc_STRVAR(end_doc, "end()\n--\n\nEnd the process now, by the policy.");

static PyObject *
end(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    ge_end();
}

PyDoc_STRVAR(die_doc, "die(signum, /)\n--\n\nDie of the signal now.");

static PyObject *
die(PyObject *module, PyObject *arg)
{
    int signum;

    (void)module;
    if (!gepy_signum(arg, &signum)) {
        return NULL;
    }
    ge_die(signum);
}

PyDoc_STRVAR(send_doc,
             "send(signums, here, pending, /)\n--\n\n"
             "Send each to the calling thread, or to the process, where main "
             "takes it. Empties the list `pending` first, and lifts the gate "
             "after it; no Python runs in between.");

static PyObject *
send(PyObject *module, PyObject *args)
{
    int signums[GE_NSIG], here;
    Py_ssize_t n;
    PyObject *list, *pending;

    (void)module;
    if (!PyArg_ParseTuple(args, "O!pO!:send", &PyList_Type, &list, &here,
                          &PyList_Type, &pending)) {
        return NULL;
    }
    n = PyList_GET_SIZE(list) < GE_NSIG ? PyList_GET_SIZE(list) : GE_NSIG;
    for (Py_ssize_t i = 0; i < n; i++) {
        if (!gepy_signum(PyList_GET_ITEM(list, i), &signums[i])) {
            return NULL;
        }
    }
    if (PyList_SetSlice(pending, 0, PyList_GET_SIZE(pending), NULL) < 0) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        /* Cannot fail: the numbers are valid and the process is ours. */
        (void)(here ? raise(signums[i]) : kill(getpid(), signums[i]));
    }
    if (n > 0) {
        ge_gate_lift();
    }
    Py_RETURN_NONE;
}

/* A call that the parent of a fork has asked for is the parent's: the child
 * would act on what it has not yet forgotten, and wait for a lock of a thread
 * that is not there. */
static int
run_pending(void *call)
{
    PyObject *callable, *result;
    int pid, status = 0;
    bool lent;

    if (PyArg_ParseTuple((PyObject *)call, "Oi", &callable, &pid) &&
        pid == (int)getpid()) {
        lent = gepy_lend();
        result = PyObject_CallNoArgs(callable);
        gepy_take_back(lent);
        Py_XDECREF(result);
        /* A signal that came meanwhile: main may be about to go back into a
         * system call, where nobody would look any more. */
        status = result == NULL ? -1 : PyErr_CheckSignals();
    }
    Py_DECREF((PyObject *)call);
    return status;
}

int
gepy_in_main_soon(PyObject *callable)
{
    PyObject *call = Py_BuildValue("Oi", callable, (int)getpid());

    if (call == NULL) {
        PyErr_Clear();
        return -1;
    }
    if (Py_AddPendingCall(run_pending, call) < 0) {
        Py_DECREF(call);
        return -1;
    }
    return 0;
}

PyDoc_STRVAR(in_main_doc,
             "in_main(func, /)\n--\n\n"
             "Have the main thread call it between two bytecodes; what it "
             "raises is raised there. False: no room now, try again.");

static PyObject *
in_main(PyObject *module, PyObject *callable)
{
    (void)module;
    return PyBool_FromLong(gepy_in_main_soon(callable) == 0);
}

PyDoc_STRVAR(fork_child_doc,
             "fork_child(sections, /)\n--\n\n"
             "In a forked child: forget the parent; that many sections stay "
             "open.");

static PyObject *
fork_child(PyObject *module, PyObject *arg)
{
    unsigned long sections = PyLong_AsUnsignedLong(arg);

    (void)module;
    if (sections == (unsigned long)-1 && PyErr_Occurred()) {
        return NULL;
    }
    ge_fork_child((unsigned)sections);
    Py_RETURN_NONE;
}

PyMethodDef gepy_end_methods[] = {
    { "at_exit", at_exit, METH_VARARGS, at_exit_doc },
    { "policy", policy, METH_VARARGS, policy_doc },
    { "deadline", deadline, METH_NOARGS, deadline_doc },
    { "extend", extend, METH_O, extend_doc },
    { "ending", ending, METH_NOARGS, ending_doc },
    { "end", end, METH_NOARGS, end_doc },
    { "die", die, METH_O, die_doc },
    { "send", send, METH_VARARGS, send_doc },
    { "in_main", in_main, METH_O, in_main_doc },
    { "fork_child", fork_child, METH_O, fork_child_doc },
    { NULL, NULL, 0, NULL },
};
