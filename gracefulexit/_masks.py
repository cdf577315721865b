"""What threads of ours block: all that the program may want to wait for itself.

The kernel gives a signal of the process to any thread that does not block it. A
program that blocks one in its own threads, to take it by sigwait() or a signalfd,
must not lose it to a thread that it does not know of.

Threads and children inherit a mask, though. So what is the user's is let out before
it runs in such a thread: log handlers, hooks, callbacks.

Rejected: to block it only while the thread sleeps. At each change of a mask the
kernel looks again at what is pending for the process, and the thread takes what is on
its way to main. Two of one number that two threads take at once may be one call of a
handler in Python.
"""

from __future__ import annotations

import _thread
import functools
import logging
import os
import signal
import threading

# signal.pthread_sigmask() makes an enum of each of the sixty that we block.
from _signal import pthread_sigmask  # type: ignore[import-not-found]
from collections.abc import Callable, Iterable
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
_here: dict[int, Mask] = {}
os.register_at_fork(after_in_child=_here.clear)


class Mask:
    """Of one thread, by which alone it is used."""

    def __init__(self, fresh: Iterable[int], heard: frozenset[int]) -> None:
        self._heard = heard
        # What it blocks, and would not if it had been started like others.
        self._fresh = self._open(set(fresh), heard)
        self._out = False

    @staticmethod
    def _open(kept: set[int], heard: frozenset[int]) -> set[int]:
        if kept & heard:
            pthread_sigmask(signal.SIG_UNBLOCK, kept & heard)
        return kept - heard

    @property
    def kept(self) -> set[int]:
        return set() if self._out else self._fresh

    def let_out(self) -> bool:
        if self._out:
            return False
        self._out = True
        pthread_sigmask(signal.SIG_UNBLOCK, self._fresh)
        return True

    def share(self, others: set[int], wanted: AbstractSet[int]) -> None:
        if not self._out:
            theirs, ours = self._fresh & wanted, others - wanted
            self._fresh = (self._fresh - theirs) | ours
            others -= ours
            others |= theirs

    def draw_back(self, heard: frozenset[int] | None = None) -> None:
        if heard is None:
            heard = self._heard
        if self._out or heard != self._heard:
            kept = self._open(self.kept, heard)
            apart = OURS_TO_BLOCK - heard
            self._fresh = kept | (apart - pthread_sigmask(signal.SIG_BLOCK, apart))
            self._heard, self._out = heard, False


class Apart(threading.Thread):
    """A thread that blocks all but what it has to hear, from its first step."""

    def __init__(self, heard: Iterable[int] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._heard = frozenset(heard)
        self._fresh: set[int] = set()

    def start(self) -> None:
        inherited = _kept_here()

        def start(fresh: tuple[int, ...]) -> None:
            self._fresh = {*fresh, *inherited}
            super(Apart, self).start()

        # Rejected: to have another thread call it for main, where a handler in Python
        # may run meanwhile. Who wraps Thread.start() would take that for the starter;
        # and a handler that interrupts main in `threading`, where main has the lock
        # that Thread.start() takes, would wait for a thread that waits for main.
        _core.masked(start, OURS_TO_BLOCK - self._heard)

    def run(self) -> None:
        _here[threading.get_ident()] = Mask(self._fresh, self._heard)
        try:
            self.work()
        finally:
            draw_back()
            _here.pop(threading.get_ident(), None)

    def work(self) -> None:
        super().run()


def _kept_here() -> set[int]:
    """What this thread blocks as one of ours: where it starts another, that is not the
    program's there, either."""
    me = _here.get(threading.get_ident())
    return set() if me is None else me.kept


def share(others: set[int], wanted: AbstractSet[int]) -> None:
    """`others`, which other code of ours has this thread block, shall be `wanted`: what
    it blocks anyway only changes hands. A change of the mask would be a moment in which
    it does not block it."""
    me = _here.get(threading.get_ident())
    if me is not None:
        me.share(others, wanted)


def let_out() -> bool:
    """Before this thread, which may be one of ours, runs what is the user's: from here
    on its mask is the program's. True: was it not before? Then draw_back() follows."""
    me = _here.get(threading.get_ident())
    return me is not None and me.let_out()


def draw_back(heard: frozenset[int] | None = None) -> None:
    """From here on this thread, if it is one of ours, blocks all but these, or those of
    before. When the user's code has run and before anybody knows: main may go on, and
    block what it waits for, while this thread has still to end."""
    me = _here.get(threading.get_ident())
    if me is not None:
        me.draw_back(heard)


def start_bare(func: Callable[[], object]) -> None:
    """As start_new_thread(), blocked. RuntimeError: no thread is to be had."""
    inherited = _kept_here()

    def run(*fresh: int) -> None:
        _here[threading.get_ident()] = Mask({*fresh, *inherited}, frozenset())
        try:
            func()
        finally:
            draw_back()
            _here.pop(threading.get_ident(), None)

    # Of C: a handler in Python runs in main before it or after it, as main would.
    _core.masked(functools.partial(_thread.start_new_thread, run), OURS_TO_BLOCK)


def _before_handlers(record: logging.LogRecord) -> bool:
    let_out()
    return True


# Called for what is logged, after the level was looked at and before any handler.
logging.getLogger("gracefulexit").addFilter(_before_handlers)
