/* The child of a fork: a normal process again, which shares nothing with the
 * parent. Until this has run, the handler's look at the pid gives every signal
 * its default action, so a child that never gets here can still be ended. */
#include "ge_platform.h"

#include "ge_fork.h"
#include "ge_handler.h"
#include "ge_sigwait.h"
#include "ge_wake.h"

#include <pthread.h>
#include <unistd.h>

void
ge__fork_adopt(void)
{
    atomic_store(&ge__mailbox.owner, (int)getpid());
}

/* In every child, before its first instruction, of a fork() from C too, which
 * is not repaired. While a copy of the parent's wake pipe is open there, the
 * parent's watcher does not hear that its own has been closed; and what
 * sigwait mode has blocked is inherited. Async-signal-safe. */
static void
clean_child(void)
{
    struct ge_unblocked was;

    ge__wake_pipe_close();
    ge_sigwait_pause(&was);
}

int
ge__fork_watch(void)
{
    static atomic_bool watching; /* two at once register it twice: no harm */
    int rc = 0;

    if (!atomic_load(&watching)) {
        rc = -pthread_atfork(NULL, NULL, clean_child);
        atomic_store(&watching, rc == 0);
    }
    return rc;
}

void
ge_fork_child(unsigned sections)
{
    /* The order: first the table, while the pid still differs, so that a
     * signal in between takes the default action and touches nothing. */
    ge__trap_fork_child();
    ge__sigwait_fork_child();
    ge__watcher_fork_child();
    ge__fds_fork_child();
    ge__latch_fork_child();
    ge__section_fork_child(sections);
    ge__report_fork_child();
    for (int i = 0; i < GE_MAX_CELLS; i++) {
        atomic_store(&ge__mailbox.cells[i], NULL);
    }
    for (int i = 0; i < GE_MAX_RINGS; i++) {
        atomic_store(&ge__mailbox.rings[i], NULL);
    }
    for (int s = 1; s < GE_NSIG; s++) {
        atomic_store(&ge__mailbox.signals[s].count, 0);
        atomic_store(&ge__mailbox.signals[s].ringed, 0);
        atomic_store(&ge__mailbox.signals[s].covered, false);
        atomic_store(&ge__mailbox.signals[s].nudged, 0);
        atomic_store(&ge__mailbox.signals[s].passes, 0);
        atomic_store(&ge__mailbox.signals[s].passing, 0);
        ge__record_clear(&ge__mailbox.signals[s].first);
        ge__record_clear(&ge__mailbox.signals[s].last);
    }
    /* Perhaps not the thread that called us; the watcher's start says anew. */
    atomic_store(&ge__mailbox.have_main, 0);
    ge__quiesce_fork_child();
    ge_reset();
    ge__fork_adopt();
}
