/* The protected sections that are open now: a list, the newest first. */
#include "gepy.h"

#if defined(Py_GIL_DISABLED)
#include <string.h>
#endif

/* lock: protects the list, and that a section is in it if and only if it is
 * counted. Innermost, held for a few instructions, no Python runs under it;
 * the GIL does the same where there is one. */
#if defined(Py_GIL_DISABLED)
static PyMutex lock;
#define LOCK() PyMutex_Lock(&lock)
#define UNLOCK() PyMutex_Unlock(&lock)
#else
#define LOCK() (void)0
#define UNLOCK() (void)0
#endif

static struct gepy_opened *newest;
static uint64_t last_serial;

uint64_t
gepy_serial(void)
{
    uint64_t serial;

    LOCK();
    serial = ++last_serial;
    UNLOCK();
    return serial;
}

int
gepy_open(struct gepy_opened *o, bool locked, enum ge_opener who)
{
    int rc;

    LOCK();
    rc = locked ? ge_section_enter_locked(who) : ge_section_enter(who);
    if (rc == 0) {
        Py_INCREF(o->owner);
        o->older = newest;
        newest = o;
    }
    UNLOCK();
    return rc;
}

struct gepy_opened *
gepy_close(uint64_t serial, bool *last)
{
    struct gepy_opened **p = &newest, *o;
    unsigned left = 1;

    LOCK();
    while (*p != NULL && (*p)->serial != serial) {
        p = &(*p)->older;
    }
    o = *p;
    if (o != NULL) {
        *p = o->older;
        if (!o->expired) {
            left = ge_section_leave();
        }
    }
    UNLOCK();
    /* Nobody can have it, so the order of these two looks does not matter:
     * who begins to hold from now on has counted itself. */
    *last = left == 0 && (ge_holding() || ge_gate());
    return o;
}

uint64_t
gepy_find_task(const PyObject *owner)
{
    uint64_t found = 0;

    LOCK();
    for (struct gepy_opened *o = newest; found == 0 && o != NULL;
         o = o->older) {
        if (o->owner == owner && o->task) {
            found = o->serial;
        }
    }
    UNLOCK();
    return found;
}

uint64_t
gepy_find(const PyObject *owner, unsigned long ident, uint64_t serial)
{
    uint64_t found = 0;

    LOCK();
    for (struct gepy_opened *o = newest; found == 0 && o != NULL;
         o = o->older) {
        if (serial != 0 ? o->serial == serial
                        : o->owner == owner && !o->task &&
                              (ident == 0 || o->ident == ident)) {
            found = o->serial;
        }
    }
    UNLOCK();
    return found;
}

bool
gepy_renew(uint64_t serial, int64_t now, int64_t timeout)
{
    struct gepy_opened *o;

    LOCK();
    for (o = newest; o != NULL && o->serial != serial;) {
        o = o->older;
    }
    if (o != NULL) {
        o->since = now;
        o->until = timeout == GE_NEVER ? GE_NEVER : now + timeout;
    }
    UNLOCK();
    return o != NULL;
}

bool
gepy_inside(unsigned long ident, bool tasks)
{
    struct gepy_opened *o;

    LOCK();
    for (o = newest; o != NULL; o = o->older) {
        if (o->ident == ident && !o->expired && (tasks || !o->task)) {
            break;
        }
    }
    UNLOCK();
    return o != NULL;
}

void
gepy_expire(unsigned long ident)
{
    LOCK();
    for (struct gepy_opened *o = newest; o != NULL; o = o->older) {
        if (o->ident == ident && !o->expired) {
            o->expired = true;
            (void)ge_section_leave();
        }
    }
    UNLOCK();
}

PyDoc_STRVAR(inside_doc,
             "inside(ident, tasks=True, /)\n--\n\n"
             "Has this thread, or with tasks one of its tasks, a section open "
             "that holds?");

static PyObject *
inside(PyObject *module, PyObject *args)
{
    unsigned long ident;
    int tasks = 1;

    (void)module;
    if (!PyArg_ParseTuple(args, "k|p:inside", &ident, &tasks)) {
        return NULL;
    }
    return PyBool_FromLong(gepy_inside(ident, tasks != 0));
}

PyDoc_STRVAR(is_open_doc, "is_open(serial, /)\n--\n\nIs this one open?");

static PyObject *
is_open(PyObject *module, PyObject *arg)
{
    uint64_t serial = PyLong_AsUnsignedLongLong(arg);

    (void)module;
    if (serial == (uint64_t)-1 && PyErr_Occurred()) {
        return NULL;
    }
    return PyBool_FromLong(serial != 0 && gepy_find(NULL, 0, serial) != 0);
}

PyDoc_STRVAR(new_serial_doc, "new_serial()\n--\n\nA name for one to open.");

