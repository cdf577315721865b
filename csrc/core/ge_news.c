/* See ge_news.h. */
#include "ge_platform.h"

#include "ge_handler.h"
#include "ge_news.h"

/* Who changes what is heard wakes the sleeper, which then looks here again. */
int
ge_wait_news(unsigned seen, int64_t until)
{
    sigset_t unheard, before;
    int rc;

    (void)sigfillset(&unheard);
    for (int s = 1; s < GE_NSIG; s++) {
        if (atomic_load(&ge__mailbox.signals[s].roles) != 0) {
            (void)sigdelset(&unheard, s);
        }
    }
    (void)pthread_sigmask(SIG_BLOCK, &unheard, &before);
    rc = ge_wait(GE_AT_NEWS, seen, until);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}
