"""The report of a stop that is written without Python, and where it has the stacks
of Python from."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Container

from . import _core


class Dump:
    """Asks faulthandler to write all stacks when a real-time signal is raised: the
    highest that nobody uses. That is public, and needs no interpreter lock.

    Made ready while a killer has a grace, as it cannot be in the moment of need.
    Where it cannot be made ready, the deadline is the same and less is said.

    All under the lock of the process; each may be interrupted and called again.
    """

    def __init__(self) -> None:
        self._armed = False
        self._signum = 0  # 0: none
        self._handler = 0  # faulthandler's, as an address

    def follow(self, wanted: bool, taken: Container[int]) -> None:
        """`taken`: the signals that killers and sections hear or hold."""
        if self._armed and (not wanted or self._signum in taken):
            self._give_back()
        if wanted and not self._armed and _has_stderr():
            self._armed = True
            self._choose(taken)
            self._armed = _core.report_arm(self._signum)
            if not self._armed:
                self._give_back_signal()

    def _choose(self, taken: Container[int]) -> None:
        with contextlib.suppress(ImportError, OSError, RuntimeError, ValueError):
            import faulthandler

            signum = _highest_free(taken)
            if signum:
                self._signum = signum
                faulthandler.register(signum, file=2, all_threads=True, chain=False)
                self._handler = _core.handler(signum)

    def _give_back(self) -> None:
        _core.report_disarm()
        self._give_back_signal()
        self._armed = False

    def _give_back_signal(self) -> None:
        # faulthandler restores what was there before it, whosever it is now; so not
        # where another has it. 0: interrupted before it was known.
        if self._signum and self._handler in (0, _core.handler(self._signum)):
            with contextlib.suppress(ImportError, OSError, RuntimeError, ValueError):
                import faulthandler

                faulthandler.unregister(self._signum)
        self._signum = self._handler = 0

    def forget_in_child(self) -> None:
        """Of a fork. The core has forgotten its part."""
        self._give_back_signal()
        self._armed = False


def _has_stderr() -> bool:
    """Without it the next file that is opened is number 2."""
    try:
        return not getattr(sys.__stderr__, "closed", True)
    except ValueError:  # detached
        return False


def _highest_free(taken: Container[int]) -> int:
    """0: there is none. One that is blocked is somebody's who waits for it."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    real_time = range(
        getattr(signal, "SIGRTMIN", 1), getattr(signal, "SIGRTMAX", 0) + 1
    )
    for signum in reversed(real_time):
        if (
            signum not in taken
            and signum not in blocked
            and signal.getsignal(signum) == signal.SIG_DFL
            and _core.handler(signum) == 0
        ):
            return int(signum)
    return 0
