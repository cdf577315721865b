/* Preloaded into a child: the system takes its time until a new thread runs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct start {
    void *(*run)(void *);
    void *arg;
};

static void *
late(void *arg)
{
    struct timespec left = { .tv_nsec = 50 * 1000 * 1000 };
    struct start start = *(struct start *)arg;

    free(arg);
    while (nanosleep(&left, &left) < 0) {
    }
    return start.run(start.arg);
}

int
pthread_create(pthread_t *thread, const pthread_attr_t *attr,
               void *(*run)(void *), void *arg)
{
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    struct start *start = malloc(sizeof *start);

    *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    *start = (struct start){ run, arg };
    return real(thread, attr, late, start);
}
