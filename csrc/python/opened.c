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

/* Under the lock; so no allocation that may collect garbage, and with it run
 * Python, before the copy is done. */
Py_ssize_t
gepy_copy_opened(struct gepy_copy **copies, bool overdue, int64_t now,
                 int64_t *next)
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
        (*copies)[n++] = (struct gepy_copy) { Py_NewRef(o->owner), o->ident,
                                              o->since, !o->expired };
    }
    UNLOCK();
    return *copies == NULL ? -1 : n;
}

unsigned
gepy_keep_opened(unsigned long ident)
{
    struct gepy_opened **p = &newest, *gone = NULL;
    unsigned kept = 0;

#if defined(Py_GIL_DISABLED)
    memset(&lock, 0, sizeof lock); /* another thread may have held it */
#endif
    while (*p != NULL) {
        struct gepy_opened *o = *p;

        if (o->ident == ident) {
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
    return kept;
}
