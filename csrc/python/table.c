/* What Python's table of handlers says. Asked for by number at each use: other
 * code may change it at any time. */
#include "gepy.h"

#include <signal.h>

/* The bare function, for the life of the process: what `signal` has wraps it
 * in Python. Never NULL once the module is there. */
static PyObject *getsignal;

int
gepy_table_init(void)
{
    /* Not at first use, which may be in two threads at once. */
    PyObject *module = PyImport_ImportModule("_signal");

    if (module != NULL) {
        Py_XSETREF(getsignal, PyObject_GetAttrString(module, "getsignal"));
        Py_DECREF(module);
    }
    return module == NULL || getsignal == NULL ? -1 : 0;
}

PyObject *
gepy_python_handler(PyObject *signum)
{
    PyObject *there = PyObject_CallOneArg(getsignal, signum);

    if (there == NULL) {
        PyErr_Clear();
    }
    return there;
}

bool
gepy_handler_is(PyObject *handler, void (*which)(int))
{
    return PyLong_CheckExact(handler) && PyLong_AsLong(handler) == (long)which;
}

bool
gepy_ignored(PyObject *signum)
{
    long n = PyLong_AsLong(signum);
    PyObject *there;
    bool yes;

    if (n == SIGPIPE || n == SIGXFSZ) {
        return false;
    }
    there = gepy_python_handler(signum);
    yes = there != NULL && gepy_handler_is(there, SIG_IGN);
    Py_XDECREF(there);
    return yes;
}
