/* Preloaded into a child: a clock that can be put on, so that a grace of two
 * hours is nearly over at once, and a slow machine has minutes for what is
 * to happen then.
 *
 * The watcher hears of it at its next tick. What CPython sleeps until some
 * time takes longer by as much as the clock was put on. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static _Atomic(long) put_on; /* seconds */

/* On first use: constructors of other libraries read the clock before ours
 * would run. */
static long (*real_syscall(void))(long, ...)
{
    static _Atomic(void *) found;

    if (found == NULL) {
        found = dlsym(RTLD_NEXT, "syscall");
    }
    return (long (*)(long, ...))(void *)found;
}

/* The kernel's clock is not put on. */
long
syscall(long number, ...)
{
    struct timespec until;
    long arg[6];
    va_list args;

    va_start(args, number);
    for (int i = 0; i < 6; i++) {
        arg[i] = va_arg(args, long);
    }
    va_end(args);
    if (number == SYS_futex && arg[3] != 0 &&
        (arg[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET) {
        until = *(struct timespec *)arg[3];
        until.tv_sec = until.tv_sec < put_on ? 0 : until.tv_sec - put_on;
        arg[3] = (long)&until;
    }
    return real_syscall()(number, arg[0], arg[1], arg[2], arg[3], arg[4],
                          arg[5]);
}

int
clock_gettime(clockid_t which, struct timespec *t)
{
    long rc = real_syscall()(SYS_clock_gettime, which, t);

    if (rc == 0 && which == CLOCK_MONOTONIC) {
        t->tv_sec += put_on;
    }
    return (int)rc;
}

void
clock_put_on(long seconds)
{
    put_on += seconds;
}

/* Put on, and sit here for ever. Where there is a byte at `fd`, which does not
 * block, the clock is put on by `then`. */
void
clock_put_on_and_hang(long seconds, int fd, long then)
{
    const struct timespec pause = { .tv_nsec = 10000000 };
    char byte;

    put_on += seconds;
    for (;;) {
        (void)nanosleep(&pause, NULL);
        if (read(fd, &byte, 1) == 1) {
            put_on += then;
        }
    }
}
