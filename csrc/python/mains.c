/* The main thread: which it is, and what waits for it. */
#include "gepy.h"

static atomic_ulong main_ident;
atomic_bool gepy_main_owes, gepy_bare;

bool
gepy_in_main(void)
{
    return PyThread_get_thread_ident() == atomic_load(&main_ident);
}

PyDoc_STRVAR(main_is_doc, "main_is(ident, /)\n--\n\n"
                          "The main thread, which nudges go to.");

static PyObject *
main_is(PyObject *module, PyObject *arg)
{
    unsigned long ident = PyLong_AsUnsignedLong(arg);

    (void)module;
    if (ident == (unsigned long)-1 && PyErr_Occurred()) {
        return NULL;
    }
    atomic_store(&main_ident, ident);
    /* CPython's thread idents are pthread_t, as an integer. */
    ge_main_is((pthread_t)ident);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(owes_doc, "owes(yes, /)\n--\n\n"
                       "Main has something to do when it leaves its outermost "
                       "section.");

static PyObject *
owes(PyObject *module, PyObject *arg)
{
    (void)module;
    atomic_store(&gepy_main_owes, PyObject_IsTrue(arg) == 1);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(bare_doc, "bare(yes, /)\n--\n\n"
                       "Main has something to lay when it opens a section.");

static PyObject *
bare(PyObject *module, PyObject *arg)
{
    (void)module;
    atomic_store(&gepy_bare, PyObject_IsTrue(arg) == 1);
    Py_RETURN_NONE;
}

PyMethodDef gepy_mains_methods[] = {
    { "main_is", main_is, METH_O, main_is_doc },
    { "owes", owes, METH_O, owes_doc },
    { "bare", bare, METH_O, bare_doc },
    { NULL, NULL, 0, NULL },
};
