"""Threads that nobody waits for until they run, and the end of the interpreter.

At its end CPython frees the states of all daemon threads, 3.10 and early 3.11 also of
one that the system has not run yet; its first step is then into freed memory:

    main: start_new_thread()    main: returns, all states are freed    thread: runs

Main cannot do that to what it starts with Thread.start(), which waits for the thread.
To the threads of other threads it can, and to those of start_new_thread().
"""

from __future__ import annotations

import _thread
import atexit
import os
import threading
import time
from collections.abc import Callable

from . import _masks

LIMIT = 60.0  # seconds until a thread runs; no system is that slow

_unborn: set[object] = set()
_over = False


class MainHasEnded(RuntimeError):
    """What is made from now on would not be waited for."""


def start(thread: threading.Thread) -> None:
    """As thread.start(). Any thread. RuntimeError: no thread is to be had, or
    MainHasEnded."""
    birth = _begin()
    try:
        thread.start()
    finally:
        _unborn.discard(birth)


def start_bare(func: Callable[[], object]) -> None:
    """As _masks.start_bare(). Any thread, and handlers that interrupt main in
    `threading`. RuntimeError as above."""
    birth = _begin()

    def run() -> None:
        _unborn.discard(birth)
        func()

    try:
        _masks.start_bare(run)
    except RuntimeError:
        _unborn.discard(birth)
        raise
    if _over:
        _wait()


def _begin() -> object:
    birth = object()
    # Noted first: either main sees it in _at_exit(), or we see that main has ended.
    _unborn.add(birth)
    if _over and _thread.get_ident() != threading.main_thread().ident:
        _unborn.discard(birth)
        raise MainHasEnded("can't start new thread at interpreter shutdown")
    return birth


def _wait() -> None:
    end = time.monotonic() + LIMIT
    while _unborn and time.monotonic() < end:
        time.sleep(0.001)


def _at_exit() -> None:
    global _over
    _over = True
    _wait()


# At the import, as functions that are registered later are called before: they may
# still start threads.
atexit.register(_at_exit)
os.register_at_fork(after_in_child=_unborn.clear)
