/* Descriptors of ours, where others close what is not theirs. */
#include "core.h"

#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static bool
readable(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    CHECK(poll(&p, 1, 0) >= 0);
    return p.revents & POLLIN;
}

static int
bytes_in(int fd)
{
    int n = -1;

    CHECK_EQ(0, ioctl(fd, FIONREAD, &n));
    return n;
}

static int
empty_file(void)
{
    char path[] = "/tmp/ge-victim-XXXXXX";
    int fd = mkstemp(path);

    CHECK(fd >= 0);
    CHECK_EQ(0, unlink(path));
    return fd;
}

static off_t
size_of(int fd)
{
    struct stat st;

    CHECK_EQ(0, fstat(fd, &st));
    return st.st_size;
}

static void
a_pair_wakes_and_is_emptied(void)
{
    struct ge_own pair[2];

    CHECK_EQ(0, ge_own_pair(pair));
    for (int i = 0; i < 2; i++) {
        CHECK(pair[i].fd >= GE_LOWEST_FD);
        CHECK(fcntl(pair[i].fd, F_GETFD) & FD_CLOEXEC);
        CHECK(fcntl(pair[i].fd, F_GETFL) & O_NONBLOCK);
    }
    CHECK_EQ(-1, fcntl(3, F_GETFD));
    CHECK(!readable(pair[0].fd));
    for (int n = 1; n < 100000; n *= 10) {
        for (int i = 0; i < n; i++) {
            ge_own_wake(&pair[1]);
        }
        CHECK(readable(pair[0].fd));
        ge_own_drain(&pair[0]);
        CHECK(!readable(pair[0].fd));
    }
    CHECK(ge_own_close(&pair[0]));
    CHECK(ge_own_close(&pair[1]));
    CHECK(!ge_own_close(&pair[1]));
    CHECK_EQ(-1, pair[0].fd);
    CHECK_EQ(-1, fcntl(GE_LOWEST_FD, F_GETFD));
    CHECK_EQ(-1, fcntl(GE_LOWEST_FD + 1, F_GETFD));
}

static void
the_end_that_is_left_hangs_up(void)
{
    struct ge_own pair[2];
    struct pollfd p = { .events = POLLIN };

    CHECK_EQ(0, ge_own_pair(pair));
    CHECK(ge_own_close(&pair[1]));
    p.fd = pair[0].fd;
    CHECK_EQ(1, poll(&p, 1, 0));
    CHECK(p.revents & POLLHUP);
    ge_own_drain(&pair[0]); /* and that has an end */
    CHECK_EQ(0, ge_own_pair(pair));
    CHECK(ge_own_close(&pair[0]));
    ge_own_wake(&pair[1]); /* no SIGPIPE */
}

/* 0 to 2 are closed at the start of some daemons; what they open next is their
 * input and output, as far as they know. */
static void
it_takes_none_of_the_first_three(void)
{
    struct ge_own pair[2];
    int kept = dup(1);

    for (int fd = 0; fd < 3; fd++) {
        (void)close(fd);
    }
    CHECK_EQ(0, ge_own_pair(pair));
    for (int fd = 0; fd < 3; fd++) {
        CHECK_EQ(-1, fcntl(fd, F_GETFD));
    }
    CHECK_EQ(1, dup2(kept, 1));
}

static void
without_a_descriptor_nothing_is_left(void)
{
    struct ge_own pair[2];
    int last = -1;

    for (int fd; (fd = dup(1)) >= 0;) {
        last = fd;
    }
    CHECK_EQ(EMFILE, errno);
    CHECK_EQ(-EMFILE, ge_own_pair(pair));
    (void)close(last);
    CHECK_EQ(-EMFILE, ge_own_pair(pair));
    CHECK_EQ(last, dup(1));
    for (int fd = 3; fd < 10; fd++) {
        (void)close(fd); /* LeakSanitizer needs one */
    }
}

static void
what_has_the_number_now_is_not_closed(void)
{
    int file = empty_file();
    struct ge_own pair[2];

    CHECK_EQ(0, ge_own_pair(pair));
    for (int i = 0; i < 2; i++) {
        int fd = pair[i].fd;

        CHECK_EQ(fd, dup2(file, fd));
        CHECK(!ge_own_same(&pair[i]));
        CHECK(!ge_own_close(&pair[i]));
        CHECK(fcntl(fd, F_GETFD) >= 0);
    }
}