static PyObject *
new_serial(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return PyLong_FromUnsignedLongLong(gepy_serial());
}

/* (owner, ident, since, holds) of each, under the lock; so no allocation that
 * may collect garbage, and with it run Python, before the copy is done. */
struct copy {
    PyObject *owner;
    unsigned long ident;
    int64_t since;
    bool holds;
};

/* All, or those that are over their time at `now`, which hold no longer. The
 * number of them, or -1; *next: when the next one is over. */
static Py_ssize_t
copy_list(struct copy **copies, bool overdue, int64_t now, int64_t *next)
{
    Py_ssize_t n = 0, most = 0;

    *next = GE_NEVER;
    LOCK();
    for (struct gepy_opened *o = newest; o != NULL; o = o->older) {
        most++;
    }
    *copies = PyMem_RawCalloc((size_t)most + 1, sizeof **copies);
    for (struct gepy_opened *o = newest; *copies != NULL && o != NULL;
         o = o->older) {
        if (overdue) {
            if (o->expired || o->until == GE_NEVER) {
                continue;
            }
            if (o->until > now) {
                *next = o->until < *next ? o->until : *next;
                continue;
            }
            o->expired = true;
            (void)ge_section_leave();
        }
        (*copies)[n++] = (struct copy) { Py_NewRef(o->owner), o->ident,
                                         o->since, !o->expired };
    }
    UNLOCK();
    return *copies == NULL ? -1 : n;
}

static PyObject *
list_of(struct copy *copies, Py_ssize_t n)
{
    PyObject *list = n < 0 ? PyErr_NoMemory() : PyList_New(n);

    for (Py_ssize_t i = 0; i < n; i++) {
        struct copy *c = &copies[i];
        PyObject *item = NULL;

        if (list != NULL) {
            item = Py_BuildValue("OkNO", c->owner, c->ident,
                                 gepy_seconds(c->since),
                                 c->holds ? Py_True : Py_False);
        }
        if (list != NULL && item == NULL) {
            Py_CLEAR(list);
        } else if (list != NULL) {
            PyList_SET_ITEM(list, n - 1 - i, item); /* the oldest first */
        }
        Py_DECREF(c->owner);
    }
    PyMem_RawFree(copies);
    return list;
}

PyDoc_STRVAR(opened_doc, "opened()\n--\n\n"
                         "[(section, thread ident, since, does it hold)].");

static PyObject *
opened(PyObject *module, PyObject *unused)
{
    struct copy *copies;
    int64_t next;
    Py_ssize_t n = copy_list(&copies, false, 0, &next);

    (void)module;
    (void)unused;
    return list_of(copies, n);
}

PyDoc_STRVAR(
    overdue_doc,
    "overdue()\n--\n\n"
    "Those over their timeout, which hold nothing up from now on, and "
    "time.monotonic() of the next one or None.");

static PyObject *
overdue(PyObject *module, PyObject *unused)
{
    struct copy *copies;
    int64_t next;
    Py_ssize_t n = copy_list(&copies, true, ge_now(), &next);
    PyObject *list = list_of(copies, n);

    (void)module;
    (void)unused;
    return list == NULL ? NULL : Py_BuildValue("NN", list, gepy_seconds(next));
}

PyDoc_STRVAR(keep_doc, "keep_own_sections()\n--\n\n"
                       "In a forked child: the other threads' are gone. How "
                       "many count.");

static PyObject *
keep_own_sections(PyObject *module, PyObject *unused)
{
    unsigned long me = PyThread_get_thread_ident();
    struct gepy_opened **p = &newest, *gone = NULL;
    unsigned long kept = 0;

    (void)module;
    (void)unused;
#if defined(Py_GIL_DISABLED)
    memset(&lock, 0, sizeof lock); /* another thread may have held it */
#endif
    while (*p != NULL) {
        struct gepy_opened *o = *p;

        if (o->ident == me) {
            kept += !o->expired;
            p = &o->older;
        } else {
            *p = o->older;
            o->older = gone;
            gone = o;
        }
    }
    while (gone != NULL) {
        struct gepy_opened *o = gone;

        gone = o->older;
        gepy_discard(o);
    }
    return PyLong_FromUnsignedLong(kept);
}

PyMethodDef gepy_opened_methods[] = {
    { "inside", inside, METH_VARARGS, inside_doc },
    { "is_open", is_open, METH_O, is_open_doc },
    { "new_serial", new_serial, METH_NOARGS, new_serial_doc },
    { "opened", opened, METH_NOARGS, opened_doc },
    { "overdue", overdue, METH_NOARGS, overdue_doc },
    { "keep_own_sections", keep_own_sections, METH_NOARGS, keep_doc },
    { NULL, NULL, 0, NULL },
};
