/* One stop in a process: the steps, their order, who is named. */
#include "core.h"

#include "ge_handler.h"

static struct meeting meeting;

static void
the_first_signal_stops(void)
{
    struct ge_info info;
    int64_t before = ge_now();

    CHECK_EQ(GE_RUNNING, ge_state());
    CHECK_EQ(0, ge_state_since());
    CHECK_EQ(0, ge_stop_record(&info));
    take(SIGTERM, GE_ROLE_STOP);
    CHECK_EQ(0, raise(SIGTERM));
    CHECK_EQ(GE_STOPPING, ge_state());
    CHECK_EQ(1, ge_stop_record(&info));
    CHECK_EQ(SIGTERM, info.signum);
    CHECK_EQ(getpid(), info.pid);
    CHECK(info.when >= before && info.when <= ge_now());
    CHECK_EQ(info.when & ~INT64_C(3), ge_state_since());
}

static void
other_roles_do_not_stop(void)
{
    take(SIGUSR1, GE_ROLE_HURRY | GE_ROLE_HOLD | GE_ROLE_CHAIN);
    CHECK_EQ(0, raise(SIGUSR1));
    CHECK_EQ(GE_RUNNING, ge_state());
    CHECK_EQ(1, ge_held(SIGUSR1));
}

static void
a_stop_by_code_happens_once(void)
{
    struct ge_info info;

    CHECK_EQ(1, ge_stop());
    CHECK_EQ(0, ge_stop());
    CHECK_EQ(GE_STOPPING, ge_state());
    CHECK_EQ(1, ge_stop_record(&info));
    CHECK_EQ(0, info.signum);
    CHECK_EQ(-1, info.pid);
}

/* Time itself is what is waited for. */
static void
pass_time_until(int64_t when)
{
    while (ge_now() < when) {
        (void)ge_wait(GE_AT_STOP, ge_seen(GE_AT_STOP), when);
    }
}

static void
again_counts_only_after_the_gap(void)
{
    struct ge_info info;
    int64_t since;

    take(SIGINT, GE_ROLE_STOP | GE_ROLE_HURRY);
    take(SIGTERM, GE_ROLE_STOP);
    CHECK_EQ(0, raise(SIGTERM));
    since = ge_state_since();
    do { /* the state is what follows from the time of each signal */
        CHECK_EQ(0, raise(SIGINT));
        CHECK_EQ(1, ge_last(SIGINT, &info));
        CHECK_EQ(info.when - since >= GE_HURRY_GAP_NS ? GE_HURRY : GE_STOPPING,
                 ge_state());
    } while (ge_state() == GE_STOPPING);
    CHECK_EQ(info.when & ~INT64_C(3), ge_state_since());
    CHECK_EQ(1, ge_stop_record(&info));
    CHECK_EQ(SIGTERM, info.signum); /* the one who began it */
}

static void
only_hurry_signals_escalate(void)
{
    take(SIGTERM, GE_ROLE_STOP);
    CHECK_EQ(0, raise(SIGTERM));
    pass_time_until(ge_state_since() + GE_HURRY_GAP_NS + MS);
    CHECK_EQ(0, raise(SIGTERM));
    CHECK_EQ(0, ge_stop());
    CHECK_EQ(GE_STOPPING, ge_state());
    take(SIGTERM, GE_ROLE_HURRY);
    CHECK_EQ(0, raise(SIGTERM));
    CHECK_EQ(GE_HURRY, ge_state());
    pass_time_until(ge_state_since() + GE_HURRY_GAP_NS + MS);
    CHECK_EQ(0, raise(SIGTERM));
    CHECK_EQ(GE_HURRY, ge_state());
}

static void *
forward_rounds(void *arg)
{
    for (unsigned i = 0; i < *(unsigned *)arg; i++) {
        meet(&meeting, 2 * i, 2);
        CHECK_EQ(1, ge_forward(SIGUSR1));
        meet(&meeting, 2 * i + 1, 2);
    }
    return NULL;
}

/* Both may be the first; the other is then measured against that first. */
static void
two_at_once_never_skip_the_gap(void)
{
    unsigned rounds = 200000 / CORE_SLOW, judged = 0;
    pthread_t thread;

    take(SIGUSR1, GE_ROLE_STOP | GE_ROLE_HURRY);
    take(SIGUSR2, GE_ROLE_STOP | GE_ROLE_HURRY);
    thread = spawn(forward_rounds, &rounds);
    for (unsigned i = 0; i < rounds; i++) {
        int64_t began = ge_now();
        struct ge_info a, b, stop;

        meet(&meeting, 2 * i, 2);
        CHECK_EQ(1, ge_forward(SIGUSR2));
        meet(&meeting, 2 * i + 1, 2);
        CHECK_EQ(1, ge_stop_record(&stop));
        if (ge_now() - began < GE_HURRY_GAP_NS) {
            judged++;
            CHECK_EQ(GE_STOPPING, ge_state());
            CHECK_EQ(stop.when & ~INT64_C(3), ge_state_since());
        }
        CHECK_EQ(1, ge_last(SIGUSR1, &a));
        CHECK_EQ(1, ge_last(SIGUSR2, &b));
        CHECK_EQ(stop.signum == SIGUSR1 ? a.when : b.when, stop.when);
        ge_reset();
        CHECK_EQ(GE_RUNNING, ge_state());
        CHECK_EQ(0, ge_stop_record(&stop));
    }
    join(thread);
    CHECK(judged > rounds / 2);
}

