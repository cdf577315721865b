"""The protected sections that are open now, for people: names, threads, ages."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from . import _core
from ._report import SectionReport
from ._stacks import runs_python, stack_of

log = logging.getLogger("gracefulexit")


class OpenSection(NamedTuple):
    name: str
    thread: str
    since: float  # time.monotonic()
    holds: bool  # not over its timeout
    ident: int  # of the thread

    def __str__(self) -> str:
        return f"section {self.name} in {self.thread}"


def open_sections() -> list[OpenSection]:
    """All of the process, the oldest first."""
    return [
        OpenSection(name_of_section(owner), name_of_thread(ident), since, holds, ident)
        for owner, ident, since, holds in _core.opened()
    ]


def held() -> set[int]:
    """The union: every one of these is held until the last section is left."""
    return {s for owner, _, _, holds in _core.opened() if holds for s in owner.signals}


def timed() -> bool:
    """Is one of them under a timeout?"""
    return any(o.timeout is not None for o, _, _, holds in _core.opened() if holds)


def names() -> str:
    return ", ".join(str(s) for s in open_sections() if s.holds)


def name_of_section(owner: _core.Section) -> str:
    """Its own, or the place where it was made, which is mostly that of its `with`."""
    if owner.name is not None:
        return owner.name
    made_at = owner._made_at
    if made_at is None:
        return "without a name"
    function, file, line = made_at
    return f"{function} ({os.path.basename(file)}:{line})"


def threads() -> dict[int, threading.Thread]:
    """Those of Python, by ident."""
    # Not threading.enumerate(): its lock may be held by the code that a signal
    # handler, where this is called too, has interrupted.
    return dict(getattr(threading, "_active", {}))


def name_of_thread(ident: int) -> str:
    thread = threads().get(ident)
    return f"thread {ident}" if thread is None else thread.name


def tell_overdue(owner: _core.Section, ident: int) -> None:
    log.warning(
        "section %s in %s is over its timeout of %.3g s; going on without it; "
        "it is at\n%s",
        name_of_section(owner),
        name_of_thread(ident),
        owner.timeout,
        stack_of(ident),
    )


class Drain:
    """The wait of a stop for the sections that are open when its workers have ended.

    Only for those: a thread that opens one after the other would never let us go.
    Not for our own, nor for those that ended threads have left open.
    """

    def __init__(self) -> None:
        self._begun = 0.0
        self._over: float | None = None
        self._waited: list[OpenSection] = []
        self._left: dict[OpenSection, float] = {}

    def begin(self) -> bool:
        """Is there one to wait for?"""
        me = threading.get_ident()
        self._begun = time.monotonic()
        self._waited = [
            s
            for s in open_sections()
            if s.holds and s.ident != me and runs_python(s.ident)
        ]
        return bool(self._waited)

    def wait(self, limit: Callable[[], float | None]) -> list[OpenSection]:
        """Until then; those that are still open."""
        while late := self._still_awaited():
            until = limit()
            if until is not None and time.monotonic() >= until:
                break
            # Nothing wakes us: who leaves a section makes no call for it.
            time.sleep(0.01)
        self._over = time.monotonic()
        return late

    def _still_awaited(self) -> list[OpenSection]:
        # A thread that has just got the ident of an ended one, and ends soon itself,
        # as ours do, looks like that one until it has.
        return [s for s in self._still_open(open_sections()) if runs_python(s.ident)]

    def _still_open(self, now_open: list[OpenSection]) -> list[OpenSection]:
        now = time.monotonic()
        # Equal only as long as it holds, too.
        late = [s for s in self._waited if s in now_open]
        for section in self._waited:
            if section not in late:
                self._left.setdefault(section, now)
        return late

    def report(self, now: float) -> tuple[SectionReport, ...]:
        """Those that were waited for and left, then those that are open."""
        now_open = open_sections()
        self._still_open(now_open)
        gone = [s for s in self._waited if not any(_same(s, o) for o in now_open)]
        return (
            *(self._row(s, self._left[s], still=False) for s in gone),
            *(self._row(s, now, still=True) for s in now_open),
        )

    def _row(self, section: OpenSection, until: float, *, still: bool) -> SectionReport:
        waited = None
        if any(_same(section, s) for s in self._waited):
            end = min(until, self._over or until)
            waited = end - self._begun
        age = until - section.since
        return SectionReport(section.name, section.thread, age, still, waited)


def _same(one: OpenSection, other: OpenSection) -> bool:
    # The name, too: `since` is of a coarse clock, and a thread may have left one and
    # opened the next within a tick, which is long on a machine that stands still.
    return (one.ident, one.since, one.name) == (other.ident, other.since, other.name)
