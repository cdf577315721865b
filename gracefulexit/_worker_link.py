"""Between a process worker and its parent: a page of shared memory for the facts,
a pipe that wakes and that tells of the parent's end.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from multiprocessing import reduction
from typing import Any

from ._polling import pidfd_open, readable
from ._worker_shared import Page, Pipe, close_fd, new_file


class Link:
    """The parent's end. Any thread may call any method, and a Python signal handler
    may call ask()."""

    def __init__(self, *, forked: bool) -> None:
        # Protects the descriptors from being closed while they are written to. Who
        # holds it waits for nothing. Re-entrant, for a handler in main.
        self._lock = threading.RLock()
        with contextlib.ExitStack() as undo:
            self._file = -1 if forked else new_file()
            undo.callback(close_fd, self._file)
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

    def noticed(self) -> float | None:
        """When the child has seen that it is asked; None: not yet, or unknown."""
        with self._lock:
            return None if self._closed else self.page.noticed()

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
        close_fd(fd)

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
        close_fd(self._reader)
        close_fd(self._parent)
        self._reader = self._parent = -1
        self.page = Page()


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
