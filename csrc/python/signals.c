/* Signals: taking, giving back, counting. */
#include "gepy.h"

#include "../core/ge_pass.h"

#include <errno.h>

PyDoc_STRVAR(check_doc,
             "sig_check(signum, /)\n--\n\n"
             "0, or the errno that says why the signal cannot be handled.");

static PyObject *
sig_check(PyObject *module, PyObject *arg)
{
    long n = PyLong_AsLong(arg);

    (void)module;
    if (n == -1 && PyErr_Occurred()) {
        return NULL;
    }
    return PyLong_FromLong(n <= 0 || n >= GE_NSIG ? EINVAL
                                                  : -ge_sig_check((int)n));
}

PyDoc_STRVAR(ends_doc, "sig_ends(signum, /)\n--\n\n"
                       "Does the default action end the process?");

static PyObject *
sig_ends(PyObject *module, PyObject *arg)
{
    int signum;

    (void)module;
    if (!gepy_signum(arg, &signum)) {
        return NULL;
    }
    return PyBool_FromLong(ge_sig_ends(signum));
}

PyDoc_STRVAR(set_roles_doc,
             "set_roles(roles, /)\n--\n\n"
             "Make {signum: roles} the wanted state of all signals.");

static PyObject *
set_roles(PyObject *module, PyObject *arg)
{
    unsigned roles[GE_NSIG] = { 0 };
    PyObject *key, *value;
    Py_ssize_t pos = 0;
    int rc;

    (void)module;
    if (!PyDict_Check(arg)) {
        PyErr_SetString(PyExc_TypeError, "a dict is needed");
        return NULL;
    }
    while (PyDict_Next(arg, &pos, &key, &value)) {
        int signum;
        unsigned long bits;

        if (!gepy_signum(key, &signum)) {
            return NULL;
        }
        bits = PyLong_AsUnsignedLong(value);
        if (bits == (unsigned long)-1 && PyErr_Occurred()) {
            return NULL;
        }
        roles[signum] = (unsigned)bits;
    }
    Py_BEGIN_ALLOW_THREADS
    rc = ge_trap_set(roles);
    Py_END_ALLOW_THREADS
    return rc < 0 ? gepy_raise(rc, "sigaction") : Py_NewRef(Py_None);
}

PyDoc_STRVAR(cover_doc,
             "cover(signum, set_python, handler, /)\n--\n\n"
             "set_python(signum, handler), and our handler over it; no nudge "
             "falls in between.");

static PyObject *
cover(PyObject *module, PyObject *args)
{
    PyObject *set_python, *handler, *result;
    int signum;

    (void)module;
    if (!PyArg_ParseTuple(args, "O&OO:cover", gepy_signum, &signum,
                          &set_python, &handler)) {
        return NULL;
    }
    ge_nudge_bar(signum, true);
    (void)ge_passed(signum);
    result = PyObject_CallFunction(set_python, "iO", signum, handler);
    if (result != NULL) {
        (void)ge_trap_lay(signum, false);
    }
    ge_nudge_bar(signum, false);
    return result;
}

PyDoc_STRVAR(lay_doc,
             "lay(signum, adopt=False, /)\n--\n\n"
             "Put our handler over what is there; True if it was not ours.");

static PyObject *
lay(PyObject *module, PyObject *args)
{
    int signum, adopt = 0, rc;

    (void)module;
    if (!PyArg_ParseTuple(args, "O&|p:lay", gepy_signum, &signum, &adopt)) {
        return NULL;
    }
    rc = ge_trap_lay(signum, adopt != 0);
    if (rc == -ENOENT) {
        Py_RETURN_FALSE; /* another thread has just given it back */
    }
    return rc < 0 ? gepy_raise(rc, "sigaction") : PyBool_FromLong(rc);
}

PyDoc_STRVAR(ours_doc, "ours(signum, /)\n--\n\n"
                       "Is our handler in the kernel's table?");

static PyObject *
ours(PyObject *module, PyObject *arg)
{
    int signum;

    (void)module;
    if (!gepy_signum(arg, &signum)) {
        return NULL;
    }
    return PyBool_FromLong(ge_trap_ours(signum));
}

PyDoc_STRVAR(
    leave_doc,
    "leave(signum, set_python, previous, /)\n--\n\n"
    "set_python(signum, previous), and the kernel's table as it shall be "
    "after us, flags and mask too; no Python runs in between.");

static PyObject *
leave(PyObject *module, PyObject *args)
{
    PyObject *set_python, *previous, *result;
    struct sigaction after;
    int signum, rc;

    (void)module;
    if (!PyArg_ParseTuple(args, "O&OO:leave", gepy_signum, &signum,
                          &set_python, &previous)) {
        return NULL;
    }
    rc = ge_trap_after_us(signum, &after);
    ge_nudge_bar(signum, true);
    result = PyObject_CallFunction(set_python, "iO", signum, previous);
    if (result != NULL && rc == 0) {
        (void)sigaction(signum, &after, NULL); /* it was there before */
    }
    ge_nudge_bar(signum, false);
    return result;
}

