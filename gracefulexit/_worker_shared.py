"""What a process worker and its parent share, piece by piece: a flag, a page of
memory, a pipe.

Not multiprocessing.Event: its locks deadlock a Python signal handler that sets it
(python/cpython#126434). Nothing here takes a lock that its holder keeps while it
waits, so a handler may ask.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import tempfile
import time
from _thread import allocate_lock
from collections.abc import Callable
from typing import Any


class Flag:
    """The face of a threading.Event that a Python signal handler may set.

    A handler runs on top of main, which may be inside Event.wait() or Event.set()
    and hold the lock that the handler then waits for. Here each waiter has a lock
    of its own that it only sleeps on.
    """

    def __init__(self, on_set: Callable[[], Any] | None = None) -> None:
        self._is_set = False
        self._waiting: list[Any] = []
        self._on_set = on_set  # instead of note(), which it will call

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        (self._on_set or self.note)()

    def note(self) -> None:
        self._is_set = True
        for lock in list(self._waiting):
            with contextlib.suppress(RuntimeError):  # it is woken already
                lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        lock = allocate_lock()
        lock.acquire()
        # In this order: who sets it now sees us, or we see it.
        self._waiting.append(lock)
        try:
            if not self._is_set:
                lock.acquire(timeout=-1 if timeout is None else timeout)
        finally:
            self._waiting.remove(lock)
        return self._is_set

    def clear(self) -> None:
        raise RuntimeError(
            "a process worker that was asked to stop cannot be told otherwise; start "
            "a new one"
        )


class Page:
    """Shared memory: was the child asked, when did it notice, and what ended it."""

    SIZE = 2048
    _ASKED, _TOLD, _NOTICED, _WHEN, _TEXT = 0, 1, 2, 8, 16

    def __init__(self, fd: int = -1) -> None:
        """`fd`: a file of SIZE bytes, for who is not forked."""
        self._bytes = mmap.mmap(fd, self.SIZE)

    @property
    def asked(self) -> bool:
        return self._bytes[self._ASKED] != 0

    def ask(self) -> None:
        self._bytes[self._ASKED] = 1

    def notice(self) -> None:
        """The child has seen that it is asked."""
        if not self._bytes[self._NOTICED]:
            struct.pack_into("d", self._bytes, self._WHEN, time.monotonic())
            self._bytes[self._NOTICED] = 1

    def noticed(self) -> float | None:
        """When; the monotonic clock is that of the system."""
        if not self._bytes[self._NOTICED]:
            return None
        when: float = struct.unpack_from("d", self._bytes, self._WHEN)[0]
        return when

    def tell(self, text: str) -> None:
        raw = text.encode("utf-8", "backslashreplace")[: self.SIZE - self._TEXT - 1]
        self._bytes[self._TEXT : self._TEXT + len(raw)] = raw
        self._bytes[self._TOLD] = 1

    def told(self) -> str | None:
        if not self._bytes[self._TOLD]:
            return None
        raw = self._bytes[self._TEXT :].partition(b"\0")[0]
        return raw.decode("utf-8", "replace")

    def close(self) -> None:
        self._bytes.close()


def new_file() -> int:
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("gracefulexit")
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.truncate(fd, Page.SIZE)
    return fd


class Pipe:
    """A pipe whose writer never blocks and writes into nothing else."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.set_blocking(self._writer, False)
        self._identity = _identity(self._writer)

    def write(self) -> None:
        # Somebody may have closed all descriptors and opened a file since. A full
        # pipe wakes as well.
        if self._writer >= 0 and _identity(self._writer) == self._identity:
            with contextlib.suppress(OSError):
                os.write(self._writer, b"x")

    def drain(self) -> None:
        with contextlib.suppress(OSError):
            os.read(self.reader, 512)

    def close_reader(self) -> None:
        fd, self.reader = self.reader, -1
        close_fd(fd)

    def close_writer(self) -> None:
        fd, self._writer = self._writer, -1
        if fd >= 0 and _identity(fd) == self._identity:
            close_fd(fd)

    def close(self) -> None:
        self.close_reader()
        self.close_writer()


def _identity(fd: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(fd)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def close_fd(fd: int) -> None:
    if fd >= 0:
        with contextlib.suppress(OSError):
            os.close(fd)