/* ---- more than two, by real signals ---------------------------------------
 */

enum { MANY = 4 };

struct crowd {
    unsigned rounds;
    atomic_uint number, began; /* ge_stop() that said so, in this round */
};

/* Neither a state nor its time is ever seen to go back. */
static void
look_forward(enum ge_state *state, int64_t *since)
{
    enum ge_state now = ge_state();

    CHECK(now >= *state);
    CHECK(ge_state_since() >= *since);
    *state = now;
    *since = ge_state_since();
}

static void *
crowd_rounds(void *arg)
{
    struct crowd *c = arg;
    unsigned me = atomic_fetch_add(&c->number, 1);

    for (unsigned i = 0; i < c->rounds; i++) {
        enum ge_state state = GE_RUNNING;
        int64_t since = 0;

        meet(&meeting, 2 * i, MANY + 1);
        if ((me + i) % MANY == 0) {
            (void)atomic_fetch_add(&c->began, (unsigned)ge_stop());
        } else {
            CHECK_EQ(0, raise(SIGINT));
        }
        look_forward(&state, &since);
        look_forward(&state, &since);
        CHECK(state != GE_RUNNING);
        meet(&meeting, 2 * i + 1, MANY + 1);
    }
    return NULL;
}

/* Three Ctrl-C, each in a thread of its own, and a stop by code. */
static void
many_at_once_are_one_step_and_one_record(void)
{
    struct crowd c = { .rounds = 20000 / CORE_SLOW };
    unsigned judged = 0;
    pthread_t threads[MANY];

    take(SIGINT, GE_ROLE_STOP | GE_ROLE_HURRY);
    for (int i = 0; i < MANY; i++) {
        threads[i] = spawn(crowd_rounds, &c);
    }
    for (unsigned i = 0; i < c.rounds; i++) {
        int64_t before = ge_now();
        struct ge_info stop;

        meet(&meeting, 2 * i, MANY + 1);
        meet(&meeting, 2 * i + 1, MANY + 1);
        if (ge_now() - before < GE_HURRY_GAP_NS) {
            judged++;
            CHECK_EQ(GE_STOPPING, ge_state());
        }
        CHECK_EQ(1, ge_stop_record(&stop));
        CHECK_EQ(2, atomic_load(&ge__mailbox.stop.seq)); /* written once */
        CHECK_EQ(stop.signum == 0, atomic_exchange(&c.began, 0));
        CHECK(stop.when >= before && stop.when <= ge_now());
        ge_reset();
    }
    for (int i = 0; i < MANY; i++) {
        join(threads[i]);
    }
    CHECK_EQ(UINT64_C(3) * c.rounds, ge_count(SIGINT));
    CHECK(judged > c.rounds / 2);
}

/* The stop is just so old that some of the next signals are too early and some
 * are not: whoever comes first in time, the step is never a nanosecond before
 * the gap is over. The time in the word lacks the two lowest bits. */
static void
the_gap_is_kept_to_the_end(void)
{
    unsigned rounds = 200000 / CORE_SLOW, hurried = 0;
    pthread_t thread;

    take(SIGUSR1, GE_ROLE_STOP | GE_ROLE_HURRY);
    take(SIGUSR2, GE_ROLE_STOP | GE_ROLE_HURRY);
    thread = spawn(forward_rounds, &rounds);
    for (unsigned i = 0; i < rounds; i++) {
        int64_t left = (int64_t)1 << i % 20; /* until the gap is over; ns */
        int64_t since = (ge_now() - GE_HURRY_GAP_NS + left) & ~INT64_C(3);
        struct ge_info a, b;

        atomic_store(&ge__mailbox.word, (uint64_t)since | GE_STOPPING);
        meet(&meeting, 2 * i, 2);
        CHECK_EQ(1, ge_forward(SIGUSR2));
        meet(&meeting, 2 * i + 1, 2);
        CHECK_EQ(1, ge_last(SIGUSR1, &a));
        CHECK_EQ(1, ge_last(SIGUSR2, &b));
        if (ge_state() == GE_HURRY) {
            int64_t at = ge_state_since();

            hurried++;
            CHECK(at - since >= GE_HURRY_GAP_NS);
            CHECK(at == (a.when & ~INT64_C(3)) ||
                  at == (b.when & ~INT64_C(3)));
        } else {
            CHECK_EQ(GE_STOPPING, ge_state());
            CHECK_EQ(since, ge_state_since());
            CHECK(a.when - since < GE_HURRY_GAP_NS);
            CHECK(b.when - since < GE_HURRY_GAP_NS);
        }
    }
    join(thread);
    CHECK(hurried > 0 && hurried < rounds);
}

