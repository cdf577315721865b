/* When the native report is written, and by whom. See ge_report.h. */
#include "ge_platform.h"

#include "ge_fork.h"
#include "ge_latch.h"
#include "ge_report.h"
#include "ge_thread.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>

/* How long Python may take to answer: half of the last fifth, but not so short
 * that a thread which only waits for its turn is taken for one that is stuck.
 * With 16 threads at work the worst was 0.6 s. */
#define ANSWER_LEAST (GE_NS_PER_S / 4)
#define ANSWER_MOST (2 * GE_NS_PER_S)

/* Who takes it from WAITING or ASKED decides: the reporter, that it writes and
 * then never looks at anything of ours again; disarm(), that it does not. */
enum job { NONE, WAITING, ASKED, WRITING };

/* What a reporter takes with it. */
struct plan {
    struct ge_own out;
    int dump_signal;
    void (*dump)(int);
};

/* lock: protects plan and thread, and is held over start and join. Never taken
 * by the watcher or the reporter. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct plan plan;
static pthread_t thread;

static atomic_int job;
static atomic_bool told;
static int64_t asked_at; /* the watcher's own; 0: not asked */

static bool
go_on(void)
{
    return atomic_load(&job) == WRITING;
}

static void *
reporter_main(void *arg)
{
    struct plan mine = plan; /* written before this thread was started */
    int asked = ASKED;

    (void)arg;
    for (;;) {
        unsigned seen = ge__latch_seen(GE_AT_REPORT);

        if (atomic_load(&job) != WAITING) {
            break;
        }
        (void)ge__latch_wait(GE_AT_REPORT, seen, GE_NEVER);
    }
    if (atomic_compare_exchange_strong(&job, &asked, WRITING)) {
        if (ge__report_write(&mine.out, go_on) && mine.dump != NULL &&
            ge__report_has_room(&mine.out) && go_on() &&
            ge_own_same(&mine.out)) {
            ge__report_dump(mine.dump_signal, mine.dump);
        }
    }
    return NULL;
}

static int
make_plan(int dump_signal)
{
    struct sigaction sa;
    int flags = fcntl(2, F_GETFL);

    if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY) {
        return -EBADF;
    }
    plan = (struct plan) { .dump_signal = dump_signal };
    if (dump_signal != 0 && sigaction(dump_signal, NULL, &sa) == 0 &&
        sa.sa_handler != SIG_DFL && sa.sa_handler != SIG_IGN &&
        !(sa.sa_flags & SA_SIGINFO)) {
        plan.dump = sa.sa_handler;
    }
    return ge_own_note(&plan.out, 2);
}

static int
arm(int dump_signal)
{
    int rc = make_plan(dump_signal);

    if (rc < 0) {
        return rc;
    }
    atomic_store(&job, WAITING);
    rc = ge__thread_start(&thread, "ge-reporter", reporter_main, NULL);
    if (rc < 0) {
        atomic_store(&job, NONE);
    }
    ge_poke(); /* a stop may be under way */
    return rc;
}

int
ge_report_arm(int dump_signal)
{
    int rc = -EALREADY;

    pthread_mutex_lock(&lock);
    {
        if (atomic_load(&job) == NONE) {
            rc = arm(dump_signal);
        }
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

void
ge_report_disarm(void)
{
    pthread_mutex_lock(&lock);
    {
        int was = atomic_exchange(&job, NONE);

        if (was == WRITING) {
            (void)pthread_detach(thread);
        } else if (was != NONE) {
            ge__latch_wake(GE_AT_REPORT);
            (void)pthread_join(thread, NULL);
        }
    }
    pthread_mutex_unlock(&lock);
}

void
ge_told(void)
{
    atomic_store(&told, true);
}

void
ge__report_reset(void)
{
    atomic_store(&told, false);
}

/* Python's answer is waited for from the moment when the watcher came to ask:
 * where the whole process was stopped, both were. */
int64_t
ge__report_turn(int64_t now)
{
    int64_t deadline = ge_deadline(), fifth, answer;
    int waiting = WAITING;
    struct ge_info stop;

    if (atomic_load(&job) != WAITING || atomic_load(&told) ||
        deadline == GE_NEVER || !ge_stop_record(&stop)) {
        asked_at = 0;
        return GE_NEVER;
    }
    fifth = (deadline - stop.when) / 5;
    if (now < deadline - fifth) {
        asked_at = 0;
        return deadline - fifth;
    }
    asked_at = asked_at == 0 ? now : asked_at;
    answer = fifth / 2 < ANSWER_LEAST ? ANSWER_LEAST : fifth / 2;
    answer = answer > ANSWER_MOST ? ANSWER_MOST : answer;
    if (now < asked_at + answer) {
        return asked_at + answer;
    }
    if (atomic_compare_exchange_strong(&job, &waiting, ASKED)) {
        ge__latch_wake(GE_AT_REPORT);
    }
    return GE_NEVER;
}

void
ge__report_fork_child(void)
{
    lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    atomic_store(&job, NONE);
    asked_at = 0;
}
