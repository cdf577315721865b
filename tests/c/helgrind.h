/* C11's atomics, explained to helgrind; for it alone, put before all else by
 * -include. It takes every atomic access without a lock prefix for a race.
 *
 * As the standard has it (memory order counts as sequentially consistent, or a
 * relaxed access would be a race again): what a thread did before it wrote an
 * atomic has happened before what another does after it has read that. */
#ifndef HELGRIND_H
#define HELGRIND_H

#include <stdatomic.h>
#include <valgrind/helgrind.h>

/* valgrind runs one thread at a time and may change it between two of these
 * lines: therefore "before" is said first and "after" last. */
#define HG_WRITE(object, does)                                                \
    __extension__({                                                           \
        VALGRIND_HG_DISABLE_CHECKING((object), sizeof(*(object)));            \
        ANNOTATE_HAPPENS_BEFORE(object);                                      \
        does;                                                                 \
    })
#define HG_READ(object, value)                                                \
    __extension__({                                                           \
        VALGRIND_HG_DISABLE_CHECKING((object), sizeof(*(object)));            \
        __auto_type hg_value = (value);                                       \
        ANNOTATE_HAPPENS_AFTER(object);                                       \
        hg_value;                                                             \
    })
#define HG_CHANGE(object, value)                                              \
    __extension__({                                                           \
        ANNOTATE_HAPPENS_BEFORE(object);                                      \
        HG_READ(object, value);                                               \
    })

#define HG_SEQ __ATOMIC_SEQ_CST

#undef atomic_load
#undef atomic_load_explicit
#undef atomic_store
#undef atomic_store_explicit
#undef atomic_exchange
#undef atomic_fetch_add
#undef atomic_fetch_sub
#undef atomic_fetch_and
#undef atomic_fetch_or
#undef atomic_compare_exchange_strong
#undef atomic_compare_exchange_weak

#define atomic_load(o) HG_READ(o, __atomic_load_n(o, HG_SEQ))
#define atomic_load_explicit(o, order) atomic_load(o)
#define atomic_store(o, v) HG_WRITE(o, __atomic_store_n(o, v, HG_SEQ))
#define atomic_store_explicit(o, v, order) atomic_store(o, v)
#define atomic_exchange(o, v)                                                 \
    HG_CHANGE(o, atomic_exchange_explicit(o, v, HG_SEQ))
#define atomic_fetch_add(o, v)                                                \
    HG_CHANGE(o, atomic_fetch_add_explicit(o, v, HG_SEQ))
#define atomic_fetch_sub(o, v)                                                \
    HG_CHANGE(o, atomic_fetch_sub_explicit(o, v, HG_SEQ))
#define atomic_fetch_and(o, v)                                                \
    HG_CHANGE(o, atomic_fetch_and_explicit(o, v, HG_SEQ))
#define atomic_fetch_or(o, v)                                                 \
    HG_CHANGE(o, atomic_fetch_or_explicit(o, v, HG_SEQ))
#define atomic_compare_exchange_strong(o, e, v)                               \
    HG_CHANGE(                                                                \
        o, atomic_compare_exchange_strong_explicit(o, e, v, HG_SEQ, HG_SEQ))
#define atomic_compare_exchange_weak(o, e, v)                                 \
    HG_CHANGE(o,                                                              \
              atomic_compare_exchange_weak_explicit(o, e, v, HG_SEQ, HG_SEQ))

#endif
