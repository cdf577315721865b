/* How and when the process ends. */
#include "core.h"

#include "ge_handler.h"
#include "ge_section.h"

#define HOUR (3600 * GE_NS_PER_S)

/* What the child that ends is told, and tells. */
struct plan {
    enum ge_backend backend;
    int64_t grace, extend;
    int how, signum; /* 0: ge_stop() */
    _Atomic(int64_t) began, left;
    atomic_bool waited;
};

static void
begin(struct plan *p)
{
    for (int s = 1; s < GE_NSIG; s++) {
        wanted[s] = 0;
    }
    ge_policy(p->grace, p->how);
    if (p->signum != 0) {
        take(p->signum, GE_ROLE_STOP);
    }
    start(p->backend);
    atomic_store(&p->began, ge_now());
    if (p->signum != 0) {
        CHECK_EQ(0, raise(p->signum));
    } else {
        CHECK_EQ(1, ge_stop());
    }
    if (p->extend != 0) { /* in two steps: later, then earlier */
        int64_t first = ge_deadline();

        ge_extend(HOUR);
        CHECK_EQ(first + HOUR, ge_deadline());
        ge_extend(p->extend - HOUR);
    }
}

static void
stuck(void *arg)
{
    sigset_t all;

    begin(arg);
    (void)sigfillset(&all); /* as stuck as can be */
    CHECK_EQ(0, pthread_sigmask(SIG_BLOCK, &all, NULL));
    for (;;) {
        atomic_signal_fence(memory_order_seq_cst);
    }
}

/* The wait status of a process that is stuck; never before its time. */
static int
end_of(struct plan p)
{
    struct plan *s = shared(sizeof *s);
    int status;

    *s = p;
    status = status_of(stuck, s);
    CHECK(ge_now() - atomic_load(&s->began) >= p.grace + p.extend);
    return status;
}

static void
stuck_it_dies_of_the_signal_at_the_deadline(enum ge_backend b)
{
    CHECK_DIED_OF(SIGTERM, end_of((struct plan) { .backend = b,
                                                  .grace = 50 * MS,
                                                  .how = GE_EXIT_SIGNAL,
                                                  .signum = SIGTERM }));
    CHECK_DIED_OF(SIGINT, end_of((struct plan) { .backend = b,
                                                 .grace = 7 * MS,
                                                 .how = GE_EXIT_SIGNAL,
                                                 .signum = SIGINT }));
    CHECK_DIED_OF(SIGRTMIN, end_of((struct plan) { .backend = b,
                                                   .grace = MS,
                                                   .how = GE_EXIT_SIGNAL,
                                                   .signum = SIGRTMIN }));
}
IN_BOTH(stuck_it_dies_of_the_signal_at_the_deadline)

static void
it_ends_with_the_status_that_was_asked_for(enum ge_backend b)
{
    CHECK_EXITED(128 + SIGTERM, end_of((struct plan) { .backend = b,
                                                       .grace = MS,
                                                       .how = GE_EXIT_CODE,
                                                       .signum = SIGTERM }));
    CHECK_EXITED(
        0, end_of((struct plan) {
               .backend = b, .grace = MS, .how = 0, .signum = SIGTERM }));
    CHECK_EXITED(
        255, end_of((struct plan) {
                 .backend = b, .grace = MS, .how = 255, .signum = SIGTERM }));
}
IN_BOTH(it_ends_with_the_status_that_was_asked_for)

static void
a_stop_by_code_that_is_cut_short_is_no_success(enum ge_backend b)
{
    CHECK_EXITED(1, end_of((struct plan) {
                        .backend = b, .grace = MS, .how = GE_EXIT_SIGNAL }));
    CHECK_EXITED(1, end_of((struct plan) {
                        .backend = b, .grace = MS, .how = GE_EXIT_CODE }));
    CHECK_EXITED(
        9, end_of((struct plan) { .backend = b, .grace = MS, .how = 9 }));
}
IN_BOTH(a_stop_by_code_that_is_cut_short_is_no_success)

static void
extending_moves_the_deadline(enum ge_backend b)
{
    /* A short grace could be over before it is extended. */
    CHECK_DIED_OF(SIGTERM, end_of((struct plan) { .backend = b,
                                                  .grace = HOUR,
                                                  .extend = 80 * MS - HOUR,
                                                  .how = GE_EXIT_SIGNAL,
                                                  .signum = SIGTERM }));
    CHECK_DIED_OF(SIGTERM, end_of((struct plan) { .backend = b,
                                                  .grace = HOUR,
                                                  .extend = -HOUR,
                                                  .how = GE_EXIT_SIGNAL,
                                                  .signum = SIGTERM }));
}
IN_BOTH(extending_moves_the_deadline)

/* ---- the moment of the stop ----------------------------------------------
 */

static void *
poke_for_ever(void *arg)
{
    mask(SIG_BLOCK, SIGTERM);
    for (;;) {
        ge_poke();
    }
    return arg;
}

