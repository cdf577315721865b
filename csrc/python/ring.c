/* _core.Ring: the signals of one number, each once, for one killer. */
#include "gepy.h"

#include "../core/ge_ring.h"

#include <stddef.h>
#include <stdlib.h>

struct ring {
    PyObject_HEAD
    struct ge_ring *queue;
};

static PyObject *
ring_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = { "", NULL };
    struct ring *self;
    int signum;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O&:Ring", names,
                                     gepy_signum, &signum)) {
        return NULL;
    }
    self = (struct ring *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    /* Not PyMem: half a megabyte that the kernel gives when it is used. */
    self->queue = calloc(1, sizeof *self->queue);
    if (self->queue == NULL) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    self->queue->signum = signum;
    if (ge_ring_add(self->queue) < 0) {
        Py_DECREF(self);
        PyErr_Format(PyExc_RuntimeError,
                     "killers hear more than %d real-time signals by on(); "
                     "close() those killers that are no longer needed",
                     GE_MAX_RINGS);
        return NULL;
    }
    return (PyObject *)self;
}

static int
ring_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    return 0;
}

static void
ring_dealloc(PyObject *op)
{
    struct ring *self = (struct ring *)op;
    PyTypeObject *type = Py_TYPE(op);

    PyObject_GC_UnTrack(op);
    if (self->queue != NULL) {
        ge_ring_remove(self->queue);
        free(self->queue);
    }
    type->tp_free(op);
    Py_DECREF(type);
}

PyDoc_STRVAR(take_doc, "take($self, /)\n--\n\nThe oldest, or None.");

static PyObject *
ring_take(PyObject *op, PyObject *unused)
{
    struct ge_info info;

    (void)unused;
    if (!ge_ring_take(((struct ring *)op)->queue, &info)) {
        Py_RETURN_NONE;
    }
    return gepy_info(&info);
}

PyDoc_STRVAR(lost_doc, "lost($self, /)\n--\n\n"
                       "How many came while it was full.");

static PyObject *
ring_lost(PyObject *op, PyObject *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLongLong(
        atomic_load(&((struct ring *)op)->queue->lost));
}

PyDoc_STRVAR(close_doc, "close($self, /)\n--\n\n"
                        "Nothing is put in any more; what is there is lost.");

static PyObject *
ring_close(PyObject *op, PyObject *unused)
{
    struct ge_ring *queue = ((struct ring *)op)->queue;
    struct ge_info info;

    (void)unused;
    ge_ring_remove(queue);
    while (ge_ring_take(queue, &info)) {
        atomic_fetch_add(&queue->lost, 1);
    }
    Py_RETURN_NONE;
}

static PyMethodDef ring_methods[] = {
    { "take", ring_take, METH_NOARGS, take_doc },
    { "lost", ring_lost, METH_NOARGS, lost_doc },
    { "close", ring_close, METH_NOARGS, close_doc },
    { NULL, NULL, 0, NULL },
};

PyDoc_STRVAR(ring_doc, "Ring(signum, /)\n--\n\n"
                       "Every signal of this number from now on, in turn.");

static PyType_Slot ring_slots[] = {
    { Py_tp_doc, (void *)ring_doc },
    { Py_tp_new, (void *)ring_new },
    { Py_tp_dealloc, (void *)ring_dealloc },
    { Py_tp_traverse, (void *)ring_traverse },
    { Py_tp_methods, ring_methods },
    { 0, NULL },
};

PyType_Spec gepy_ring_spec = {
    .name = "gracefulexit._core.Ring",
    .basicsize = sizeof(struct ring),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = ring_slots,
};
