/* Linux's compare-and-sleep, for the watcher's wake word and the latches. */
#ifndef GE_FUTEX_H
#define GE_FUTEX_H

#include "ge_platform.h"

#if GE_HAVE_FUTEX

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The bitset form is used because it takes an absolute time: after EINTR the
 * rest needs no arithmetic. Returns 0, -EAGAIN, -EINTR, -ETIMEDOUT. */
static inline int
ge__futex_wait(atomic_uint *word, unsigned seen, int64_t until)
{
    struct timespec t = ge_timespec(until == INT64_MAX ? 0 : until);
    long rc =
        syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, seen,
                until == INT64_MAX ? NULL : &t, NULL, FUTEX_BITSET_MATCH_ANY);

    return rc < 0 ? -errno : 0;
}

static inline void
ge__futex_wake_some(atomic_uint *word, int most)
{
    /* Fails only for an address that is not ours. */
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, most, NULL, NULL, 0);
}

static inline void
ge__futex_wake(atomic_uint *word)
{
    ge__futex_wake_some(word, INT_MAX);
}

#endif
#endif
