"""Child processes that the terminal's Ctrl-C does not cut."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

_IMPORTED_IN = os.getpid()


def ignore_interrupt() -> None:
    """Let the terminal's Ctrl-C pass by this child process.

    For ``Pool(initializer=gracefulexit.ignore_interrupt)`` and
    ``ProcessPoolExecutor(initializer=gracefulexit.ignore_interrupt)``, any start
    method: Ctrl-C goes to all processes of a terminal, and the program itself
    decides what becomes of its children. ``terminate()`` still ends them, and
    programs that they start hear Ctrl-C as usual. A second call does nothing.

    Raises:
        RuntimeError: called in the program itself, as by
            ``initializer=ignore_interrupt()``.
        ValueError: called outside the child's main thread.
    """
    if os.getpid() == _IMPORTED_IN and not _multiprocessing_child():
        raise RuntimeError(
            "ignore_interrupt() is for child processes, and this is the program "
            "itself; pass the function and do not call it: "
            "Pool(initializer=gracefulexit.ignore_interrupt)"
        )
    pass_by(signal.SIGINT)


def pass_by(signum: int) -> None:
    """From now on the signal has no effect here. In the main thread only.

    Not SIG_IGN: that survives exec, and a program started from here could not
    be interrupted. A handler is reset by exec.
    """
    if signal.getsignal(signum) is signal.SIG_IGN:
        return  # nohup meant it
    signal.signal(signum, _nothing)
    # C code that does not retry is not cut either.
    signal.siginterrupt(signum, False)


def _nothing(signum: int, frame: FrameType | None) -> None:
    pass


def _multiprocessing_child() -> bool:
    # Not imported for the question: who has not, is no child of it.
    module = sys.modules.get("multiprocessing.process")
    return module is not None and module.parent_process() is not None
