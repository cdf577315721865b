"""How the grace of a stop is shared: until when workers and hooks are waited for."""

from __future__ import annotations

import time

from . import _core
from ._info import SignalInfo
from ._process import process

# The part of the grace that is kept for the hooks after the workers.
RESERVE = 0.1


def stop_and_limit(
    reason: SignalInfo | None, deadline: float | None
) -> tuple[float | None, float | None]:
    """When the stop began, and until when workers and hooks are waited for."""
    return (None, None) if reason is None else (reason.when, _limit(reason, deadline))


def time_for_workers() -> float | None:
    """Seconds until nobody waits for workers any more; None: no stop, or no limit."""
    _, limit = stop_and_limit(process.reason, _core.deadline())
    return None if limit is None else max(0.0, limit - time.monotonic())


def share(left: float, wanted: list[float]) -> float:
    """What the first may use up of the seconds that are left for all: as much as
    everybody, and what those leave over who want less than that."""
    for n, want in enumerate(sorted(wanted)):
        fair = left / (len(wanted) - n)
        if want >= fair:
            return min(wanted[0], fair)
        left -= want
    return wanted[0]


def _limit(reason: SignalInfo, deadline: float | None) -> float | None:
    if deadline is None:
        return None
    return deadline - RESERVE * (deadline - reason.when)
