/* `async with`: a section belongs to its task, not to its thread. */
#include "section.h"

/* A context variable: a tuple of (serial, section), the innermost last. */
static PyObject *own;

int
gepy_tasks_init(PyObject *module)
{
    if (own == NULL) {
        PyObject *none = PyTuple_New(0);

        own = none == NULL ? NULL
                           : PyContextVar_New("gracefulexit sections", none);
        Py_XDECREF(none);
    }
    return own == NULL ? -1 : PyModule_AddObjectRef(module, "own", own);
}

/* The innermost entry of this section in this task, or, if it was opened in
 * another context (a fixture, a task of its own for a time limit), in any. */
static uint64_t
innermost(PyObject *op)
{
    uint64_t serial = 0;
    PyObject *entries = NULL;

    if (PyContextVar_Get(own, NULL, &entries) < 0 || entries == NULL) {
        PyErr_Clear();
        return gepy_find_task(op);
    }
    for (Py_ssize_t i = PyTuple_GET_SIZE(entries) - 1; serial == 0 && i >= 0;
         i--) {
        PyObject *entry = PyTuple_GET_ITEM(entries, i);

        if (PyTuple_GET_ITEM(entry, 1) == op) {
            serial = gepy_find(
                NULL, 0,
                PyLong_AsUnsignedLongLong(PyTuple_GET_ITEM(entry, 0)));
        }
    }
    Py_DECREF(entries);
    return serial != 0 ? serial : gepy_find_task(op);
}

/* Leaves at the call, not when it is awaited: no handler of other code can
 * raise between the end of the block and this. */
PyObject *
gepy_section_aexit(PyObject *op, PyObject *const *args, Py_ssize_t n)
{
    PyObject *left = gepy_leave(op, innermost(op), true);

    (void)args;
    (void)n;
    if (left == NULL) {
        return NULL;
    }
    Py_DECREF(left);
    return gepy_call_method(op, "_done", NULL);
}
