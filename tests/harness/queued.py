"""Signals with a payload, which Python itself cannot send. For children, and as a
program: PID SIGNUM FIRST NUMBER sends FIRST, FIRST + 1, ... as fast as it can."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time

_libc = ctypes.CDLL(None, use_errno=True)


class _Value(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("pointer", ctypes.c_void_p))


def sigqueue(pid: int, signum: int, number: int) -> None:
    """As sigqueue(3); BlockingIOError where the limit of the system is hit."""
    if _libc.sigqueue(pid, int(signum), _Value(number=number)) != 0:
        raise OSError(ctypes.get_errno(), "sigqueue")


def queue_all(pid: int, signum: int, first: int, number: int) -> None:
    """Tries again where the system does not take one."""
    for n in range(first, first + number):
        while True:
            try:
                sigqueue(pid, signum, n)
                break
            except BlockingIOError:  # EAGAIN
                time.sleep(0.001)


def start_sender(signum: int, first: int, number: int) -> subprocess.Popen[bytes]:
    """Another process that sends to this one."""
    words = [os.getpid(), int(signum), first, number]
    return subprocess.Popen([sys.executable, "-S", __file__, *map(str, words)])


if __name__ == "__main__":
    queue_all(*map(int, sys.argv[1:]))
