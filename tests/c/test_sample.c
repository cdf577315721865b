/* Proves the harness itself. */
#include "check.h"

static void
a_case_starts_with_default_signals(void)
{
    struct sigaction found;

    CHECK_EQ(0, sigaction(SIGINT, NULL, &found));
    CHECK(found.sa_handler == SIG_DFL);
}

static void
a_skipped_case_is_no_failure(void)
{
    CHECK_SKIP("nothing is missing, this is how skipping looks");
}

static const struct check_case cases[] = {
    CASE(a_case_starts_with_default_signals),
    CASE_WITHIN(a_skipped_case_is_no_failure, 5),
};
CHECK_MAIN(cases)
