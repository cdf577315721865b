/* What Python asks of the sections that are open. */
#include "gepy.h"

PyDoc_STRVAR(inside_doc,
             "inside(ident, tasks=True, /)\n--\n\n"
             "Has this thread, or with tasks one of its tasks, a section open "
             "that holds?");

static PyObject *
inside(PyObject *module, PyObject *args)
{
    unsigned long ident;
    int tasks = 1;

    (void)module;
    if (!PyArg_ParseTuple(args, "k|p:inside", &ident, &tasks)) {
        return NULL;
    }
    return PyBool_FromLong(gepy_inside(ident, tasks != 0));
}

PyDoc_STRVAR(is_open_doc, "is_open(serial, /)\n--\n\nIs this one open?");

static PyObject *
is_open(PyObject *module, PyObject *arg)
{
    uint64_t serial = PyLong_AsUnsignedLongLong(arg);

    (void)module;
    if (serial == (uint64_t)-1 && PyErr_Occurred()) {
        return NULL;
    }
    return PyBool_FromLong(serial != 0 && gepy_find(NULL, 0, serial) != 0);
}

PyDoc_STRVAR(new_serial_doc, "new_serial()\n--\n\nA name for one to open.");

static PyObject *
new_serial(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return PyLong_FromUnsignedLongLong(gepy_serial());
}

static PyObject *
list_of(struct gepy_copy *copies, Py_ssize_t n)
{
    PyObject *list = n < 0 ? PyErr_NoMemory() : PyList_New(n);

    for (Py_ssize_t i = 0; i < n; i++) {
        struct gepy_copy *c = &copies[i];
        PyObject *item = NULL;

        if (list != NULL) {
            item = Py_BuildValue("OkNO", c->owner, c->ident,
                                 gepy_seconds(c->since),
                                 c->holds ? Py_True : Py_False);
        }
        if (list != NULL && item == NULL) {
            Py_CLEAR(list);
        } else if (list != NULL) {
            PyList_SET_ITEM(list, n - 1 - i, item); /* the oldest first */
        }
        Py_DECREF(c->owner);
    }
    PyMem_RawFree(copies);
    return list;
}

PyDoc_STRVAR(opened_doc, "opened()\n--\n\n"
                         "[(section, thread ident, since, does it hold)].");

static PyObject *
opened(PyObject *module, PyObject *unused)
{
    struct gepy_copy *copies;
    int64_t next;
    Py_ssize_t n = gepy_copy_opened(&copies, false, 0, &next);

    (void)module;
    (void)unused;
    return list_of(copies, n);
}

PyDoc_STRVAR(
    overdue_doc,
    "overdue()\n--\n\n"
    "Those over their timeout, which hold nothing up from now on, and "
    "time.monotonic() of the next one or None.");

static PyObject *
overdue(PyObject *module, PyObject *unused)
{
    struct gepy_copy *copies;
    int64_t next;
    Py_ssize_t n = gepy_copy_opened(&copies, true, ge_now(), &next);
    PyObject *list = list_of(copies, n);

    (void)module;
    (void)unused;
    return list == NULL ? NULL : Py_BuildValue("NN", list, gepy_seconds(next));
}

PyDoc_STRVAR(keep_doc, "keep_own_sections()\n--\n\n"
                       "In a forked child: the other threads' are gone. How "
                       "many count.");

static PyObject *
keep_own_sections(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return PyLong_FromUnsignedLong(
        gepy_keep_opened(PyThread_get_thread_ident()));
}

PyMethodDef gepy_opened_methods[] = {
    { "inside", inside, METH_VARARGS, inside_doc },
    { "is_open", is_open, METH_O, is_open_doc },
    { "new_serial", new_serial, METH_NOARGS, new_serial_doc },
    { "opened", opened, METH_NOARGS, opened_doc },
    { "overdue", overdue, METH_NOARGS, overdue_doc },
    { "keep_own_sections", keep_own_sections, METH_NOARGS, keep_doc },
    { NULL, NULL, 0, NULL },
};
