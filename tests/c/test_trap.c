/* Dispositions: taken all or nothing, given back exactly, nothing lost. */
#include "core.h"

#include "ge_handler.h"

#define RT (SIGRTMIN + 3)

static atomic_uint owner_runs;

static void
owner(int signum)
{
    (void)signum;
    (void)atomic_fetch_add(&owner_runs, 1);
}

static void
other(int signum)
{
    (void)signum;
}

static void
info_owner(int signum, siginfo_t *info, void *context)
{
    (void)context;
    CHECK_EQ(signum, info->si_signo);
    (void)atomic_fetch_add(&owner_runs, 1);
}

static struct sigaction
found(int signum)
{
    struct sigaction sa;

    CHECK_EQ(0, sigaction(signum, NULL, &sa));
    return sa;
}

static void
check_same(const struct sigaction *a, const struct sigaction *b)
{
    CHECK(a->sa_handler == b->sa_handler);
    CHECK_EQ(a->sa_flags, b->sa_flags);
    for (int s = 1; s < GE_NSIG; s++) {
        CHECK_EQ(sigismember(&a->sa_mask, s), sigismember(&b->sa_mask, s));
    }
}

static void
one_bad_signal_and_nothing_changes(void)
{
    const int bad[] = { SIGKILL, SIGSTOP, SIGSEGV, GE_NSIG - 1 };
    const int error[] = { -EPERM, -EPERM, -EFAULT, 0 };

    take(SIGUSR1, GE_ROLE_HOLD);
    for (size_t i = 0; i < 3; i++) {
        unsigned roles[GE_NSIG] = { 0 };

        roles[SIGTERM] = roles[SIGHUP] = roles[bad[i]] = GE_ROLE_COUNT;
        CHECK_EQ(error[i], ge_trap_set(roles));
        CHECK(!ge_trap_ours(SIGTERM));
        CHECK(!ge_trap_ours(SIGHUP));
        CHECK(ge_trap_ours(SIGUSR1));
        CHECK_EQ(0, ge_forward(SIGTERM));
        CHECK_EQ(1, ge_forward(SIGUSR1));
        CHECK_EQ(i + 1, ge_held(SIGUSR1));
    }
}

static void
a_number_of_the_c_library_changes_nothing(void)
{
    unsigned roles[GE_NSIG] = { 0 };

    roles[SIGTERM] = roles[32] = GE_ROLE_COUNT;
    CHECK_EQ(-EINVAL, ge_trap_set(roles));
    CHECK(!ge_trap_ours(SIGTERM));
}

static void
given_back_exactly(void)
{
    struct sigaction before = { .sa_flags = SA_NODEFER | SA_NOCLDSTOP };
    struct sigaction after, told;

    before.sa_handler = owner;
    (void)sigemptyset(&before.sa_mask);
    (void)sigaddset(&before.sa_mask, SIGWINCH);
    (void)sigaddset(&before.sa_mask, RT);
    CHECK_EQ(0, sigaction(SIGUSR1, &before, NULL));
    before = found(SIGUSR1);

    take(SIGUSR1, 0);
    CHECK(ge_trap_ours(SIGUSR1));
    CHECK_EQ(0, ge_trap_after_us(SIGUSR1, &told));
    check_same(&before, &told);
    drop(SIGUSR1);
    CHECK(!ge_trap_ours(SIGUSR1));
    after = found(SIGUSR1);
    check_same(&before, &after);
}

static void
a_siginfo_handler_is_given_back_exactly(void)
{
    struct sigaction before = { .sa_flags = SA_SIGINFO | SA_RESTART };
    struct sigaction after;

    before.sa_sigaction = info_owner;
    (void)sigfillset(&before.sa_mask);
    CHECK_EQ(0, sigaction(RT, &before, NULL));
    before = found(RT);
    take(RT, GE_ROLE_STOP);
    drop(RT);
    after = found(RT);
    check_same(&before, &after);
    CHECK_EQ(0, raise(RT));
    CHECK_EQ(1, atomic_load(&owner_runs));
}

static void
our_handler_is_installed_as_promised(void)
{
    struct sigaction sa;

    take(SIGUSR1, 0);
    sa = found(SIGUSR1);
    CHECK(sa.sa_flags & SA_SIGINFO);
    CHECK(sa.sa_flags & SA_ONSTACK);
    CHECK(sa.sa_flags & SA_RESTART);
    CHECK(!(sa.sa_flags & (int)SA_RESETHAND));
    for (int s = 1; s < GE_NSIG; s++) {
        if (ge_sig_check(s) == 0) {
            CHECK_EQ(1, sigismember(&sa.sa_mask, s));
        }
    }
    take(SIGUSR1, GE_ROLE_TRIP);
    CHECK(!(found(SIGUSR1).sa_flags & SA_RESTART));
    take(SIGUSR1, GE_ROLE_CHAIN);
    CHECK(!(found(SIGUSR1).sa_flags & SA_RESTART));
    take(SIGUSR1, GE_ROLE_STOP);
    CHECK(found(SIGUSR1).sa_flags & SA_RESTART);
    drop(SIGUSR1);
    CHECK(found(SIGUSR1).sa_handler == SIG_DFL);
}

