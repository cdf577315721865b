"""Between a process worker and its parent: a page of shared memory for the facts,
a pipe that wakes and that tells of the parent's end.

Not multiprocessing.Event: its locks deadlock a Python signal handler that sets it
(python/cpython#126434). Nothing here takes a lock that its holder keeps while it
waits, so a handler may ask.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import select
import tempfile
import threading
import time
from _thread import allocate_lock
from collections.abc import Callable, Iterable
from multiprocessing import reduction
from typing import Any

LONGEST = 86400.0  # seconds for one poll(2), which counts in int milliseconds


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


def readable(fds: Iterable[int], timeout: float | None) -> dict[int, int]:
    """Which of them are, after at most so many seconds: descriptor -> events."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    until = None if timeout is None else time.monotonic() + timeout
    while True:
        left = LONGEST if until is None else until - time.monotonic()
        # A millisecond more: not back before the time is over.
        found = poll.poll(int(min(max(left, 0.0), LONGEST) * 1000) + (left > 0))
        if found or left <= 0:
            return dict(found)


class Page:
    """Shared memory: was the child asked, and what ended it."""

    SIZE = 2048
    _ASKED, _TOLD, _TEXT = 0, 1, 2

    def __init__(self, fd: int = -1) -> None:
        """`fd`: a file of SIZE bytes, for who is not forked."""
        self._bytes = mmap.mmap(fd, self.SIZE)

    @property
    def asked(self) -> bool:
        return self._bytes[self._ASKED] != 0

    def ask(self) -> None:
        self._bytes[self._ASKED] = 1

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


def _new_file() -> int:
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
        _close(fd)

    def close_writer(self) -> None:
        fd, self._writer = self._writer, -1
        if fd >= 0 and _identity(fd) == self._identity:
            _close(fd)

    def close(self) -> None:
        self.close_reader()
        self.close_writer()


def _identity(fd: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(fd)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _close(fd: int) -> None:
    if fd >= 0:
        with contextlib.suppress(OSError):
            os.close(fd)


class Link:
    """The parent's end. Any thread may call any method, and a Python signal handler
    may call ask()."""

    def __init__(self, *, forked: bool) -> None:
        # Protects the descriptors from being closed while they are written to. Who
        # holds it waits for nothing. Re-entrant, for a handler in main.
        self._lock = threading.RLock()
        with contextlib.ExitStack() as undo:
            self._file = -1 if forked else _new_file()
            undo.callback(_close, self._file)
            self.page = Page(self._file)
            undo.callback(self.page.close)
            self._wake = Pipe()  # the child polls it, and never reads
            undo.callback(self._wake.close)
            self._poke = Pipe()  # for the thread in the parent that looks after it
            undo.pop_all()
        self.poked = self._poke.reader
        self._closed = False
        _remember(self)

    def ask(self) -> None:
        with self._lock:
            if not self._closed:
                self.page.ask()  # the fact first, the wake-up second
                self._wake.write()
                self._poke.write()

    def drain(self) -> None:
        self._poke.drain()

    def for_child(self) -> tuple[Any, Any]:
        """What a child that is not forked gets, pickled."""
        return reduction.DupFd(self._file), reduction.DupFd(self._wake.reader)

    def in_forked_child(self) -> LinkEnd:
        return LinkEnd(self.page, self._wake.reader)

    def launched(self) -> None:
        """The child has its own of what it needs."""
        self._wake.close_reader()
        fd, self._file = self._file, -1
        _close(fd)

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self.launched()
            self._wake.close()
            self._poke.close()
            self.page.close()
        _forget(self)

    def forget_in_child(self, own: bool) -> None:
        """Forked. As long as one process has the writer, no child of ours sees an
        end of file when we die. Without the lock: a thread that is not here may
        have held it."""
        self._closed = True
        self._poke.close()
        self._wake.close_writer()
        if not own:
            self._wake.close_reader()


class LinkEnd:
    """The child's end."""

    def __init__(self, page: Page, reader: int) -> None:
        self.page = page
        self._reader = reader
        self._parent = -1  # pidfd
        self._orphan = False  # from the beginning
        _remember(self)

    @classmethod
    def unpickled(cls, file: Any, reader: Any) -> LinkEnd:
        fd, reader = file.detach(), reader.detach()
        page = Page(fd)
        os.close(fd)
        os.set_inheritable(reader, False)
        return cls(page, reader)

    def follow(self, parent: int) -> None:
        """Notice the end of our parent, even if some other child of it keeps the
        pipe open."""
        self._parent = pidfd_open(parent)
        # After that, as the number may be another process's by now.
        self._orphan = os.getppid() != parent

    def wait(self) -> bool:
        """Sleep until asked (True), or until the parent has ended (False)."""
        watched = {fd for fd in (self._reader, self._parent) if fd >= 0}
        while watched and not self._orphan:
            found = readable(watched, None)
            if self.page.asked:
                return True
            if self._parent in found or found.get(self._reader, 0) & select.POLLHUP:
                return False
            # Others have closed the pipe, or put something else in its place:
            # SIGTERM still comes.
            watched -= found.keys()
        if not self._orphan:
            threading.Event().wait()
        return False

    def wait_for_orphanage(self) -> None:
        """Sleep until the parent has ended."""
        poll = select.poll()
        poll.register(self._reader, 0)  # the end of file only
        if self._parent >= 0:
            poll.register(self._parent, select.POLLIN)
        while not self._orphan:
            for fd, events in poll.poll():
                if fd == self._parent or events & select.POLLHUP:
                    return
                poll.unregister(fd)

    def forget_in_child(self, own: bool) -> None:
        """A process that the child forked is not asked by our parent."""
        _close(self._reader)
        _close(self._parent)
        self._reader = self._parent = -1
        self.page = Page()


def pidfd_open(pid: int) -> int:
    """-1 where there is none: an old kernel, another system, no descriptors left."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1


# All that are open in this process, for those that it forks; and by thread the one
# whose child is being forked.
_open: dict[int, Link | LinkEnd] = {}
launching: dict[int, Link] = {}
_prepared = False


def _remember(link: Link | LinkEnd) -> None:
    global _prepared
    if not _prepared:  # not at import: importing registers nothing
        _prepared = True
        os.register_at_fork(after_in_child=_forget_in_child)
    _open[id(link)] = link


def _forget(link: Link | LinkEnd) -> None:
    _open.pop(id(link), None)


def _forget_in_child() -> None:
    own = launching.get(threading.get_ident())
    launching.clear()
    links = list(_open.values())
    _open.clear()
    for link in links:
        link.forget_in_child(link is own)
