/* The sleep of a thread that tells others of what has come. */
#ifndef GE_NEWS_H
#define GE_NEWS_H

#include "ge.h"

/* ge_wait() at GE_AT_NEWS. Meanwhile this thread blocks what nobody hears: the
 * kernel gives a signal to any thread that does not, and a program that blocks
 * one in its own threads, to take it by sigwait(), must not lose it to ours.
 * What is heard stays open, as main may block it.
 *
 * Rejected: to block it all the time. Handlers of the log and hooks run in
 * this thread and in those that it starts, and their children would inherit
 * that; each line of the log would be a place to forget it.
 *
 * Call from: any thread. As ge_wait(). */
int ge_wait_news(unsigned seen, int64_t until);

#endif