static void
only_what_is_still_ours_is_given_back(void)
{
    handle(SIGUSR1, owner);
    take(SIGUSR1, 0);
    handle(SIGUSR1, other);
    CHECK(!ge_trap_ours(SIGUSR1));
    drop(SIGUSR1);
    CHECK(found(SIGUSR1).sa_handler == other);
}

static void
ignored_before_is_ignored_after(void)
{
    handle(SIGUSR1, SIG_IGN);
    take(SIGUSR1, 0);
    CHECK_EQ(0, raise(SIGUSR1));
    CHECK_EQ(1, ge_count(SIGUSR1));
    drop(SIGUSR1);
    CHECK(found(SIGUSR1).sa_handler == SIG_IGN);
    CHECK_EQ(0, raise(SIGUSR1));
    CHECK_EQ(1, ge_count(SIGUSR1));
}

static void
taken_again_it_remembers_the_new_owner(void)
{
    handle(SIGUSR1, owner);
    take(SIGUSR1, 0);
    drop(SIGUSR1);
    handle(SIGUSR1, other);
    take(SIGUSR1, 0);
    CHECK_EQ(0, raise(SIGUSR1));
    CHECK_EQ(1, ge_count(SIGUSR1));
    drop(SIGUSR1);
    CHECK(found(SIGUSR1).sa_handler == other);
    CHECK_EQ(0, atomic_load(&owner_runs));
}

static void
taken_twice_it_still_knows_the_original(void)
{
    handle(SIGUSR1, owner);
    take(SIGUSR1, 0);
    take(SIGUSR1, GE_ROLE_STOP);
    take(SIGUSR2, 0);
    drop(SIGUSR1);
    CHECK(found(SIGUSR1).sa_handler == owner);
    CHECK(ge_trap_ours(SIGUSR2));
}

static void
laid_over_what_is_there_now(void)
{
    handle(SIGUSR1, owner);
    CHECK_EQ(-ENOENT, ge_trap_lay(SIGUSR1, false));
    CHECK_EQ(-EPERM, ge_trap_lay(SIGKILL, false));
    take(SIGUSR1, 0);
    CHECK_EQ(0, ge_trap_lay(SIGUSR1, true));
    handle(SIGUSR1, other);
    CHECK_EQ(1, ge_trap_lay(SIGUSR1, false));
    CHECK(ge_trap_ours(SIGUSR1));
    drop(SIGUSR1);
    CHECK(found(SIGUSR1).sa_handler == owner);

    take(SIGUSR1, 0);
    handle(SIGUSR1, other);
    CHECK_EQ(1, ge_trap_lay(SIGUSR1, true));
    drop(SIGUSR1);
    CHECK(found(SIGUSR1).sa_handler == other);
}

static void
what_comes_after_us(void)
{
    struct sigaction before = { .sa_handler = owner, .sa_flags = SA_NODEFER };
    struct sigaction stranger = { .sa_handler = other,
                                  .sa_flags = SA_RESTART };
    struct sigaction bare = { .sa_handler = owner };
    struct sigaction after;

    CHECK_EQ(-ENOENT, ge_trap_after_us(SIGUSR1, &after)); /* never taken */
    CHECK_EQ(0, sigaddset(&before.sa_mask, SIGHUP));
    CHECK_EQ(0, sigaction(SIGUSR1, &before, NULL));
    before = found(SIGUSR1);
    take(SIGUSR1, GE_ROLE_COUNT);
    CHECK_EQ(0, ge_trap_after_us(SIGUSR1, &after)); /* we are there */
    check_same(&before, &after);
    CHECK_EQ(0, sigaction(SIGUSR1, &bare, NULL));
    CHECK_EQ(0, ge_trap_after_us(SIGUSR1, &after)); /* wiped */
    check_same(&before, &after);
    CHECK_EQ(0, sigaction(SIGUSR1, &stranger, NULL));
    stranger = found(SIGUSR1);
    CHECK_EQ(0, ge_trap_after_us(SIGUSR1, &after)); /* taken over */
    check_same(&stranger, &after);
}

