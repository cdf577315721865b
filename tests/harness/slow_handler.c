/* A C handler that is slow in every thread but one: it waits for a byte. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

static pthread_t quick;
static int pipe_end;

static void
handler(int signum)
{
    int saved = errno;
    char byte;

    (void)signum;
    if (!pthread_equal(pthread_self(), quick)) {
        (void)!read(pipe_end, &byte, 1);
    }
    errno = saved;
}

int slow_handler(int signum, int fd);

/* The thread that calls is the quick one. */
int
slow_handler(int signum, int fd)
{
    struct sigaction action = { .sa_handler = handler };

    quick = pthread_self();
    pipe_end = fd;
    return sigaction(signum, &action, NULL);
}
