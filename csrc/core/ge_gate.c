/* Shutting the gate, which handlers do. */
#include "ge_platform.h"

#include "ge_gate.h"
#include "ge_section.h"

atomic_uint ge__sections;
_Atomic(int64_t) ge__shut_since;

void
ge_gate_shut(int64_t now)
{
    int64_t none = 0;

    (void)atomic_compare_exchange_strong(&ge__shut_since, &none, now);
    atomic_fetch_or(&ge__sections, GE__GATE);
}

void
ge_gate_shut_anew(int64_t now)
{
    atomic_store(&ge__shut_since, now);
    atomic_fetch_or(&ge__sections, GE__GATE);
}
