"""Which signals killers and sections want, and what for."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Sequence
from typing import Protocol

from . import _core
from ._layers import HANDED, is_ignored, layers
from ._sigwait import NOT_TAKEN


class Hearer(Protocol):
    """A killer, as far as it wants signals."""

    signals: tuple[int, ...]
    escalate: tuple[int, ...]
    raises: type[BaseException] | None
    chain: bool

    def _other_signals(self) -> list[int]: ...


def roles(
    killers: Sequence[Hearer], held: set[int], handed: Iterable[int]
) -> dict[int, int]:
    """What the core shall do with each signal that is wanted. `killers`: the oldest
    first; `held`: by sections; `handed`: on their way from a section to main."""
    wanted: dict[int, int] = {}
    for killer in killers:
        _add_killer(wanted, killer, oldest=killers[0])
    for signum in held:
        if not wanted.get(signum, 0) & _core.ROLE_STOP:
            bits = _core.ROLE_COUNT | _core.ROLE_HOLD
            if not killers:
                bits |= _core.ROLE_GATE
            wanted[signum] = wanted.get(signum, 0) | bits
    for signum in handed:
        wanted[signum] = wanted.get(signum, 0) | HANDED
    for signum in list(wanted):
        if signum not in layers.wanted and is_ignored(signum):
            del wanted[signum]  # nohup meant it
    for signum, bits in wanted.items():
        if bits & _core.ROLE_TRIP and signal.getsignal(signum) is None:
            # A handler from before Python: there is no layer 1 to trip.
            wanted[signum] = bits & ~_core.ROLE_TRIP
    return wanted


def _add_killer(wanted: dict[int, int], killer: Hearer, oldest: Hearer) -> None:
    extra = _core.ROLE_COUNT
    if killer.raises is not None:
        extra |= _core.ROLE_TRIP
    if killer.chain:
        extra |= _core.ROLE_CHAIN | _core.ROLE_TRIP
    for signum in killer.signals:
        bits = extra | _core.ROLE_STOP
        if signum in oldest.escalate:
            bits |= _core.ROLE_HURRY
        wanted[signum] = wanted.get(signum, 0) | bits
    for signum in killer._other_signals():
        bits = extra if killer.chain else _core.ROLE_COUNT
        wanted[signum] = wanted.get(signum, 0) | bits


def blockable(killers: Iterable[Hearer], wanted: dict[int, int]) -> set[int]:
    """What a thread is to take in sigwait mode."""
    return (heard(killers) & wanted.keys()) - NOT_TAKEN


def heard(killers: Iterable[Hearer]) -> set[int]:
    return {s for k in killers for s in (*k.signals, *k._other_signals())}
