/* Sleeping places without a futex. A signal does not end such a wait by
 * itself, as with CPython's own locks on such systems; the watcher's wake-up
 * does. Woken by the watcher only, so no handler ever touches the mutex. */
#include "ge_platform.h"

#include "ge_fork.h"
#include "ge_latch.h"

#if !GE_HAVE_FUTEX

#include <errno.h>

/* mutex: protects seq. Innermost: nothing is locked while it is held. */
struct latch {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool ready;
    unsigned seq;
};

static struct latch latches[GE_PLACES] = {
    { .mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER },
    { .mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER },
    { .mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER },
    { .mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER },
    { .mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER },
};

/* The clock of a condition can only be set when it is made. Under the mutex.
 */
static void
make_ready(struct latch *l)
{
#if GE_HAVE_CONDATTR_CLOCK
    pthread_condattr_t attr;

    if (!l->ready && pthread_condattr_init(&attr) == 0) {
        (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        (void)pthread_cond_init(&l->cond, &attr);
        (void)pthread_condattr_destroy(&attr);
    }
#endif
    l->ready = true;
}

static int
timed_wait(struct latch *l, int64_t until)
{
#if GE_HAVE_CONDATTR_CLOCK
    struct timespec t = ge_timespec(until);

    return pthread_cond_timedwait(&l->cond, &l->mutex, &t);
#else
    int64_t left = until - ge_now();
    struct timespec t = ge_timespec(left > 0 ? left : 0);

    return pthread_cond_timedwait_relative_np(&l->cond, &l->mutex, &t);
#endif
}

unsigned
ge__latch_seen(enum ge_where where)
{
    struct latch *l = &latches[where];
    unsigned seq;

    pthread_mutex_lock(&l->mutex);
    {
        seq = l->seq;
    }
    pthread_mutex_unlock(&l->mutex);
    return seq;
}

int
ge__latch_wait(enum ge_where where, unsigned seen, int64_t until)
{
    struct latch *l = &latches[where];
    int rc = 0;

    pthread_mutex_lock(&l->mutex);
    {
        make_ready(l);
        while (l->seq == seen && rc == 0) {
            rc = until == GE_NEVER ? pthread_cond_wait(&l->cond, &l->mutex)
                                   : timed_wait(l, until);
        }
    }
    pthread_mutex_unlock(&l->mutex);
    return rc == ETIMEDOUT ? -ETIMEDOUT : 0;
}

void
ge__latch_wake(enum ge_where where)
{
    struct latch *l = &latches[where];

    pthread_mutex_lock(&l->mutex);
    {
        make_ready(l);
        l->seq++;
        (void)pthread_cond_broadcast(&l->cond);
    }
    pthread_mutex_unlock(&l->mutex);
}

/* A broadcast is one after the other as it is: each needs the mutex. */
int64_t
ge__latch_pace(int64_t now)
{
    (void)now;
    ge__latch_wake(GE_IN_TURN);
    return GE_NEVER;
}

void
ge_wake_next(void)
{
}

bool
ge_in_turn(void)
{
    return false;
}

void
ge_let_pass(void)
{
}

void
ge__latch_fork_child(void)
{
    for (int i = 0; i < GE_PLACES; i++) {
        latches[i].mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
        latches[i].cond = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
        latches[i].ready = false;
    }
}

#endif
