"""Waiting for descriptors, those of processes among them."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterable

LONGEST = 86400.0  # seconds for one poll(2), which counts in int milliseconds


def readable(fds: Iterable[int], timeout: float | None) -> dict[int, int]:
    """Which of them are, after at most so many seconds: descriptor -> events."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    until = None if timeout is None else time.monotonic() + timeout
    while True:
        left = LONGEST if until is None else until - time.monotonic()
        # A millisecond more: not back before the time is over.
        found = poll.poll(int(min(max(left, 0.0), LONGEST) * 1000) + (left > 0))
        if found or left <= 0:
            return dict(found)


def pidfd_open(pid: int) -> int:
    """-1 where there is none: an old kernel, another system, no descriptors left."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1