static void *
raise_rounds(void *arg)
{
    for (unsigned i = 0; i < *(unsigned *)arg; i++) {
        meet(&meeting, 2 * i, 2);
        CHECK_EQ(0, raise(SIGUSR1));
        meet(&meeting, 2 * i + 1, 2);
    }
    return NULL;
}

/* ge_stop() says 1 if and only if the record says "by code". */
static void
a_stop_by_code_races_a_signal(void)
{
    unsigned rounds = 50000 / CORE_SLOW;
    pthread_t thread;

    take(SIGUSR1, GE_ROLE_STOP);
    thread = spawn(raise_rounds, &rounds);
    for (unsigned i = 0; i < rounds; i++) {
        struct ge_info stop;
        int won;

        meet(&meeting, 2 * i, 2);
        won = ge_stop();
        meet(&meeting, 2 * i + 1, 2);
        CHECK_EQ(GE_STOPPING, ge_state());
        CHECK_EQ(1, ge_stop_record(&stop));
        CHECK_EQ(won ? 0 : SIGUSR1, stop.signum);
        CHECK_EQ(won ? -1 : getpid(), stop.pid);
        CHECK_EQ(stop.when & ~INT64_C(3), ge_state_since());
        ge_reset();
    }
    join(thread);
}

/* The winner was preempted between its step and its record. */
static void
a_later_step_does_not_write_the_record(void)
{
    struct ge_info info;

    take(SIGINT, GE_ROLE_STOP | GE_ROLE_HURRY);
    atomic_store(&ge__mailbox.word,
                 ((uint64_t)(ge_now() - GE_NS_PER_S) & ~UINT64_C(3)) |
                     GE_STOPPING);
    CHECK_EQ(0, raise(SIGINT));
    CHECK_EQ(GE_HURRY, ge_state());
    CHECK_EQ(0, ge_stop_record(&info));
}

static void
promoted_it_is_that_signals_stop(void)
{
    struct ge_info info, last;

    take(SIGTERM, GE_ROLE_HOLD);
    CHECK_EQ(0, raise(SIGTERM));
    CHECK_EQ(GE_RUNNING, ge_state());
    CHECK_EQ(1, ge_last(SIGTERM, &last));
    CHECK_EQ(1, ge_promote(SIGTERM));
    CHECK_EQ(GE_STOPPING, ge_state());
    CHECK_EQ(1, ge_stop_record(&info));
    CHECK_EQ(SIGTERM, info.signum);
    CHECK_EQ(getpid(), info.pid);
    CHECK(info.when >= last.when);
    CHECK_EQ(0, ge_promote(SIGTERM));
    CHECK_EQ(1, ge_count(SIGTERM));
}

static void
reset_forgets_the_stop_and_keeps_the_counts(void)
{
    struct ge_info info;

    take(SIGTERM, GE_ROLE_STOP | GE_ROLE_HOLD | GE_ROLE_TRIP);
    CHECK_EQ(0, raise(SIGTERM));
    ge_reset();
    CHECK_EQ(GE_RUNNING, ge_state());
    CHECK_EQ(0, ge_state_since());
    CHECK_EQ(0, ge_stop_record(&info));
    CHECK_EQ(1, ge_held(SIGTERM)); /* a section may still deliver it */
    wanted[SIGTERM] = 0;
    CHECK_EQ(0, ge_trap_set(wanted));
    ge_reset();
    CHECK_EQ(0, ge_held(SIGTERM));
    CHECK(!ge_took(SIGTERM));
    take(SIGTERM, GE_ROLE_STOP);
    CHECK_EQ(1, ge_count(SIGTERM));
    CHECK_EQ(1, ge_last(SIGTERM, &info));
    CHECK_EQ(0, raise(SIGTERM));
    CHECK_EQ(GE_STOPPING, ge_state());
    CHECK_EQ(2, ge_count(SIGTERM));
}

static const struct check_case cases[] = {
    CASE(the_first_signal_stops),
    CASE(other_roles_do_not_stop),
    CASE(a_stop_by_code_happens_once),
    CASE(again_counts_only_after_the_gap),
    CASE(only_hurry_signals_escalate),
    CASE_WITHIN(two_at_once_never_skip_the_gap, 240),
    CASE_WITHIN(many_at_once_are_one_step_and_one_record, 240),
    CASE_WITHIN(the_gap_is_kept_to_the_end, 240),
    CASE_WITHIN(a_stop_by_code_races_a_signal, 240),
    CASE(a_later_step_does_not_write_the_record),
    CASE(promoted_it_is_that_signals_stop),
    CASE(reset_forgets_the_stop_and_keeps_the_counts),
};
CHECK_MAIN(cases)
