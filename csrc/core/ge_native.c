/* See ge_native.h. */
#include "ge_platform.h"

#include "ge_handler.h"
#include "ge_native.h"

#include <errno.h>

_Static_assert(sizeof(atomic_int) == sizeof(int),
               "others read the flag as an int");

const int *
ge_stop_flag(void)
{
    return (const int *)(const void *)&ge__stop_flag.on;
}

int
ge_stop_sleep(int64_t ns)
{
    int64_t now = ge_now();
    int64_t until = ns < 0 || ns > GE_NEVER - now ? GE_NEVER : now + ns;
    unsigned stops = atomic_load(&ge__mailbox.stops);
    int rc = 0;

    for (;;) {
        unsigned seen = ge_seen(GE_AT_STOP);

        /* The count for who is woken so late that the killer has been closed,
         * and the flag is 0 again. */
        if (atomic_load(&ge__stop_flag.on) ||
            atomic_load(&ge__mailbox.stops) != stops) {
            return 1;
        }
        if (rc == -ETIMEDOUT) {
            return 0;
        }
        rc = ge_wait(GE_AT_STOP, seen, until);
    }
}
