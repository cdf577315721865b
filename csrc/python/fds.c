/* Descriptors that loops read: the user's, and the one of a stop. And reading
 * where others close what is ours. */
#include "gepy.h"

#include <errno.h>
#include <string.h>

static PyObject *
fd_error(int rc)
{
    if (rc == -EAGAIN) {
        PyErr_SetString(PyExc_ValueError,
                        "the descriptor blocks; a full one would hold up the "
                        "watcher: call os.set_blocking(fd, False) first");
        return NULL;
    }
    if (rc == -EEXIST) {
        PyErr_SetString(
            PyExc_ValueError,
            "the descriptor is fed already; remove_wakeup_fd() ends "
            "that");
        return NULL;
    }
    if (rc == -ENOENT) {
        PyErr_SetString(PyExc_ValueError, "the descriptor is not one that "
                                          "add_wakeup_fd() was called with");
        return NULL;
    }
    return gepy_raise(rc, "fstat");
}

PyDoc_STRVAR(fd_add_doc, "fd_add(fd, /)\n--\n\n"
                         "Write a byte for each signal: its number.");

static PyObject *
fd_add(PyObject *module, PyObject *arg)
{
    int fd, rc;

    (void)module;
    if (!PyArg_Parse(arg, "i", &fd)) {
        return NULL;
    }
    rc = ge_fd_add(fd);
    return rc < 0 ? fd_error(rc) : Py_NewRef(Py_None);
}

PyDoc_STRVAR(fd_remove_doc, "fd_remove(fd, /)\n--\n\nNothing is written to it "
                            "after this.");

static PyObject *
fd_remove(PyObject *module, PyObject *arg)
{
    int fd, rc;

    (void)module;
    if (!PyArg_Parse(arg, "i", &fd)) {
        return NULL;
    }
    rc = ge_fd_remove(fd);
    return rc < 0 ? fd_error(rc) : Py_NewRef(Py_None);
}

PyDoc_STRVAR(
    fd_lost_doc,
    "fd_lost()\n--\n\nThe number of a descriptor that was dropped, and "
    "whether it was one of stop_fd_open(); each once, then None.");

static PyObject *
fd_lost(PyObject *module, PyObject *unused)
{
    enum ge_fd_kind kind = GE_FD_SIGNALS;
    int fd = ge_fd_lost(&kind);

    (void)module;
    (void)unused;
    if (fd < 0) {
        Py_RETURN_NONE;
    }
    return Py_BuildValue("iN", fd, PyBool_FromLong(kind == GE_FD_STOP));
}

/* To Python the pair is a number to read from and bytes that say the rest. */

PyDoc_STRVAR(stop_fd_open_doc,
             "stop_fd_open()\n--\n\nA descriptor that becomes readable at the "
             "stop, and what the other two want.");

static PyObject *
stop_fd_open(PyObject *module, PyObject *unused)
{
    struct ge_own pair[2];
    PyObject *result;
    int rc = ge_own_pair(pair);

    (void)module;
    (void)unused;
    if (rc < 0) {
        return gepy_raise(rc, "socketpair");
    }
    result = Py_BuildValue("iy#", pair[0].fd, (const char *)pair,
                           (Py_ssize_t)sizeof pair);
    rc = result == NULL ? -ENOMEM : ge_fd_add_stop(&pair[1]);
    if (rc < 0) {
        (void)ge_own_close(&pair[0]);
        (void)ge_own_close(&pair[1]);
        Py_XDECREF(result);
        return result == NULL ? NULL : fd_error(rc);
    }
    return result;
}

static bool
to_pair(PyObject *arg, struct ge_own pair[2])
{
    if (!PyBytes_Check(arg) ||
        PyBytes_GET_SIZE(arg) != (Py_ssize_t)(2 * sizeof *pair)) {
        PyErr_SetString(PyExc_TypeError, "not from stop_fd_open()");
        return false;
    }
    memcpy(pair, PyBytes_AS_STRING(arg), 2 * sizeof *pair);
    return true;
}

PyDoc_STRVAR(
    stop_fd_whole_doc,
    "stop_fd_whole(pair, /)\n--\n\nAre both ends still open, and their "
    "numbers nobody else's?");

static PyObject *
stop_fd_whole(PyObject *module, PyObject *arg)
{
    struct ge_own pair[2];

    (void)module;
    if (!to_pair(arg, pair)) {
        return NULL;
    }
    return PyBool_FromLong(ge_own_same(&pair[0]) && ge_own_same(&pair[1]));
}

PyDoc_STRVAR(stop_fd_close_doc,
             "stop_fd_close(pair, /)\n--\n\nClose what is still ours of it.");

static PyObject *
stop_fd_close(PyObject *module, PyObject *arg)
{
    struct ge_own pair[2];

    (void)module;
    if (!to_pair(arg, pair)) {
        return NULL;
    }
    ge_fd_remove_stop(&pair[1]);
    (void)ge_own_close(&pair[0]);
    (void)ge_own_close(&pair[1]);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(read_file_doc, "read_file(path, most, /)\n--\n\n"
                            "Its first bytes, for files that never block.");

static PyObject *
read_file(PyObject *module, PyObject *args)
{
    const char *path;
    Py_ssize_t most, n;
    PyObject *bytes;

    (void)module;
    if (!PyArg_ParseTuple(args, "sn:read_file", &path, &most)) {
        return NULL;
    }
    bytes = PyBytes_FromStringAndSize(NULL, most);
    if (bytes == NULL) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    n = ge_own_read(path, PyBytes_AS_STRING(bytes), (size_t)most);
    Py_END_ALLOW_THREADS
    if (n < 0) {
        Py_DECREF(bytes);
        return gepy_raise((int)n, "read");
    }
    (void)_PyBytes_Resize(&bytes, n); /* NULL, with the error, if it fails */
    return bytes;
}

PyMethodDef gepy_fds_methods[] = {
    { "fd_add", fd_add, METH_O, fd_add_doc },
    { "fd_remove", fd_remove, METH_O, fd_remove_doc },
    { "fd_lost", fd_lost, METH_NOARGS, fd_lost_doc },
    { "stop_fd_open", stop_fd_open, METH_NOARGS, stop_fd_open_doc },
    { "stop_fd_whole", stop_fd_whole, METH_O, stop_fd_whole_doc },
    { "stop_fd_close", stop_fd_close, METH_O, stop_fd_close_doc },
    { "read_file", read_file, METH_VARARGS, read_file_doc },
    { NULL, NULL, 0, NULL },
};