/* Functions of the shape "one signal number to one value". */
#define ONE_SIGNAL(name, doc, result)                                         \
    PyDoc_STRVAR(name##_doc, #name "(signum, /)\n--\n\n" doc);                \
    static PyObject *name(PyObject *module, PyObject *arg)                    \
    {                                                                         \
        int signum;                                                           \
                                                                              \
        (void)module;                                                         \
        return gepy_signum(arg, &signum) ? (result) : NULL;                   \
    }

PyDoc_STRVAR(trip_doc,
             "trip(signum, func=None, /)\n--\n\n"
             "Have main run its Python handler soon, and func after that; "
             "False: no such role.");

static PyObject *
trip(PyObject *module, PyObject *args)
{
    PyObject *func = Py_None;
    int signum;

    (void)module;
    if (!PyArg_ParseTuple(args, "O&|O:trip", gepy_signum, &signum, &func)) {
        return NULL;
    }
    return PyBool_FromLong(gepy_trip(signum, func == Py_None ? NULL : func));
}

static PyObject *
is_foreign(int signum)
{
    struct sigaction sa;

    return PyBool_FromLong(ge_trap_after_us(signum, &sa) == 0 &&
                           sa.sa_handler != SIG_DFL &&
                           sa.sa_handler != SIG_IGN);
}

static PyObject *
nudge_main(int signum)
{
    ge_nudge(signum);
    Py_RETURN_NONE;
}

static PyObject *
info_or_none(int found, const struct ge_info *info)
{
    return found ? gepy_info(info) : Py_NewRef(Py_None);
}

ONE_SIGNAL(forward, "Accept a signal that came another way; False: not ours.",
           PyBool_FromLong(ge_forward(signum)))
ONE_SIGNAL(foreign, "Will a handler have it after us, whosever that is?",
           is_foreign(signum))
ONE_SIGNAL(nudge, "Wake main once more out of a system call.",
           nudge_main(signum))
ONE_SIGNAL(took, "Main has noticed a tripped signal; was there one?",
           PyBool_FromLong(ge_took(signum)))
ONE_SIGNAL(promote, "Begin the stop for a signal that was held.",
           PyBool_FromLong(ge_promote(signum)))
ONE_SIGNAL(count, "Handler runs.",
           PyLong_FromUnsignedLongLong(ge_count(signum)))
ONE_SIGNAL(held, "Runs that wait for the end of a section.",
           PyLong_FromUnsignedLong(ge_held(signum)))
ONE_SIGNAL(held_take, "The same, and forgets them.",
           PyLong_FromUnsignedLong(ge_held_take(signum)))
#undef ONE_SIGNAL

PyDoc_STRVAR(first_doc, "first(signum, /)\n--\n\nThe first siginfo, or None.");

static PyObject *
first(PyObject *module, PyObject *arg)
{
    struct ge_info info;
    int signum;

    (void)module;
    if (!gepy_signum(arg, &signum)) {
        return NULL;
    }
    return info_or_none(ge_first(signum, &info), &info);
}

PyDoc_STRVAR(last_doc, "last(signum, /)\n--\n\nThe last siginfo, or None.");

static PyObject *
last(PyObject *module, PyObject *arg)
{
    struct ge_info info;
    int signum;

    (void)module;
    if (!gepy_signum(arg, &signum)) {
        return NULL;
    }
    return info_or_none(ge_last(signum, &info), &info);
}

PyMethodDef gepy_signal_methods[] = {
    { "sig_check", sig_check, METH_O, check_doc },
    { "sig_ends", sig_ends, METH_O, ends_doc },
    { "set_roles", set_roles, METH_O, set_roles_doc },
    { "cover", cover, METH_VARARGS, cover_doc },
    { "lay", lay, METH_VARARGS, lay_doc },
    { "ours", ours, METH_O, ours_doc },
    { "leave", leave, METH_VARARGS, leave_doc },
    { "forward", forward, METH_O, forward_doc },
    { "foreign", foreign, METH_O, foreign_doc },
    { "nudge", nudge, METH_O, nudge_doc },
    { "took", took, METH_O, took_doc },
    { "trip", trip, METH_VARARGS, trip_doc },
    { "promote", promote, METH_O, promote_doc },
    { "count", count, METH_O, count_doc },
    { "held", held, METH_O, held_doc },
    { "held_take", held_take, METH_O, held_take_doc },
    { "first", first, METH_O, first_doc },
    { "last", last, METH_O, last_doc },
    { NULL, NULL, 0, NULL },
};
