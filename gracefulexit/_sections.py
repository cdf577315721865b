"""The protected sections that are open now."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from . import _core
from ._info import SignalInfo
from ._report import stack_of

log = logging.getLogger("gracefulexit")


@dataclass(eq=False)
class OpenSection(_core.Token):
    """One of them. The token counts it in the core, once."""

    name: str
    owner: object  # the TerminateProtected
    thread: str
    ident: int
    since: float
    signals: tuple[int, ...]
    timeout: float | None
    expired: bool = False
    # What its end gave back, and what of it had come: kept here, so that an end
    # that is interrupted goes on where it was.
    given_back: tuple[int, ...] = ()
    pending: list[int] = field(default_factory=list)
    reason: SignalInfo | None = None  # of what was pending, for the log
    default: int = 0  # a pending signal of default disposition: it ends main


class Sections:
    """All of the process. Entries come and go by single dict operations; what
    follows from them is worked out under the lock of the process."""

    def __init__(self) -> None:
        self._open: dict[int, OpenSection] = {}

    def add(self, section: OpenSection) -> None:
        self._open[id(section)] = section

    def discard(self, section: OpenSection) -> None:
        self._open.pop(id(section), None)

    def all(self) -> list[OpenSection]:
        return list(self._open.values())

    def in_force(self) -> list[OpenSection]:
        """Those that hold something up: not over their timeout."""
        return [s for s in self.all() if not s.expired]

    def held(self) -> set[int]:
        """The union: every one of these is held until the last section is left."""
        return {signum for s in self.in_force() for signum in s.signals}

    def innermost(self, owner: object) -> OpenSection | None:
        """This thread's last one; else the last one that another thread opened
        (a generator that is finished elsewhere)."""
        me = threading.get_ident()
        mine = [s for s in reversed(self.all()) if s.owner is owner]
        return next((s for s in mine if s.ident == me), mine[0] if mine else None)

    def in_main(self) -> bool:
        main = threading.main_thread().ident
        return any(s.ident == main for s in self.in_force())

    def names(self) -> str:
        return ", ".join(f"section {s.name} in {s.thread}" for s in self.in_force())

    def expire(self, now: float, let_go: Callable[[OpenSection], None]) -> float | None:
        """Those over their timeout no longer hold anything up; seconds until the
        next one."""
        waits = []
        for section in self.in_force():
            if section.timeout is None:
                continue
            left = section.since + section.timeout - now
            if left > 0:
                waits.append(left)
            elif section.count_out():  # else it has just been left
                section.expired = True
                let_go(section)
                log.warning(
                    "section %s in %s is over its timeout of %.3g s; going on "
                    "without it; it is at\n%s",
                    section.name,
                    section.thread,
                    section.timeout,
                    stack_of(section.ident),
                )
        return min(waits, default=None)

    def keep_own_in_child(self) -> int:
        """After a fork only the forking thread's are left; how many count."""
        me = threading.get_ident()
        self._open = {key: s for key, s in self._open.items() if s.ident == me}
        return sum(s.counted for s in self._open.values())
