/* Native sleep: no wake-up is lost, no time is cut short. */
#include "core.h"

struct ball {
    atomic_uint holder;
    unsigned rounds;
    enum ge_where where;
};

static void
hold_and_pass(struct ball *b, unsigned me)
{
    for (unsigned i = 0; i < b->rounds; i++) {
        for (;;) {
            unsigned seen = ge_seen(b->where);

            if (atomic_load(&b->holder) == me) {
                break;
            }
            CHECK_EQ(0, ge_wait(b->where, seen, GE_NEVER));
        }
        atomic_store(&b->holder, 1 - me);
        ge_wake_all(b->where);
    }
}

static void *
play(void *arg)
{
    hold_and_pass(arg, 1);
    return NULL;
}

/* One lost wake-up and both sleep for ever: the alarm tells. */
static void
no_wake_up_is_lost(void)
{
    static struct ball balls[] = {
        { .rounds = 30000 / CORE_SLOW, .where = GE_AT_STOP },
        { .rounds = 30000 / CORE_SLOW, .where = GE_AT_NEWS },
    };

    for (int i = 0; i < 2; i++) {
        pthread_t thread = spawn(play, &balls[i]);

        hold_and_pass(&balls[i], 0);
        join(thread);
    }
}

static void
no_wait_ends_before_its_time(void)
{
    for (int i = 0; i < 50; i++) {
        unsigned seen = ge_seen(GE_AT_STOP);
        int64_t until = ge_now() + (i % 5) * MS / 2;

        CHECK_EQ(-ETIMEDOUT, ge_wait(GE_AT_STOP, seen, until));
        CHECK(ge_now() >= until);
    }
}

static void
a_time_in_the_past_does_not_wait(void)
{
    const int64_t past[] = { 0, 1, -1, -GE_NS_PER_S, INT64_MIN };

    for (size_t i = 0; i < sizeof past / sizeof past[0]; i++) {
        CHECK_EQ(-ETIMEDOUT,
                 ge_wait(GE_AT_NEWS, ge_seen(GE_AT_NEWS), past[i]));
    }
}

static void
what_was_missed_is_not_waited_for(void)
{
    unsigned seen = ge_seen(GE_AT_STOP), other = ge_seen(GE_AT_NEWS);

    ge_wake_all(GE_AT_STOP);
    CHECK_EQ(0, ge_wait(GE_AT_STOP, seen, GE_NEVER));
    CHECK_EQ(-ETIMEDOUT, ge_wait(GE_AT_NEWS, other, ge_now() + MS));
}

struct sleeper {
    enum ge_where where;
    unsigned seen;
    int64_t until;
    atomic_int rc;
};

static void *
sleep_once(void *arg)
{
    struct sleeper *s = arg;

    atomic_store(&s->rc, ge_wait(s->where, s->seen, s->until));
    return NULL;
}

static void
a_far_time_can_be_waited_for(void)
{
    const int64_t far[] = { GE_NEVER, GE_NEVER - 1,
                            INT64_C(100) * 365 * 86400 * GE_NS_PER_S };

    for (size_t i = 0; i < sizeof far / sizeof far[0]; i++) {
        struct sleeper s = { .seen = ge_seen(GE_AT_STOP), .until = far[i] };
        pthread_t thread;

        atomic_init(&s.rc, 99);
        thread = spawn(sleep_once, &s);
        for (int n = 0; n < 100; n++) {
            (void)sched_yield();
        }
        CHECK_EQ(99, atomic_load(&s.rc));
        ge_wake_all(GE_AT_STOP);
        join(thread);
        CHECK_EQ(0, atomic_load(&s.rc));
    }
}

#if GE_HAVE_FUTEX
static void
nothing(int signum)
{
    (void)signum;
}
#endif

static void
a_signal_ends_a_wait_on_a_futex(void)
{
#if GE_HAVE_FUTEX
    struct sleeper s = { .seen = ge_seen(GE_AT_STOP), .until = GE_NEVER };
    pthread_t thread;

    handle(SIGUSR1, nothing); /* no SA_RESTART */
    atomic_init(&s.rc, 99);
    thread = spawn(sleep_once, &s);
    while (atomic_load(&s.rc) == 99) {
        CHECK_EQ(0, pthread_kill(thread, SIGUSR1));
        (void)poll(NULL, 0, 1);
    }
    join(thread);
    CHECK_EQ(-EINTR, atomic_load(&s.rc));
#else
    CHECK_SKIP("no futex");
#endif
}

/* ---- through the watcher -------------------------------------------------
 */

struct waiters {
    struct meeting meeting;
    unsigned rounds, number;
    enum ge_where where;
    bool wakes_next;
};

enum { MOST_WAITERS = 12 }; /* more than a handler wakes by itself */

static void *
wait_for_stops(void *arg)
{
    struct waiters *w = arg;

    mask(SIG_BLOCK, SIGTERM);
    for (unsigned i = 0; i < w->rounds; i++) {
        meet(&w->meeting, 2 * i, w->number + 1);
        for (;;) {
            unsigned seen = ge_seen(w->where);

            if (ge_state() != GE_RUNNING) {
                break;
            }
            (void)ge_wait(w->where, seen, GE_NEVER);
            if (w->wakes_next) {
                ge_wake_next();
            }
        }
        meet(&w->meeting, 2 * i + 1, w->number + 1);
    }
    return NULL;
}

