/* See ge_ring.h. Atomics only: the handler calls it.
 *
 * Each slot says by its turn whose it is. In lap n it is to be put when the
 * turn is 2n, to be taken when it is 2n + 1, and then it is 2(n + 1). Who puts
 * or takes first claims the position, then uses the slot, then hands it on:
 *   putter:  head++    then  writes info    then  turn = 2n + 1
 *   taker:   sees 2n + 1     then  tail++   then  reads info, turn = 2n + 2
 * A putter that is preempted in between holds up those who take, as they take
 * in order; nobody spins for it, and its own poke comes when it is done. */
#include "ge_platform.h"

#include "ge_handler.h"
#include "ge_ring.h"

static inline struct ge_ring_slot *
slot_at(struct ge_ring *ring, uint64_t position)
{
    return &ring->slots[position % GE_RING_SIZE];
}

/* Claim the next position whose slot has this turn (of an even lap, plus
 * `odd`). False if the slot is not so far. */
static bool
claim(struct ge_ring *ring, _Atomic(uint64_t) *next, unsigned odd,
      uint64_t *position)
{
    uint64_t at = atomic_load(next);

    for (;;) {
        uint64_t want = at / GE_RING_SIZE * 2 + odd;
        uint64_t turn = atomic_load(&slot_at(ring, at)->turn);

        if (turn == want) {
            if (atomic_compare_exchange_weak(next, &at, at + 1)) {
                *position = at;
                return true;
            }
        } else if (turn < want) {
            return false;
        } else {
            at = atomic_load(next); /* somebody else was faster */
        }
    }
}

bool
ge__ring_put(struct ge_ring *ring, const struct ge_info *info)
{
    struct ge_ring_slot *slot;
    uint64_t at;

    if (!claim(ring, &ring->head, 0, &at)) {
        atomic_fetch_add(&ring->lost, 1);
        return false;
    }
    slot = slot_at(ring, at);
    slot->info = *info;
    atomic_store(&slot->turn, at / GE_RING_SIZE * 2 + 1);
    return true;
}

void
ge__rings_put(const struct ge_info *info)
{
    for (int i = 0; i < GE_MAX_RINGS; i++) {
        struct ge_ring *ring = atomic_load(&ge__mailbox.rings[i]);

        if (ring != NULL && ring->signum == info->signum) {
            (void)ge__ring_put(ring, info);
        }
    }
}

int
ge_ring_take(struct ge_ring *ring, struct ge_info *out)
{
    struct ge_ring_slot *slot;
    uint64_t at;

    if (!claim(ring, &ring->tail, 1, &at)) {
        return 0;
    }
    slot = slot_at(ring, at);
    *out = slot->info;
    atomic_store(&slot->turn, at / GE_RING_SIZE * 2 + 2);
    return 1;
}
