"""The exception that ends the program. Imports nothing of ours."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


class GracefulExit(SystemExit):
    """Unwinds the main thread after a stop; a ``SystemExit`` with a ``reason``.

    Raised by ``killer.exit()``, ``killer.checkpoint()`` and at the end of a
    protected section. ``finally``, ``with`` and ``atexit`` run as for any
    ``SystemExit``. If it reaches the interpreter, the process ends by
    ``exit_status``: for ``"signal"`` it dies of the signal, after ``atexit`` and
    after the standard streams were flushed. Caught and followed by another
    exit, it has no effect.

    >>> GracefulExit(status=3).code
    3
    """

    def __init__(
        self,
        reason: Any = None,
        status: int = 0,
        *,
        signum: int = 0,
        _at_end: Callable[[int], None] | None = None,
    ) -> None:
        """`signum`: die of it; `_at_end` is called with that number, or 0, when the
        interpreter ends by this (given by the package, so that this module needs no
        other)."""
        super().__init__(status)
        self.reason = reason
        self._status = status
        self._signum = signum
        self._at_end = _at_end

    @property
    def code(self) -> int:
        """The exit status as a number; 128 + n for a death by signal n."""
        if self._at_end is not None and _read_by_interpreter():
            self._at_end(self._signum)
        return self._status

    @code.setter
    def code(self, value: int) -> None:
        self._status = value
        self._signum = 0

    def __str__(self) -> str:
        return str(self.reason) if self.reason is not None else str(self._status)


def _read_by_interpreter() -> bool:
    # The interpreter asks for `code` when every Python frame has ended; any
    # other reader (a test, a logger, an `except SystemExit`) has one.
    try:
        sys._getframe(2)
    except ValueError:
        return True
    return False