/* The watcher looks all the time: also between the step and its record. */
static void
at_once(void *arg)
{
    struct plan *p = arg;

    ge_policy(0, GE_EXIT_SIGNAL);
    take(SIGTERM, GE_ROLE_STOP);
    start(p->backend);
    (void)spawn(poke_for_ever, NULL);
    for (int i = 0; i < 2000; i++) {
        (void)ge_now();
    }
    CHECK_EQ(0, raise(SIGTERM));
    for (;;) {
        (void)poll(NULL, 0, -1);
    }
}

static void
without_grace_it_still_dies_of_the_signal(enum ge_backend b)
{
    struct plan p = { .backend = b };

    for (int i = 0; i < 300 / CORE_SLOW; i++) {
        CHECK_DIED_OF(SIGTERM, status_of(at_once, &p));
    }
}
IN_BOTH(without_grace_it_still_dies_of_the_signal)

static void
extended_beyond_all_time_there_is_none(void)
{
    take(SIGTERM, GE_ROLE_STOP);
    ge_policy(3600 * GE_NS_PER_S, GE_EXIT_SIGNAL);
    CHECK_EQ(0, raise(SIGTERM));
    for (int i = 0; i < 4; i++) {
        ge_extend(GE_NEVER / 2);
    }
    CHECK_EQ(GE_NEVER, ge_deadline());
}

static void
the_deadline_counts_from_the_record(void)
{
    struct ge_info stop;

    CHECK_EQ(GE_NEVER, ge_deadline());
    ge_policy(GE_NS_PER_S, GE_EXIT_SIGNAL);
    CHECK_EQ(GE_NEVER, ge_deadline());
    CHECK_EQ(1, ge_stop());
    CHECK_EQ(1, ge_stop_record(&stop));
    CHECK_EQ(stop.when + GE_NS_PER_S, ge_deadline());
    ge_extend(5);
    ge_extend(-2);
    CHECK_EQ(stop.when + GE_NS_PER_S + 3, ge_deadline());
    ge_policy(GE_NEVER, GE_EXIT_SIGNAL);
    CHECK_EQ(GE_NEVER, ge_deadline());
    ge_policy(GE_NEVER - 1, GE_EXIT_SIGNAL); /* too far to be a time */
    CHECK_EQ(GE_NEVER, ge_deadline());
    ge_policy(GE_NS_PER_S, GE_EXIT_SIGNAL);
    ge_extend(GE_NEVER - 3);
    CHECK_EQ(GE_NEVER, ge_deadline());
    ge_reset();
    CHECK_EQ(GE_NEVER, ge_deadline());
    CHECK_EQ(1, ge_stop());
    CHECK_EQ(1, ge_stop_record(&stop));
    CHECK_EQ(stop.when + GE_NS_PER_S, ge_deadline()); /* a new stop's own */
}

/* The winner was preempted between its step and its record: how the process
 * ends is not known yet, so it does not end yet. */
static void
no_record_no_deadline(void)
{
    ge_policy(0, GE_EXIT_SIGNAL);
    atomic_store(&ge__mailbox.word,
                 ((uint64_t)ge_now() & ~UINT64_C(3)) | GE_STOPPING);
    CHECK_EQ(GE_NEVER, ge_deadline());
}

/* ---- HURRY ---------------------------------------------------------------
 */

static void
to_hurry(struct plan *p)
{
    ge_policy(GE_NEVER, GE_EXIT_SIGNAL);
    take(SIGINT, GE_ROLE_STOP | GE_ROLE_HURRY);
    start(p->backend);
    CHECK_EQ(0, raise(SIGINT));
    while (ge_state() != GE_HURRY) {
        (void)ge_wait(GE_AT_STOP, ge_seen(GE_AT_STOP),
                      ge_state_since() + GE_HURRY_GAP_NS);
        CHECK_EQ(0, raise(SIGINT));
    }
}

static void
hurry_in_a_section(void *arg)
{
    struct plan *p = arg;

    CHECK_EQ(0, ge_section_enter(GE_OUTSIDE));
    to_hurry(p);
    for (int i = 0; i < 20; i++) {
        unsigned seen = ge_seen(GE_AT_NEWS);

        ge_poke();
        (void)ge_wait(GE_AT_NEWS, seen, ge_now() + 10 * MS);
        CHECK(!ge_ending());
        CHECK_EQ(
            0, ge_section_enter(GE_INSIDE)); /* a thread inside nests freely */
        CHECK_EQ(1, ge_section_leave());
    }
    atomic_store(&p->waited, true);
    atomic_store(&p->left, ge_now());
    CHECK_EQ(0, ge_section_leave());
    WAIT_FOR(ge_ending());
    CHECK_EQ(-ECANCELED, ge_section_enter(GE_OUTSIDE));
    CHECK_EQ(0, ge_sections());
    for (;;) {
        (void)poll(NULL, 0, -1);
    }
}

