"""When a worker has first seen that it is asked to stop, and when it ended."""

from __future__ import annotations

import threading
import time


class Notice:
    """Of one worker. `ident`: the thread that counts, others may look, too."""

    __slots__ = ("ended", "ident", "seen")

    def __init__(self) -> None:
        self.ident: int | None = None
        self.seen: float | None = None  # time.monotonic()
        self.ended: float | None = None

    def take(self) -> bool:
        """Somebody has looked, and found it asked; True, which is what he found."""
        if self.seen is None and threading.get_ident() == self.ident:
            self.seen = time.monotonic()
        return True


class AskedEvent(threading.Event):
    """An Event that takes notice of who sees it set. A flag of its own, as a call of
    the method that it replaces would double the price of polling."""

    def __init__(self, notice: Notice) -> None:
        super().__init__()
        self._notice = notice
        self._asked = False

    def is_set(self) -> bool:
        return self._asked and self._notice.take()

    def set(self) -> None:
        self._asked = True  # before those who wait see it
        super().set()

    def clear(self) -> None:
        super().clear()
        self._asked = False

    def wait(self, timeout: float | None = None) -> bool:
        return super().wait(timeout) and self._notice.take()
