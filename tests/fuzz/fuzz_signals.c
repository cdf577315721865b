/* libFuzzer target: calls of the core that take a signal number or look one up
 * in a table, in any order, with any number, checked against a few counters.
 *
 * Each input is a program; OPS says what a byte of it does. Built and run with
 * ASan and UBSan by `.ci/run fuzz`; a crash is printed with its input. */
#include "ge_platform.h"

#include "ge_handler.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

/* Unlike assert() it is there with NDEBUG too. Not abort(): the target takes
 * SIGABRT, which libFuzzer therefore has to leave alone, and the input that
 * failed would not be printed. Nobody can take SIGILL. */
#define CHECK(condition)                                                      \
    do {                                                                      \
        if (!(condition)) {                                                   \
            __builtin_trap();                                                 \
        }                                                                     \
    } while (0)

struct input {
    const uint8_t *next, *end;
};

static unsigned wanted[GE_NSIG];
static uint64_t runs[GE_NSIG]; /* that ge_count() shall show */
static unsigned held[GE_NSIG];

static int
byte(struct input *in)
{
    return in->next < in->end ? *in->next++ : 0;
}

/* Mostly one of the table, sometimes next to it, sometimes anything. */
static int
any_number(struct input *in)
{
    int kind = byte(in), n;
    uint8_t raw[sizeof n];

    if (kind < 192) {
        return kind % (GE_NSIG + 4) - 2;
    }
    for (size_t i = 0; i < sizeof raw; i++) {
        raw[i] = (uint8_t)byte(in);
    }
    (void)memcpy(&n, raw, sizeof n);
    return n;
}

static int
table_number(struct input *in)
{
    return 1 + byte(in) % (GE_NSIG - 1);
}

/* SIGALRM is libFuzzer's clock. */
static bool
may_take(int signum)
{
    return ge_sig_check(signum) == 0 && signum != SIGALRM;
}

/* ---- what a byte does ------------------------------------------------------
 */

static void
look(struct input *in)
{
    int n = any_number(in), rc = ge_sig_check(n);
    bool inside = n > 0 && n < GE_NSIG;
    struct ge_info info;

    CHECK(rc == 0 || rc == -EINVAL || rc == -EPERM || rc == -EFAULT);
    CHECK(inside || rc == -EINVAL);
    CHECK(inside || !ge_sig_ends(n));
    CHECK(ge_count(n) == (inside ? runs[n] : 0));
    CHECK(ge_held(n) == (inside ? held[n] : 0));
    CHECK(inside || !ge_covered(n));
    CHECK((ge_first(n, &info) == 1) == (inside && runs[n] > 0));
    CHECK((ge_last(n, &info) == 1) == (inside && runs[n] > 0));
    CHECK(runs[inside ? n : 0] == 0 || info.signum == n);
}

static void
set_roles(struct input *in)
{
    unsigned next[GE_NSIG];
    bool possible = true;

    (void)memcpy(next, wanted, sizeof next);
    for (int i = byte(in) % 4; i >= 0; i--) {
        int n = table_number(in);

        if (n != SIGALRM) {
            next[n] = (unsigned)byte(in) & 0x7f;
        }
    }
    for (int n = 1; n < GE_NSIG; n++) {
        possible = possible && (next[n] == 0 || may_take(n));
    }
    CHECK((ge_trap_set(next) == 0) == possible);
    if (possible) {
        (void)memcpy(wanted, next, sizeof wanted);
    }
    for (int n = 1; n < GE_NSIG; n++) { /* all or nothing */
        CHECK(ge_trap_ours(n) == (wanted[n] != 0));
    }
}

static void
lay(struct input *in)
{
    int n = any_number(in), rc = ge_trap_lay(n, byte(in) & 1);

    CHECK(ge_sig_check(n) == 0 || rc == ge_sig_check(n));
    CHECK(ge_sig_check(n) < 0 || rc == (wanted[n] ? 0 : -ENOENT));
}

static void
ran(int n)
{
    runs[n]++;
    held[n] += (wanted[n] & GE_ROLE_HOLD) != 0;
    CHECK(!(wanted[n] & GE_ROLE_STOP) || ge_state() != GE_RUNNING);
}

static void
forward(struct input *in)
{
    int n = any_number(in);
    bool armed = n > 0 && n < GE_NSIG && wanted[n] != 0;

    CHECK(ge_forward(n) == armed);
    if (armed) {
        ran(n);
    }
}

/* As the kernel calls it, with whatever a sender may put there. */
static void
handle(struct input *in)
{
    siginfo_t info = { .si_signo = table_number(in) };
    int n = info.si_signo;

    info.si_code = (int8_t)byte(in);
    info.si_value.sival_int = any_number(in);
    if (wanted[n] != 0) {
        ge__on_signal(n, &info, NULL);
        ran(n);
    }
}

/* By the kernel. */
static void
raise_it(struct input *in)
{
    int n = table_number(in);

    if (wanted[n] != 0) {
        CHECK(raise(n) == 0);
        ran(n);
    }
}

static void
take_held(struct input *in)
{
    int n = any_number(in);
    bool inside = n > 0 && n < GE_NSIG;

    CHECK(ge_held_take(n) == (inside ? held[n] : 0));
    if (inside) {
        held[n] = 0;
    }
    (void)ge_took(n);
}

static void
trip(struct input *in)
{
    int n = any_number(in), rc = ge_trip_begin(n);
    bool inside = n > 0 && n < GE_NSIG;

    CHECK((rc == 0) == (inside && (wanted[n] & GE_ROLE_TRIP)));
    if (rc == 0) {
        ge_trip_end(n);
        CHECK(ge_took(n));
    }
}

static void
after_us(struct input *in)
{
    struct sigaction sa;
    int n = table_number(in);

    CHECK(ge_trap_relay(n) == (wanted[n] != 0));
    CHECK(wanted[n] == 0 || ge_trap_after_us(n, &sa) == 0);
}

static void
stop(struct input *in)
{
    (void)in;
    (void)ge_stop();
    CHECK(ge_state() != GE_RUNNING);
}

static void (*const OPS[])(struct input *) = {
    look,     set_roles, lay,  forward,  handle,
    raise_it, take_held, trip, after_us, stop,
};

/* Counters are for the life of the process: a forked child begins anew. */
static void
as_at_first(void)
{
    ge_fork_child(0);
    (void)memset(wanted, 0, sizeof wanted);
    (void)memset(runs, 0, sizeof runs);
    for (int n = 1; n < GE_NSIG; n++) {
        held[n] = 0;
        CHECK(ge_held(n) == 0 && ge_count(n) == 0);
        CHECK(!ge_trap_ours(n));
    }
    CHECK(ge_state() == GE_RUNNING);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { .next = data, .end = data + size };

    while (in.next < in.end) {
        OPS[(size_t)byte(&in) % (sizeof OPS / sizeof OPS[0])](&in);
    }
    as_at_first();
    return 0;
}
