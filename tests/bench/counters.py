"""Counts the runs of a signal's handler in one of the ways, and what they cost.

    python counters.py WAY LIBRARY BYSTANDER SIGNUM

Prints "ready", and for a line of stdin, when no signal is left, the figures. With a
BYSTANDER of 1 it looks how long a thread that computes in C stands still; that thread
would be counted in the CPU time, so it is 0 where that is measured.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

from gracefulexit import GracefulKiller

STILL = 100_000  # nanoseconds; less than this is the clock, or the machine
Count = Callable[[], int]


def by_python(signum: int, native: ctypes.CDLL) -> Count:
    runs = 0

    def note(signum: int, frame: object) -> None:
        nonlocal runs
        runs += 1

    signal.signal(signum, note)
    return lambda: runs


def by_sigwait(signum: int, native: ctypes.CDLL) -> Count:
    runs = 0

    def take() -> None:
        nonlocal runs
        while signal.sigwait({signum}):
            runs += 1

    signal.pthread_sigmask(signal.SIG_BLOCK, {signum})
    threading.Thread(target=take, daemon=True).start()
    return lambda: runs


def by_c(signum: int, native: ctypes.CDLL) -> Count:
    native.counter_read.restype = ctypes.c_int64
    assert native.counter_start(signum) == 0
    return native.counter_read


WAYS = {"signal": by_python, "wait": by_sigwait, "C": by_c}


def ours(backend: str, signum: int) -> Count:
    killer = GracefulKiller(backend=backend)
    killer.take(signum)
    number = signal.Signals(signum) if signum in set(signal.Signals) else signum
    return lambda: killer.counts[number]


def pending() -> bool:
    """Is a signal on its way to any thread of this process?"""
    with open("/proc/self/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    return bool(int(fields["ShdPnd"], 16) | int(fields["SigPnd"], 16))


def until_calm(count: Count) -> int:
    last, now = -1, count()
    while last != now or pending():
        time.sleep(0.05)
        last, now = now, count()
    return now


def main(way: str, library: str, bystander: str, number: str) -> None:
    native = ctypes.CDLL(library)
    signum = int(number)
    count = WAYS[way](signum, native) if way in WAYS else ours(way, signum)
    if int(bystander):
        assert native.bystander_start(ctypes.c_int64(STILL)) == 0
    cpu = time.process_time_ns()
    os.write(1, b"ready\n")
    sys.stdin.readline()
    figures = {"runs": until_calm(count), "cpu": time.process_time_ns() - cpu}
    if int(bystander):
        longest, total = ctypes.c_int64(), ctypes.c_int64()
        native.bystander_join(ctypes.byref(longest), ctypes.byref(total))
        figures |= {"longest": longest.value, "sum": total.value}
    print(json.dumps(figures), flush=True)
    os._exit(0)  # with the killer, which need not be closed; a thread is in sigwait()


if __name__ == "__main__":
    main(*sys.argv[1:])
