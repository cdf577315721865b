"""How the time that is left is shared, and that who waits sees it moved."""

from __future__ import annotations

import math
import threading
import time

import pytest

from gracefulexit._budget import share
from gracefulexit._hooks import Hooks
from gracefulexit._members import Member, Members
from gracefulexit._runners import Job

LIMIT = 20.0


class Moved:
    """A limit that is over soon, and has been moved when it is."""

    def __init__(self, release: threading.Event) -> None:
        self._limits = [time.monotonic() + 0.01]
        self._release = release

    def __call__(self) -> float:
        now = time.monotonic()
        if now >= self._limits[-1] and len(self._limits) == 1:
            self._limits.append(now + LIMIT)
            self._release.set()  # what is waited for ends only now
        return self._limits[-1]


@pytest.mark.parametrize(
    ("left", "wanted", "first"),
    [
        (9.0, [math.inf], 9.0),
        (9.0, [math.inf, math.inf, math.inf], 3.0),
        (9.0, [1.0, math.inf], 1.0),
        (9.0, [math.inf, 1.0, 2.0], 6.0),
        (9.0, [5.0, 5.0, 5.0], 3.0),
        (9.0, [5.0, 1.0], 5.0),
        (9.0, [20.0, math.inf], 4.5),
        (9.0, [0.0, math.inf], 0.0),
        (0.0, [math.inf, 1.0], 0.0),
    ],
)
def test_share(left: float, wanted: list[float], first: float) -> None:
    """As much as everybody, and what those leave over who want less."""
    assert share(left, wanted) == first


def test_join_goes_on_when_the_deadline_was_moved() -> None:
    """extend() counts for who is in join() already."""
    release = threading.Event()
    thread = threading.Thread(target=release.wait, args=(LIMIT,))
    thread.start()
    members, limit = Members(), Moved(release)
    members.add(Member(thread, release.set))
    members.begin()

    assert members.join(None, lambda: (0.0, limit())) == []


def test_wait_for_hooks_goes_on_when_the_deadline_was_moved() -> None:
    """extend() counts for who waits for hooks already."""
    release = threading.Event()
    hooks, limit = Hooks(None), Moved(release)
    hooks.on_stop(Job("hook", lambda: release.wait(LIMIT)))
    hooks.tell()

    assert hooks.wait(limit) == []
