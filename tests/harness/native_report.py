"""For children that tests/harness/clock.c is preloaded into: ten minutes of grace,
and a hang when they are nearly over. For children."""

from __future__ import annotations

import ctypes
import os

CLOCK = os.environ["LD_PRELOAD"]
holding = ctypes.PyDLL(CLOCK)  # its calls keep the interpreter's lock
releasing = ctypes.CDLL(CLOCK)

GRACE = 600
LAST_FIFTH = 481
REST = 200


def hang(clock: ctypes.CDLL = holding) -> None:
    """For ever, in the last fifth; over the deadline when stdin has a byte."""
    os.set_blocking(0, False)
    clock.clock_put_on_and_hang(LAST_FIFTH, 0, REST)


def hang_without_lock() -> None:
    hang(releasing)
