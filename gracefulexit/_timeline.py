"""When each phase of a stop began, and how long it took."""

from __future__ import annotations

import threading
import time

from ._report import PhaseReport

WORK, SECTIONS, ON_EXIT, EXIT = PHASES = (
    *("hooks and workers", "sections", "on_exit hooks", "exit"),
)


class Timeline:
    """The phases of one stop, in this order: each ends where the next begins. Any
    thread may call any method: a hook that closes the killer is ahead of main."""

    def __init__(self) -> None:
        # Protects the list. Re-entrant, for a Python signal handler in main.
        self._lock = threading.RLock()
        self._begun: list[tuple[str, float]] = []
        self._over: float | None = None

    def begin(self, phase: str) -> None:
        """Nothing if that or a later one has begun."""
        with self._lock:
            known = [PHASES.index(name) for name, _ in self._begun]
            if self._over is None and PHASES.index(phase) > max(known, default=-1):
                self._begun.append((phase, time.monotonic()))

    def end(self) -> None:
        """The stop is over, and the program goes on."""
        with self._lock:
            if self._over is None:
                self._over = time.monotonic()

    def __str__(self) -> str:
        """The phases that are over, for the log."""
        over = [p for p in self.report(None) if p.length is not None]
        return ", ".join(f"{p.name} {p.length:.3f} s" for p in over)

    def report(self, stopped: float | None) -> tuple[PhaseReport, ...]:
        with self._lock:
            begun, over = list(self._begun), self._over
        ends = [*(start for _, start in begun[1:]), over]
        return tuple(
            PhaseReport(
                name,
                start=None if stopped is None else max(0.0, start - stopped),
                length=None if end is None else end - start,
            )
            for (name, start), end in zip(begun, ends, strict=False)
        )
