"""Two layers on every signal of ours.

1. ``signal.signal(sig, on_python_signal)``: Python's own table shows us, so
   asyncio.run, uvicorn, trio and every library that saves and restores handlers
   gives us back. Only the main thread can lay it.
2. Over it, by one atomic ``sigaction`` swap, the C handler. Any thread can.

If layer 2 is wiped, layer 1 still fires, late and in the main thread: it hands
the signal to the core and lays layer 2 again.

Rejected: layer 2 alone. ``signal.getsignal()`` then shows what was there before
us, and the first library that saves and restores it removes us silently.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
import time

# signal.signal() without the bytecodes around it.
from _signal import (  # type: ignore[import-not-found]
    signal as set_python_table,
)
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

from . import _core
from ._masks import Apart

on_python_signal = _core.on_python_signal

# The values of Python's table: a callable, SIG_DFL, SIG_IGN, or None for a
# handler that C code installed.
Handler = Any

# On its way from a section to main: Python's table is right as it is.
HANDED = _core.ROLE_COUNT | _core.ROLE_TRIP
ASK_MAIN = 0.05  # seconds, at the least, between two requests to lay for others
# The roles that only sections ask for.
FOR_SECTIONS = HANDED | _core.ROLE_HOLD | _core.ROLE_GATE

has_lock: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)


def in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


class Layers:
    """A process has one table of signals, so there is one of these.

    Every caller of `apply` holds `lock`; the main thread alone touches Python's
    table and `previous`.
    """

    def __init__(self) -> None:
        self.wanted: dict[int, int] = {}
        self.dirty = False  # a change of `wanted` was interrupted
        # Kept after the give-back: others may put us into the table again, and
        # then we act as whoever was there before us.
        self.previous: dict[int, Handler] = {}
        self.laid: set[int] = set()
        # What on_python_signal() does once the core has accepted the signal.
        self.noticed: Callable[[int, FrameType | None], None] = lambda *_: None
        # The one lock of ours in Python: what killers, sections and the tables
        # want of each other (see _process). In main's pending call too, or:
        #   main reads `wanted` with the signal in it;
        #   a worker's last section gives the kernel's table back, wanted = {};
        #   main lays layer 1, which puts CPython's handler there for good.
        # Outermost of ours, and nobody who has it waits for main. Re-entrant, as
        # main may be interrupted by itself.
        # Rejected: a lock of its own for the tables. signal.signal() runs Python
        # handlers that are due, they open sections, and then main has this one
        # and waits for that one, while another thread has that one and waits.
        self.lock = threading.RLock()
        self._inside = False
        self._relaying: set[int] = set()  # main will lay layer 2 again
        self._asking = False  # there is a thread that will
        self._asked = 0.0  # when main was asked to lay what others hold

    def adopt(self) -> None:
        """What main has laid by the short way (csrc/python/solo.c) is ours from now
        on. Under the lock, before anything here is looked at."""
        _core.solo_take(self, FOR_SECTIONS & ~_core.ROLE_TRIP, signal.SIG_DFL)

    def init_solo(self) -> None:
        _core.solo_init(self.lock, on_python_signal, set_python_table)

    def note_idle(self, yes: bool) -> None:
        """May main take the short way? Under the lock."""
        _core.idle(yes and not (self.wanted or self.laid or self.dirty))

    def apply(self, roles: Mapping[int, int]) -> None:
        """Make `roles` the wanted state, from any thread.

        May be interrupted by an exception: a Python handler that was due runs
        inside signal.signal(). Then it is `dirty`, and the caller repeats it or
        applies what was before.
        """
        self.dirty = True
        _core.set_roles(dict(roles))
        self.wanted = dict(roles)
        if in_main_thread():
            self.reconcile()
        elif self._is_mains_affair():
            # False where 32 calls are pending already, and each of them is main's
            # next step: layer 2 stands, and layer 1 follows at the next change. Not
            # logged: this has the lock, and an exception of a Python handler in main
            # can leave logging's own lock taken for ever.
            _core.in_main(functools.partial(_core.insist, self.reconcile))
        self._note_bare()
        self.dirty = False

    def _is_mains_affair(self) -> bool:
        """For the sections of other threads not every time: one that opens section
        after section would have main do nothing else."""
        missing = [s for s in self.wanted if s not in self.laid]
        if not self.laid.issubset(self.wanted) or any(
            self.wanted[s] & ~FOR_SECTIONS for s in missing
        ):
            return True
        early = self._asked + ASK_MAIN - time.monotonic()
        if missing and early > 0:
            self._ask_later(early)
        elif missing:
            self._asked = time.monotonic()
        return bool(missing) and early <= 0

    def _ask_later(self, pause: float) -> None:
        """The section that is open now may be a long one."""

        def ask() -> None:
            time.sleep(pause)
            with self.lock:
                self._asking = False
                if self._is_mains_affair():
                    _core.in_main(functools.partial(_core.insist, self.reconcile))

        if not self._asking:
            self._asking = True
            # There are other threads, or we would not be here.
            thread = Apart(target=ask, name="gracefulexit-ask", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # none can be had now; the next opener tries again
                self._asking = False

    def _note_bare(self) -> None:
        """Main's next outermost section lays what is missing."""
        _core.bare(not self.laid.issuperset(self.wanted))

    def reconcile(self) -> None:
        """Make Python's table what is wanted now. Main thread only.

        Runs as a pending call too, possibly in the middle of itself; then the
        outer one does the work, which acts on what is wanted when it looks.
        """
        if self._inside:
            return
        try:
            self._inside = True
            for signum in set(self.wanted) | self.laid:
                with self.lock:
                    roles = self.wanted.get(signum, 0)
                    if not roles:
                        self._give_back(signum)
                    elif signum not in self.laid and roles != HANDED:
                        self.lay(signum)
            self._note_bare()
        finally:
            self._inside = False

    @property
    def interrupted(self) -> bool:
        """Is who asks a handler in the middle of a change of these? In main."""
        return self._inside or self.lock._is_owned()  # type: ignore[attr-defined]

    def lay(self, signum: int) -> None:
        """Layer 1 if it can be laid, then layer 2. Main thread only."""
        there = signal.getsignal(signum)
        late = False
        if there is on_python_signal:  # others have put us there
            self.previous.setdefault(signum, signal.SIG_DFL)
        if there is not None and there is not on_python_signal:
            # Remembered first: signal.signal() runs due handlers, ours maybe.
            self.previous[signum] = there
            _core.cover(signum, set_python_table, on_python_signal)
            late = _core.took(signum)
        self.laid.add(signum)
        _core.lay(signum)
        if late:
            # It came while a thread other than main had laid layer 2 alone, and
            # there was no handler of CPython's beneath to pass it to.
            self.noticed(signum, None)

    def _give_back(self, signum: int) -> None:
        self.leave(signum)
        self.laid.discard(signum)

    def leave(self, signum: int) -> None:
        """Python's table as before us, if it shows us. Main thread only."""
        if signal.getsignal(signum) is on_python_signal:
            previous = self.previous.get(signum, signal.SIG_DFL)
            if isinstance(previous, signal.Handlers):
                previous = int(previous)  # as the bare function takes it
            _core.leave(signum, set_python_table, previous)

    def forget_in_child(self) -> None:
        """After a fork: Python's table as before us."""
        self.adopt()
        self.wanted = {}
        self.lock = threading.RLock()
        self.init_solo()
        self.dirty = self._inside = self._asking = False
        self._relaying.clear()
        _core.insist(self.reconcile)

    def rearm(self, signum: int) -> None:
        """Take a signal back from whoever took it, who becomes the previous owner."""
        with self.lock:
            self.adopt()
            _core.lay(signum, True)
        if in_main_thread():
            self.lay(signum)
        else:
            _core.in_main(lambda: self.lay(signum) if signum in self.wanted else None)

    def armed(self, signum: int) -> bool:
        """Do we still hear the signal? Lays layer 2 again where signal.signal()
        has wiped it and layer 1 is in place; a stranger's handler stays."""
        if has_lock() or in_main_thread():
            return _core.relay(signum)
        # Without the interpreter lock only main can:
        #   here:  layer 1 is there                        lays layer 2 over it
        #   main:                    puts another's there
        if _core.ours(signum):
            return True
        wiped = signal.getsignal(signum) is on_python_signal
        if not wiped or _core.foreign(signum):
            return False
        if signum not in self._relaying:
            self._relaying.add(signum)
            if not _core.in_main(functools.partial(self._relay, signum)):
                self._relaying.discard(signum)  # too much waits; at the next look
        return True

    def _relay(self, signum: int) -> None:
        self._relaying.discard(signum)
        _core.relay(signum)

    def owner(self, signum: int) -> Handler:
        """Whose signal it is once we do not want it, while Python's table may
        still show us. None for a handler of C code, which Python need not know."""
        there = signal.getsignal(signum)
        if there is on_python_signal:
            there = self.previous.get(signum)
        return None if there is signal.SIG_DFL and _core.foreign(signum) else there


