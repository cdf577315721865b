/* See ge_record.h. Atomics only: the handler calls it. */
#include "ge_platform.h"

#include "ge_record.h"

/* Does the siginfo of this code hold a sender? Of a timer, a message queue,
 * ... the union holds other things. Compared in C: glibc's SI_TKILL is an enum
 * constant, which #if takes for 0. */
static bool
has_sender(int code)
{
#if defined(SI_KERNEL)
    if (code == SI_KERNEL) {
        return true;
    }
#endif
    return code == SI_USER || code == SI_QUEUE || code == GE_SI_THREAD;
}

/* Where the sender, or who set up the timer or the queue, has put a number. */
static bool
has_value(int code)
{
    return code == SI_QUEUE || code == SI_TIMER || code == SI_MESGQ;
}

bool
ge__record_is_bare(const siginfo_t *info)
{
    return info->si_code == SI_USER && info->si_pid == 0;
}

void
ge__record_describe(struct ge_info *out, int signum, const siginfo_t *info)
{
    *out = (struct ge_info) { .signum = signum, .pid = -1, .when = ge_now() };
    if (info == NULL) {
        return;
    }
    out->code = info->si_code;
    if (has_sender(info->si_code)) {
        out->pid = (int)info->si_pid;
        out->uid = (int)info->si_uid;
    }
    if (has_value(info->si_code)) {
        out->value = info->si_value.sival_int;
    }
}

/* Each field is released: a reader that sees one of the new values also sees
 * the odd seq from before it, and throws its copy away. (A fence would do, but
 * the thread sanitizer does not know fences.) */
static void
store(struct ge_record *r, unsigned seq, const struct ge_info *info)
{
    atomic_store_explicit(&r->signum, info->signum, memory_order_release);
    atomic_store_explicit(&r->code, info->code, memory_order_release);
    atomic_store_explicit(&r->pid, info->pid, memory_order_release);
    atomic_store_explicit(&r->uid, info->uid, memory_order_release);
    atomic_store_explicit(&r->value, info->value, memory_order_release);
    atomic_store_explicit(&r->when, info->when, memory_order_release);
    atomic_store(&r->seq, seq);
}

bool
ge__record_write(struct ge_record *r, const struct ge_info *info)
{
    unsigned seq = atomic_load(&r->seq);

    if (seq & 1u || !atomic_compare_exchange_strong(&r->seq, &seq, seq | 1u)) {
        return false;
    }
    /* 0 means "nothing yet", so the count skips it when it wraps. */
    store(r, seq + 2u == 0 ? 2u : seq + 2u, info);
    return true;
}

bool
ge__record_first(struct ge_record *r, const struct ge_info *info)
{
    unsigned none = 0;

    if (!atomic_compare_exchange_strong(&r->seq, &none, 1u)) {
        return false;
    }
    store(r, 2u, info);
    return true;
}

int
ge__record_read(struct ge_record *r, struct ge_info *out)
{
    struct ge_info got;
    unsigned before, after;

    /* A writer that is preempted halfway leaves an odd seq for a while; the
     * caller is told "nothing" rather than made to spin on it. A few tries
     * cover a writer that is merely busy. */
    for (int tries = 0; tries < 100; tries++) {
        before = atomic_load(&r->seq);
        if (before == 0) {
            return 0;
        }
        got.signum = atomic_load_explicit(&r->signum, memory_order_acquire);
        got.code = atomic_load_explicit(&r->code, memory_order_acquire);
        got.pid = atomic_load_explicit(&r->pid, memory_order_acquire);
        got.uid = atomic_load_explicit(&r->uid, memory_order_acquire);
        got.value = atomic_load_explicit(&r->value, memory_order_acquire);
        got.when = atomic_load_explicit(&r->when, memory_order_acquire);
        after = atomic_load(&r->seq);
        if (before == after && !(before & 1u)) {
            *out = got;
            return 1;
        }
    }
    return 0;
}

void
ge__record_clear(struct ge_record *r)
{
    atomic_store(&r->seq, 0);
}
