"""Setting a threading.Event where the handler of another signal may raise."""

from __future__ import annotations

import _thread
import threading

from ._layers import in_main_thread
from ._masks import start_bare


def set_event(event: threading.Event) -> None:
    """Not in main, where the handler of another signal may raise in the middle of it:
    an Event takes its lock in Python, which then is never released,
      main: set() has the lock, KeyboardInterrupt;   main: close() again, set()
    and main waits for itself."""
    if event.is_set():
        return
    if not in_main_thread():
        event.set()
        return
    done = _thread.allocate_lock()
    done.acquire()

    def run() -> None:
        event.set()
        done.release()

    try:
        start_bare(run)
    except RuntimeError:  # no thread is to be had, or not any more
        run()
    done.acquire()
