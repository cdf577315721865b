/* A forked child is a normal process again, and the parent does not notice. */
#include "core.h"

#include "ge_handler.h"
#include "ge_section.h"

static int off, on;
static struct ge_cell cell;
static int fds[2];

struct child {
    enum ge_backend backend;
    int depth;
};

static void
repaired(void *arg)
{
    struct child *c = arg;
    struct sigaction sa;
    struct ge_info info;
    unsigned base;
    char byte;

    ge_fork_child(1);
    CHECK(!ge_trap_ours(SIGTERM));
    CHECK(!ge_trap_ours(SIGUSR1));
    CHECK_EQ(0, sigaction(SIGUSR1, NULL, &sa));
    CHECK(sa.sa_handler == SIG_IGN);
    CHECK_EQ(0, sigaction(SIGTERM, NULL, &sa));
    CHECK(sa.sa_handler == SIG_DFL);
    CHECK_EQ(GE_RUNNING, ge_state());
    CHECK_EQ(0, ge_stop_record(&info));
    CHECK_EQ(0, ge_count(SIGTERM));
    CHECK_EQ(0, ge_first(SIGTERM, &info));
    CHECK_EQ(0, ge_last(SIGTERM, &info));
    CHECK_EQ(0, ge_held(SIGTERM));
    CHECK(!ge_took(SIGTERM));
    CHECK(!ge_ending());
    CHECK_EQ(1, ge_sections());
    CHECK_EQ(0, ge_section_leave());
    CHECK_EQ(-ENOENT, ge_fd_remove(fds[1]));
    for (int fd = GE_LOWEST_FD; fd < GE_LOWEST_FD + 8; fd++) {
        CHECK_EQ(-1, fcntl(fd, F_GETFD)); /* nothing of the parent's pipe */
    }

    for (int s = 1; s < GE_NSIG; s++) {
        wanted[s] = 0;
    }
    take(SIGTERM, GE_ROLE_STOP);
    base = ge_seen(GE_AT_NEWS);
    start(c->backend);
    CHECK_EQ(0, raise(SIGTERM));
    CHECK_EQ(1, ge_count(SIGTERM));
    CHECK_EQ(GE_STOPPING, ge_state());
    CHECK_EQ(1, ge_stop_record(&info));
    CHECK_EQ(getpid(), info.pid);
    while (ge_seen(GE_AT_NEWS) == base) { /* its own watcher wakes it */
        (void)ge_wait(GE_AT_NEWS, base, GE_NEVER);
    }
    CHECK(atomic_load(&cell.slot) ==
          &on); /* the parent's, copied: untouched */
    CHECK_EQ(-1, read(fds[0], &byte, 1));
    if (c->depth > 0) {
        c->depth--;
        CHECK_EQ(0, ge_section_enter(GE_OUTSIDE));
        CHECK_EXITED(0, status_of(repaired, c));
    }
    ge_watcher_stop();
    drop(SIGTERM);
}

static void
repaired_it_is_a_normal_process(enum ge_backend backend)
{
    struct child c = { .backend = backend };
    char byte;

#if defined(CORE_TSAN)
    CHECK_SKIP("TSan holds locks of its own over a fork");
#endif
    handle(SIGUSR1, SIG_IGN);
    open_pipe(fds);
    atomic_init(&cell.slot, &off);
    cell.on = &on;
    CHECK_EQ(0, ge_cell_add(&cell));
    take(SIGTERM, GE_ROLE_STOP | GE_ROLE_HOLD);
    take(SIGUSR1, 0);
    take(SIGUSR2, GE_ROLE_TRIP);
    start_and_let_it_turn(backend);
    CHECK_EQ(0, raise(SIGUSR2));
    CHECK_EQ(0, ge_fd_add(fds[1]));
    CHECK_EQ(0, ge_section_enter(GE_OUTSIDE));
    CHECK_EQ(0, raise(SIGTERM));
    WAIT_FOR(read(fds[0], &byte, 1) == 1); /* the child shares the pipe */
    CHECK_EXITED(0, status_of(repaired, &c));

    CHECK_EQ(1, ge_count(SIGTERM)); /* the parent goes on as it was */
    CHECK_EQ(1, ge_held(SIGTERM));
    CHECK(ge_took(SIGUSR2));
    CHECK_EQ(GE_STOPPING, ge_state());
    CHECK(ge_trap_ours(SIGTERM));
    CHECK_EQ(1, ge_sections());
    CHECK_EQ(0, ge_fd_remove(fds[1]));
    CHECK_EQ(0, raise(SIGTERM));
    CHECK_EQ(2, ge_count(SIGTERM));
}
IN_BOTH(repaired_it_is_a_normal_process)

static void
dies_after_repair(void *arg)
{
    (void)arg;
    ge_fork_child(0);
    (void)raise(SIGTERM);
}

static void
not_armed_again_it_dies_by_default(enum ge_backend backend)
{
    take(SIGTERM, GE_ROLE_STOP);
    start_and_let_it_turn(backend);
    CHECK_DIED_OF(SIGTERM, status_of(dies_after_repair, NULL));
    CHECK_EQ(0, ge_count(SIGTERM));
}
IN_BOTH(not_armed_again_it_dies_by_default)

