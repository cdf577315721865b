"""Signals that do not stop: counts, take() and on()."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from . import _core
from ._channels import Channel
from ._checks import describe
from ._info import SignalInfo, info_from_core, with_sender
from ._runners import Job, Lane
from ._signals import is_queued, name_of


class Callbacks:
    """What one killer knows of its signals' counts, and whom it calls.

    A signal that comes while a call of its callback runs is a new event; those
    that come while one waits for its turn share it. Real-time signals do not: they
    have channels.
    """

    def __init__(self, limit: float | None) -> None:
        self._limit = limit
        # Protects the dicts; no user code runs under it. Re-entrant, for a
        # Python signal handler in main that calls take().
        self._lock = threading.RLock()
        self._base: dict[int, int] = {}  # counts when the killer began to hear
        self._taken: dict[int, int] = {}
        self._called: dict[int, int] = {}
        self._funcs: dict[int, list[Callable[[SignalInfo], Any]]] = {}
        self._queued: dict[int, list[Job]] = {}
        self._lanes: dict[int, Lane] = {}
        self._channels: dict[int, Channel] = {}

    def begin(self, signum: int) -> bool:
        """Count from now on; False if it is counted already."""
        with self._lock:
            if signum in self._base:
                return False
            self._base[signum] = _core.count(signum)
            return True

    def cancel(self, signum: int) -> None:
        with self._lock:
            self._base.pop(signum, None)
            self._funcs.pop(signum, None)
            channel = self._channels.pop(signum, None)
        if channel is not None:
            channel.close()

    def signals(self) -> list[int]:
        return list(self._base)

    def counts(self) -> dict[int, int]:
        return {s: _core.count(s) - base for s, base in list(self._base.items())}

    def take(self, signum: int) -> int:
        with self._lock:
            count = _core.count(signum)
            new = count - self._taken.get(signum, self._base[signum])
            self._taken[signum] = count
            return new

    def call(self, signum: int, func: Callable[[SignalInfo], Any]) -> None:
        with self._lock:
            if is_queued(signum):
                channel = self._channels.get(signum) or Channel(signum, self._limit)
                channel.add(func)
                # Last: a turn of the dispatcher drops what it has no function for.
                self._channels[signum] = channel
                _core.wake_news()  # for what came before it was last
                return
            self._called.setdefault(signum, _core.count(signum))
            self._lanes.setdefault(
                signum, Lane(f"on-{name_of(signum)}", limit=self._limit)
            )
            # Last: a turn of the dispatcher that sees it needs the other two.
            self._funcs.setdefault(signum, []).append(func)

    def restart(self) -> None:
        """In a forked child that is re-armed: the counters begin again at 0, and
        what other threads were doing here is the parent's."""
        self._lock = threading.RLock()
        for lane in self._lanes.values():
            lane.restart()
        self._base = dict.fromkeys(self._base, 0)
        self._called = dict.fromkeys(self._called, 0)
        self._taken.clear()
        self._queued.clear()
        for channel in self._channels.values():
            channel.restart()

    def close(self) -> None:
        """Of what waits in a channel nobody is told any more. May be called again."""
        for channel in list(self._channels.values()):
            channel.close()

    def lost(self) -> dict[int, int]:
        """Real-time signals that no callback was told of."""
        channels = list(self._channels.items())
        return {signum: channel.lost for signum, channel in channels if channel.lost}

    def turn(self, now: float) -> float | None:
        """Call whoever is due. Called by the dispatcher."""
        for signum, funcs in list(self._funcs.items()):
            self._call_if_new(signum, list(funcs))
        waits = [lane.check(now) for lane in list(self._lanes.values())]
        waits += [channel.turn(now) for channel in list(self._channels.values())]
        return min((w for w in waits if w is not None), default=None)

    def _call_if_new(
        self, signum: int, funcs: list[Callable[[SignalInfo], Any]]
    ) -> None:
        count, raw = _core.count(signum), _core.last(signum)
        if count == self._called[signum] or raw is None:
            return
        self._called[signum] = count
        queued = self._queued.get(signum, [])
        if queued and all(job.started is None for job in queued):
            return  # it has not begun, so it is about this signal too
        lane = self._lanes[signum]
        self._queued[signum] = [
            lane.submit(Job(f"on({name_of(signum)}) {describe(f)}", _bind(f, raw)))
            for f in funcs
        ]


def _bind(func: Callable[[SignalInfo], Any], raw: Any) -> Callable[[], Any]:
    # The sender is looked up on the runner: it reads a file.
    return lambda: func(with_sender(info_from_core(raw)))
