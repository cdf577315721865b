/* Protected sections: counted, and none opens once the process ends. */
#include "core.h"

#include "ge_section.h"

static void
counted(void)
{
    CHECK_EQ(0, ge_sections());
    CHECK_EQ(0, ge_section_enter(GE_OUTSIDE));
    CHECK_EQ(0, ge_section_enter(GE_OUTSIDE));
    CHECK_EQ(2, ge_sections());
    CHECK_EQ(1, ge_section_leave());
    CHECK_EQ(0, ge_section_leave());
    CHECK_EQ(0, ge_sections());
}

static void
closed_only_while_none_is_open(void)
{
    CHECK_EQ(0, ge_section_enter(GE_OUTSIDE));
    CHECK(!ge_section_close());
    CHECK_EQ(0, ge_section_enter(GE_OUTSIDE));
    (void)ge_section_leave();
    CHECK(!ge_section_close());
    (void)ge_section_leave();
    CHECK(ge_section_close());
    CHECK(ge_section_close());
    CHECK_EQ(-ECANCELED, ge_section_enter(GE_OUTSIDE));
    CHECK_EQ(0, ge_sections());
    ge__section_reopen();
    CHECK_EQ(0, ge_section_enter(GE_OUTSIDE));
    CHECK_EQ(1, ge_sections());
}

static void
reset_opens_again(void)
{
    CHECK(ge_section_close());
    ge_reset();
    CHECK_EQ(0, ge_section_enter(GE_OUTSIDE));
}

#define S GE_NS_PER_S

/* A function of the clock: 1 s shut, 1 s open, 2 s shut, 2 s open, 4 s, ... */
static void
the_gate_opens_by_the_clock(void)
{
    const int64_t t = 1000 * S;

    CHECK_EQ(0, ge_gate_opens(t));
    ge_gate_shut(t);
    ge_gate_shut(t + S); /* a second signal: it is shut already */
    CHECK(ge_gate());
    CHECK_EQ(t + S, ge_gate_opens(t));
    CHECK_EQ(t + S, ge_gate_opens(t + S - 1));
    CHECK_EQ(0, ge_gate_opens(t + S));
    CHECK_EQ(0, ge_gate_opens(t + 2 * S - 1));
    CHECK_EQ(t + 4 * S, ge_gate_opens(t + 2 * S));
    CHECK_EQ(0, ge_gate_opens(t + 4 * S));
    CHECK_EQ(t + 10 * S, ge_gate_opens(t + 6 * S));
    CHECK_EQ(0, ge_gate_opens(t + 13 * S));
    CHECK_EQ(t + 22 * S, ge_gate_opens(t + 14 * S));
    CHECK(ge_gate_opens(t + 365 * 86400 * S) >= 0); /* and ends */
    ge_gate_shut_anew(t + 13 * S);
    CHECK_EQ(t + 14 * S, ge_gate_opens(t + 13 * S));
    ge_gate_lift();
    CHECK(!ge_gate());
    CHECK_EQ(0, ge_gate_opens(t));
}

static void
who_is_inside_passes_the_gate(void)
{
    CHECK_EQ(0, ge_section_enter(GE_OUTSIDE));
    ge_gate_shut(ge_now());
    CHECK_EQ(-EAGAIN, ge_section_enter(GE_OUTSIDE));
    CHECK_EQ(0, ge_section_enter(GE_INSIDE));
    CHECK_EQ(2, ge_sections());
    ge_gate_lift();
    CHECK_EQ(0, ge_section_enter(GE_OUTSIDE));
}

static void
a_look_sends_openers_by_the_lock(void)
{
    CHECK(!ge_section_look(true));
    CHECK_EQ(-EBUSY, ge_section_enter(GE_OUTSIDE));
    CHECK_EQ(-EBUSY, ge_section_enter(GE_INSIDE));
    CHECK_EQ(0, ge_section_enter_locked(GE_OUTSIDE));
    CHECK_EQ(1, ge_sections());
    CHECK(ge_section_look(false));
    CHECK_EQ(0, ge_section_enter(GE_OUTSIDE));
}

static void
the_last_one_opens_in_a_closed_process(void)
{
    CHECK(ge_section_close());
    CHECK_EQ(-ECANCELED, ge_section_enter(GE_INSIDE));
    CHECK_EQ(0, ge_section_enter(GE_LAST));
    CHECK_EQ(0, ge_section_leave());
}

