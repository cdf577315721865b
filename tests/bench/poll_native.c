/* Loops that look for the stop in native ways, for poll_native.py. Each makes
 * `number` passes and returns their nanoseconds. */
#include <Python.h>

#define GRACEFULEXIT_NO_IMPORT /* use_flag() does it, as ctypes calls us */
#include <gracefulexit.h>

#include <time.h>

/* Nothing, but the compiler does not know that. */
#define PASS(i) __asm__ volatile("" : "+r"(i))

int64_t
now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void
use_flag(const int *address)
{
    gracefulexit_flag_ = address;
}

int64_t
loop_empty(int64_t number)
{
    int64_t start = now();

    for (int64_t i = 0; i < number; i++) {
        PASS(i);
    }
    return now() - start;
}

int64_t
loop_header(int64_t number)
{
    int64_t start = now();

    for (int64_t i = 0; i < number && !gracefulexit_stopping(); i++) {
        PASS(i);
    }
    return now() - start;
}

int64_t
loop_call(int64_t number)
{
    int (*volatile wait_ns)(int64_t) = gracefulexit_wait_ns;
    int64_t start = now();

    for (int64_t i = 0; i < number && wait_ns(0) <= 0; i++) {
        PASS(i);
    }
    return now() - start;
}

/* What extensions do without us: only main's Python handlers run by it. */
int64_t
loop_lock(int64_t number)
{
    int64_t start = now();
    int failed = 0;

    for (int64_t i = 0; i < number && !failed; i++) {
        PyGILState_STATE state = PyGILState_Ensure();

        failed = PyErr_CheckSignals();
        PyGILState_Release(state);
        PASS(i);
    }
    return now() - start;
}

/* When the loop saw the stop. */
int64_t
until_stop(void)
{
    while (!gracefulexit_stopping()) {
    }
    return now();
}
