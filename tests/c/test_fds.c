/* Wake-up descriptors: what loops read. */
#include "core.h"

static unsigned char bytes[1 << 17];

static ssize_t
take_bytes(int fd)
{
    return read(fd, bytes, sizeof bytes);
}

/* The watcher has made a whole turn that began after this call. */
static void
whole_turn(void)
{
    for (int i = 0; i < 2; i++) {
        unsigned seen = ge_seen(GE_AT_NEWS);

        ge_poke();
        while (ge_seen(GE_AT_NEWS) == seen) {
            (void)ge_wait(GE_AT_NEWS, seen, GE_NEVER);
        }
    }
}

static void
bad_descriptors_are_refused(void)
{
    int fds[2];

    open_pipe(fds);
    CHECK_EQ(-EBADF, ge_fd_add(-1));
    CHECK_EQ(-EBADF, ge_fd_add(1000));
    CHECK_EQ(-ENOENT, ge_fd_remove(fds[1]));
    CHECK_EQ(0, fcntl(fds[1], F_SETFL, 0));
    CHECK_EQ(-EAGAIN, ge_fd_add(fds[1]));
    CHECK_EQ(-ENOENT, ge_fd_remove(fds[1]));
    CHECK_EQ(0, fcntl(fds[1], F_SETFL, O_NONBLOCK));
    CHECK_EQ(0, ge_fd_add(fds[1]));
    CHECK_EQ(-EEXIST, ge_fd_add(fds[1]));
    CHECK_EQ(0, ge_fd_remove(fds[1]));
    CHECK_EQ(-ENOENT, ge_fd_remove(fds[1]));
}

static void
one_byte_for_each_run_with_the_number(enum ge_backend backend)
{
    int a[2], b[2], rt = SIGRTMAX - 1; /* the last is valgrind's */

    open_pipe(a);
    open_pipe(b);
    take(SIGUSR1, 0);
    take(rt, 0);
    CHECK_EQ(0, raise(SIGUSR1)); /* before: not theirs */
    CHECK_EQ(0, ge_fd_add(a[1]));
    start(backend);
    CHECK_EQ(0, raise(rt));
    CHECK_EQ(0, ge_fd_add(b[1]));
    CHECK_EQ(0, raise(SIGUSR1));
    CHECK_EQ(0, raise(SIGUSR1));
    whole_turn();
    CHECK_EQ(3, take_bytes(a[0]));
    CHECK_EQ(rt + 2 * SIGUSR1, bytes[0] + bytes[1] + bytes[2]);
    CHECK_EQ(2, take_bytes(b[0]));
    CHECK_EQ(SIGUSR1, bytes[0]);
    CHECK_EQ(SIGUSR1, bytes[1]);
    CHECK_EQ(0, ge_fd_remove(a[1]));
    CHECK_EQ(0, raise(rt));
    whole_turn();
    CHECK_EQ(-1, take_bytes(a[0]));
    CHECK_EQ(1, take_bytes(b[0]));
    CHECK_EQ(rt, bytes[0]);
}
IN_BOTH(one_byte_for_each_run_with_the_number)

static void
standard_signals_from_eight_senders_are_so_many_bytes(enum ge_backend backend)
{
    pid_t pids[8], to = getpid();
    uint64_t got = 0;
    int fds[2], left = 8;

    open_pipe(fds);
    take(SIGUSR1, GE_ROLE_HOLD);
    start(backend);
    CHECK_EQ(0, ge_fd_add(fds[1]));
    for (int i = 0; i < 8; i++) {
        pids[i] = fork();
        CHECK(pids[i] >= 0);
        if (pids[i] == 0) {
            for (int n = 0; n < 10000 / CORE_SLOW; n++) {
                (void)kill(to, SIGUSR1);
            }
            _exit(0);
        }
    }
    while (left > 0) {
        ssize_t n = take_bytes(fds[0]);

        got += n > 0 ? (uint64_t)n : 0;
        while (left > 0 && waitpid(pids[left - 1], NULL, WNOHANG) > 0) {
            left--;
        }
        (void)sched_yield();
    }
    whole_turn();
    for (ssize_t n; (n = take_bytes(fds[0])) > 0;) {
        got += (uint64_t)n;
    }
    CHECK(got > 0);
    CHECK_EQ(ge_count(SIGUSR1), got);
    CHECK_EQ(ge_held(SIGUSR1), got);
    printf("# %u bytes\n", (unsigned)got);
}
IN_BOTH(standard_signals_from_eight_senders_are_so_many_bytes)

static bool
readable(const struct ge_own *own)
{
    struct pollfd p = { .fd = own->fd, .events = POLLIN };

    CHECK(poll(&p, 1, 0) >= 0);
    CHECK_EQ(0, p.revents & ~POLLIN);
    return p.revents != 0;
}

/* In the state of before, and was it readable? */
static bool
was_readable(const struct ge_own *own)
{
    bool was = readable(own);

    ge_own_drain(own);
    CHECK(!readable(own));
    return was;
}

