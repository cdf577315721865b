"""What a stop is waiting for, as data and as a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ._info import SignalInfo


class PhaseReport(NamedTuple):
    """One phase of a stop. `start` counts from the stop, and is None where there was
    none; `length` is None while it lasts. Seconds."""

    name: str
    start: float | None
    length: float | None


class WorkerReport(NamedTuple):
    """One registered thread, process or program. Seconds: `asked` counts from the
    stop, `noticed` and `ended` from being asked."""

    name: str
    alive: bool
    asked: float | None = None
    #: None: it has not looked yet, or only a ``Worker`` would tell.
    noticed: float | None = None
    ended: float | None = None
    error: str | None = None
    #: Of a thread that has been asked and is alive.
    stack: str | None = None


class SectionReport(NamedTuple):
    """One protected section that is open, or that the stop has waited for. Seconds:
    `since` is its age, `waited` how long the stop has waited for it alone."""

    name: str
    thread: str
    since: float
    open: bool = True
    waited: float | None = None


class HookReport(NamedTuple):
    """One hook. `result` is ``"not started"``, ``"running"``, ``"done"``,
    ``"failed"`` or ``"left behind"``. Seconds; `start` counts from the stop."""

    name: str
    result: str
    start: float | None = None
    length: float | None = None
    error: str | None = None


class Report(NamedTuple):
    """What happened so far. ``str()`` of it is for people, ``to_dict()`` for JSON.

    >>> from gracefulexit import GracefulKiller
    >>> with GracefulKiller() as killer:
    ...     killer.stop("enough")
    >>> [phase.name for phase in killer.report().phases]
    ['hooks and workers']
    """

    state: str
    reason: SignalInfo | None
    stopping_for: float | None
    remaining: float | None
    counts: Mapping[str, int]
    lost: Mapping[str, int]
    workers: tuple[WorkerReport, ...] = ()
    sections: tuple[SectionReport, ...] = ()
    hooks: tuple[HookReport, ...] = ()
    phases: tuple[PhaseReport, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The same as plain dicts, lists, strings and numbers, for ``json.dumps()``.

        ``reason`` has one more key, ``text``, what ``str()`` of it says.
        """
        plain: dict[str, Any] = _plain(self)
        if self.reason is not None:
            plain["reason"]["text"] = str(self.reason)
        return plain

    def __str__(self) -> str:
        parts = [
            _columns(self._head()),
            _table("phase", "start length", map(self._phase_row, self.phases)),
            _table("worker", "asked noticed ended", map(_worker_row, self.workers)),
            _table("section", "thread open waited", map(_section_row, self.sections)),
            _table("hook", "start result", map(_hook_row, self.hooks)),
            *(f"{w.name} is at\n{w.stack}" for w in self.workers if w.stack),
        ]
        return "\n\n".join(filter(None, parts))

    def _head(self) -> Iterable[Sequence[str]]:
        yield "state", self.state
        if self.reason is not None:
            yield "reason", str(self.reason)
        if self.stopping_for is not None:
            left = "no time limit"
            if self.remaining is not None:
                left = f"{self.remaining:.1f} s left"
            elif self.state == "closed":
                left = "closed"
            yield "time", f"{self.stopping_for:.1f} s since the stop, {left}"
        yield "signals", ", ".join(f"{s} x {n}" for s, n in self.counts.items()) or "-"
        if self.lost:
            yield "lost", ", ".join(f"{s} x {n}" for s, n in self.lost.items())

    def _phase_row(self, phase: PhaseReport) -> Sequence[str]:
        length = _seconds(phase.length)
        if phase.length is None and None not in (self.stopping_for, phase.start):
            assert self.stopping_for is not None
            assert phase.start is not None
            length = _seconds(self.stopping_for - phase.start) + " so far"
        return phase.name, _seconds(phase.start), length


def _worker_row(worker: WorkerReport) -> Sequence[str]:
    ended = "still running" if worker.alive else _seconds(worker.ended, "ended")
    if worker.error is not None:
        ended += f", failed: {worker.error}"
    return worker.name, _seconds(worker.asked), _seconds(worker.noticed), ended


def _section_row(section: SectionReport) -> Sequence[str]:
    age = _seconds(section.since) + ("" if section.open else ", left")
    return section.name, section.thread, age, _seconds(section.waited)


def _hook_row(hook: HookReport) -> Sequence[str]:
    result = hook.result
    if hook.length is not None:
        result += f" after {_seconds(hook.length)}"
    if hook.error is not None:
        result += f": {hook.error}"
    return hook.name, _seconds(hook.start), result


def _seconds(value: float | None, unknown: str = "-") -> str:
    return unknown if value is None else f"{value:.3f} s"


def _table(first: str, others: str, rows: Iterable[Sequence[str]]) -> str:
    found = list(rows)
    return _columns([(first, *others.split()), *found]) if found else ""


def _columns(rows: Iterable[Sequence[str]]) -> str:
    found = list(rows)
    widths = [max(map(len, column)) for column in zip(*found, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in found)


def _plain(value: Any) -> Any:
    """With lists for tuples, so that what comes back out of JSON is equal."""
    if isinstance(value, _REPORTED):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value


_REPORTED = (
    *(Report, SignalInfo, PhaseReport, WorkerReport, SectionReport, HookReport),
)
