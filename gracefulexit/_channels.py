"""Real-time signals by on(): each one that the kernel has queued is a call of its own,
with its payload."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from . import _core
from ._checks import describe
from ._info import CoreInfo, SignalInfo, info_from_core, with_sender
from ._runners import Job, Lane
from ._signals import name_of

log = logging.getLogger("gracefulexit")

Callback = Callable[[SignalInfo], Any]


class Channel:
    """The signals of one number that one killer hears.

    They wait in a ring of the core and not in the lane, so that what a slow callback
    leaves is bounded, and counted where it is too much. Any thread may call any
    method.
    """

    def __init__(self, signum: int, limit: float | None) -> None:
        self._signum = signum
        self._lane = Lane(f"on-{name_of(signum)}", limit=limit)
        self._funcs: list[Callback] = []
        self._open()

    def _open(self) -> None:
        # Protects the calls that are under way, and taking the next signal for them.
        # No user code runs under it, but for a Python signal handler in main that
        # closes the killer: re-entrant for that.
        self._lock = threading.RLock()
        self._calls: list[Job] = []
        self._closed = self._told = False
        self._ring = _core.Ring(self._signum)

    def restart(self) -> None:
        """In a forked child: what waits is the parent's, and will be called there."""
        self._lane.restart()
        self._open()

    def add(self, func: Callback) -> None:
        self._funcs.append(func)

    @property
    def lost(self) -> int:
        """Those that no callback was told of."""
        return self._ring.lost()

    def turn(self, now: float) -> float | None:
        """Called by the dispatcher; seconds until it shall look again."""
        wait = self._lane.check(now)
        # After it: a call that was left behind there does not go on to the next.
        self.go_on()
        if self.lost and not self._told:
            self._told = True
            log.warning(
                "%s comes faster than its callback returns: the queue was full, and %d "
                "so far are lost; killer.report().lost counts on",
                name_of(self._signum),
                self.lost,
            )
        return wait

    def go_on(self) -> None:
        """The calls for the next signal, if those for the last one are over."""
        with self._lock:
            if self._closed or any(not job.over.is_set() for job in self._calls):
                return
            raw = self._ring.take()
            calls: list[Job] = []
            if raw is not None:
                calls += [_Call(self, func, raw) for func in self._funcs]
            self._calls = calls
        for call in calls:
            self._lane.submit(call)

    def close(self) -> None:
        """What is under way goes on; what waits is lost."""
        with self._lock:
            if self._closed:
                return
            before = self.lost
            self._ring.close()
            self._closed = True  # last: who is interrupted before comes again
        if self.lost > before:
            log.warning(
                "%d of %s were waiting for their callback when the killer was closed; "
                "they are lost",
                self.lost - before,
                name_of(self._signum),
            )


class _Call(Job):
    def __init__(self, channel: Channel, func: Callback, raw: CoreInfo) -> None:
        name = f"on({name_of(raw[0])}) {describe(func)}"
        # The sender is looked up on the runner: it reads a file.
        super().__init__(name, lambda: func(with_sender(info_from_core(raw))))
        self._channel = channel

    def run(self) -> None:
        super().run()
        self._channel.go_on()
