"""What a process shows of itself. For children (tests/process puts this folder on
their path) and for tests in pytest's own process."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

LIMIT = 100.0  # seconds for any wait inside a child; less than the parent's
# `.ci/run races` asks for more rounds of each race than the suite has time for.
RACE_ROUNDS = int(os.environ.get("RACE_ROUNDS", "0"))
CATCHABLE = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
SA_RESTORER = 0x04000000  # the C library's own, not part of what was asked for


class Action(ctypes.Structure):
    """Linux's struct sigaction, as glibc and musl have it."""

    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_ulong * (128 // ctypes.sizeof(ctypes.c_ulong))),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


libc = ctypes.CDLL(None, use_errno=True)


def action(signum: int) -> tuple[int, int, int]:
    """Handler, flags and mask in the kernel's table."""
    found = Action()
    assert libc.sigaction(int(signum), None, ctypes.byref(found)) == 0
    return found.handler or 0, found.flags & ~SA_RESTORER, found.mask[0]


def set_action(
    signum: int, handler: int, flags: int = 0, mask: tuple[int, ...] = ()
) -> None:
    """What C code would do, behind Python's back."""
    new = Action(handler=handler, flags=flags)
    for s in mask:
        new.mask[0] |= 1 << (s - 1)
    assert libc.sigaction(int(signum), ctypes.byref(new), None) == 0


def masks(pid: int | str = "self") -> dict[str, str]:
    """SigBlk, SigIgn and SigCgt, without the C library's own two."""
    own = sum(1 << s - 1 for s in range(32, signal.SIGRTMIN))
    lines = [s.split() for s in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return {
        name: f"{int(value, 16) & ~own:016x}"
        for name, value in (line for line in lines if len(line) == 2)
        if name in ("SigBlk:", "SigIgn:", "SigCgt:")
    }


def descriptors() -> dict[str, str]:
    """Every open descriptor and what it leads to."""
    found = {}
    for fd in os.listdir("/proc/self/fd"):
        # But for the one that listdir() itself used.
        with contextlib.suppress(OSError):
            found[fd] = os.readlink(f"/proc/self/fd/{fd}")
    return found


def native_threads() -> int:
    return len(os.listdir("/proc/self/task"))


def state() -> dict[str, Any]:
    """All that gracefulexit may change and has to give back."""
    return {
        "masks": masks(),
        "handlers": {int(s): signal.getsignal(s) for s in CATCHABLE},
        "actions": {int(s): action(s) for s in CATCHABLE},
        "threads": sorted(t.name for t in threading.enumerate()),
        "native threads": native_threads(),
        "descriptors": descriptors(),
    }


def calm() -> dict[str, Any]:
    """state(), when the kernel has seen the end of all threads that have ended."""
    until(lambda: native_threads() == threading.active_count(), "calm")
    return state()


def changes(before: dict[str, Any], limit: float = 5.0) -> dict[str, Any]:
    """What is different now. A thread that has been joined is in the kernel's list
    for a moment longer, so it gets `limit` seconds."""
    end = time.monotonic() + limit
    while True:
        now = state()
        found = {name: _difference(was, now[name]) for name, was in before.items()}
        found = {name: what for name, what in found.items() if what}
        if not found or time.monotonic() > end:
            return found
        os.sched_yield()


def _difference(was: Any, now: Any) -> Any:
    if not isinstance(was, dict):
        return None if was == now else (was, now)
    both = was.keys() | now.keys()
    return {k: (was.get(k), now.get(k)) for k in both if was.get(k) != now.get(k)}


def until(fact: Callable[[], object], what: str, limit: float = LIMIT) -> None:
    """Wait for something that has no event of its own."""
    end = time.monotonic() + limit
    while not fact():
        assert time.monotonic() < end, f"not within {limit} s: {what}"
        time.sleep(0.001)


def rounds(least: int, seen: Callable[[], int]) -> Iterator[int]:
    """At least so many rounds of a race, and until it has gone either way: `seen`
    tells how often it went the one way."""
    n = 0
    least = max(least, RACE_ROUNDS)
    end = time.monotonic() + LIMIT * (1 + least // 100)
    while n < least or not 0 < seen() < n:
        assert time.monotonic() < end, f"no race: {seen()} of {n} rounds"
        yield n
        n += 1


def times(number: int) -> range:
    """So many rounds of a race, or as many as were asked for."""
    return range(max(number, RACE_ROUNDS))


def send(signum: int) -> None:
    """A real signal to this process; when this returns, some thread has it."""
    os.kill(os.getpid(), signum)


def equal(expected: object, actual: object) -> None:
    assert expected == actual, f"expected {expected!r}, got {actual!r}"


def log_lines(text: str) -> list[str]:
    """What the package logs from now on, of the lines with this text in them."""
    lines: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if text in record.getMessage():
                lines.append(record.getMessage())

    logging.getLogger("gracefulexit").addHandler(Handler())
    return lines
