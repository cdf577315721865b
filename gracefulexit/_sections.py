"""The protected sections that are open now, for people: names, threads, ages."""

from __future__ import annotations

import logging
import os
import threading
from typing import NamedTuple

from . import _core
from ._report import stack_of

log = logging.getLogger("gracefulexit")


class OpenSection(NamedTuple):
    name: str
    thread: str
    since: float  # time.monotonic()
    holds: bool  # not over its timeout

    def __str__(self) -> str:
        return f"section {self.name} in {self.thread}"


def open_sections() -> list[OpenSection]:
    """All of the process, the oldest first."""
    return [
        OpenSection(name_of_section(owner), name_of_thread(ident), since, holds)
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
