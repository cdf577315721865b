"""Signals whose siginfo is a lie. For children, and as a program: PID CODE SENDER sends
SIGTERM with this code, from this pid and from user 0."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys

SI_USER, SI_QUEUE, SI_TKILL, SI_KERNEL = 0, -1, -6, 128
RT_SIGQUEUEINFO = {"x86_64": 129, "aarch64": 138}[os.uname().machine]


def forge(code: int, sender: int) -> int:
    """Another process sends one to this one; returns the errno that it met."""
    words = [sys.executable, "-S", __file__, *map(str, (os.getpid(), code, sender))]
    return subprocess.run(words, check=False).returncode


def send(target: int, code: int, sender: int) -> int:
    info = (ctypes.c_int * 32)(signal.SIGTERM, 0, code, 0, sender, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.argtypes = [ctypes.c_long] * 3 + [ctypes.c_void_p]
    failed = libc.syscall(RT_SIGQUEUEINFO, target, signal.SIGTERM, info)
    return ctypes.get_errno() if failed else 0


if __name__ == "__main__":
    sys.exit(send(*map(int, sys.argv[1:])))