static void
the_stop_is_told_once(enum ge_backend backend)
{
    struct ge_own a[2], b[2];

    CHECK_EQ(0, ge_own_pair(a));
    CHECK_EQ(0, ge_own_pair(b));
    take(SIGTERM, GE_ROLE_STOP);
    start(backend);
    CHECK_EQ(0, ge_fd_add_stop(&a[1]));
    CHECK_EQ(-EEXIST, ge_fd_add_stop(&a[1]));
    CHECK_EQ(-EEXIST, ge_fd_add(a[1].fd));
    whole_turn();
    CHECK(!readable(&a[0]));
    CHECK_EQ(0, raise(SIGTERM));
    CHECK_EQ(0, raise(SIGTERM));
    (void)ge_stop();
    whole_turn();
    CHECK(was_readable(&a[0]));
    CHECK_EQ(0, ge_fd_add_stop(&b[1])); /* late, and told all the same */
    whole_turn();
    CHECK(was_readable(&b[0]));
    CHECK(!readable(&a[0]));
    ge_reset();
    CHECK_EQ(0, raise(SIGTERM)); /* another stop */
    whole_turn();
    CHECK(was_readable(&a[0]));
    CHECK(was_readable(&b[0]));
    ge_fd_remove_stop(&a[1]);
    ge_reset();
    CHECK_EQ(0, raise(SIGTERM));
    whole_turn();
    CHECK(!readable(&a[0]));
    CHECK(readable(&b[0]));
}
IN_BOTH(the_stop_is_told_once)

static void
a_full_descriptor_holds_nobody_up(enum ge_backend backend)
{
    int fds[2];
    ssize_t full = 0;

    open_pipe(fds);
    while (write(fds[1], "x", 1) == 1) {
        full++;
    }
    take(SIGUSR1, 0);
    start(backend);
    CHECK_EQ(0, ge_fd_add(fds[1]));
    CHECK_EQ(0, raise(SIGUSR1));
    whole_turn();
    CHECK_EQ(full, take_bytes(fds[0]));
    CHECK_EQ(0, raise(SIGUSR1));
    whole_turn();
    CHECK_EQ(1, take_bytes(fds[0]));
}
IN_BOTH(a_full_descriptor_holds_nobody_up)

static void
a_reader_that_went_away_does_not_hurt(enum ge_backend backend)
{
    int fds[2], more[2];

    open_pipe(fds);
    open_pipe(more);
    take(SIGUSR1, 0);
    start(backend);
    CHECK_EQ(0, ge_fd_add(fds[1]));
    CHECK_EQ(0, close(fds[0]));
    CHECK_EQ(0, raise(SIGUSR1));
    whole_turn();
    ge_watcher_stop();
    CHECK_EQ(0, raise(SIGUSR1));     /* nobody has fed it yet */
    CHECK_EQ(0, ge_fd_add(more[1])); /* no SIGPIPE here */
    CHECK_EQ(0, ge_fd_remove(fds[1]));
}
IN_BOTH(a_reader_that_went_away_does_not_hurt)

static void
a_descriptor_that_is_now_a_file_is_not_written(enum ge_backend backend)
{
    char path[] = "/tmp/ge-victim-XXXXXX";
    struct stat st;
    int fds[2], victim = mkstemp(path);

    CHECK(victim >= 0);
    CHECK_EQ(0, unlink(path));
    open_pipe(fds);
    take(SIGUSR1, GE_ROLE_STOP);
    start(backend);
    CHECK_EQ(0, ge_fd_add(fds[1]));
    CHECK_EQ(fds[1], dup2(victim, fds[1]));
    CHECK_EQ(0, raise(SIGUSR1));
    whole_turn();
    CHECK_EQ(0, fstat(victim, &st));
    CHECK_EQ(0, st.st_size);
    CHECK_EQ(0, fcntl(fds[1], F_SETFL, O_NONBLOCK)); /* it may be added anew */
    CHECK_EQ(0, ge_fd_add(fds[1]));
    CHECK_EQ(0, raise(SIGUSR1));
    whole_turn();
    CHECK_EQ(0, fstat(victim, &st));
    CHECK_EQ(1, st.st_size);
}
IN_BOTH(a_descriptor_that_is_now_a_file_is_not_written)

static void *
raise_until(void *arg)
{
    while (!atomic_load((atomic_bool *)arg)) {
        CHECK_EQ(0, raise(SIGUSR1));
    }
    return NULL;
}

static void
removed_it_is_not_written(enum ge_backend backend)
{
    atomic_bool done = false;
    pthread_t thread;
    int fds[2];

    open_pipe(fds);
    take(SIGUSR1, 0);
    start(backend);
    thread = spawn(raise_until, &done);
    for (int i = 0; i < 5000 / CORE_SLOW; i++) {
        CHECK_EQ(0, ge_fd_add(fds[1]));
        CHECK_EQ(0, ge_fd_remove(fds[1]));
        (void)take_bytes(fds[0]);
        CHECK_EQ(-1, take_bytes(fds[0]));
    }
    atomic_store(&done, true);
    join(thread);
}
IN_BOTH(removed_it_is_not_written)

static const struct check_case cases[] = {
    CASE(bad_descriptors_are_refused),
    CASE(one_byte_for_each_run_with_the_number_futex),
    CASE(one_byte_for_each_run_with_the_number_pipe),
    CASE_WITHIN(standard_signals_from_eight_senders_are_so_many_bytes_futex,
                60),
    CASE_WITHIN(standard_signals_from_eight_senders_are_so_many_bytes_pipe,
                60),
    CASE(the_stop_is_told_once_futex),
    CASE(the_stop_is_told_once_pipe),
    CASE(a_full_descriptor_holds_nobody_up_futex),
    CASE(a_full_descriptor_holds_nobody_up_pipe),
    CASE(a_reader_that_went_away_does_not_hurt_futex),
    CASE(a_reader_that_went_away_does_not_hurt_pipe),
    CASE(a_descriptor_that_is_now_a_file_is_not_written_futex),
    CASE(a_descriptor_that_is_now_a_file_is_not_written_pipe),
    CASE(removed_it_is_not_written_futex),
    CASE(removed_it_is_not_written_pipe),
};
CHECK_MAIN(cases)
