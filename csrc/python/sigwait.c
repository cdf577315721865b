/* The thread of sigwait mode, and masks.
 *
 * Not signal.pthread_sigmask(): it runs Python handlers before it returns, and
 * one that raises would take the result of a call with it, a child's pid. */
#include "gepy.h"

#include "../core/ge_sigwait.h"
#include "../core/ge_thread.h"

#include <string.h>

/* For PyArg_Parse "O&": an iterable of signal numbers as a sigset_t. */
static int
as_set(PyObject *arg, void *set)
{
    PyObject *iter = PyObject_GetIter(arg), *item;

    (void)sigemptyset(set);
    if (iter == NULL) {
        return 0;
    }
    while ((item = PyIter_Next(iter)) != NULL) {
        int signum, ok = gepy_signum(item, &signum);

        Py_DECREF(item);
        if (!ok) {
            break;
        }
        (void)sigaddset(set, signum);
    }
    Py_DECREF(iter);
    return !PyErr_Occurred();
}

PyDoc_STRVAR(set_doc,
             "sigwait_set(signums, /)\n--\n\n"
             "A native thread takes these from now on, and no others.");

static PyObject *
sigwait_set(PyObject *module, PyObject *args)
{
    sigset_t set;
    int rc;

    (void)module;
    if (!PyArg_ParseTuple(args, "O&:sigwait_set", as_set, &set)) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    rc = ge_sigwait_set(&set);
    Py_END_ALLOW_THREADS
    return rc < 0 ? gepy_raise(rc, "pthread_create") : Py_NewRef(Py_None);
}

/* Signals and the set of Python that tells which of them this thread blocks
 * for our sake; no Python runs between a change of the mask and of the set. */
static int
parse_masked(PyObject *args, const char *format, sigset_t *set,
             PyObject **fresh)
{
    return PyArg_ParseTuple(args, format, as_set, set, &PySet_Type, fresh);
}

static int
add_all(PyObject *into, const sigset_t *signals)
{
    for (int s = 1; s < GE_NSIG; s++) {
        if (sigismember(signals, s) == 1) {
            PyObject *number = PyLong_FromLong(s);

            if (number == NULL || PySet_Add(into, number) < 0) {
                Py_XDECREF(number);
                return -1;
            }
            Py_DECREF(number);
        }
    }
    return 0;
}

PyDoc_STRVAR(block_doc,
             "block(signums, fresh, /)\n--\n\n"
             "In this thread; those that were not blocked join the set.");

static PyObject *
block(PyObject *module, PyObject *args)
{
    sigset_t set, fresh;
    PyObject *into;

    (void)module;
    if (!parse_masked(args, "O&O!:block", &set, &into)) {
        return NULL;
    }
    ge_sigwait_block(&set, &fresh);
    if (add_all(into, &fresh) < 0) {
        ge_sigwait_unblock(&fresh);
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(unblock_doc, "unblock(signums, fresh, /)\n--\n\n"
                          "In this thread; they leave the set.");

static PyObject *
unblock(PyObject *module, PyObject *args)
{
    sigset_t set;
    PyObject *from;

    (void)module;
    if (!parse_masked(args, "O&O!:unblock", &set, &from)) {
        return NULL;
    }
    ge_sigwait_unblock(&set);
    for (int s = 1; s < GE_NSIG; s++) {
        if (sigismember(&set, s) == 1) {
            PyObject *number = PyLong_FromLong(s);

            if (number == NULL || PySet_Discard(from, number) < 0) {
                Py_XDECREF(number);
                return NULL;
            }
            Py_DECREF(number);
        }
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(masked_doc,
             "masked(func, signums, /)\n--\n\n"
             "Call func(fresh) with these blocked in this thread, too; fresh: "
             "a tuple of those that were not.");

static PyObject *
masked(PyObject *module, PyObject *args)
{
    sigset_t set, fresh;
    PyObject *func, *names, *numbers = NULL, *result = NULL;

    (void)module;
    if (!PyArg_ParseTuple(args, "OO&:masked", &func, as_set, &set) ||
        (names = PySet_New(NULL)) == NULL) {
        return NULL;
    }
    ge_thread_block(&set, &fresh);
    if (add_all(names, &fresh) == 0 &&
        (numbers = PySequence_Tuple(names)) != NULL) {
        result = PyObject_CallOneArg(func, numbers);
    }
    ge_thread_unblock(&fresh);
    Py_XDECREF(numbers);
    Py_DECREF(names);
    return result;
}

PyDoc_STRVAR(unmasked_doc,
             "unmasked(func, /, *args, **kwargs)\n--\n\n"
             "Call func with what we have blocked unblocked in this thread.");

static PyObject *
unmasked(PyObject *module, PyObject *const *args, Py_ssize_t n,
         PyObject *names)
{
    struct ge_unblocked was;
    PyObject *result;

    (void)module;
    if (n < 1) {
        PyErr_SetString(PyExc_TypeError, "a callable is needed");
        return NULL;
    }
    ge_sigwait_pause(&was);
    result = PyObject_Vectorcall(args[0], args + 1, (size_t)n - 1, names);
    ge_sigwait_resume(&was);
    return result;
}

PyDoc_STRVAR(keep_doc,
             "keep_blocked(signums, /)\n--\n\n"
             "Children of this thread have these blocked if it has, until the "
             "call with ().");

static PyObject *
keep_blocked(PyObject *module, PyObject *args)
{
    sigset_t set, none;

    (void)module;
    (void)sigemptyset(&none);
    if (!PyArg_ParseTuple(args, "O&:keep_blocked", as_set, &set)) {
        return NULL;
    }
    ge_sigwait_keep(memcmp(&set, &none, sizeof set) == 0 ? NULL : &set);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(forget_doc,
             "sigwait_forget()\n--\n\n"
             "No thread is left that inherited what we had blocked.");

static PyObject *
sigwait_forget(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    ge_sigwait_forget();
    Py_RETURN_NONE;
}

PyMethodDef gepy_sigwait_methods[] = {
    { "sigwait_set", sigwait_set, METH_VARARGS, set_doc },
    { "sigwait_forget", sigwait_forget, METH_NOARGS, forget_doc },
    { "block", block, METH_VARARGS, block_doc },
    { "unblock", unblock, METH_VARARGS, unblock_doc },
    { "keep_blocked", keep_blocked, METH_VARARGS, keep_doc },
    { "masked", masked, METH_VARARGS, masked_doc },
    { "unmasked", (PyCFunction)(void (*)(void))unmasked,
      METH_FASTCALL | METH_KEYWORDS, unmasked_doc },
    { NULL, NULL, 0, NULL },
};
