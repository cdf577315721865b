/* What must not be cut in two by an exception.
 *
 * A signal handler written in Python may raise between any two bytecodes, the
 * first of a function included. So the steps that take and give back are
 * called from C, where no bytecode lies between a failure and its repair:
 * `attempt` undoes, `insist` repeats, and a section is entered and left by C.
 * The Python functions they call may be interrupted and called again. */
#include "gepy.h"

#include <stdatomic.h>

/* A function that fails for a reason of its own must not be repeated for ever;
 * signals that raise do not come that often in a row. */
#define ENOUGH 1000

/* The exception that is set, as an object, and unset. */
static PyObject *
take_exception(void)
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

/* Set it as it is; steals the reference. */
static void
give_exception(PyObject *error)
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
        give_exception(error);
    } else {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_DECREF(error);
    }
}

static PyObject *
call_once(PyObject *func, PyObject *arg)
{
    return arg == NULL ? PyObject_CallNoArgs(func)
                       : PyObject_CallOneArg(func, arg);
}

/* One more exception that was met: the latest is raised in the end, and tells
 * of those before as its context. Steals `error`. */
static void
add(PyObject **met, PyObject *error)
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

/* Call until it returns; the exceptions that came meanwhile go into *met.
 * Returns the result, or NULL with the last exception set. */
static PyObject *
repeat(PyObject *func, PyObject *arg, PyObject **met)
{
    PyObject *result = NULL;

    for (int i = 0; result == NULL && i < ENOUGH; i++) {
        if (i > 0) {
            add(met, take_exception());
        }
        result = call_once(func, arg);
    }
    return result;
}

/* Raise what was met on the way; steals both references. */
static PyObject *
finish(PyObject *result, PyObject *met)
{
    if (met == NULL) {
        return result;
    }
    if (result != NULL) {
        Py_DECREF(result);
        raise_exception(met);
        return NULL;
    }
    add(&met, take_exception());
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
    PyObject *result = repeat(func, NULL, &met);

    (void)module;
    return finish(result, met);
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
        PyObject *error = take_exception();
        PyObject *undone = repeat(undo, NULL, &met);

        Py_XDECREF(met); /* the first exception is what the caller asked for */
        if (undone == NULL) {
            PyErr_WriteUnraisable(undo);
        }
        Py_XDECREF(undone);
        give_exception(error);
    }
    return result;
}

PyMethodDef gepy_section_methods[] = {
    { "insist", insist, METH_O, insist_doc },
    { "attempt", attempt, METH_VARARGS, attempt_doc },
    { NULL, NULL, 0, NULL },
};

/* ---- _core.Token: one open section, counted in the core at most once ------
 */

struct token {
    PyObject_HEAD
    atomic_bool counted;
};

PyDoc_STRVAR(count_in_doc,
             "count_in($self, /)\n--\n\n"
             "Count this section; False: the process is ending.");

static PyObject *
token_count_in(PyObject *op, PyObject *unused)
{
    struct token *self = (struct token *)op;
    bool in = ge_section_enter() == 0;

    (void)unused;
    if (in && atomic_exchange(&self->counted, true)) {
        (void)ge_section_leave(); /* it was in already */
    }
    return PyBool_FromLong(in);
}

PyDoc_STRVAR(count_out_doc,
             "count_out($self, /)\n--\n\n"
             "Count it no longer; True for the one call that did so.");

static PyObject *
token_count_out(PyObject *op, PyObject *unused)
{
    bool was = atomic_exchange(&((struct token *)op)->counted, false);

    (void)unused;
    if (was) {
        (void)ge_section_leave();
    }
    return PyBool_FromLong(was);
}

static PyObject *
token_get_counted(PyObject *op, void *unused)
{
    (void)unused;
    return PyBool_FromLong(atomic_load(&((struct token *)op)->counted));
}

static PyObject *
token_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *self = type->tp_alloc(type, 0);

    (void)args; /* the subclass's __init__ takes them */
    (void)kwargs;
    if (self != NULL) {
        atomic_init(&((struct token *)self)->counted, false);
    }
    return self;
}

static int
visit_type(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    return 0;
}

static void
free_object(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);

    PyObject_GC_UnTrack(op);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyMethodDef token_methods[] = {
    { "count_in", token_count_in, METH_NOARGS, count_in_doc },
    { "count_out", token_count_out, METH_NOARGS, count_out_doc },
    { NULL, NULL, 0, NULL },
};

