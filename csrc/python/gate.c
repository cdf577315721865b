/* The gate before the protected sections, as Python's slow paths see it. */
#include "gepy.h"

PyDoc_STRVAR(look_doc, "look(on, /)\n--\n\n"
                       "Send openers by way of the process's lock, or no "
                       "longer; what was set before.");

static PyObject *
look(PyObject *module, PyObject *arg)
{
    (void)module;
    return PyBool_FromLong(ge_section_look(PyObject_IsTrue(arg) == 1));
}

PyDoc_STRVAR(close_doc, "section_close()\n--\n\n"
                        "If none is open, none can open any more; is it so?");

static PyObject *
section_close(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return PyBool_FromLong(ge_section_close());
}

PyDoc_STRVAR(gate_doc, "gate()\n--\n\n"
                       "Does a signal wait for the open sections?");

static PyObject *
gate(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return PyBool_FromLong(ge_gate());
}

PyDoc_STRVAR(lift_doc, "gate_lift()\n--\n\nLet all in who wait.");

static PyObject *
gate_lift(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    ge_gate_lift();
    Py_RETURN_NONE;
}

PyDoc_STRVAR(shut_doc, "gate_shut()\n--\n\n"
                       "Let nobody in for the next second, but for who is "
                       "inside.");

static PyObject *
gate_shut(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    ge_gate_shut_anew(ge_now());
    Py_RETURN_NONE;
}

PyDoc_STRVAR(opens_doc, "gate_opens()\n--\n\n"
                        "Seconds until the gate opens for a while; 0.0 if it "
                        "is open.");

static PyObject *
gate_opens(PyObject *module, PyObject *unused)
{
    int64_t now = ge_now(), at = ge_gate_opens(now);

    (void)module;
    (void)unused;
    return PyFloat_FromDouble(at > now ? (double)(at - now) / 1e9 : 0.0);
}

/* Sleep until something changes at the gate, or until `until`. 0, or -1 with
 * what handlers and pending calls raised, which run in main before: after
 * `seen` was read, as who tells of one by another thread wakes us then. */
static int
sleep_at_gate(unsigned seen, int64_t until)
{
    if (gepy_in_main() && Py_MakePendingCalls() < 0) {
        return -1;
    }
    Py_BEGIN_ALLOW_THREADS(void)
    ge_wait(GE_AT_GATE, seen, until);
    Py_END_ALLOW_THREADS
    return 0;
}

PyDoc_STRVAR(gate_wait_doc,
             "gate_wait()\n--\n\n"
             "Sleep while the gate is shut, but not for ever: True if it was "
             "lifted, False if it is open for a while.");

static PyObject *
gate_wait(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    for (;;) {
        unsigned seen = ge_seen(GE_AT_GATE);
        int64_t until = ge_gate_opens(ge_now());

        if (until == 0) {
            return PyBool_FromLong(!ge_gate());
        }
        if (sleep_at_gate(seen, until) < 0) {
            return NULL;
        }
    }
}

PyDoc_STRVAR(drain_doc, "drain()\n--\n\n"
                        "Sleep until no section but the caller's is open, and "
                        "let none open any more.");

static PyObject *
drain(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    gepy_expire(PyThread_get_thread_ident());
    for (;;) {
        unsigned seen = ge_seen(GE_AT_GATE);

        ge_gate_shut(ge_now()); /* others' deliveries may lift it */
        if (ge_section_close()) {
            Py_RETURN_NONE;
        }
        if (sleep_at_gate(seen, GE_NEVER) < 0) {
            return NULL;
        }
    }
}

PyMethodDef gepy_gate_methods[] = {
    { "look", look, METH_O, look_doc },
    { "section_close", section_close, METH_NOARGS, close_doc },
    { "gate", gate, METH_NOARGS, gate_doc },
    { "gate_shut", gate_shut, METH_NOARGS, shut_doc },
    { "gate_lift", gate_lift, METH_NOARGS, lift_doc },
    { "gate_opens", gate_opens, METH_NOARGS, opens_doc },
    { "gate_wait", gate_wait, METH_NOARGS, gate_wait_doc },
    { "drain", drain, METH_NOARGS, drain_doc },
    { NULL, NULL, 0, NULL },
};
