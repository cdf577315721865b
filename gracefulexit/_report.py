"""What a stop is waiting for, as data and as a table."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ._info import SignalInfo


@dataclass(frozen=True)
class WorkerReport:
    """One registered thread. Times are seconds; `asked` counts from the stop."""

    name: str
    alive: bool
    asked: float | None = None
    ended: float | None = None
    error: str | None = None
    stack: str | None = None


@dataclass(frozen=True)
class SectionReport:
    """One open protected section; `since` is its age in seconds."""

    name: str
    thread: str
    since: float


@dataclass(frozen=True)
class HookReport:
    name: str
    result: str


@dataclass(frozen=True)
class Report:
    """What happened so far. ``str()`` of it is for people, ``to_dict()`` for JSON."""

    state: str
    reason: SignalInfo | None
    stopping_for: float | None
    remaining: float | None
    counts: Mapping[str, int]
    workers: tuple[WorkerReport, ...] = ()
    sections: tuple[SectionReport, ...] = ()
    hooks: tuple[HookReport, ...] = ()
    phases: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and numbers."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"state     {self.state}"]
        if self.reason is not None:
            lines.append(f"reason    {self.reason}")
        if self.stopping_for is not None:
            left = "no time limit"
            if self.remaining is not None:
                left = f"{self.remaining:.1f} s left"
            lines.append(f"since     {self.stopping_for:.1f} s, {left}")
        for name, count in self.counts.items():
            lines.append(f"signal    {name} x {count}")
        for name, length in self.phases.items():
            lines.append(f"phase     {name}: {length:.3f} s")
        lines += [f"worker    {_worker_line(w)}" for w in self.workers]
        lines += [
            f"section   {s.name} in {s.thread}, open for {s.since:.1f} s"
            for s in self.sections
        ]
        lines += [f"hook      {h.name}: {h.result}" for h in self.hooks]
        lines += [f"\n{w.name} is at\n{w.stack}" for w in self.workers if w.stack]
        return "\n".join(lines)


def _worker_line(worker: WorkerReport) -> str:
    if worker.alive:
        what = "still running"
    elif worker.ended is not None:
        what = f"ended {worker.ended:.3f} s after it was asked"
    else:
        what = "ended"
    if worker.asked is not None:
        what += f" (asked {worker.asked:.3f} s after the stop)"
    if worker.error is not None:
        what += f", failed: {worker.error}"
    return f"{worker.name}: {what}"


def stack_of(ident: int | None) -> str | None:
    """Where a thread is now, as a traceback prints it."""
    frame = sys._current_frames().get(ident) if ident is not None else None
    if frame is None:
        return None
    return "".join(traceback.format_stack(frame)).rstrip()