def _heard(signum: int, frame: FrameType | None, passed_on: bool) -> None:
    """Layer 1. Runs in the main thread, as any Python handler.

    Called for a signal that the C handler passed on because somebody asked for
    an exception or a chain, or for one that came past the C handler: layer 2 was
    wiped, or _thread.interrupt_main().
    """
    with layers.lock:
        layers.adopt()
    if not passed_on:
        if not _core.forward(signum):
            _act_as_previous(signum, frame)
            return
        _core.relay(signum)
        if layers.wanted.get(signum, 0) & _core.ROLE_HOLD:
            return  # a section has it now
    layers.noticed(signum, frame)


def _act_as_previous(signum: int, frame: FrameType | None) -> None:
    """We are in Python's table but not wanted: being given back at this moment,
    or put back by somebody who had saved us."""
    owner = layers.previous.get(signum, signal.SIG_DFL)
    with layers.lock:  # a section of another thread may be taking it just now
        if signum not in layers.wanted and signum not in layers.laid:
            layers.leave(signum)
    if callable(owner):
        owner(signum, frame)
    elif owner is not signal.SIG_IGN:
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)


layers = Layers()
_core.hear(_heard)


def is_ignored(signum: int) -> bool:
    """Was it ignored when we came (nohup, a background job of a shell)?

    Not so SIGPIPE and SIGXFSZ: it is Python that ignores them, in every program.

    Python's table is asked first: os.system() in another thread makes SIGINT
    ignored in the kernel's for a while.
    """
    if signum in (signal.SIGPIPE, signal.SIGXFSZ):
        return False
    return signal.getsignal(signum) is signal.SIG_IGN