/* A stream, which would take a byte, and give one away. */
static void
what_has_the_number_now_gets_and_loses_no_byte(void)
{
    struct ge_own pair[2];
    int fds[2];

    CHECK_EQ(0, ge_own_pair(pair));
    CHECK_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    CHECK_EQ(pair[1].fd, dup2(fds[1], pair[1].fd));
    ge_own_wake(&pair[1]);
    CHECK_EQ(0, bytes_in(fds[0]));

    CHECK_EQ(pair[0].fd, dup2(fds[0], pair[0].fd));
    CHECK_EQ(3, write(fds[1], "abc", 3));
    ge_own_drain(&pair[0]);
    CHECK_EQ(3, bytes_in(fds[0]));
}

/* ---- between the look and the use ----------------------------------------
 * Somebody took the number just then: the same as if it had always been ours.
 */

static struct ge_own
taken_for_ours(int fd)
{
    struct ge_own own = GE_OWN_NONE;

    CHECK_EQ(0, ge_own_note(&own, fd));
    return own;
}

static void
woken_by_mistake_a_stranger_gets_no_byte(void)
{
    int file = empty_file(), fds[2];
    struct ge_own own = taken_for_ours(file);

    ge_own_wake(&own);
    CHECK_EQ(0, size_of(file));

    CHECK_EQ(0, pipe(fds)); /* a blocking one */
    own = taken_for_ours(fds[1]);
    ge_own_wake(&own);
    CHECK_EQ(0, bytes_in(fds[0]));
    (void)close(fds[0]);
    ge_own_wake(&own); /* no SIGPIPE */

#if GE_HAVE_EMPTY_PACKET
    CHECK_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    own = taken_for_ours(fds[1]);
    ge_own_wake(&own);
    CHECK(!readable(fds[0]));
    (void)close(fds[0]);
    ge_own_wake(&own);
#endif
}

static void
emptied_by_mistake_a_stranger_keeps_all(void)
{
    int file = empty_file(), fds[2];
    struct ge_own own = taken_for_ours(file);

    CHECK_EQ(3, write(file, "abc", 3));
    CHECK_EQ(0, lseek(file, 0, SEEK_SET));
    ge_own_drain(&own);
    CHECK_EQ(0, lseek(file, 0, SEEK_CUR));

    CHECK_EQ(0, pipe(fds));
    own = taken_for_ours(fds[0]);
    ge_own_drain(&own); /* blocks not */
    CHECK_EQ(3, write(fds[1], "abc", 3));
    ge_own_drain(&own);
    CHECK_EQ(3, bytes_in(fds[0]));

#if GE_HAVE_EMPTY_PACKET
    CHECK_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    own = taken_for_ours(fds[0]);
    ge_own_drain(&own);
    CHECK_EQ(3, write(fds[1], "abc", 3));
    ge_own_drain(&own);
    CHECK_EQ(3, bytes_in(fds[0]));
#endif
}

static void
a_file_is_read_from_its_beginning(void)
{
    char path[] = "/tmp/ge-file-XXXXXX", got[8] = "";
    int fd = mkstemp(path), next = dup(fd);

    CHECK_EQ(0, close(next));
    CHECK_EQ(6, write(fd, "abcdef", 6));
    CHECK_EQ(4, ge_own_read(path, got, 4));
    CHECK_EQ(0, memcmp(got, "abcd\0\0\0\0", sizeof got));
    CHECK_EQ(6, ge_own_read(path, got, sizeof got));
    CHECK_EQ(0, unlink(path));
    CHECK_EQ(-ENOENT, ge_own_read(path, got, sizeof got));
    CHECK_EQ(next, dup(fd)); /* nothing is left open */
}

/* In place of the C library's. What happens before it has returned: another
 * has the number; the file's name leads nowhere; before it has begun, the name
 * leads to another file. */
static int replaced_by = -1;
static const char *removed, *renamed;

int
open(const char *path, int flags, ...)
{
    mode_t mode = 0;
    va_list rest;
    int fd;

    va_start(rest, flags);
    if (flags & O_CREAT) {
        mode = (mode_t)va_arg(rest, unsigned);
    }
    va_end(rest);
    if (renamed != NULL) {
        CHECK_EQ(0, rename(renamed, path));
        renamed = NULL;
    }
    fd = openat(AT_FDCWD, path, flags, mode);
    if (removed != NULL) {
        CHECK_EQ(0, unlink(removed));
        removed = NULL;
    }
    if (fd >= 0 && replaced_by >= 0) {
        CHECK_EQ(fd, dup2(replaced_by, fd));
        replaced_by = -1;
    }
    return fd;
}

