/* A long loop without the interpreter lock, which sees the stop by itself. */
#include <Python.h>
#include <gracefulexit.h>

/* Steps from n to 1, by n/2 and 3n+1. */
static unsigned
steps(unsigned long long n)
{
    unsigned count = 0;

    for (; n != 1; n = n % 2 ? 3 * n + 1 : n / 2) {
        count++;
    }
    return count;
}

/* Look for the longest way to 1 until the program stops. */
static PyObject *
search(PyObject *module, PyObject *unused)
{
    unsigned long long checked = 0;
    unsigned most = 0;

    (void)module;
    (void)unused;
    Py_BEGIN_ALLOW_THREADS
    while (!gracefulexit_stopping()) {
        unsigned count = steps(++checked);

        most = count > most ? count : most;
    }
    Py_END_ALLOW_THREADS
    return Py_BuildValue("(KI)", checked, most);
}

static PyMethodDef methods[] = {
    { "search", search, METH_NOARGS,
      "Numbers that were checked, most steps." },
    { NULL, NULL, 0, NULL },
};

static PyModuleDef_Slot slots[] = {
#ifdef Py_GIL_DISABLED
    { Py_mod_gil, Py_MOD_GIL_NOT_USED }, /* or the import switches one on */
#endif
    { 0, NULL },
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "collatz",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit_collatz(void)
{
    if (gracefulexit_import() < 0) {
        return NULL;
    }
    return PyModuleDef_Init(&definition);
}
