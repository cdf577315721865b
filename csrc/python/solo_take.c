/* What stands of a section that was alone, handed to Python. */
#include "solo.h"

PyDoc_STRVAR(
    take_doc,
    "solo_take(layers, roles, default, /)\n--\n\n"
    "Put what stands into `wanted`, `previous`, `laid` and `dirty` of "
    "layers, whose affair it is from now on. No Python in between.");

/* layers.what[signum] = value */
static bool
put(PyObject *layers, const char *what, int signum, PyObject *value)
{
    PyObject *dict = PyObject_GetAttrString(layers, what);
    PyObject *key = PyLong_FromLong(signum);
    bool done =
        dict != NULL && key != NULL && PyObject_SetItem(dict, key, value) == 0;

    Py_XDECREF(key);
    Py_XDECREF(dict);
    return done;
}

/* layers.laid.add(signum) */
static bool
note_laid(PyObject *layers, int signum)
{
    PyObject *set = PyObject_GetAttrString(layers, "laid");
    PyObject *key = PyLong_FromLong(signum);
    bool done = set != NULL && key != NULL && PySet_Add(set, key) == 0;

    Py_XDECREF(key);
    Py_XDECREF(set);
    return done;
}

static PyObject *
solo_take(PyObject *module, PyObject *args)
{
    PyObject *layers, *roles, *otherwise, *dirty;
    bool done = true;

    (void)module;
    if (!PyArg_ParseTuple(args, "OOO:solo_take", &layers, &roles,
                          &otherwise)) {
        return NULL;
    }
    if (gepy_solo.phase == NONE) {
        Py_RETURN_NONE;
    }
    for (int i = 0; done && i < gepy_solo.n; i++) {
        PyObject *there = gepy_solo.previous[i];
        int signum = gepy_solo.signums[i];

        done = put(layers, "wanted", signum, roles) &&
               put(layers, "previous", signum,
                   PyCallable_Check(there) ? there : otherwise) &&
               (!gepy_solo.laid[i] || note_laid(layers, signum));
    }
    /* Where it is being left, the core wants none of them any more. */
    dirty = gepy_solo.phase == LEAVING ? Py_True : Py_False;
    if (!done || PyObject_SetAttrString(layers, "dirty", dirty) < 0) {
        return NULL;
    }
    gepy_solo.phase = NONE;
    gepy_solo.idle = false;
    Py_RETURN_NONE;
}

PyMethodDef gepy_solo_take_methods[] = {
    { "solo_take", solo_take, METH_VARARGS, take_doc },
    { NULL, NULL, 0, NULL },
};