static void
what_has_the_number_of_a_file_now_is_not_closed(void)
{
    char path[] = "/tmp/ge-file-XXXXXX", got[8] = "";
    int fd = mkstemp(path), victim = empty_file(), next = dup(fd);

    CHECK_EQ(0, close(next));
    CHECK_EQ(6, write(fd, "abcdef", 6));
    replaced_by = victim;
    CHECK_EQ(-EBADF, ge_own_read(path, got, sizeof got));
    CHECK_EQ(-1, replaced_by);
    CHECK(fcntl(next, F_GETFD) >= 0);
    CHECK_EQ(0, unlink(path));
}

static void
a_file_whose_name_goes_meanwhile_is_closed(void)
{
    char path[] = "/tmp/ge-file-XXXXXX", new[] = "/tmp/ge-file-XXXXXX";
    char got[8] = "";
    int fd = mkstemp(path), other = mkstemp(new), next = dup(fd);

    CHECK_EQ(0, close(next));
    CHECK_EQ(6, write(fd, "abcdef", 6));
    CHECK_EQ(3, write(other, "new", 3));
    renamed = new;
    CHECK_EQ(3, ge_own_read(path, got, sizeof got));
    CHECK_EQ(0, memcmp(got, "new", 3));
    removed = path;
    CHECK_EQ(3, ge_own_read(path, got, sizeof got));
    CHECK_EQ(next, dup(fd)); /* nothing is left open */
}

static void
a_stream_is_neither_waited_for_nor_emptied(void)
{
    char folder[] = "/tmp/ge-own-XXXXXX", path[64], got[8] = "";
    int fd;

    CHECK(mkdtemp(folder) != NULL);
    (void)snprintf(path, sizeof path, "%s/fifo", folder);
    CHECK_EQ(0, mkfifo(path, 0600));
    fd = open(path, O_RDWR); /* or the next open() waits for a writer */
    CHECK(fd >= 0);
    CHECK_EQ(-ESPIPE, ge_own_read(path, got, sizeof got));
    CHECK_EQ(3, write(fd, "abc", 3));
    CHECK_EQ(-ESPIPE, ge_own_read(path, got, sizeof got));
    CHECK_EQ(3, bytes_in(fd));
    CHECK_EQ(0, unlink(path));
    CHECK_EQ(0, rmdir(folder));
}

/* ---- storms --------------------------------------------------------------
 * What the victims are dup()s of is kept out of the attacker's own reach.
 */

enum { REACH = 200, NUMBERS = 12, KINDS = 4 };

struct attack {
    int files[KINDS], readers[KINDS];
    atomic_bool done;
    atomic_uint rounds;
    unsigned closed_by_us, seed;
};

static int
out_of_reach(int fd, int number)
{
    CHECK_EQ(number, dup2(fd, number));
    (void)close(fd);
    return number;
}

static void
prepare(struct attack *a)
{
    int fds[2];

    a->files[0] = out_of_reach(empty_file(), REACH);
    a->readers[0] = -1;
    CHECK_EQ(0, pipe(fds)); /* blocks */
    a->readers[1] = out_of_reach(fds[0], REACH + 1);
    a->files[1] = out_of_reach(fds[1], REACH + 2);
    CHECK_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    a->readers[2] = out_of_reach(fds[0], REACH + 3);
    a->files[2] = out_of_reach(fds[1], REACH + 4);
    CHECK_EQ(0, pipe(fds)); /* nobody reads */
    (void)close(fds[0]);
    a->files[3] = out_of_reach(fds[1], REACH + 5);
    a->readers[3] = -1;
}

static void
close_and_use_again(struct attack *a)
{
    bool mine[GE_LOWEST_FD + NUMBERS] = { false };

    for (int fd = 3; fd < GE_LOWEST_FD + NUMBERS; fd++) {
        (void)close_rudely(fd);
    }
    for (int i = 0; i < NUMBERS; i++) {
        int victim = a->files[(unsigned)rand_r(&a->seed) % KINDS];
        bool low = rand_r(&a->seed) % 2;
        int fd = low ? fcntl(victim, F_DUPFD, 3)
                     : dup2_rudely(victim, GE_LOWEST_FD + i);

        CHECK(fd >= 0 || errno == EBUSY); /* about to be given to us */
        CHECK(fd < GE_LOWEST_FD + NUMBERS);
        if (fd >= 0) {
            mine[fd] = true;
        }
    }
    if (rand_r(&a->seed) % 4 == 0) {
        (void)poll(NULL, 0, rand_r(&a->seed) % 20);
    }
    for (int fd = 3; fd < GE_LOWEST_FD + NUMBERS; fd++) {
        if (mine[fd] && close_rudely(fd) < 0) {
            a->closed_by_us++;
        }
    }
    a->rounds++;
}

