/* A struct ge_info that a handler on any thread may write while anybody
 * reads it: a sequence lock whose writers never wait. */
#ifndef GE_RECORD_H
#define GE_RECORD_H

#include "ge.h"

#include <stdatomic.h>

/* seq: 0 nothing yet, odd while somebody writes, else twice the writes. Each
 * field is an atomic, so that a torn read is thrown away and not undefined. */
struct ge_record {
    atomic_uint seq;
    atomic_int signum, code, pid, uid, value;
    _Atomic(int64_t) when;
};

/* What the kernel says of a signal; `info` NULL: nothing is known. Call from:
 * any thread, a handler too. */
void ge__record_describe(struct ge_info *out, int signum,
                         const siginfo_t *info);

/* Is nothing in it? So comes a signal to one thread when as many are queued as
 * the user may have (RLIMIT_SIGPENDING), and one from beyond a container:
 * there the sender has no number. Call from: any thread, a handler too. */
bool ge__record_is_bare(const siginfo_t *info);

/* Call from: any thread, a handler too. False if another thread is writing:
 * its signal came at the same moment and is as good as ours. */
bool ge__record_write(struct ge_record *r, const struct ge_info *info);

/* Write only if nothing was written before. Call from: as above. */
bool ge__record_first(struct ge_record *r, const struct ge_info *info);

/* Call from: any thread. 1 and *out, or 0 if there is no whole record. */
int ge__record_read(struct ge_record *r, struct ge_info *out);

void ge__record_clear(struct ge_record *r);

#endif
