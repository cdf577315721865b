/* The native report, which is for when there is no Python to be had. */
#include "gepy.h"

#include "../core/ge_report.h"

PyDoc_STRVAR(told_doc,
             "told()\n--\n\nPython has said what the stop waits for.");

static PyObject *
told(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    ge_told();
    Py_RETURN_NONE;
}

PyDoc_STRVAR(arm_doc,
             "report_arm(signum, /)\n--\n\n"
             "Report where Python does not, with the stacks that the signal's "
             "handler writes (0: none). False: nobody could read it.");

static PyObject *
report_arm(PyObject *module, PyObject *args)
{
    int signum, rc;

    (void)module;
    if (!PyArg_ParseTuple(args, "i:report_arm", &signum)) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    rc = ge_report_arm(signum);
    Py_END_ALLOW_THREADS
    return PyBool_FromLong(rc == 0);
}

PyDoc_STRVAR(disarm_doc, "report_disarm()\n--\n\nNo more.");

static PyObject *
report_disarm(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    Py_BEGIN_ALLOW_THREADS
    ge_report_disarm();
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

PyDoc_STRVAR(handler_doc,
             "handler(signum, /)\n--\n\n"
             "The address in the kernel's table; 0: the default action.");

static PyObject *
handler(PyObject *module, PyObject *arg)
{
    struct sigaction sa;
    int signum;

    (void)module;
    if (!gepy_signum(arg, &signum)) {
        return NULL;
    }
    if (sigaction(signum, NULL, &sa) < 0) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return PyLong_FromVoidPtr((void *)(uintptr_t)sa.sa_handler);
}

PyMethodDef gepy_report_methods[] = {
    { "told", told, METH_NOARGS, told_doc },
    { "report_arm", report_arm, METH_VARARGS, arm_doc },
    { "report_disarm", report_disarm, METH_NOARGS, disarm_doc },
    { "handler", handler, METH_O, handler_doc },
    { NULL, NULL, 0, NULL },
};
