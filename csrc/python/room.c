/* Room for ours on a stack that is all but full.
 *
 * CPython's own handlers need none of Python's stack, and ours is in Python:
 * where main recurses up to the limit, and catches that, what it was to raise
 * would be lost, and a RecursionError be raised where none is due.
 *
 * So the thread is lent some, in its own count of what remains. CPython only
 * adds to that and takes from it, and keeps the difference where another limit
 * is set meanwhile. One that is set by a handler may be too low by the loan;
 * CPython then raises where main next goes deeper.
 *
 * Rejected: to come again when there is room. A program that catches
 * RecursionError at each level, and goes down again there, takes 2 to the
 * power of n steps until it has come up by n levels.
 *
 * Rejected: Py_SetRecursionLimit(). It is all threads', and one that saves and
 * restores it while it is raised has it raised for good. */
#include "gepy.h"

/* More than ours ever takes before the user's code is called; CPython grants
 * itself as much where it makes an exception at the limit. */
#define LEVELS 50

/* One loan a thread: signals whose handlers interrupt each other find the end
 * of the stack, however many. A greenlet takes what it was lent along when it
 * is switched away from, and no other is lent any until it has given it back.
 */
static _Thread_local bool has_loan;

static void
add(int levels)
{
    PyThreadState *thread = PyThreadState_Get();

#if PY_VERSION_HEX >= 0x030C0000
    thread->py_recursion_remaining += levels;
#elif PY_VERSION_HEX >= 0x030B0000
    thread->recursion_remaining += levels;
#else
    thread->recursion_depth -= levels;
#endif
    /* These count C's stack apart. From 3.14 on it is measured. */
#if PY_VERSION_HEX >= 0x030C0000 && PY_VERSION_HEX < 0x030E0000
    thread->c_recursion_remaining += levels;
#endif
}

bool
gepy_lend(void)
{
    if (has_loan) {
        return false;
    }
    has_loan = true;
    add(LEVELS);
    return true;
}

void
gepy_take_back(bool lent)
{
    if (lent) {
        add(-LEVELS);
        has_loan = false;
    }
}
