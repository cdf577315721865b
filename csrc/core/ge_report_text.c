/* What the native report says: what can be known without Python. */
#include "ge_platform.h"

#include "ge_own.h"
#include "ge_report.h"
#include "ge_section.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum {
    LINE = 400, /* below every PIPE_BUF: a line is never torn */
    MOST_THREADS = 64,
};

struct line {
    char text[LINE];
    size_t n;
};

static void
add(struct line *l, const char *text)
{
    while (*text != '\0' && l->n < LINE - 1) {
        l->text[l->n++] = *text++;
    }
}

static void
add_number(struct line *l, int64_t number)
{
    char digits[24], *p = digits + sizeof digits;

    *--p = '\0';
    do {
        *--p = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    add(l, p);
}

static void
add_seconds(struct line *l, int64_t ns)
{
    ns = ns < 0 ? 0 : ns;
    add_number(l, ns / GE_NS_PER_S);
    add(l, ".");
    add_number(l, ns % GE_NS_PER_S / (GE_NS_PER_S / 10));
    add(l, " s");
}

static struct line
new_line(void)
{
    struct line l = { .n = 0 };

    add(&l, "gracefulexit: ");
    return l;
}

bool
ge__report_has_room(const struct ge_own *out)
{
    int64_t left = ge_deadline() - ge_now();
    struct pollfd p = { .fd = out->fd, .events = POLLOUT };

    left = left < 0 ? 0 : left / 1000000;
    return poll(&p, 1, left > INT_MAX ? INT_MAX : (int)left) > 0 &&
           p.revents & POLLOUT;
}

static bool
say(struct line *l, const struct ge_own *out, bool (*go_on)(void))
{
    if (!ge__report_has_room(out) || !go_on() || !ge_own_same(out)) {
        return false;
    }
    l->text[l->n++] = '\n'; /* add() has left room for it */
    return write(out->fd, l->text, l->n) == (ssize_t)l->n;
}

static void
add_signal(struct line *l, int signum)
{
    static const struct {
        int signum;
        const char *name;
    } names[] = {
        { SIGTERM, " (SIGTERM)" }, { SIGINT, " (SIGINT)" },
        { SIGHUP, " (SIGHUP)" },   { SIGQUIT, " (SIGQUIT)" },
        { SIGUSR1, " (SIGUSR1)" }, { SIGUSR2, " (SIGUSR2)" },
    };

    add(l, "signal ");
    add_number(l, signum);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].signum == signum) {
            add(l, names[i].name);
        }
    }
}

static bool
say_time(const struct ge_own *out, bool (*go_on)(void))
{
    struct line l = new_line();

    add_seconds(&l, ge_deadline() - ge_now());
    add(&l, " left until the end, and Python does not answer: its lock (the "
            "GIL) is held, a log handler hangs, or the killer is closed, as "
            "at interpreter shutdown");
    return say(&l, out, go_on);
}

static bool
say_stop(const struct ge_own *out, bool (*go_on)(void))
{
    struct line l = new_line();
    struct ge_info stop = { .signum = 0, .when = ge_now() };

    (void)ge_stop_record(&stop);
    add(&l, "stopping for ");
    add_seconds(&l, ge_now() - stop.when);
    add(&l, ", by ");
    if (stop.signum == 0) {
        add(&l, "the program itself");
    } else {
        add_signal(&l, stop.signum);
    }
    if (stop.signum != 0 && stop.pid > 0) {
        add(&l, " from pid ");
        add_number(&l, stop.pid);
    }
    add(&l, "; open protected sections: ");
    add_number(&l, ge_sections());
    return say(&l, out, go_on);
}

/* ---- the threads, where there are folders of them -------------------------
 */

#if GE_HAVE_TASK_FOLDERS

/* "/proc/self/task/<tid>/<name>", read to a string of one line. */
static const char *
read_of(const char *tid, const char *name, char *to, size_t size)
{
    struct line path = { .n = 0 };
    ssize_t n;

    add(&path, "/proc/self/task/");
    add(&path, tid);
    add(&path, name);
    path.text[path.n] = '\0';
    n = ge_own_read(path.text, to, size - 1);
    to[n > 0 ? n : 0] = '\0';
    for (char *p = to; *p != '\0'; p++) {
        *p = *p < ' ' || *p > '~' ? '?' : *p; /* names are anybody's bytes */
    }
    return to;
}

static const char *
state_name(char letter)
{
    switch (letter) {
    case 'R':
        return "running";
    case 'S':
        return "sleeping";
    case 'D':
        return "waiting in the kernel";
    case 'T':
    case 't':
        return "stopped";
    default:
        return "ending";
    }
}

static bool
say_thread(const char *tid, const struct ge_own *out, bool (*go_on)(void))
{
    struct line l = new_line();
    char stat[256], wchan[64];
    char *name, *end;

    (void)read_of(tid, "/stat", stat, sizeof stat);
    name = strchr(stat, '(');
    end = strrchr(stat, ')'); /* the last: the name may have some */
    if (name == NULL || end == NULL || end < name || end[1] == '\0') {
        return true; /* it has ended */
    }
    *end = '\0';
    add(&l, "thread ");
    add(&l, tid);
    add(&l, " ");
    add(&l, name + 1);
    add(&l, ": ");
    add(&l, state_name(end[2]));
    (void)read_of(tid, "/wchan", wchan, sizeof wchan);
    if (wchan[0] > '9') { /* "0" is nowhere, or not for us to know */
        add(&l, " in ");
        add(&l, wchan);
    }
    return say(&l, out, go_on);
}

static size_t
list_threads(char *to, size_t size)
{
    int fd = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct ge_own own;
    long n;

    if (fd < 0 || ge_own_note(&own, fd) < 0) {
        return 0;
    }
    n = GE_GETDENTS(fd, to, size);
    return ge_own_close(&own) && n > 0 ? (size_t)n : 0;
}

static bool
say_threads(const struct ge_own *out, bool (*go_on)(void))
{
    /* inode, offset (8 bytes each), length (2), type (1), name; kernel's. */
    enum { LENGTH_AT = 16, NAME_AT = 19 };
    char entries[(MOST_THREADS + 2) * 32]; /* with . and .. */
    size_t n = list_threads(entries, sizeof entries);

    for (size_t at = 0; at + NAME_AT < n;) {
        const char *name = entries + at + NAME_AT;
        unsigned short length;

        memcpy(&length, entries + at + LENGTH_AT, sizeof length);
        if (name[0] != '.' && !say_thread(name, out, go_on)) {
            return false;
        }
        at += length;
    }
    return true;
}

#else

static bool
say_threads(const struct ge_own *out, bool (*go_on)(void))
{
    (void)out;
    (void)go_on;
    return true;
}

#endif

bool
ge__report_write(const struct ge_own *out, bool (*go_on)(void))
{
    return say_time(out, go_on) && say_stop(out, go_on) &&
           say_threads(out, go_on);
}