static void
stop_them_again_and_again(struct waiters *w)
{
    pthread_t threads[MOST_WAITERS];

    take(SIGTERM, GE_ROLE_STOP);
    for (unsigned i = 0; i < w->number; i++) {
        threads[i] = spawn(wait_for_stops, w);
    }
    for (unsigned i = 0; i < w->rounds; i++) {
        meet(&w->meeting, 2 * i, w->number + 1);
        if (i % 2) {
            CHECK_EQ(1, ge_stop());
        } else {
            CHECK_EQ(0, raise(SIGTERM));
        }
        meet(&w->meeting, 2 * i + 1, w->number + 1);
        ge_reset();
    }
    for (unsigned i = 0; i < w->number; i++) {
        join(threads[i]);
    }
}

static void
every_waiter_hears_of_every_stop(enum ge_backend backend)
{
    static struct waiters few = { .rounds = 10000 / CORE_SLOW, .number = 3 };
    static struct waiters many = { .rounds = 400 / CORE_SLOW,
                                   .number = MOST_WAITERS };

    start(backend);
    stop_them_again_and_again(&few);
    stop_them_again_and_again(&many);
}
IN_BOTH(every_waiter_hears_of_every_stop)

static void
each_wakes_the_next(enum ge_backend backend)
{
    static struct waiters many = { .rounds = 400 / CORE_SLOW,
                                   .number = MOST_WAITERS,
                                   .where = GE_IN_TURN,
                                   .wakes_next = true };

    start(backend);
    stop_them_again_and_again(&many);
}
IN_BOTH(each_wakes_the_next)

/* One who is asleep for long holds nobody up. */
static void
letting_pass_ends_by_itself(void)
{
    struct sleeper s = { .where = GE_IN_TURN, .until = GE_NEVER };
    pthread_t thread;

    ge_let_pass();
    s.seen = ge_seen(GE_IN_TURN);
    atomic_init(&s.rc, 99);
    thread = spawn(sleep_once, &s);
    for (int i = 0; i < 10; i++) {
        ge_let_pass();
    }
    CHECK_EQ(99, atomic_load(&s.rc));
    ge_wake_all(GE_IN_TURN);
    join(thread);
    CHECK_EQ(0, atomic_load(&s.rc));
}

/* As one does that waits for a lock, or was woken too early. */
static void
one_that_wakes_nobody_holds_nobody_up(enum ge_backend backend)
{
    static struct waiters many = { .rounds = 100 / CORE_SLOW,
                                   .number = MOST_WAITERS,
                                   .where = GE_IN_TURN };

    start(backend);
    stop_them_again_and_again(&many);
}
IN_BOTH(one_that_wakes_nobody_holds_nobody_up)

/* The watcher is for what the chain has missed. */
static void
the_chain_needs_no_watcher(void)
{
#if GE_HAVE_FUTEX
    static struct waiters many = { .rounds = 400 / CORE_SLOW,
                                   .number = MOST_WAITERS,
                                   .where = GE_IN_TURN,
                                   .wakes_next = true };

    (void)poll(NULL, 0, 0); /* see start() */
    stop_them_again_and_again(&many);
#else
    CHECK_SKIP("no futex");
#endif
}

/* The way through the watcher is for those behind the first few. */
static void
the_handler_itself_wakes_the_first(void)
{
#if GE_HAVE_FUTEX
    static struct waiters few = { .rounds = 10000 / CORE_SLOW, .number = 3 };

    (void)poll(NULL, 0, 0); /* see start() */
    stop_them_again_and_again(&few);
#else
    CHECK_SKIP("no futex");
#endif
}

static void
every_signal_is_news(enum ge_backend backend)
{
    take(SIGUSR1, 0);
    start(backend);
    for (int i = 0; i < 20000 / CORE_SLOW; i++) {
        unsigned seen = ge_seen(GE_AT_NEWS);

        CHECK_EQ(0, raise(SIGUSR1));
        while (ge_seen(GE_AT_NEWS) == seen) { /* hangs if it was lost */
            (void)ge_wait(GE_AT_NEWS, seen, GE_NEVER);
        }
    }
}
IN_BOTH(every_signal_is_news)

static const struct check_case cases[] = {
    CASE_WITHIN(no_wake_up_is_lost, 240),
    CASE(no_wait_ends_before_its_time),
    CASE(a_time_in_the_past_does_not_wait),
    CASE(what_was_missed_is_not_waited_for),
    CASE(a_far_time_can_be_waited_for),
    CASE(a_signal_ends_a_wait_on_a_futex),
    CASE_WITHIN(every_waiter_hears_of_every_stop_futex, 240),
    CASE_WITHIN(every_waiter_hears_of_every_stop_pipe, 240),
    CASE_WITHIN(the_handler_itself_wakes_the_first, 240),
    CASE(letting_pass_ends_by_itself),
    CASE_WITHIN(each_wakes_the_next_futex, 240),
    CASE_WITHIN(each_wakes_the_next_pipe, 240),
    CASE_WITHIN(one_that_wakes_nobody_holds_nobody_up_futex, 240),
    CASE_WITHIN(one_that_wakes_nobody_holds_nobody_up_pipe, 240),
    CASE_WITHIN(the_chain_needs_no_watcher, 240),
    CASE_WITHIN(every_signal_is_news_futex, 240),
    CASE_WITHIN(every_signal_is_news_pipe, 240),
};
CHECK_MAIN(cases)
