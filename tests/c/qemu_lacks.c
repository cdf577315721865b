/* What qemu-user does in another way than the kernel for which it stands in:
 * `prog NAME` ends with 0 where it is as on the real one. Each is the reason
 * for some of NOT_UNDER_QEMU in ../test_c.py, without any code of ours. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void *
stay(void *unused)
{
    for (;;) {
        (void)pause();
    }
    return unused;
}

/* A child starts a thread, as its parent had before it forked. */
static int
a_thread_after_fork(void)
{
    pthread_t thread;
    int status = -1;
    pid_t pid;

    if (pthread_create(&thread, NULL, stay, NULL) != 0) {
        return 1;
    }
    pid = fork();
    if (pid == 0) {
        (void)alarm(60);
        _exit(pthread_create(&thread, NULL, stay, NULL) == 0 ? 0 : 1);
    }
    return waitpid(pid, &status, 0) != pid || status != 0;
}

/* A child that tells nobody of its end. */
static int
a_quiet_child(void)
{
    long pid = syscall(SYS_clone, 0, 0, 0, 0, 0);

    if (pid == 0) {
        _exit(0);
    }
    return pid < 0 || waitpid((pid_t)pid, NULL, __WALL) != pid;
}

/* The last signals but one that the kernel has. */
static int
signal_63(void)
{
    return signal(63, SIG_IGN) == SIG_ERR || raise(63) != 0;
}

/* What is blocked is what /proc says. */
static int
signals_in_proc(void)
{
    FILE *file = fopen("/proc/thread-self/status", "r");
    unsigned long long told = 0;
    char line[256];
    sigset_t all;

    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        (void)sscanf(line, "SigBlk: %llx", &told);
    }
    for (int s = 35; s < 64; s++) { /* the C libraries have up to 34 */
        if (!(told >> (s - 1) & 1)) {
            return 1;
        }
    }
    return 0;
}

static const struct {
    const char *name;
    int (*fails)(void);
} all[] = {
    { "a_thread_after_fork", a_thread_after_fork },
    { "a_quiet_child", a_quiet_child },
    { "signal_63", signal_63 },
    { "signals_in_proc", signals_in_proc },
};

int
main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < sizeof all / sizeof all[0]; i++) {
        if (strcmp(argv[1], all[i].name) == 0) {
            return all[i].fails();
        }
    }
    return 2;
}
