/* Starting native threads. */
#ifndef GE_THREAD_H
#define GE_THREAD_H

#include "ge_platform.h"

#include <pthread.h>

/* Every signal is blocked in it from its first instruction on. `name`: at most
 * 15 characters. Call from: any thread. 0 or -errno. */
int ge__thread_start(pthread_t *thread, const char *name, void *(*run)(void *),
                     void *arg);

#endif
