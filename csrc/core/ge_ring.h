/* A queue of signals, each with its payload: what the kernel has queued one by
 * one is heard one by one. Handlers on any thread put, and any thread takes.
 */
#ifndef GE_RING_H
#define GE_RING_H

#include "ge.h"

#include <stdatomic.h>

/* As many as most systems let a process have pending (RLIMIT_SIGPENDING), so
 * that a burst which the kernel has taken fits in. */
#define GE_RING_SIZE 16384
#define GE_MAX_RINGS 64

struct ge_ring_slot {
    _Atomic(uint64_t) turn; /* twice the lap; odd: full */
    struct ge_info info;
};

/* Zeroed memory with a signum is an empty ring. */
struct ge_ring {
    int signum;
    _Atomic(uint64_t) head; /* the next to be put */
    _Atomic(uint64_t) tail; /* the next to be taken */
    _Atomic(uint64_t) lost; /* came while it was full */
    struct ge_ring_slot slots[GE_RING_SIZE];
};

/* Every accepted signal of its number is put from now on. Call from: any
 * thread. Returns 0; -ENOSPC beyond GE_MAX_RINGS. */
int ge_ring_add(struct ge_ring *ring);

/* After this returns no handler will touch the ring; what is in it stays. Call
 * from: any thread; never from a handler. */
void ge_ring_remove(struct ge_ring *ring);

/* The oldest. Call from: any thread. 1 and *out, or 0 if there is none. */
int ge_ring_take(struct ge_ring *ring, struct ge_info *out);

/* Call from: any thread, a handler too. False if it was full: counted. */
bool ge__ring_put(struct ge_ring *ring, const struct ge_info *info);

/* The same to all rings of its number. */
void ge__rings_put(const struct ge_info *info);

#endif