static void *
attack(void *arg)
{
    struct attack *a = arg;

    while (!atomic_load(&a->done)) {
        close_and_use_again(a);
    }
    return NULL;
}

static void
end_attack(struct attack *a, pthread_t thread)
{
    atomic_store(&a->done, true);
    join(thread);
    CHECK_EQ(0, size_of(a->files[0]));
    CHECK_EQ(0, bytes_in(a->readers[1]));
#if GE_HAVE_EMPTY_PACKET
    CHECK_EQ(0, bytes_in(a->readers[2]));
#else
    /* A wake-up is a byte, and no call looks and sends at once; ge_own.c. */
    printf("# %d bytes in a stranger's stream\n", bytes_in(a->readers[2]));
#endif
    /* There is no call that closes a descriptor only if it is ours; ge_own.c.
     */
    printf("# %u rounds, %u closed by us\n", atomic_load(&a->rounds),
           a->closed_by_us);
}

static void
pairs_in_a_storm(void)
{
    struct attack a = { .seed = 1 };
    pthread_t thread;

    prepare(&a);
    thread = spawn(attack, &a);
    for (int i = 0; i < 20000 / CORE_SLOW || atomic_load(&a.rounds) < 10;
         i++) {
        struct ge_own pair[2];
        int rc = ge_own_pair(pair);

        CHECK(rc == 0 || rc == -EBADF);
        ge_own_wake(&pair[1]);
        ge_own_drain(&pair[0]);
        (void)ge_own_close(&pair[0]);
        (void)ge_own_close(&pair[1]);
    }
    end_attack(&a, thread);
}

static void
heard_in_a_storm(enum ge_backend backend)
{
    struct sending *s = shared(sizeof *s);
    struct attack a = { .seed = 2 };
    int rt = SIGRTMAX - 1; /* the last is valgrind's */
    unsigned raised = 0;
    pthread_t thread;
    pid_t sender;

    take(SIGUSR1, 0);
    take(rt, 0);
    sender = send_from_outside(s, rt, 100);
    start(backend);
    prepare(&a);
    thread = spawn(attack, &a);
    while (raised < 1000 / CORE_SLOW || atomic_load(&a.rounds) < 10) {
        unsigned seen = ge_seen(GE_AT_NEWS);

        raised++;
        CHECK_EQ(0, raise(SIGUSR1));
        while (ge_seen(GE_AT_NEWS) == seen) {
            CHECK(ge_wait(GE_AT_NEWS, seen, ge_now() + 20 * GE_NS_PER_S) !=
                  -ETIMEDOUT);
        }
        atomic_store(&s->seen, (unsigned)ge_count(rt));
    }
    end_sending(s, sender);
    end_attack(&a, thread);
    CHECK_EQ(raised, ge_count(SIGUSR1));
    WAIT_FOR(!CORE_QUEUES || ge_count(rt) == atomic_load(&s->sent));
    ge_watcher_stop();
}
IN_BOTH(heard_in_a_storm)

static const struct check_case cases[] = {
    CASE(a_pair_wakes_and_is_emptied),
    CASE(the_end_that_is_left_hangs_up),
    CASE(it_takes_none_of_the_first_three),
    CASE(without_a_descriptor_nothing_is_left),
    CASE(what_has_the_number_now_is_not_closed),
    CASE(what_has_the_number_now_gets_and_loses_no_byte),
    CASE(woken_by_mistake_a_stranger_gets_no_byte),
    CASE(emptied_by_mistake_a_stranger_keeps_all),
    CASE(a_file_is_read_from_its_beginning),
    CASE(what_has_the_number_of_a_file_now_is_not_closed),
    CASE(a_file_whose_name_goes_meanwhile_is_closed),
    CASE(a_stream_is_neither_waited_for_nor_emptied),
    CASE_WITHIN(pairs_in_a_storm, 240),
    CASE_WITHIN(heard_in_a_storm_futex, 240),
    CASE_WITHIN(heard_in_a_storm_pipe, 240),
};
CHECK_MAIN(cases)
