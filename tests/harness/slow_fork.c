/* Makes every fork of the process take long, as a large process or somebody
 * else's pthread_atfork() handler does. */
#include <pthread.h>
#include <time.h>
#include <unistd.h>

void slow_fork(int in_parent);

static void
nap(void)
{
    struct timespec left = { .tv_sec = 60 };

    (void)!write(1, "napping\n", 8);
    while (nanosleep(&left, &left) != 0) {
    }
}

void
slow_fork(int in_parent)
{
    (void)pthread_atfork(in_parent ? NULL : nap, in_parent ? nap : NULL, NULL);
}
