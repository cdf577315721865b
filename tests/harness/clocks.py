"""For children that tests/harness/clock.c is preloaded into: a long grace,
and a hang in them. For children."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

CLOCK = os.environ["LD_PRELOAD"].split()[-1]  # the first may be a sanitizer's
holding = ctypes.PyDLL(CLOCK)  # its calls keep the interpreter's lock
releasing = ctypes.CDLL(CLOCK)

GRACE = 6000
LAST_FIFTH = 4801


def hang_in(clock: ctypes.CDLL, seconds: int) -> Callable[[], None]:
    """For ever, once the clock has been put on; when stdin has a byte, it is over the
    deadline. Needs no global, for when the interpreter is finalised: some have set
    those of this module to None by then."""
    os.set_blocking(0, False)
    sleep, write, then = clock.clock_put_on_and_hang, os.write, GRACE

    def hang() -> None:
        write(1, b"hangs\n")
        sleep(seconds, 0, then)

    return hang


hang = hang_in(holding, LAST_FIFTH)
hang_without_lock = hang_in(releasing, LAST_FIFTH)
