/* Forks that Python cannot make. */
#include <pthread.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int fork_and_stay(const char *ready);
void slow_fork(int in_parent);

/* A child that nobody repairs, and that runs nothing of Python: the interpreter
 * lock may be wanted by a thread that does not exist there. */
int
fork_and_stay(const char *ready)
{
    int pid = fork();

    if (pid == 0) {
        (void)mkdir(ready, 0700);
        (void)pause();
        _exit(98);
    }
    return pid;
}

static void
nap(void)
{
    struct timespec left = { .tv_sec = 60 };

    (void)!write(1, "napping\n", 8);
    while (nanosleep(&left, &left) != 0) {
    }
}

/* Every fork of the process takes long, as that of a large process does, or one
 * with somebody else's pthread_atfork() handler. */
void
slow_fork(int in_parent)
{
    (void)pthread_atfork(in_parent ? NULL : nap, in_parent ? nap : NULL, NULL);
}
