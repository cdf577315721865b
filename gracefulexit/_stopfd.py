"""A descriptor that becomes readable at the stop, and asyncio's wait for it."""

from __future__ import annotations

import logging
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

from . import _core

if TYPE_CHECKING:
    import asyncio

log = logging.getLogger("gracefulexit")

Sleepers = set["asyncio.Future[None]"]  # tasks that wait, of one loop


class StopDescriptor:
    """The descriptor is made on first use and fed by the watcher. asyncio does
    without: a loop registers a number, and other code may close it and have the
    loop watch a file of its own by it. It is woken by call_soon_threadsafe()."""

    def __init__(self) -> None:
        # Protects all of these. Innermost but for the core's own.
        self._lock = threading.RLock()
        self._open: tuple[int, bytes] | None = None
        self._over = False
        self._sleepers: weakref.WeakKeyDictionary[
            asyncio.AbstractEventLoop, Sleepers
        ] = weakref.WeakKeyDictionary()

    def fileno(self) -> int:
        with self._lock:
            old = self._open
            if old is not None and _core.stop_fd_whole(old[1]):
                return old[0]
            new = self._open = _core.stop_fd_open()
            if old is not None:
                _core.stop_fd_close(old[1])
        if old is not None:
            log.warning(
                "descriptor %d of killer.fileno() was closed or replaced by other "
                "code; %d takes its place: register it in your loop",
                old[0],
                new[0],
            )
        return new[0]

    async def wait(self, timeout: float | None) -> None:
        import asyncio  # a third of our import time, and most programs have no loop

        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with self._lock:
            if self._over:
                return
            sleepers = self._sleepers.setdefault(loop, set())
            sleepers.add(future)
        try:
            await asyncio.wait_for(future, timeout)
        except asyncio.TimeoutError:
            pass
        finally:
            with self._lock:
                sleepers.discard(future)

    def wake(self) -> None:
        """Wake the tasks that wait, now and later. From any thread."""
        with self._lock:
            self._over = True
            waiting = [(loop, set(who)) for loop, who in self._sleepers.items() if who]
        for loop, sleepers in waiting:
            # The loop may have been closed, now or at this moment; and it is not
            # ours, so it may raise anything. Others are told after it.
            with suppress(Exception):
                loop.call_soon_threadsafe(_wake, sleepers)

    def close(self) -> None:
        """From any thread; tasks that wait are woken."""
        with self._lock:
            last, self._open = self._open, None
        if last is not None:
            _core.stop_fd_close(last[1])
        self.wake()

    def forget_in_child(self) -> None:
        """After a fork the pair is the parent's: close our copy of it."""
        if self._open is not None:
            _core.stop_fd_close(self._open[1])
        self.__init__()  # type: ignore[misc]


def _wake(sleepers: Sleepers) -> None:
    for future in sleepers:
        if not future.done():
            future.set_result(None)