/* A handler that holds the signal shuts the gate, and who lifts it too early
 * changes nothing. */
static void
a_held_signal_keeps_the_gate_shut(void)
{
    take(SIGTERM, GE_ROLE_HOLD | GE_ROLE_GATE);
    CHECK(ge_holding());
    CHECK(ge_covered(SIGTERM));
    CHECK_EQ(0, ge_section_enter(GE_OUTSIDE));
    CHECK_EQ(0, raise(SIGTERM));
    CHECK_EQ(1, ge_held(SIGTERM));
    CHECK_EQ(-EAGAIN, ge_section_enter(GE_OUTSIDE));
    ge_gate_lift();
    CHECK(ge_gate());
    CHECK_EQ(0, ge_section_leave());
    CHECK_EQ(1, ge_held_take(SIGTERM));
    ge_gate_lift();
    CHECK(!ge_gate());
    drop(SIGTERM);
    CHECK(!ge_holding());
    CHECK(!ge_covered(SIGTERM));
}

/* In the step to HURRY, and until the process ends or there is no killer. */
static void
a_hurry_shuts_the_gate(void)
{
    take(SIGINT, GE_ROLE_STOP | GE_ROLE_HURRY);
    CHECK_EQ(0, raise(SIGINT));
    CHECK(!ge_gate());
    (void)poll(NULL, 0, 600);
    CHECK_EQ(0, raise(SIGINT));
    CHECK_EQ(GE_HURRY, ge_state());
    CHECK(ge_gate());
    ge_gate_lift();
    CHECK(ge_gate());
    drop(SIGINT);
    ge_reset();
    CHECK(!ge_gate());
}

static void *
wait_at_the_gate(void *arg)
{
    atomic_int *passed = arg;

    for (;;) {
        unsigned seen = ge_seen(GE_AT_GATE);
        int64_t until = ge_gate_opens(ge_now());

        if (until == 0) {
            atomic_store(passed, 1);
            return NULL;
        }
        (void)ge_wait(GE_AT_GATE, seen, until);
    }
}

static void
who_waits_is_woken_by_the_lift(void)
{
    static atomic_int passed;
    pthread_t thread;

    ge_gate_shut(ge_now() + 3600 * S); /* not by the clock */
    thread = spawn(wait_at_the_gate, &passed);
    (void)poll(NULL, 0, 20);
    CHECK_EQ(0, atomic_load(&passed));
    ge_gate_lift();
    join(thread);
    CHECK_EQ(1, atomic_load(&passed));
}

static const int both[] = { SIGTERM, SIGUSR1 };

static void
pass(int signum)
{
    (void)signum;
}

/* Between begin and cover somebody else (CPython) sets a handler of its own.
 */
static void
alone_it_takes_and_gives_back_exactly(void)
{
    struct sigaction before = { .sa_flags = SA_NODEFER | SA_RESTART };
    struct sigaction found, python = { .sa_flags = 0 };

    before.sa_handler = pass;
    (void)sigaddset(&before.sa_mask, SIGWINCH);
    CHECK_EQ(0, sigaction(SIGUSR1, &before, NULL));
    CHECK_EQ(0, ge_solo_begin(both, 2));
    CHECK(!ge_covered(SIGTERM));
    for (int i = 0; i < 2; i++) {
        python.sa_handler = pass;
        CHECK_EQ(0, sigaction(both[i], &python, NULL));
        ge_solo_cover(both[i]);
        CHECK(ge_covered(both[i]));
        CHECK(ge_trap_ours(both[i]));
    }
    CHECK(ge_holding());
    CHECK_EQ(-EBUSY, ge_solo_begin(both, 2));
    CHECK(ge_solo_end(both, 2));
    CHECK(!ge_holding());
    for (int i = 0; i < 2; i++) {
        CHECK(!ge_covered(both[i]));
        CHECK_EQ(0, sigaction(both[i], &python, NULL));
        ge_solo_restore(both[i]);
    }
    CHECK_EQ(0, sigaction(SIGUSR1, NULL, &found));
    CHECK(found.sa_handler == pass);
    CHECK_EQ(1, sigismember(&found.sa_mask, SIGWINCH));
    CHECK_EQ(SA_NODEFER | SA_RESTART,
             found.sa_flags & (SA_NODEFER | SA_RESTART));
    CHECK_EQ(0, sigaction(SIGTERM, NULL, &found));
    CHECK(found.sa_handler == SIG_DFL);
}

