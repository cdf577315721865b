/* An extension module as others would write it, with the C interface of the
 * package: loops and sleeps in threads of Python and in native ones. */
#include <Python.h>
#include <gracefulexit.h>

#include <pthread.h>

static PyObject *
stopping(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return PyBool_FromLong(gracefulexit_stopping());
}

static PyObject *
spin(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    Py_BEGIN_ALLOW_THREADS
    while (!gracefulexit_stopping()) {
    }
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

/* No other Python code runs meanwhile, in no thread. */
static PyObject *
spin_with_lock(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    while (!gracefulexit_stopping()) {
    }
    Py_RETURN_NONE;
}

static PyObject *
wait_ns(PyObject *module, PyObject *arg)
{
    long long ns = PyLong_AsLongLong(arg);
    int result;

    (void)module;
    if (ns == -1 && PyErr_Occurred()) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    result = gracefulexit_wait_ns(ns);
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(result);
}

static void *
sleep_natively(void *result)
{
    *(int *)result = gracefulexit_wait_ns(-1);
    return NULL;
}

/* In threads that Python knows nothing of; how many were told of the stop. */
static PyObject *
wait_in_threads(PyObject *module, PyObject *unused)
{
    enum { N = 16 };
    pthread_t threads[N];
    int results[N], started = 0, told = 0;

    (void)module;
    (void)unused;
    Py_BEGIN_ALLOW_THREADS
    while (started < N &&
           pthread_create(&threads[started], NULL, sleep_natively,
                          &results[started]) == 0) {
        started++;
    }
    for (int i = 0; i < started; i++) {
        (void)pthread_join(threads[i], NULL);
        told += results[i] == 1;
    }
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(told);
}

static PyObject *
flag_address(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return PyLong_FromVoidPtr((void *)(uintptr_t)gracefulexit_flag_);
}

static PyMethodDef methods[] = {
    { "stopping", stopping, METH_NOARGS, NULL },
    { "spin", spin, METH_NOARGS, NULL },
    { "spin_with_lock", spin_with_lock, METH_NOARGS, NULL },
    { "wait_ns", wait_ns, METH_O, NULL },
    { "wait_in_threads", wait_in_threads, METH_NOARGS, NULL },
    { "flag_address", flag_address, METH_NOARGS, NULL },
    { NULL, NULL, 0, NULL },
};

static PyModuleDef_Slot slots[] = {
#ifdef Py_GIL_DISABLED
    { Py_mod_gil, Py_MOD_GIL_NOT_USED },
#endif
    { 0, NULL },
};

static struct PyModuleDef definition = { PyModuleDef_HEAD_INIT,
                                         .m_name = "native_loops",
                                         .m_methods = methods,
                                         .m_slots = slots };

PyMODINIT_FUNC
PyInit_native_loops(void)
{
    if (gracefulexit_import() < 0) {
        return NULL;
    }
    return PyModuleDef_Init(&definition);
}