static PyGetSetDef token_getset[] = {
    { "counted", token_get_counted, NULL, "Is it counted?", NULL },
    { NULL, NULL, NULL, NULL, NULL },
};

PyDoc_STRVAR(token_doc, "One open section.");

static PyType_Slot token_slots[] = {
    { Py_tp_doc, (void *)token_doc },
    { Py_tp_new, (void *)token_new },
    { Py_tp_dealloc, (void *)free_object },
    { Py_tp_traverse, (void *)visit_type },
    { Py_tp_methods, token_methods },
    { Py_tp_getset, token_getset },
    { 0, NULL },
};

PyType_Spec gepy_token_spec = {
    .name = "gracefulexit._core.Token",
    .basicsize = sizeof(struct token),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = token_slots,
};

/* ---- _core.Section: the base of TerminateProtected ------------------------
 */

static PyObject *
call_method(PyObject *self, const char *name, PyObject *arg)
{
    PyObject *method = PyObject_GetAttrString(self, name);
    PyObject *result = method == NULL ? NULL : call_once(method, arg);

    Py_XDECREF(method);
    return result;
}

static PyObject *
repeat_method(PyObject *self, const char *name, PyObject *arg, PyObject **met)
{
    PyObject *method = PyObject_GetAttrString(self, name);
    PyObject *result = method == NULL ? NULL : repeat(method, arg, met);

    Py_XDECREF(method);
    return result;
}

PyDoc_STRVAR(enter_doc, "__enter__($self, /)\n--\n\nOpen the section.");

static PyObject *
section_enter(PyObject *self, PyObject *unused)
{
    PyObject *token = call_method(self, "_begin", NULL);
    PyObject *opened, *met = NULL;

    (void)unused;
    if (token == NULL) {
        return NULL;
    }
    opened = call_method(self, "_open", token);
    if (opened == NULL) {
        PyObject *error = take_exception();

        Py_XDECREF(repeat_method(self, "_let_go", token, &met));
        Py_XDECREF(met);
        PyErr_Clear();
        give_exception(error);
    }
    Py_DECREF(token);
    if (opened == NULL) {
        return NULL;
    }
    Py_DECREF(opened);
    return Py_NewRef(self);
}

/* The steps of the end, each until it is done. What main owes is an exception
 * that _owed() returns and that is raised here, so that no other can replace
 * it on the way. */
static PyObject *
leave(PyObject *self, PyObject *token, PyObject **met)
{
    static const char *const steps[] = { "_let_go", "_send_held", "_owed",
                                         "_catch_up" };
    PyObject *result = NULL;

    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        result = repeat_method(self, steps[i], token, met);
        if (result == NULL) {
            return NULL;
        }
        if (PyExceptionInstance_Check(result)) {
            add(met, result);
        } else {
            Py_DECREF(result);
        }
    }
    return Py_NewRef(Py_None);
}

PyDoc_STRVAR(exit_doc, "__exit__($self, /, *exc_info)\n--\n\n"
                       "Leave the section, and deliver what came inside.");

static PyObject *
section_exit(PyObject *self, PyObject *unused)
{
    PyObject *met = NULL, *done;
    PyObject *token = repeat_method(self, "_innermost", NULL, &met);

    (void)unused;
    if (token == NULL) {
        return finish(NULL, met);
    }
    if (token == Py_None) {
        done = call_method(self, "_not_open", NULL);
    } else {
        done = leave(self, token, &met);
    }
    Py_DECREF(token);
    return finish(done, met);
}

static PyMethodDef section_methods[] = {
    { "__enter__", section_enter, METH_NOARGS, enter_doc },
    { "__exit__", section_exit, METH_VARARGS, exit_doc },
    { NULL, NULL, 0, NULL },
};

PyDoc_STRVAR(section_doc, "Enters and leaves without a gap.");

static PyType_Slot section_slots[] = {
    { Py_tp_doc, (void *)section_doc },
    { Py_tp_traverse, (void *)visit_type },
    { Py_tp_dealloc, (void *)free_object },
    { Py_tp_methods, section_methods },
    { 0, NULL },
};

PyType_Spec gepy_section_spec = {
    .name = "gracefulexit._core.Section",
    .basicsize = sizeof(PyObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = section_slots,
};
