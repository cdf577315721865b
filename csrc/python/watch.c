/* The stop, the watcher, sections. */
#include "gepy.h"

#include <errno.h>
#include <string.h>

PyDoc_STRVAR(stop_doc, "stop()\n--\n\nBegin the stop; False: it had begun.");

static PyObject *
stop(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return PyBool_FromLong(ge_stop());
}

PyDoc_STRVAR(state_doc, "state()\n--\n\nRUNNING, STOPPING or HURRY.");

static PyObject *
state(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return PyLong_FromLong((long)ge_state());
}

PyDoc_STRVAR(record_doc, "stop_record()\n--\n\nWho began the stop, or None.");

static PyObject *
stop_record(PyObject *module, PyObject *unused)
{
    struct ge_info info;

    (void)module;
    (void)unused;
    if (!ge_stop_record(&info)) {
        Py_RETURN_NONE;
    }
    return gepy_info(&info);
}

PyDoc_STRVAR(reset_doc, "reset()\n--\n\nRUNNING again; no killer is left.");

static PyObject *
reset(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    ge_reset();
    Py_RETURN_NONE;
}

PyDoc_STRVAR(news_doc, "news()\n--\n\nThe number to give to wait_news().");

static PyObject *
news(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return PyLong_FromUnsignedLong(ge_seen(GE_AT_NEWS));
}

PyDoc_STRVAR(wait_news_doc,
             "wait_news(seen, timeout=None, /)\n--\n\n"
             "Sleep until something happened since `seen`. Not for main: it "
             "runs no Python signal handlers.");

static PyObject *
wait_news(PyObject *module, PyObject *args)
{
    PyObject *timeout = Py_None;
    unsigned seen;
    int64_t until;

    (void)module;
    if (!PyArg_ParseTuple(args, "I|O:wait_news", &seen, &timeout) ||
        gepy_until(timeout, &until) < 0) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS(void)
    ge_wait(GE_AT_NEWS, seen, until); /* the caller looks again anyway */
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

PyDoc_STRVAR(wake_news_doc, "wake_news()\n--\n\nEnd a wait_news().");

static PyObject *
wake_news(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    ge_wake_all(GE_AT_NEWS);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(let_pass_doc,
             "let_pass()\n--\n\n"
             "Let those in killer.wait() run first, for a millisecond.");

static PyObject *
let_pass(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    if (ge_in_turn()) {
        Py_BEGIN_ALLOW_THREADS
        ge_let_pass();
        Py_END_ALLOW_THREADS
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(sections_doc, "sections()\n--\n\nHow many are open.");

static PyObject *
sections(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return PyLong_FromUnsignedLong(ge_sections());
}

static const struct {
    const char *name;
    enum ge_backend backend;
} backend_names[] = { { "futex", GE_FUTEX },
                      { "pipe", GE_PIPE },
                      { "sigwait", GE_SIGWAIT } };

#define N_BACKENDS (sizeof backend_names / sizeof backend_names[0])

PyDoc_STRVAR(backends_doc, "backends()\n--\n\nThose of this build, the "
                           "preferred one first.");

static PyObject *
backends(PyObject *module, PyObject *unused)
{
    PyObject *list = PyList_New(0);

    (void)module;
    (void)unused;
    for (size_t i = 0; list != NULL && i < N_BACKENDS; i++) {
        PyObject *name;

        if (!(ge_backends() & 1u << backend_names[i].backend)) {
            continue;
        }
        name = PyUnicode_FromString(backend_names[i].name);
        if (name == NULL || PyList_Append(list, name) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(name);
    }
    return list;
}

PyDoc_STRVAR(start_doc,
             "watcher_start(backend, /)\n--\n\nStart the native thread.");

static PyObject *
watcher_start(PyObject *module, PyObject *arg)
{
    const char *name = PyUnicode_AsUTF8(arg);
    int rc = -ENOSYS;

    (void)module;
    if (name == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < N_BACKENDS; i++) {
        if (strcmp(name, backend_names[i].name) == 0) {
            Py_BEGIN_ALLOW_THREADS
            rc = ge_watcher_start(backend_names[i].backend);
            Py_END_ALLOW_THREADS
        }
    }
    if (rc < 0) {
        bool fds = rc == -EMFILE || rc == -ENFILE; /* backend="pipe" */

        return gepy_raise(rc, fds ? "socketpair" : "pthread_create");
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(watcher_stop_doc, "watcher_stop()\n--\n\nStop and join it.");

static PyObject *
watcher_stop(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    Py_BEGIN_ALLOW_THREADS
    ge_watcher_stop();
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

PyMethodDef gepy_watch_methods[] = {
    { "stop", stop, METH_NOARGS, stop_doc },
    { "state", state, METH_NOARGS, state_doc },
    { "stop_record", stop_record, METH_NOARGS, record_doc },
    { "reset", reset, METH_NOARGS, reset_doc },
    { "news", news, METH_NOARGS, news_doc },
    { "wait_news", wait_news, METH_VARARGS, wait_news_doc },
    { "wake_news", wake_news, METH_NOARGS, wake_news_doc },
    { "let_pass", let_pass, METH_NOARGS, let_pass_doc },
    { "sections", sections, METH_NOARGS, sections_doc },
    { "backends", backends, METH_NOARGS, backends_doc },
    { "watcher_start", watcher_start, METH_O, start_doc },
    { "watcher_stop", watcher_stop, METH_NOARGS, watcher_stop_doc },
    { NULL, NULL, 0, NULL },
};
