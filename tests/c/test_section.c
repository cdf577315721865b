/* Protected sections: counted, and none opens once the process ends. */
#include "core.h"

#include "ge_section.h"

static void
counted(void)
{
    CHECK_EQ(0, ge_sections());
    CHECK_EQ(0, ge_section_enter(GE_OUTSIDE));
    CHECK_EQ(0, ge_section_enter(GE_OUTSIDE));
    CHECK_EQ(2, ge_sections());
    CHECK_EQ(1, ge_section_leave());
    CHECK_EQ(0, ge_section_leave());
    CHECK_EQ(0, ge_sections());
}

static void
closed_only_while_none_is_open(void)
{
    CHECK_EQ(0, ge_section_enter(GE_OUTSIDE));
    CHECK(!ge_section_close());
    CHECK_EQ(0, ge_section_enter(GE_OUTSIDE));
    (void)ge_section_leave();
    CHECK(!ge_section_close());
    (void)ge_section_leave();
    CHECK(ge_section_close());
    CHECK(ge_section_close());
    CHECK_EQ(-ECANCELED, ge_section_enter(GE_OUTSIDE));
    CHECK_EQ(0, ge_sections());
    ge__section_reopen();
    CHECK_EQ(0, ge_section_enter(GE_OUTSIDE));
    CHECK_EQ(1, ge_sections());
}

static void
reset_opens_again(void)
{
    CHECK(ge_section_close());
    ge_reset();
    CHECK_EQ(0, ge_section_enter(GE_OUTSIDE));
}

struct race {
    struct meeting meeting;
    unsigned rounds;
    atomic_int rc;
};

static void *
enter_rounds(void *arg)
{
    struct race *r = arg;

    for (unsigned i = 0; i < r->rounds; i++) {
        meet(&r->meeting, 2 * i, 2);
        atomic_store(&r->rc, ge_section_enter(GE_OUTSIDE));
        meet(&r->meeting, 2 * i + 1, 2);
    }
    return NULL;
}

/* Whoever comes first: exactly one of the two succeeds. */
static void
entering_races_closing(void)
{
    static struct race r = { .rounds = 100000 / CORE_SLOW };
    unsigned entered = 0;
    pthread_t thread = spawn(enter_rounds, &r);

    for (unsigned i = 0; i < r.rounds; i++) {
        bool closed;

        meet(&r.meeting, 2 * i, 2);
        closed = ge_section_close();
        meet(&r.meeting, 2 * i + 1, 2);
        CHECK_EQ(closed ? -ECANCELED : 0, atomic_load(&r.rc));
        CHECK_EQ(closed ? 0 : 1, ge_sections());
        if (!closed) {
            entered++;
            (void)ge_section_leave();
        }
        ge__section_reopen();
    }
    join(thread);
    printf("# entered first %u of %u\n", entered, r.rounds);
}

static void *
enter_and_leave(void *arg)
{
    (void)arg;
    for (int i = 0; i < 200000 / CORE_SLOW; i++) {
        CHECK_EQ(0, ge_section_enter(GE_OUTSIDE));
        (void)ge_section_leave();
    }
    return NULL;
}

static void
many_threads_lose_no_count(void)
{
    pthread_t threads[4];

    CHECK_EQ(0, ge_section_enter(GE_OUTSIDE));
    for (int i = 0; i < 4; i++) {
        threads[i] = spawn(enter_and_leave, NULL);
    }
    for (int i = 0; i < 4; i++) {
        join(threads[i]);
    }
    CHECK_EQ(1, ge_sections());
}

static const struct check_case cases[] = {
    CASE(counted),
    CASE(closed_only_while_none_is_open),
    CASE(reset_opens_again),
    CASE_WITHIN(entering_races_closing, 30),
    CASE_WITHIN(many_threads_lose_no_count, 30),
};
CHECK_MAIN(cases)
