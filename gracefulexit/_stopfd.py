"""A descriptor that becomes readable at the stop, and asyncio's wait on it."""

from __future__ import annotations

import fcntl
import os
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

from . import _core

if TYPE_CHECKING:
    import asyncio

LOWEST = 64  # out of the way of programs that count on low numbers

Sleepers = set["asyncio.Future[None]"]  # tasks that wait, of one loop


class StopDescriptor:
    """Made on first use; the watcher writes one byte, at the stop."""

    def __init__(self) -> None:
        # Protects _ends. Innermost but for the core's own.
        self._lock = threading.RLock()
        self._ends: tuple[int, int] | None = None
        self._sleepers: weakref.WeakKeyDictionary[
            asyncio.AbstractEventLoop, Sleepers
        ] = weakref.WeakKeyDictionary()

    def fileno(self) -> int:
        with self._lock:
            if self._ends is None:
                self._ends = _open()
            return self._ends[0]

    async def wait(self, timeout: float | None) -> None:
        import asyncio  # a third of our import time, and most programs have no loop

        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        sleepers = self._sleepers.setdefault(loop, set())
        reader = self.fileno()
        if not sleepers:
            # One reader for all tasks of a loop: a second add_reader() for the
            # same descriptor would replace the first.
            loop.add_reader(reader, _wake, sleepers)
        sleepers.add(future)
        try:
            await asyncio.wait_for(future, timeout)
        except asyncio.TimeoutError:
            pass
        finally:
            sleepers.discard(future)
            if not sleepers and self._ends is not None:
                loop.remove_reader(reader)

    def close(self) -> None:
        """From any thread; tasks that wait are woken."""
        with self._lock:
            ends, self._ends = self._ends, None
        if ends is None:
            return
        for loop, sleepers in list(self._sleepers.items()):
            # The loop may have been closed, now or at this moment.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(_wake, set(sleepers))
                loop.remove_reader(ends[0])
        with suppress(ValueError):  # it had been closed behind our back
            _core.fd_remove(ends[1])
        self._close(ends)

    def forget_in_child(self) -> None:
        """After a fork the pipe is the parent's: close our copy of it."""
        self._lock = threading.RLock()
        ends, self._ends = self._ends, None
        self._sleepers = weakref.WeakKeyDictionary()
        if ends is not None:
            self._close(ends)

    @staticmethod
    def _close(ends: tuple[int, int]) -> None:
        for fd in ends:
            with suppress(OSError):
                os.close(fd)


def _wake(sleepers: Sleepers) -> None:
    for future in list(sleepers):
        if not future.done():
            future.set_result(None)


def _open() -> tuple[int, int]:
    low = os.pipe()
    ends = list(low)
    try:
        for i, fd in enumerate(low):
            # Where the limit on descriptors is lower than that, it stays.
            with suppress(OSError):
                ends[i] = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, LOWEST)
                os.close(fd)
        os.set_blocking(ends[1], False)
        _core.fd_add(ends[1], True)
    except BaseException:
        for fd in ends:
            os.close(fd)
        raise
    return ends[0], ends[1]
