"""What threads of ours block: all that the program may want to wait for itself.

The kernel gives a signal of the process to any thread that does not block it. A
program that blocks one in its own threads, to take it by sigwait() or a signalfd,
must not lose it to a thread that it does not know of.

Threads and children inherit a mask, though. So what is the user's is let out before
it runs in such a thread, or in one that it starts: log handlers, hooks, callbacks.

Rejected: to block it only while the thread sleeps. At each change of a mask the
kernel looks again at what is pending for the process, and the thread takes what is on
its way to main. Two of one number that two threads take at once may be one call of a
handler in Python.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Any

from . import _core

# The kernel sends them to the one thread that has caused them; one that blocks its own
# fault ends the process, without any handler.
OF_ONE_THREAD = frozenset(
    (
        *(signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP),
        *(signal.SIGSYS, signal.SIGABRT, signal.SIGPIPE, signal.SIGXFSZ),
    )
)
OURS_TO_BLOCK = frozenset(signal.valid_signals()) - OF_ONE_THREAD

# By ident. Not threading.current_thread(), which makes up a Thread where there is none,
# and keeps it. A forked child gives the idents of the parent's threads to others.
_here: dict[int, Apart] = {}
os.register_at_fork(after_in_child=_here.clear)


class Apart(threading.Thread):
    """A thread that blocks all but what it has to hear, from its first step."""

    def __init__(self, heard: Iterable[int] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._heard = frozenset(heard)
        # What it blocks, and would not if it had been started like others.
        self._fresh: set[int] = set()
        self._out = False

    def start(self) -> None:
        def start(fresh: set[int]) -> None:
            self._fresh = fresh
            super(Apart, self).start()

        let_out()  # else what the starter blocks so would be the program's, there
        _core.masked(start, OURS_TO_BLOCK - self._heard)

    def run(self) -> None:
        _here[threading.get_ident()] = self
        try:
            self.work()
        finally:
            _here.pop(threading.get_ident(), None)

    def work(self) -> None:
        super().run()

    def let_out(self) -> None:
        """From here on the mask is the program's. In the thread."""
        if not self._out:
            self._out = True
            signal.pthread_sigmask(signal.SIG_UNBLOCK, self._fresh)

    def share(self, others: set[int], wanted: AbstractSet[int]) -> None:
        if not self._out:
            theirs, ours = self._fresh & wanted, others - wanted
            self._fresh = (self._fresh - theirs) | ours
            others -= ours
            others |= theirs

    def draw_back(self, heard: frozenset[int]) -> None:
        """From here on it blocks all but these. In the thread."""
        if self._out or heard != self._heard:
            apart = OURS_TO_BLOCK - heard
            kept = set() if self._out else self._fresh
            signal.pthread_sigmask(signal.SIG_UNBLOCK, kept & heard)
            before = signal.pthread_sigmask(signal.SIG_BLOCK, apart)
            self._fresh = (kept & apart) | (apart - before)
            self._heard, self._out = heard, False


def share(others: set[int], wanted: AbstractSet[int]) -> None:
    """`others`, which other code of ours has this thread block, shall be `wanted`: what
    it blocks anyway only changes hands. A change of the mask would be a moment in which
    it does not block it."""
    me = _here.get(threading.get_ident())
    if me is not None:
        me.share(others, wanted)


def let_out() -> None:
    """Before this thread, which may be one of ours, runs or starts what is the
    user's."""
    me = _here.get(threading.get_ident())
    if me is not None:
        me.let_out()


def _before_handlers(record: logging.LogRecord) -> bool:
    let_out()
    return True


# Called for what is logged, after the level was looked at and before any handler.
logging.getLogger("gracefulexit").addFilter(_before_handlers)