static void
relaid_only_over_what_was_beneath(void)
{
    handle(SIGUSR1, owner);
    CHECK(!ge_trap_relay(SIGUSR1)); /* not armed */
    take(SIGUSR1, 0);
    CHECK(ge_trap_relay(SIGUSR1)); /* in place as it is */
    handle(SIGUSR1, owner);
    CHECK(ge_trap_relay(SIGUSR1));
    CHECK(ge_trap_ours(SIGUSR1));
    handle(SIGUSR1, other); /* somebody else's wish */
    CHECK(!ge_trap_relay(SIGUSR1));
    CHECK(found(SIGUSR1).sa_handler == other);
}

/* ---- letting go while signals come ---------------------------------------
 */

static atomic_bool done;

static void
report(struct sending *s, int signum)
{
    atomic_store(&s->seen,
                 (unsigned)ge_count(signum) + atomic_load(&owner_runs));
}

static void *
receive(void *arg)
{
    struct sending *s = arg;

    mask(SIG_UNBLOCK, s->signum);
    while (!atomic_load(&done)) {
        report(s, s->signum);
        (void)poll(NULL, 0, 0); /* where TSan delivers */
    }
    return NULL;
}

/* What reached the core and what reached the previous owner is, together,
 * what was sent. With `threads`, others receive while this one lets go. */
static void
let_go_while_signals_come(int signum, unsigned ahead, int threads)
{
    struct sending *s = shared(sizeof *s);
    pthread_t receivers[3];
    uint64_t core;
    pid_t pid;

    handle(signum, owner);
    pid = send_from_outside(s, signum, ahead);
    if (threads > 0) {
        mask(SIG_BLOCK, signum);
    }
    for (int i = 0; i < threads; i++) {
        receivers[i] = spawn(receive, s);
    }
    for (int i = 0; i < 200000 / CORE_SLOW; i++) {
        take(signum, 0);
        drop(signum);
        report(s, signum);
    }
    end_sending(s, pid);
    WAIT_FOR(ge_count(signum) + atomic_load(&owner_runs) >=
             atomic_load(&s->sent));
    atomic_store(&done, true);
    for (int i = 0; i < threads; i++) {
        join(receivers[i]);
    }
    core = ge_count(signum);

    CHECK_EQ(atomic_load(&s->sent), core + atomic_load(&owner_runs));
    printf("# sent %u, to the core %u, to the owner %u\n",
           atomic_load(&s->sent), (unsigned)core, atomic_load(&owner_runs));
}

static void
queued_signals_survive_letting_go(void)
{
    if (!CORE_QUEUES) {
        CHECK_SKIP("TSan merges queued signals");
    }
    let_go_while_signals_come(RT, 2, 0);
}

static void
queued_signals_to_other_threads_survive_letting_go(void)
{
    if (!CORE_QUEUES) {
        CHECK_SKIP("TSan merges queued signals");
    }
    let_go_while_signals_come(RT, 8, 2);
}

static void
standard_signals_survive_letting_go(void)
{
    let_go_while_signals_come(SIGUSR1, 1, 0);
}

static void
standard_signals_to_other_threads_survive_letting_go(void)
{
#if defined(CORE_TSAN)
    /* gcc 12: sigaction() told a mixture of two handlers' addresses in 18 of
     * 25 runs (its table is copied byte by byte). Not explained: in 2 of 40
     * runs one signal was missing; without TSan that was never seen. */
    CHECK_SKIP("TSan's sigaction() is not atomic, the kernel's is");
#endif
    let_go_while_signals_come(SIGUSR1, 1, 2);
}

/* ---- our own nudge is nobody else's signal -------------------------------
 */

static void *
hit_myself(void *arg)
{
    mask(SIG_UNBLOCK, SIGUSR1);
    CHECK_EQ(0, raise(SIGUSR1));
    WAIT_FOR(ge_count(SIGUSR1) == *(uint64_t *)arg);
    return NULL;
}

static void
a_blocked_nudge_does_not_outlive_the_trap(enum ge_backend backend)
{
    uint64_t round = 1;

    start(backend);
    mask(SIG_BLOCK, SIGUSR1);
    for (; round <= 3; round++) {
        take(SIGUSR1, 0);
        join(spawn(hit_myself, &round)); /* the nudge is pending here now */
        drop(SIGUSR1);
        mask(SIG_UNBLOCK, SIGUSR1); /* the default action would end us */
        mask(SIG_BLOCK, SIGUSR1);
    }
    CHECK_EQ(3, ge_count(SIGUSR1));
}
IN_BOTH(a_blocked_nudge_does_not_outlive_the_trap)

struct letting_go {
    struct meeting meeting;
    unsigned rounds;
};

