"""What the process ends with: the exit code, or the signal that it dies of."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from . import _core
from ._errors import GracefulExit
from ._forks import Ender
from ._info import SignalInfo
from ._layers import in_main_thread

ExitStatus = str | int


class Exit:
    """A process ends once, so there is one of these."""

    def __init__(self) -> None:
        self.main_ended: float | None = None  # time.monotonic()
        # The signal of default disposition, held by a section, that the
        # interpreter ends by.
        self.ends_by = 0
        self._ender: Ender | None = None

    def forget_in_child(self) -> None:
        _core.at_exit(0, -1)
        self._ender = None

    def note_end_of_main(self) -> None:
        self.main_ended = time.monotonic()

    def start_ender(self) -> None:
        """If this process needs one, and has none. Under the lock of the process."""
        if self._ender is None and Ender.needed():
            with contextlib.suppress(RuntimeError):  # no thread is to be had
                ender = Ender()
                ender.start()
                self._ender = ender

    def exception(
        self,
        reason: SignalInfo | None,
        status: ExitStatus,
        *,
        failed: bool = False,
        at_end: Callable[[], None] = lambda: None,
    ) -> SystemExit:
        """What ends the calling thread for this reason; in main, the program. `at_end`
        is called when the interpreter ends by it."""

        def end(signum: int) -> None:
            if signum:
                _die_at_exit(signum)
            at_end()

        code, signum = code_and_signal(reason, status, failed)
        if not in_main_thread() or Ender.needed():
            # threading prints a traceback for every subclass of SystemExit; it is
            # above the main thread, too, of a child that another thread has forked.
            if in_main_thread() and self._ender is not None:
                self._ender.status = code, signum
            plain = SystemExit(code)
            plain.reason = reason  # type: ignore[attr-defined]
            return plain
        return GracefulExit(reason, code, signum=signum, _at_end=end)

    def of_default(self, reason: SignalInfo | None, signum: int) -> SystemExit:
        """What ends main by a signal of default disposition that was held."""

        def die(signum: int) -> None:
            self.ends_by = signum
            _die_at_exit(signum)

        return GracefulExit(reason, 128 + signum, signum=signum, _at_end=die)

    def choose_for_main(
        self, reason: SignalInfo, status: ExitStatus, failed: bool
    ) -> None:
        """Main had returned before the stop: nobody else will choose the status.
        (Any stop from code but by a failed worker leaves it as main set it.)"""
        late = self.main_ended is not None and reason.when >= self.main_ended
        if late and (reason.signum or failed):
            code, signum = code_and_signal(reason, status, failed)
            _core.at_exit(signum, -1 if signum else code)


def code_and_signal(
    reason: SignalInfo | None, status: ExitStatus, failed: bool
) -> tuple[int, int]:
    """The exit code, and the signal to die of or 0."""
    signum = reason.signum if reason is not None else 0
    if isinstance(status, int):
        return status, 0
    if failed or not signum:
        return int(failed), 0
    return 128 + signum, signum if status == "signal" else 0


def for_core(status: ExitStatus) -> int:
    """As the core knows it, which ends the process where Python cannot."""
    if isinstance(status, int):
        return status
    return _core.EXIT_SIGNAL if status == "signal" else _core.EXIT_CODE


def _die_at_exit(signum: int) -> None:
    _core.at_exit(signum, -1)
