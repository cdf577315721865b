/* Starting native threads, and masks that threads inherit. */
#ifndef GE_THREAD_H
#define GE_THREAD_H

#include "ge_platform.h"

#include <pthread.h>

/* Every signal is blocked in it from its first instruction on. `name`: at most
 * 15 characters. Call from: any thread. 0 or -errno. */
int ge__thread_start(pthread_t *thread, const char *name, void *(*run)(void *),
                     void *arg);

/* Block these in this thread, too; *fresh: those that were not. Call from: any
 * thread. */
void ge_thread_block(const sigset_t *signals, sigset_t *fresh);

void ge_thread_unblock(const sigset_t *signals);

#endif