static void
hurry_waits_for_the_section_and_for_last_words(enum ge_backend backend)
{
    struct plan *p = shared(sizeof *p);

    p->backend = backend;
    CHECK_DIED_OF(SIGINT, status_of(hurry_in_a_section, p));
    CHECK(atomic_load(&p->waited));
    CHECK(ge_now() - atomic_load(&p->left) >= GE_LAST_WORDS_NS);
}
IN_BOTH(hurry_waits_for_the_section_and_for_last_words)

static void
hurry_and_end(void *arg)
{
    to_hurry(arg);
    WAIT_FOR(ge_ending());
    CHECK_EQ(-ECANCELED, ge_section_enter(GE_OUTSIDE));
    ge_end();
}

static void
last_words_said_it_ends_at_once(enum ge_backend backend)
{
    struct plan p = { .backend = backend };

    CHECK_DIED_OF(SIGINT, status_of(hurry_and_end, &p));
}
IN_BOTH(last_words_said_it_ends_at_once)

static void
section_and_deadline(void *arg)
{
    CHECK_EQ(0, ge_section_enter(GE_OUTSIDE));
    stuck(arg);
}

static void
the_deadline_cuts_sections(enum ge_backend backend)
{
    struct plan p = { .backend = backend,
                      .grace = 20 * MS,
                      .how = GE_EXIT_SIGNAL,
                      .signum = SIGTERM };

    CHECK_DIED_OF(SIGTERM, status_of(section_and_deadline, &p));
}
IN_BOTH(the_deadline_cuts_sections)

static void
hurry_then_reset(enum ge_backend backend)
{
    struct plan p = { .backend = backend };
    unsigned seen;

    to_hurry(&p);
    WAIT_FOR(ge_ending());
    drop(SIGINT);
    ge_reset(); /* the last killer was closed in time */
    CHECK(!ge_ending());
    CHECK_EQ(0, ge_section_enter(GE_OUTSIDE));
    seen = ge_seen(GE_AT_NEWS);
    ge_poke();
    while (ge_seen(GE_AT_NEWS) == seen) {
        (void)ge_wait(GE_AT_NEWS, seen, GE_NEVER);
    }
    CHECK_EQ(0, ge_section_leave());
    CHECK_EQ(0, ge_section_enter(GE_OUTSIDE));
}
IN_BOTH(hurry_then_reset)

/* ---- the ladder ----------------------------------------------------------
 */

static void
die_of(void *arg)
{
    int signum = *(int *)arg;

    if (ge_sig_check(signum) == 0) {
        take(signum, GE_ROLE_STOP);
    }
    mask(SIG_BLOCK, signum);
    ge_die(signum);
}

static void
it_dies_of_any_signal_that_ends(void)
{
    const int ends[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGALRM, SIGKILL };
    const int other = SIGCHLD; /* the kernel will not have it */

    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        int signum = ends[i];

        CHECK_DIED_OF(signum, status_of(die_of, &signum));
    }
    CHECK_EXITED(128 + SIGCHLD, status_of(die_of, (void *)(uintptr_t)&other));
}

static void
end_unstopped(void *arg)
{
    ge_policy(GE_NEVER, *(int *)arg);
    ge_end();
}

static void
an_end_without_a_stop_is_no_success(void)
{
    int how = GE_EXIT_SIGNAL;

    CHECK_EXITED(1, status_of(end_unstopped, &how));
    how = 4;
    CHECK_EXITED(4, status_of(end_unstopped, &how));
}

static const struct check_case cases[] = {
    CASE(stuck_it_dies_of_the_signal_at_the_deadline_futex),
    CASE(stuck_it_dies_of_the_signal_at_the_deadline_pipe),
    CASE(it_ends_with_the_status_that_was_asked_for_futex),
    CASE(it_ends_with_the_status_that_was_asked_for_pipe),
    CASE(a_stop_by_code_that_is_cut_short_is_no_success_futex),
    CASE(a_stop_by_code_that_is_cut_short_is_no_success_pipe),
    CASE(extending_moves_the_deadline_futex),
    CASE(extending_moves_the_deadline_pipe),
    CASE_WITHIN(without_grace_it_still_dies_of_the_signal_futex, 240),
    CASE_WITHIN(without_grace_it_still_dies_of_the_signal_pipe, 240),
    CASE(extended_beyond_all_time_there_is_none),
    CASE(the_deadline_counts_from_the_record),
    CASE(no_record_no_deadline),
    CASE(hurry_waits_for_the_section_and_for_last_words_futex),
    CASE(hurry_waits_for_the_section_and_for_last_words_pipe),
    CASE(last_words_said_it_ends_at_once_futex),
    CASE(last_words_said_it_ends_at_once_pipe),
    CASE(the_deadline_cuts_sections_futex),
    CASE(the_deadline_cuts_sections_pipe),
    CASE(hurry_then_reset_futex),
    CASE(hurry_then_reset_pipe),
    CASE(it_dies_of_any_signal_that_ends),
    CASE(an_end_without_a_stop_is_no_success),
};
CHECK_MAIN(cases)
