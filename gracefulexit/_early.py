"""What is done before an early end, which runs no `atexit`, if the GIL can be had.

An end is early in HURRY, at the deadline, and where main does not notice that it
is to end by a signal that a section held.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from ._masks import let_out

log = logging.getLogger("gracefulexit")

# Seconds where the end is due now. The watcher gives it one, of which the log has
# taken its part.
LIMIT = 0.5
# While the whole machine stands still for a moment, only one of them goes by.
PIECES = 8


def flush() -> None:
    """What print() has buffered is not lost when the process ends early."""
    let_out()  # a stream may be one of the program's own
    for stream in (sys.stdout, sys.stderr):
        # None without a console; closed; a broken pipe; whatever such a one raises:
        # what comes after this is ours.
        with contextlib.suppress(Exception):
            stream.flush()


def last_words(limit: float = LIMIT) -> None:
    """Returns after about `limit` seconds at the latest, whatever hangs: a full pipe,
    a pool whose lock a dead worker has.

    Without new threads, which CPython 3.12 refuses once main has ended, it is the
    watcher who keeps the time.
    """
    pieces = PIECES
    threads = [_start(step) for step in (flush, _leave_multiprocessing)]
    for thread in threads:
        while thread is not None and thread.is_alive() and pieces > 0:
            thread.join(limit / PIECES)
            pieces -= 1
    _terminate_daemons()  # what comes before that in its thread may hang


def _start(step: Callable[[], None]) -> threading.Thread | None:
    let_out()
    thread = threading.Thread(target=step, name="gracefulexit-early", daemon=True)
    try:
        thread.start()
    except RuntimeError:
        step()
        return None
    return thread


def _leave_multiprocessing() -> None:
    """As its own `atexit` function does, but for waiting for other processes.

    Else the servers of managers, and workers that are busy, would go on for ever
    without us, and sockets and temporary folders would be left. (Shared memory and
    semaphores are unlinked by its resource tracker, which outlives us.) Each
    finalizer runs once, here or there, so it does no harm if we do not end after all
    or main is in the middle of it.
    """
    util = sys.modules.get("multiprocessing.util")
    finalize = getattr(util, "_run_finalizers", None)  # private
    if finalize is None:
        return
    try:
        # In its order: a pool stops replacing its workers before they are ended.
        finalize(0)
        _terminate_daemons()
        finalize()
    except BaseException:
        # Each logs an Exception by itself; this one was to end a thread.
        log.exception("multiprocessing was not cleaned up")


def _terminate_daemons() -> None:
    process: Any = sys.modules.get("multiprocessing.process")
    # In a forked child these are still those of the parent.
    for child in list(getattr(process, "_children", ())):
        if child.daemon and child._parent_pid == os.getpid():
            with contextlib.suppress(Exception):  # it is being closed or joined
                child.terminate()