static void *
hit_and_meet(void *arg)
{
    struct letting_go *l = arg;

    mask(SIG_UNBLOCK, SIGUSR1);
    for (unsigned i = 0; i < l->rounds; i++) {
        meet(&l->meeting, 2 * i, 3);
        (void)raise(SIGUSR1); /* handled here, main is nudged */
        meet(&l->meeting, 2 * i + 1, 3);
    }
    return NULL;
}

static void *
drop_and_meet(void *arg)
{
    struct letting_go *l = arg;

    mask(SIG_BLOCK, SIGUSR1);
    for (unsigned i = 0; i < l->rounds; i++) {
        uint64_t count = ge_count(SIGUSR1);

        take(SIGUSR1, i % 2 ? GE_ROLE_TRIP : 0);
        meet(&l->meeting, 2 * i, 3);
        while (ge_count(SIGUSR1) == count) {
            (void)sched_yield();
        }
        drop(SIGUSR1); /* the default action is back */
        meet(&l->meeting, 2 * i + 1, 3);
    }
    return NULL;
}

/* The nudge goes to main while a third thread gives the default back. */
static void
nudged_while_it_is_given_back(enum ge_backend backend)
{
    static struct letting_go l = { .rounds = 20000 / CORE_SLOW };
    pthread_t a, b;

    start(backend);
    a = spawn(hit_and_meet, &l);
    b = spawn(drop_and_meet, &l);
    for (unsigned i = 0; i < 2 * l.rounds; i++) {
        meet(&l.meeting, i, 3);
        if (i % 2 == 1) {
            (void)ge_took(SIGUSR1);
        }
    }
    join(a);
    join(b);
    CHECK_EQ(l.rounds, ge_count(SIGUSR1));
}

static void
a_nudge_under_way_does_not_kill(enum ge_backend backend)
{
    nudged_while_it_is_given_back(backend);
}
IN_BOTH(a_nudge_under_way_does_not_kill)

static void
nor_does_one_without_a_sender(enum ge_backend backend)
{
    queue_no_signals();
    nudged_while_it_is_given_back(backend);
}
IN_BOTH(nor_does_one_without_a_sender)

static void *
trip_all_the_time(void *arg)
{
    mask(SIG_BLOCK, SIGUSR1);
    (void)arg;
    while (!atomic_load(&done)) {
        (void)ge_trip_begin(SIGUSR1);
        ge_trip_end(SIGUSR1);
    }
    return NULL;
}

static void
tripping_beside_letting_go_does_not_kill(enum ge_backend backend)
{
    pthread_t thread;

    start(backend);
    thread = spawn(trip_all_the_time, NULL);
    for (int i = 0; i < 20000 / CORE_SLOW; i++) {
        take(SIGUSR1, GE_ROLE_TRIP);
        drop(SIGUSR1);
    }
    atomic_store(&done, true);
    join(thread);
    CHECK_EQ(0, ge_count(SIGUSR1));
}
IN_BOTH(tripping_beside_letting_go_does_not_kill)

static const struct check_case cases[] = {
    CASE(one_bad_signal_and_nothing_changes),
    CASE(a_number_of_the_c_library_changes_nothing),
    CASE(given_back_exactly),
    CASE(a_siginfo_handler_is_given_back_exactly),
    CASE(our_handler_is_installed_as_promised),
    CASE(only_what_is_still_ours_is_given_back),
    CASE(ignored_before_is_ignored_after),
    CASE(taken_again_it_remembers_the_new_owner),
    CASE(taken_twice_it_still_knows_the_original),
    CASE(laid_over_what_is_there_now),
    CASE(what_comes_after_us),
    CASE(relaid_only_over_what_was_beneath),
    CASE_WITHIN(queued_signals_survive_letting_go, 240),
    CASE_WITHIN(queued_signals_to_other_threads_survive_letting_go, 240),
    CASE_WITHIN(standard_signals_survive_letting_go, 240),
    CASE_WITHIN(standard_signals_to_other_threads_survive_letting_go, 240),
    CASE(a_blocked_nudge_does_not_outlive_the_trap_futex),
    CASE(a_blocked_nudge_does_not_outlive_the_trap_pipe),
    CASE_WITHIN(a_nudge_under_way_does_not_kill_futex, 240),
    CASE_WITHIN(a_nudge_under_way_does_not_kill_pipe, 240),
    CASE_WITHIN(nor_does_one_without_a_sender_futex, 240),
    CASE_WITHIN(nor_does_one_without_a_sender_pipe, 240),
    CASE_WITHIN(tripping_beside_letting_go_does_not_kill_futex, 240),
    CASE_WITHIN(tripping_beside_letting_go_does_not_kill_pipe, 240),
};
CHECK_MAIN(cases)