static void
alone_it_does_not_end_with_a_signal_held(void)
{
    CHECK_EQ(0, ge_solo_begin(both, 2));
    ge_solo_cover(SIGTERM);
    ge_solo_cover(SIGUSR1);
    CHECK_EQ(0, raise(SIGUSR1));
    CHECK(!ge_solo_end(both, 2));
    CHECK(ge_covered(SIGTERM) && ge_covered(SIGUSR1) && ge_holding());
    CHECK_EQ(0, raise(SIGTERM)); /* held as before */
    CHECK_EQ(1, ge_held_take(SIGTERM));
    CHECK_EQ(1, ge_held_take(SIGUSR1));
    CHECK(ge_solo_end(both, 2));
}

static void
alone_it_leaves_strangers_alone(void)
{
    struct sigaction stranger = { .sa_flags = 0 };

    CHECK_EQ(0, ge_solo_begin(both, 2));
    ge_solo_cover(SIGTERM);
    ge_solo_cover(SIGUSR1);
    stranger.sa_handler = pass;
    CHECK_EQ(0, sigaction(SIGUSR1, &stranger, NULL));
    CHECK(!ge_solo_end(both, 2));
    CHECK(ge_covered(SIGTERM));
}

static void
what_is_ignored_is_not_simple(void)
{
    (void)signal(SIGUSR1, SIG_IGN);
    CHECK_EQ(-EBUSY, ge_solo_begin(both, 2));
    CHECK(!ge_holding());
}

struct race {
    struct meeting meeting;
    unsigned rounds;
    atomic_int rc;
};

static void *
enter_rounds(void *arg)
{
    struct race *r = arg;

    for (unsigned i = 0; i < r->rounds; i++) {
        meet(&r->meeting, 2 * i, 2);
        atomic_store(&r->rc, ge_section_enter(GE_OUTSIDE));
        meet(&r->meeting, 2 * i + 1, 2);
    }
    return NULL;
}

/* Whoever comes first: exactly one of the two succeeds. */
static void
entering_races_closing(void)
{
    static struct race r = { .rounds = 100000 / CORE_SLOW };
    unsigned entered = 0;
    pthread_t thread = spawn(enter_rounds, &r);

    for (unsigned i = 0; i < r.rounds; i++) {
        bool closed;

        meet(&r.meeting, 2 * i, 2);
        closed = ge_section_close();
        meet(&r.meeting, 2 * i + 1, 2);
        CHECK_EQ(closed ? -ECANCELED : 0, atomic_load(&r.rc));
        CHECK_EQ(closed ? 0 : 1, ge_sections());
        if (!closed) {
            entered++;
            (void)ge_section_leave();
        }
        ge__section_reopen();
    }
    join(thread);
    printf("# entered first %u of %u\n", entered, r.rounds);
}

static void *
enter_and_leave(void *arg)
{
    (void)arg;
    for (int i = 0; i < 200000 / CORE_SLOW; i++) {
        CHECK_EQ(0, ge_section_enter(GE_OUTSIDE));
        (void)ge_section_leave();
    }
    return NULL;
}

static void
many_threads_lose_no_count(void)
{
    pthread_t threads[4];

    CHECK_EQ(0, ge_section_enter(GE_OUTSIDE));
    for (int i = 0; i < 4; i++) {
        threads[i] = spawn(enter_and_leave, NULL);
    }
    for (int i = 0; i < 4; i++) {
        join(threads[i]);
    }
    CHECK_EQ(1, ge_sections());
}

static const struct check_case cases[] = {
    CASE(counted),
    CASE(closed_only_while_none_is_open),
    CASE(reset_opens_again),
    CASE(the_gate_opens_by_the_clock),
    CASE(who_is_inside_passes_the_gate),
    CASE(a_look_sends_openers_by_the_lock),
    CASE(the_last_one_opens_in_a_closed_process),
    CASE(a_held_signal_keeps_the_gate_shut),
    CASE(a_hurry_shuts_the_gate),
    CASE(who_waits_is_woken_by_the_lift),
    CASE(alone_it_takes_and_gives_back_exactly),
    CASE(alone_it_does_not_end_with_a_signal_held),
    CASE(alone_it_leaves_strangers_alone),
    CASE(what_is_ignored_is_not_simple),
    CASE(entering_races_closing),
    CASE(many_threads_lose_no_count),
};
CHECK_MAIN(cases)
