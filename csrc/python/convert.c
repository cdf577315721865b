/* Between Python's values and the core's. */
#include "gepy.h"

#include <errno.h>
#include <math.h>
#include <string.h>

PyObject *
gepy_raise(int rc, const char *call)
{
    const char *advice = rc == -EMFILE || rc == -ENFILE
                             ? "; close some, or raise the limit (ulimit -n)"
                             : "";
    PyObject *text =
        PyUnicode_FromFormat("%s: %s%s", call, strerror(-rc), advice);
    PyObject *error =
        text == NULL ? NULL
                     : PyObject_CallFunction(PyExc_OSError, "iO", -rc, text);

    Py_XDECREF(text);
    if (error != NULL) {
        /* The subclass that fits the number: BlockingIOError and so on. */
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_DECREF(error);
    }
    return NULL;
}

int
gepy_span(PyObject *seconds, int64_t *span)
{
    double s;

    if (seconds == NULL || seconds == Py_None) {
        *span = GE_NEVER;
        return 0;
    }
    s = PyFloat_AsDouble(seconds);
    if (s == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (isnan(s)) {
        PyErr_SetString(PyExc_ValueError,
                        "a time in seconds is needed, not NaN");
        return -1;
    }
    /* A hundred years are for ever, and leave room to add the clock. */
    if (s > 3.2e9) {
        *span = GE_NEVER;
    } else if (s < -3.2e9) {
        *span = -INT64_C(3200000000) * GE_NS_PER_S;
    } else {
        /* Rounded up: a wait may be late, never early. */
        *span = (int64_t)ceil(s * 1e9);
    }
    return 0;
}

int
gepy_until(PyObject *seconds, int64_t *until)
{
    int64_t span;

    if (gepy_span(seconds, &span) < 0) {
        return -1;
    }
    *until = span == GE_NEVER ? GE_NEVER : ge_now() + (span > 0 ? span : 0);
    return 0;
}

int
gepy_signum(PyObject *arg, void *signum)
{
    long n = PyLong_AsLong(arg);

    if (n == -1 && PyErr_Occurred()) {
        return 0;
    }
    if (n <= 0 || n >= GE_NSIG) {
        PyErr_Format(PyExc_ValueError, "signal number out of range 1-%d",
                     GE_NSIG - 1);
        return 0;
    }
    *(int *)signum = (int)n;
    return 1;
}

PyObject *
gepy_seconds(int64_t ns)
{
    if (ns == GE_NEVER) {
        Py_RETURN_NONE;
    }
    return PyFloat_FromDouble((double)ns / 1e9);
}

PyObject *
gepy_info(const struct ge_info *info)
{
    return Py_BuildValue("(iiiiid)", info->signum, info->code, info->pid,
                         info->uid, info->value, (double)info->when / 1e9);
}
