/* What a thread of ours blocks from its first instruction on. */
#include "core.h"

#include "ge_thread.h"

static sigset_t
mask_here(void)
{
    sigset_t now;

    CHECK_EQ(0, pthread_sigmask(SIG_BLOCK, NULL, &now));
    return now;
}

static void *
look(void *into)
{
    *(sigset_t *)into = mask_here();
    return NULL;
}

static void
a_native_thread_blocks_all(void)
{
    sigset_t there;
    pthread_t thread;

    CHECK_EQ(0, ge__thread_start(&thread, "ge-test", look, &there));
    CHECK_EQ(0, pthread_join(thread, NULL));
    CHECK_EQ(1, sigismember(&there, SIGTERM));
    CHECK_EQ(1, sigismember(&there, SIGRTMAX));
    there = mask_here();
    CHECK_EQ(0, sigismember(&there, SIGTERM));
}

/* A thread inherits it; the starter has afterwards what it had before. */
static void
blocked_while_a_thread_starts(void)
{
    sigset_t set, fresh, there;
    pthread_t thread;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGUSR1);
    ge_thread_block(&set, &fresh);
    CHECK_EQ(1, sigismember(&fresh, SIGUSR1));

    (void)sigaddset(&set, SIGUSR2);
    ge_thread_block(&set, &fresh);
    CHECK_EQ(0, sigismember(&fresh, SIGUSR1)); /* it was blocked before */
    CHECK_EQ(1, sigismember(&fresh, SIGUSR2));
    CHECK_EQ(0, pthread_create(&thread, NULL, look, &there));
    ge_thread_unblock(&fresh);

    CHECK_EQ(0, pthread_join(thread, NULL));
    CHECK_EQ(1, sigismember(&there, SIGUSR1));
    CHECK_EQ(1, sigismember(&there, SIGUSR2));
    CHECK_EQ(0, sigismember(&there, SIGTERM));
    there = mask_here();
    CHECK_EQ(1, sigismember(&there, SIGUSR1));
    CHECK_EQ(0, sigismember(&there, SIGUSR2));
}

static const struct check_case cases[] = {
    CASE(a_native_thread_blocks_all),
    CASE(blocked_while_a_thread_starts),
};
CHECK_MAIN(cases)
