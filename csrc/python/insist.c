/* What must not be cut in two by an exception.
 *
 * A signal handler written in Python may raise between any two bytecodes, the
 * first of a function included. So the steps that take and give back are
 * called from C, where no bytecode lies between a failure and its repair:
 * `attempt` undoes, `insist` repeats, `conclude` repeats several and raises
 * what they owe. The Python functions they call may be interrupted and called
 * again. */
#include "gepy.h"

PyObject *
gepy_take_exception(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *value, *trace;

    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    if (value != NULL && trace != NULL) {
        PyException_SetTraceback(value, trace);
    }
    Py_XDECREF(type);
    Py_XDECREF(trace);
    return value;
#endif
}

void
gepy_give_exception(PyObject *error)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyErr_SetRaisedException(error);
#else
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(error)), error,
                  PyException_GetTraceback(error));
#endif
}

/* Raise it: one that has no context yet gets what is being handled, the
 * exception that the block itself ends with. Steals the reference. */
static void
raise_exception(PyObject *error)
{
    PyObject *context = PyException_GetContext(error);

    if (context != NULL) {
        Py_DECREF(context);
        gepy_give_exception(error);
    } else {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_DECREF(error);
    }
}

void
gepy_met(PyObject **met, PyObject *error)
{
    if (error == NULL || error == *met) {
        Py_XDECREF(error);
        return;
    }
    if (*met != NULL) {
        PyException_SetContext(error, *met); /* steals the reference */
    }
    *met = error;
}

PyObject *
gepy_call_method(PyObject *self, const char *name, PyObject *arg)
{
    PyObject *method = PyObject_GetAttrString(self, name);
    PyObject *result = method == NULL ? NULL
                       : arg == NULL  ? PyObject_CallNoArgs(method)
                                      : PyObject_CallOneArg(method, arg);

    Py_XDECREF(method);
    return result;
}

PyObject *
gepy_repeat(PyObject *func, PyObject **met)
{
    PyObject *result = NULL;

    for (int i = 0; result == NULL && i < GEPY_ENOUGH; i++) {
        if (i > 0) {
            gepy_met(met, gepy_take_exception());
        }
        result = PyObject_CallNoArgs(func);
    }
    return result;
}

PyObject *
gepy_finish(PyObject *result, PyObject *met)
{
    if (met == NULL) {
        return result;
    }
    if (result != NULL) {
        Py_DECREF(result);
        raise_exception(met);
        return NULL;
    }
    gepy_met(&met, gepy_take_exception());
    raise_exception(met);
    return NULL;
}

PyDoc_STRVAR(insist_doc, "insist(func, /)\n--\n\n"
                         "Call it until it returns, whatever signal handlers "
                         "raise into it; then raise what they raised.");

static PyObject *
insist(PyObject *module, PyObject *func)
{
    PyObject *met = NULL;
    PyObject *result = gepy_repeat(func, &met);

    (void)module;
    return gepy_finish(result, met);
}

PyDoc_STRVAR(attempt_doc,
             "attempt(func, undo, /)\n--\n\n"
             "Call func; if it raises, insist on undo and raise that.");

static PyObject *
attempt(PyObject *module, PyObject *args)
{
    PyObject *func, *undo, *result, *met = NULL;

    (void)module;
    if (!PyArg_ParseTuple(args, "OO:attempt", &func, &undo)) {
        return NULL;
    }
    result = PyObject_CallNoArgs(func);
    if (result == NULL) {
        PyObject *error = gepy_take_exception();
        PyObject *undone = gepy_repeat(undo, &met);

        Py_XDECREF(met); /* the first exception is what the caller asked for */
        if (undone == NULL) {
            PyErr_WriteUnraisable(undo);
        }
        Py_XDECREF(undone);
        gepy_give_exception(error);
    }
    return result;
}

/* A step of the end that is owed an exception returns (exception, dict): the
 * dict, which is what made it owe, is emptied with no Python in between. */
static void
pay(PyObject *result, PyObject **met)
{
    PyObject *error, *owed;

    if (PyTuple_Check(result) &&
        PyArg_ParseTuple(result, "OO!", &error, &PyDict_Type, &owed)) {
        PyDict_Clear(owed);
        gepy_met(met, Py_NewRef(error));
    }
    PyErr_Clear();
    Py_DECREF(result);
}

int
gepy_conclude(PyObject *steps, PyObject **met)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(steps); i++) {
        PyObject *result = gepy_repeat(PyTuple_GET_ITEM(steps, i), met);

        if (result == NULL) {
            return -1;
        }
        pay(result, met);
    }
    /* What was sent to ourselves is due now, not in the caller's next line. */
    if (PyErr_CheckSignals() < 0) {
        gepy_met(met, gepy_take_exception());
    }
    return 0;
}

PyDoc_STRVAR(conclude_doc,
             "conclude(*steps)\n--\n\n"
             "Insist on each; then raise what they owe, and what signal "
             "handlers raised meanwhile as its context.");

static PyObject *
conclude(PyObject *module, PyObject *steps)
{
    PyObject *met = NULL;
    PyObject *done =
        gepy_conclude(steps, &met) == 0 ? Py_NewRef(Py_None) : NULL;

    (void)module;
    return gepy_finish(done, met);
}

PyDoc_STRVAR(
    pop_call_doc,
    "pop_call(mapping, key, func, /, *args)\n--\n\n"
    "Delete the key and call func(*args), with no Python in between; nothing "
    "is called where it is not there any more.");

static PyObject *
pop_call(PyObject *module, PyObject *const *args, Py_ssize_t n)
{
    (void)module;
    if (n < 3) {
        PyErr_SetString(PyExc_TypeError, "mapping, key and func are needed");
        return NULL;
    }
    if (PyObject_DelItem(args[0], args[1]) < 0) {
        if (!PyErr_ExceptionMatches(PyExc_KeyError)) {
            return NULL;
        }
        PyErr_Clear();
        Py_RETURN_NONE;
    }
    return PyObject_Vectorcall(args[2], args + 3, (size_t)(n - 3), NULL);
}

PyDoc_STRVAR(move_doc,
             "move(key, source, target, /)\n--\n\n"
             "Take the key out of one dict and into the other; what it stood "
             "for, or None if it is not there. No Python in between.");

static PyObject *
move(PyObject *module, PyObject *args)
{
    PyObject *key, *source, *target, *value;

    (void)module;
    if (!PyArg_ParseTuple(args, "OO!O!:move", &key, &PyDict_Type, &source,
                          &PyDict_Type, &target)) {
        return NULL;
    }
    value = PyDict_GetItemWithError(source, key);
    if (value == NULL) {
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    }
    Py_INCREF(value);
    if (PyDict_SetItem(target, key, Py_None) < 0 ||
        PyDict_DelItem(source, key) < 0) {
        Py_CLEAR(value);
    }
    return value;
}

PyMethodDef gepy_insist_methods[] = {
    { "insist", insist, METH_O, insist_doc },
    { "attempt", attempt, METH_VARARGS, attempt_doc },
    { "conclude", conclude, METH_VARARGS, conclude_doc },
    { "move", move, METH_VARARGS, move_doc },
    { "pop_call", (PyCFunction)(void (*)(void))pop_call, METH_FASTCALL,
      pop_call_doc },
    { NULL, NULL, 0, NULL },
};