static atomic_bool done;
static atomic_int storming;

static void *
raise_until_done(void *arg)
{
    (void)arg;
    CHECK_EQ(0, raise(SIGUSR1));
    (void)atomic_fetch_add(&storming, 1);
    while (!atomic_load(&done)) {
        CHECK_EQ(0, raise(SIGUSR1));
    }
    return NULL;
}

static void
child_of_the_storm(void *arg)
{
    struct child *c = arg;

    ge_fork_child(0);
    for (int s = 1; s < GE_NSIG; s++) {
        wanted[s] = 0;
    }
    CHECK_EQ(0, ge_count(SIGUSR1));
    take(SIGUSR1, GE_ROLE_STOP);
    start(c->backend);
    CHECK_EQ(0, raise(SIGUSR1));
    CHECK_EQ(1, ge_count(SIGUSR1));
    CHECK_EQ(GE_STOPPING, ge_state());
    ge_watcher_stop();
    drop(SIGUSR1); /* waits for no handler of the parent's */
    CHECK_EQ(0, atomic_load(&ge__mailbox.inflight[0]));
    CHECK_EQ(0, atomic_load(&ge__mailbox.inflight[1]));
}

static void
children_of_a_storm_are_normal(enum ge_backend backend)
{
    struct child c = { .backend = backend };
    pthread_t threads[2];

#if defined(CORE_TSAN)
    CHECK_SKIP("TSan holds locks of its own over a fork");
#endif
    take(SIGUSR1, GE_ROLE_STOP | GE_ROLE_HOLD);
    start_and_let_it_turn(backend);
    for (int i = 0; i < 2; i++) {
        threads[i] = spawn(raise_until_done, NULL);
    }
    WAIT_FOR(atomic_load(&storming) == 2);
    for (int i = 0; i < 100; i++) {
        CHECK_EXITED(0, status_of(child_of_the_storm, &c));
    }
    atomic_store(&done, true);
    for (int i = 0; i < 2; i++) {
        join(threads[i]);
    }
    CHECK_EQ(GE_STOPPING, ge_state());
}
IN_BOTH(children_of_a_storm_are_normal)

static void *
fork_here(void *arg)
{
    CHECK_EXITED(0, status_of(child_of_the_storm, arg));
    return NULL;
}

/* In the child the forking thread is the only one, and main is gone. */
static void
forked_off_the_main_thread(enum ge_backend backend)
{
    struct child c = { .backend = backend };

#if defined(CORE_TSAN)
    CHECK_SKIP("TSan holds locks of its own over a fork");
#endif
    take(SIGUSR1, GE_ROLE_STOP);
    start_and_let_it_turn(backend);
    join(spawn(fork_here, &c));
    CHECK_EQ(0, ge_count(SIGUSR1));
}
IN_BOTH(forked_off_the_main_thread)

static void
nobody_is_main(void *arg)
{
    (void)arg;
    ge_fork_child(0);
    CHECK_EQ(0, atomic_load(&ge__mailbox.have_main));
}

static void
the_parents_main_is_forgotten(void)
{
    start(GE_PIPE);
    CHECK_EXITED(0, status_of(nobody_is_main, NULL));
}

/* A child from C, which nobody repairs, lives on while the parent's pipe is
 * closed: a copy of the write end in it would keep the watcher asleep. */
static void
a_child_keeps_no_copy_of_the_pipe(enum ge_backend backend)
{
    unsigned seen;
    int status;
    pid_t pid;

    take(SIGUSR1, 0);
    start_and_let_it_turn(backend);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        (void)alarm(60);
        (void)pause();
        _exit(0);
    }
    (void)poll(NULL, 0, 60); /* it looks once more, 10 ms after a turn */
    seen = ge_seen(GE_AT_NEWS);
    for (int fd = 3; fd < 256; fd++) {
        (void)close_rudely(fd);
    }
    CHECK_EQ(0, raise(SIGUSR1));
    while (ge_seen(GE_AT_NEWS) == seen) {
        (void)ge_wait(GE_AT_NEWS, seen, GE_NEVER);
    }
    CHECK_EQ(0, kill(pid, SIGKILL));
    CHECK_EQ(pid, waitpid(pid, &status, 0));
    CHECK_DIED_OF(SIGKILL, status);
}
IN_BOTH(a_child_keeps_no_copy_of_the_pipe)

static const struct check_case cases[] = {
    CASE(repaired_it_is_a_normal_process_futex),
    CASE(repaired_it_is_a_normal_process_pipe),
    CASE(not_armed_again_it_dies_by_default_futex),
    CASE(not_armed_again_it_dies_by_default_pipe),
    CASE_WITHIN(children_of_a_storm_are_normal_futex, 240),
    CASE_WITHIN(children_of_a_storm_are_normal_pipe, 240),
    CASE(forked_off_the_main_thread_futex),
    CASE(forked_off_the_main_thread_pipe),
    CASE(the_parents_main_is_forgotten),
    CASE(a_child_keeps_no_copy_of_the_pipe_futex),
    CASE(a_child_keeps_no_copy_of_the_pipe_pipe),
};
CHECK_MAIN(cases)
