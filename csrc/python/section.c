/* _core.Section, the base of TerminateProtected: how one is made, and what it
 * tells of itself. Entering and leaving is entry.c. */
#include "section.h"

#if PY_VERSION_HEX < 0x030B0000
#include <frameobject.h>
#endif
#include <stddef.h>

static PyObject *default_signals; /* (SIGTERM, SIGINT), for ever */

int
gepy_section_init(void)
{
    if (default_signals == NULL) {
        default_signals = Py_BuildValue("(ii)", SIGTERM, SIGINT);
    }
    return default_signals == NULL ? -1 : 0;
}

/* ---- making --------------------------------------------------------------
 */

static int section_init(PyObject *op, PyObject *args, PyObject *kwargs);

/* Noted as code and offset: the line is looked up when somebody asks. */
static void
note_place(struct gepy_section *self)
{
    PyFrameObject *frame = PyEval_GetFrame();
    /* A subclass may have a constructor of its own, which calls ours. */
    bool derived = Py_TYPE(self)->tp_init != section_init;
    bool constructor = true;

    Py_XINCREF(frame);
    while (frame != NULL && constructor) {
        PyCodeObject *code = PyFrame_GetCode(frame);

        constructor = derived && PyUnicode_CompareWithASCIIString(
                                     code->co_name, "__init__") == 0;
        if (!constructor) {
#if PY_VERSION_HEX >= 0x030B0000
            self->lasti = PyFrame_GetLasti(frame);
#else
            self->lasti = frame->f_lasti * (int)sizeof(uint16_t);
#endif
            Py_XSETREF(self->code, (PyObject *)code);
            Py_SETREF(frame, NULL);
        } else {
            Py_DECREF(code);
            Py_SETREF(frame, PyFrame_GetBack(frame));
        }
    }
}

static PyObject *
section_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    struct gepy_section *self = (struct gepy_section *)type->tp_alloc(type, 0);

    (void)args; /* section_init takes them */
    (void)kwargs;
    if (self != NULL) {
        self->signals = Py_NewRef(default_signals);
        self->name = Py_NewRef(Py_None);
        self->timeout = GE_NEVER;
    }
    return (PyObject *)self;
}

/* Without arguments nothing is to be checked. */
static int
section_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    struct gepy_section *self = (struct gepy_section *)op;
    PyObject *parse, *parsed = NULL, *signals, *timeout, *name;
    int rc = -1;

    note_place(self);
    if (PyTuple_GET_SIZE(args) == 0 && kwargs == NULL) {
        return 0;
    }
    parse = PyObject_GetAttrString(op, "_parse");
    if (parse != NULL) {
        parsed = PyObject_Call(parse, args, kwargs);
        Py_DECREF(parse);
    }
    if (parsed != NULL &&
        PyArg_ParseTuple(parsed, "O!OO", &PyTuple_Type, &signals, &timeout,
                         &name) &&
        gepy_span(timeout, &self->timeout) == 0) {
        Py_SETREF(self->signals, Py_NewRef(signals));
        Py_SETREF(self->name, Py_NewRef(name));
        rc = 0;
    }
    Py_XDECREF(parsed);
    return rc;
}

static int
section_traverse(PyObject *op, visitproc visit, void *arg)
{
    struct gepy_section *self = (struct gepy_section *)op;

    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->signals);
    Py_VISIT(self->name);
    Py_VISIT(self->code);
    return 0;
}

static int
section_clear(PyObject *op)
{
    struct gepy_section *self = (struct gepy_section *)op;

    Py_CLEAR(self->signals);
    Py_CLEAR(self->name);
    Py_CLEAR(self->code);
    return 0;
}

static void
section_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);

    PyObject_GC_UnTrack(op);
    (void)section_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

/* ---- what it is ----------------------------------------------------------
 */

static PyObject *
get_timeout(PyObject *op, void *unused)
{
    int64_t timeout = ((struct gepy_section *)op)->timeout;

    (void)unused;
    return gepy_seconds(timeout);
}

static PyObject *
get_made_at(PyObject *op, void *unused)
{
    struct gepy_section *self = (struct gepy_section *)op;
    PyCodeObject *code = (PyCodeObject *)self->code;

    (void)unused;
    if (code == NULL) {
        Py_RETURN_NONE;
    }
    return Py_BuildValue("OOi", code->co_name, code->co_filename,
                         PyCode_Addr2Line(code, self->lasti));
}

PyObject *
gepy_section_renew(PyObject *op, PyObject *arg)
{
    uint64_t serial = PyLong_AsUnsignedLongLong(arg);
    struct gepy_section *self = (struct gepy_section *)op;

    if (serial == (uint64_t)-1 && PyErr_Occurred()) {
        return NULL;
    }
    serial = gepy_find(op, PyThread_get_thread_ident(), serial);
    return PyBool_FromLong(serial != 0 &&
                           gepy_renew(serial, ge_now(), self->timeout));
}

static PyMemberDef section_members[] = {
    { "signals", Py_T_OBJECT_EX, offsetof(struct gepy_section, signals),
      Py_READONLY, "What is held." },
    { "name", Py_T_OBJECT_EX, offsetof(struct gepy_section, name), Py_READONLY,
      "For logs and reports, or None." },
    { NULL, 0, 0, 0, NULL },
};

static PyGetSetDef section_getset[] = {
    { "timeout", get_timeout, NULL, "Seconds, or None.", NULL },
    { "_made_at", get_made_at, NULL, "(function, file, line) or None.", NULL },
    { NULL, NULL, NULL, NULL, NULL },
};

PyDoc_STRVAR(section_doc, "Enters and leaves without a gap.");

static PyType_Slot section_slots[] = {
    { Py_tp_doc, (void *)section_doc },
    { Py_tp_new, (void *)section_new },
    { Py_tp_init, (void *)section_init },
    { Py_tp_traverse, (void *)section_traverse },
    { Py_tp_clear, (void *)section_clear },
    { Py_tp_dealloc, (void *)section_dealloc },
    { Py_tp_methods, gepy_entry_methods },
    { Py_tp_members, section_members },
    { Py_tp_getset, section_getset },
    { 0, NULL },
};

PyType_Spec gepy_section_spec = {
    .name = "gracefulexit._core.Section",
    .basicsize = sizeof(struct gepy_section),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = section_slots,
};
