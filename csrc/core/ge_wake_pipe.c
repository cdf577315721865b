/* Waking the watcher through a pipe to ourselves, which is a pair of sockets:
 * ge_own.c says why. */
#include "ge_platform.h"

#include "ge_own.h"
#include "ge_wake.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>

/* Between the watcher's look at the numbers and its sleep they may change
 * hands, and it would sleep on a stranger: no poke can reach it there. So it
 * looks once more, soon after each turn; and for a while after the numbers
 * were seen to change hands, as who closes everything may do it again. With a
 * time to keep it sleeps in poll(), and looks now and then. */
#define SOON (GE_NS_PER_S / 100)
#define AGAIN (GE_NS_PER_S / 20)
#define A_WHILE GE_NS_PER_S

/* Who closes everything uses the low numbers again at once, and may count on
 * getting 0, 1 and 2; but a new pair begins its life at low numbers. So it is
 * made a moment later. Meanwhile the watcher looks by the clock. */
#define SETTLED (2 * GE_NS_PER_S)

/* Changed while there is no back end and no handler is under way. */
static struct {
    struct ge_own ends[2];
    bool hung_up;
    int64_t lost; /* when an end was last seen to be another's */
} wake = { .ends = { { .fd = -1 }, { .fd = -1 } }, .lost = -A_WHILE };

int
ge__wake_pipe_open(void)
{
    int rc = ge_own_pair(wake.ends);

    wake.hung_up = false;
    if (rc == 0) {
        ge_own_block(&wake.ends[0]);
    }
    return rc;
}

int
ge__wake_pipe_reopen(void)
{
    return ge_now() < wake.lost + SETTLED ? -EAGAIN : ge__wake_pipe_open();
}

bool
ge__wake_pipe_whole(void)
{
    return !wake.hung_up && ge_own_same(&wake.ends[0]) &&
           ge_own_same(&wake.ends[1]);
}

unsigned
ge__wake_pipe_seen(void)
{
    /* Empty it first, look at the facts afterwards: a wake that comes later
     * stays there and ends the next wait. */
    ge_own_drain(&wake.ends[0]);
    return 0;
}

/* Returns whether there was anything before that time. */
static bool
poll_until(int64_t until)
{
    struct pollfd p = { .fd = wake.ends[0].fd, .events = POLLIN };
    int ms = -1, n;

    if (until != GE_NEVER) {
        int64_t left = until - ge_now();

        /* Rounded up, or the last millisecond is a busy loop. */
        left = left <= 0 ? 0 : (left + 999999) / 1000000;
        ms = left > INT_MAX ? INT_MAX : (int)left;
    }
    n = poll(&p, 1, ms);
    wake.hung_up = n > 0 && p.revents & (POLLHUP | POLLERR | POLLNVAL);
    return n != 0;
}

void
ge__wake_pipe_wait(unsigned seen, int64_t until)
{
    int64_t look = ge_now() + SOON;

    (void)seen;
    while (look < until) {
        if (poll_until(look) || !ge__wake_pipe_whole()) {
            return;
        }
        if (until == GE_NEVER && look >= wake.lost + A_WHILE) {
            ge_own_sleep(&wake.ends[0]);
            (void)poll_until(0); /* has it hung up? */
            return;
        }
        look += AGAIN;
    }
    (void)poll_until(until);
}

void
ge__wake_pipe_poke(void)
{
    ge_own_wake(&wake.ends[1]);
}

void
ge__wake_pipe_close(void)
{
    for (int i = 0; i < 2; i++) {
        bool was_open = wake.ends[i].fd >= 0;

        if (!ge_own_close(&wake.ends[i]) && was_open) {
            wake.lost = ge_now();
        }
    }
}
