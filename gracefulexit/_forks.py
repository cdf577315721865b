"""Forked children: who made them, and the end of those that a thread has made."""

from __future__ import annotations

import os
import sys
import threading
import time
from types import FrameType

from . import _core
from ._dispatcher import Dispatcher
from ._masks import Apart

# Who forks to run code of its own in the child, which ends by terminate() or by
# an exec: (module, function), None for all of them.
FORKERS = {
    ("multiprocessing.popen_fork", None),
    ("multiprocessing.forkserver", None),
    ("billiard.popen_fork", None),
    ("billiard.forkserver", None),
    ("subprocess", None),  # preexec_fn=, user=
    ("os", "_spawnvef"),
    ("pty", "spawn"),
}
# Where the program's own code begins in a child of theirs.
BEGINNINGS = {"multiprocessing.process", "billiard.process"}

# Since 3.13 join() and is_alive() of a thread call pthread_join(), and that of a
# recent C library waits for ever for who has become the first thread of a process by
# a fork. There is nothing else to wait for.
CAN_JOIN = sys.version_info < (3, 13)
LOOK = 0.02  # seconds between two looks whether the forking thread has returned


def forked_by_library() -> bool:
    """Is this the child of one that never goes on with the program, and shall be a
    process as if we were not there?"""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__")
        if {(module, None), (module, frame.f_code.co_name)} & FORKERS:
            return True
        if module in BEGINNINGS:
            return False
        frame = frame.f_back
    return False


class Ender(Apart):
    """Ends a forked child with its last thread, as it would end without us.

    In a child that another thread than main has forked, the return of that thread
    is no end of the interpreter: the kernel goes on until there is no thread left,
    and our two would be left for ever.
    """

    def __init__(self) -> None:
        super().__init__(name="gracefulexit-ender", daemon=True)
        #: Exit code, and the signal to die of or 0, that killer.exit() asked for.
        self.status = (0, 0)

    @staticmethod
    def needed() -> bool:
        """Is the main thread of this process one that forked it as another thread?
        In the child, once threading has been told of the fork."""
        main = threading.main_thread()
        foreign = isinstance(main, threading._DummyThread)  # it cannot be joined
        return not foreign and not isinstance(main, threading._MainThread)  # type: ignore[attr-defined]

    def work(self) -> None:
        while others := [
            thread
            for thread in threading.enumerate()
            if not isinstance(thread, (Dispatcher, Ender, threading._DummyThread))
        ]:
            if CAN_JOIN or others[0] is not threading.main_thread():
                others[0].join()
            else:
                time.sleep(LOOK)
        code, signum = self.status
        if signum:
            _core.die(signum)
        os._exit(code)
