"""Opening sections, and delivering what they held.

The way in and out that needs nothing is C (csrc/python/entry.c). Here is the
rest: laying and giving back, the gate, and the delivery to whoever owned a
signal before.

Every step may be interrupted by a Python signal handler that raises, and is
then called again: it works on what is there, and what it takes out of one
place it has put into the next before.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import functools
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from . import _core
from ._early import flush, last_words
from ._exit import Exit
from ._info import SignalInfo, info_from_core, with_sender
from ._layers import HANDED, in_main_thread, layers, on_python_signal
from ._masks import Apart
from ._sections import (
    held,
    name_of_section,
    name_of_thread,
    names,
    open_sections,
    threads,
)
from ._signals import name_of

if TYPE_CHECKING:
    import asyncio

log = logging.getLogger("gracefulexit")

T = TypeVar("T")

# Seconds between the nudges that wake main: one can fall between its look and
# its system call.
NUDGES = (0.001, 0.01, 0.1)
# A second for main to notice that it is to end. Not in one piece: when the whole
# machine stood still for a second, main has not had one.
MAIN_SEES = (0.1,) * 9
# And then for what an early end still does. Nobody has asked twice, and nobody else
# keeps the time.
AFTER_MAIN = 2.0
ENOUGH = _core.ROLE_STOP | _core.ROLE_HOLD


class Owner(Protocol):
    """What is needed of the process."""

    killers: list[Any]
    exit: Exit

    @property
    def lock(self) -> Any: ...
    @property
    def heard(self) -> set[int]: ...
    def prepare(self) -> None: ...
    def refresh(self, *, settling: bool = False) -> None: ...
    def start_watcher(self) -> None: ...
    def start_dispatcher(self) -> None: ...
    def rest(self) -> None: ...
    def catch_up(self) -> None: ...
    def refusal(self) -> SystemExit: ...


class Passing:
    """One signal on its way to main."""

    def __init__(self, signum: int, by_itself: bool) -> None:
        self.signum = signum
        # Python's table does not show us: CPython calls the user's handler.
        self.by_itself = by_itself
        self.tripped = False
        self.taken = threading.Event()


class Delivery:
    """One of the process. Its fields are changed under the lock of the process,
    but for what main alone touches: due, default, deferred."""

    def __init__(self, process: Owner) -> None:
        self._process = process
        # Signals on their way to main, which another thread has handed over.
        self.handed: dict[int, Passing] = {}
        self._fresh: list[Passing] = []  # of them: main was not woken yet
        self._seen: set[int] = set()  # of them: layer 1 has run
        self._settling = False
        self._was_held: set[int] = set()  # by sections, and given back since
        # What main has to do: real signals to send to itself, signals of default
        # disposition to end by, handlers to call.
        self._due: list[int] = []
        self._default: dict[int, None] = {}
        self.deferred: dict[int, None] = {}
        # Idents of the threads that shall end at their next outermost entry,
        # and of what.
        self._told: dict[int, threading.Thread] = {}
        self._told_of: SignalInfo | None = None
        self._gates = 0  # how often the gate was lifted, to tell things once
        self._said: set[str] = set()
        self._ends_here = False
        self._drained = False  # main is ending the process, and none can open
        self.interrupted = False  # has a KeyboardInterrupt been delivered?
        self._foreign: list[int] = []  # for handlers of C code
        self._notes_of_clock: list[str] = []
        self._notes: list[tuple[int, str]] = []  # for the log, outside the lock
        self._waiters: dict[asyncio.Future[None], asyncio.AbstractEventLoop] = {}

    def forget_in_child(self) -> None:
        self.__init__(self._process)  # type: ignore[misc]

    # ---- opening ------------------------------------------------------------

    def open(self, section: _core.Section, serial: int) -> None:
        """The slow way in, for a `with`."""
        me = threading.get_ident()
        while not self.enter(
            section, serial, inside=_core.inside(me) or loop_is_running()
        ):
            self.say_held()
            if not _core.gate_wait():
                self.say_let_in(section)

    def enter(
        self, section: _core.Section, serial: int, *, inside: bool, task: bool = False
    ) -> bool:
        """False: the gate is shut. Raises what ends this thread."""
        process = self._process
        if in_main_thread():
            process.catch_up()  # it takes what waits for it here, and not inside
        with process.lock:
            self._end_told_thread(inside)
            last = self._drained and in_main_thread()
            who = _core.LAST if last else _core.INSIDE if inside else _core.OUTSIDE
            problem = section._try(serial, task, who)
            if problem == 0:
                process.prepare()
                wanted = layers.wanted
                covered = all(wanted.get(s, 0) & ENOUGH for s in section.signals)
                if layers.dirty or not covered:
                    process.refresh()
                elif in_main_thread():
                    layers.reconcile()  # what was laid by other threads
                if section.timeout is not None:
                    self._start_clock(section)
        if problem == errno.ECANCELED:
            if self._drained:
                # It has been told, or came later; this is the end.
                threading.Event().wait()
            raise process.refusal()
        return problem == 0

    def _start_clock(self, section: _core.Section) -> None:
        try:
            self._process.start_watcher()
            self._process.start_dispatcher()
        except RuntimeError:  # CPython 3.12 starts no thread once main has ended
            self._notes_of_clock.append(name_of_section(section))

    def _end_told_thread(self, inside: bool) -> None:
        me = threading.get_ident()
        thread = None if inside else self._told.pop(me, None)
        # Idents are used again: another thread than the one of then?
        if thread is not None and thread is threading.current_thread():
            _core.look(self.looking)
            error = SystemExit(128 + self._told_of.signum if self._told_of else 1)
            error.reason = self._told_of  # type: ignore[attr-defined]
            raise error

    @property
    def looking(self) -> bool:
        """Must openers come by this way, even if nothing is being changed?"""
        # Not is_alive(): up to 3.12 a join() that was interrupted makes that false.
        active = threads()
        return self._settling or any(
            active.get(i) is t for i, t in list(self._told.items())
        )

    @property
    def busy(self) -> bool:
        return self.looking or bool(self.handed or self._due or self._default)

    # ---- the gate -----------------------------------------------------------

    def _once(self, what: str) -> bool:
        key = f"{what} {self._gates}"
        if key in self._said:
            return False
        self._said.add(key)
        return True

    def say_held(self) -> None:
        signums = [s for s in held() if _core.held(s)]
        sections = names()
        if signums and sections and self._once("held"):
            which = ", ".join(sorted(map(name_of, signums)))
            log.info("%s is held until %s is left", which, sections)

    def say_let_in(self, section: _core.Section) -> None:
        """Who waits at the gate for a second may be who an open one waits for."""
        others = [s for s in open_sections() if s.holds]
        now = time.monotonic()
        if others and self._once("let in"):
            log.warning(
                "section %s in %s could not open because of a signal that waits for "
                "%s, and is let in now: does that one wait for this thread?",
                name_of_section(section),
                name_of_thread(threading.get_ident()),
                ", ".join(f"{s}, open for {now - s.since:.1f} s" for s in others),
            )

    def lift_if_done(self) -> None:
        """Not while main is to end by what was held: the others wait until they
        are told that they end too."""
        with self._process.lock:
            waiting = any(_core.held(s) for s in held())
            ends = any(_is_default(s) for s in list(self.handed))
            ours = self._due or self._fresh or self._default
            if (_core.gate() or self._waiters) and not (waiting or ends or ours):
                self._lift()

    def _lift(self) -> None:
        self._gates += 1
        self._said.clear()
        _core.gate_lift()
        for waiter, loop in list(self._waiters.items()):
            with contextlib.suppress(RuntimeError):  # its loop is closed
                loop.call_soon_threadsafe(_wake, waiter)

    async def wait_in_task(self, section: _core.Section) -> None:
        import asyncio

        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiters[waiter] = loop  # before the look: the lift comes after it
        try:
            self.say_held()
            left = _core.gate_opens()
            if left:
                await asyncio.wait({waiter}, timeout=left)
                if _core.gate() and not waiter.done():
                    self.say_let_in(section)
        finally:
            del self._waiters[waiter]

    # ---- the end of the last section ----------------------------------------

    def steps(self, section: _core.Section) -> tuple[Callable[[], object], ...]:
        # Main may be in the middle of settling, and this in a handler of its.
        settle = functools.partial(self.settle, section, self._settling)
        return (
            settle,
            self.wake_main,
            self.send_due,
            self.owed,
            self._process.catch_up,
            self.lift_if_done,
            self.say_left,
        )

    def settle(self, section: _core.Section, outer: bool = False) -> None:
        """Give back what only sections wanted, and take what had come.

        A signal that comes while this runs:
          before the give-back: the handler holds it; found by the second look
          after it: its owner has it
        A section that opens while this runs:
          before look(True): it is counted, and nothing is given back
          after it: it waits for the lock, and lays the layers again
        """
        with self._process.lock:
            layers.adopt()
            self._settling = True
            _core.look(True)
            if _core.sections() == 0:
                self._note_held()
                self._take_held(section)
                self._process.refresh(settling=True)
                # What came before the give-back, after the first look.
                while self._take_held(section):
                    self._process.refresh(settling=True)
                _core.send(self._foreign, False, self._foreign)
                self._was_held.clear()
                for passing in self._fresh:
                    # Here, while nobody can open one: CPython may call the
                    # user's handler by itself. Once: the thread that handed it
                    # over may not have come to wake_main() yet.
                    if not passing.tripped:
                        passing.tripped = True
                        _core.trip(passing.signum, self._then(passing))
                if self._due or self._fresh:
                    # Who opened one now would hold what is being delivered.
                    _core.gate_shut()
                self._process.rest()
            self._settling = outer
            _core.look(self.looking)
            layers.note_idle(not (self.busy or self._process.killers))

    def _note_held(self) -> None:
        """Before it is given back."""
        self._was_held |= {s for s, r in layers.wanted.items() if r & _core.ROLE_HOLD}

    def _take_held(self, section: _core.Section) -> bool:
        """Where it goes, of each that has come; was there one?"""
        came = [
            s for s in self._was_held if _core.held(s) and s not in self._process.heard
        ]
        for signum in came:
            owner = layers.owner(signum)
            if owner is signal.SIG_IGN:
                pass
            elif in_main_thread():
                if signum not in self._due:
                    self._due.append(signum)
            elif owner is None:
                self._foreign.append(signum)
            else:
                direct = signal.getsignal(signum) is not on_python_signal
                # Merges with one that main has not taken yet.
                passing = Passing(signum, direct and callable(owner))
                self._seen.discard(signum)
                self.handed[signum] = passing
                self._fresh.append(passing)
            if owner is signal.default_int_handler:
                self.interrupted = True
            self._notes.append((signum, name_of_section(section)))
        for signum in came:
            _core.held_take(signum)
        return bool(came)

    def say_left(self) -> None:
        for name in _taken_from(self._notes_of_clock):
            log.warning("section %s had no time limit: main has ended", name)
        for signum, name in _taken_from(self._notes):
            reason = _reason_for(signum) or name_of(signum)
            log.info("%s was held until section %s was left", reason, name)

    # ---- to main, from another thread ---------------------------------------

    def wake_main(self) -> None:
        """Main takes over what was handed to it, by `_take_over`, or because
        CPython calls a handler of the user's.

        Main may sit in a system call. It is woken as any Python handler would
        wake it, by a signal without SA_RESTART, and more than once; by a thread,
        as this one may hold what main waits for.
        """
        if in_main_thread():
            return
        with self._process.lock:  # nobody else wakes it for the same
            fresh, self._fresh = self._fresh, []
        if not fresh:
            return
        self.lift_if_done()
        nudge = functools.partial(self._nudge_main, fresh)
        try:
            Apart(target=nudge, name="gracefulexit-deliver", daemon=True).start()
        except RuntimeError:  # CPython 3.12 starts none once main has ended
            nudge()

    def _then(self, passing: Passing) -> Callable[[], object]:
        """What main does after the handlers that are due."""
        if passing.by_itself:
            ran = functools.partial(self._ran_by_itself, [passing])
            return functools.partial(_core.insist, ran)
        return functools.partial(_core.conclude, self._process.catch_up)

    def _is_handed(self, passing: Passing) -> bool:
        return self.handed.get(passing.signum) is passing

    def _nudge_main(self, fresh: list[Passing]) -> None:
        """Until main has taken it. Where main has no layer of ours and no handler
        of its own (the default), a system call that Python repeats after EINTR
        hides it; then the process dies of the signal, as it would have without us.
        """
        pauses: tuple[float, ...] = NUDGES
        ending = [p for p in fresh if not p.by_itself and _is_default(p.signum)]
        if ending:
            pauses = (*NUDGES, *MAIN_SEES)
        for pause in pauses:
            for passing in fresh:
                if not passing.taken.wait(pause):
                    _core.nudge(passing.signum)
        self._ran_by_itself(fresh)
        for passing in ending:
            while not passing.taken.wait(0.1) and self._is_handed(passing):
                # A section may have opened meanwhile: main's own, or while the
                # gate was open for a while.
                if _core.section_close():
                    try:
                        last_words(AFTER_MAIN)
                    finally:
                        _core.die(passing.signum)

    def _ran_by_itself(self, fresh: list[Passing]) -> None:
        """CPython has called the user's handler, or will without a nudge."""
        with self._process.lock:
            for passing in fresh:
                signum = passing.signum
                mine = self._is_handed(passing) and signum not in self._seen
                if mine and passing.by_itself:
                    self.handed.pop(signum, None)
                    self._done(passing)
            self._process.refresh()

    def _done(self, passing: Passing) -> None:
        _core.took(passing.signum)
        self._seen.discard(passing.signum)
        passing.taken.set()

    def noticed(self, signum: int, *, late: bool) -> None:
        """Layer 1 has run for it; or, late, has just been laid, and CPython has
        called the user's handler before that, if there is one."""
        with self._process.lock:
            passing = self.handed.get(signum)
            if passing is None:
                if layers.wanted.get(signum, 0) in (0, HANDED):
                    # One more has come after the other was taken.
                    self._mains(signum)[signum] = None
            elif late and passing.by_itself:
                self.handed.pop(signum, None)
                self._done(passing)
            else:
                self._seen.add(signum)

    def _mine(self) -> list[int]:
        """What is main's to take. Where Python's table shows us, only after layer 1
        has run: CPython will call it, now or soon, and must not find nothing."""
        return [
            s
            for s in list(self.handed)
            if s in self._seen
            or (_is_default(s) and signal.getsignal(s) is not on_python_signal)
        ]

    def _mains(self, signum: int) -> dict[int, None]:
        """Where main finds it."""
        return self._default if _is_default(signum) else self.deferred

    def _take_over(self) -> None:
        if not self._mine():
            return
        with self._process.lock:
            for signum in self._mine():
                # A handler in the middle of this may be here before us.
                passing = _core.move(signum, self.handed, self._mains(signum))
                if passing is not None:
                    self._done(passing)
            self._process.refresh()

    # ---- in main ------------------------------------------------------------

    def send_due(self) -> None:
        """Real signals to the restored owners; all of them, before the first
        handler in Python runs and may raise."""
        if not in_main_thread() or not self._due:
            return
        default = [s for s in self._due if _is_default(s)]
        others = [s for s in self._due if s not in default]
        self._default.update(dict.fromkeys(default))
        _core.send(others, True, self._due)

    def owed(self) -> tuple[BaseException, dict[int, None]] | None:
        """The end of main by a signal of default disposition."""
        signums = list(self._default)  # a copy: a handler may add one
        if not in_main_thread() or not signums:
            return None
        if _core.inside(threading.get_ident()):
            _core.owes(True)
            return None
        signum = signums[0]
        reason = _reason_for(signum)
        if self._process.exit.main_ended is not None:
            # Not in the middle of the tables, which atexit would find half given back,
            # and not with the lock, which threads that it waits for may want.
            later = functools.partial(_core.conclude, self.owed)
            if not (layers.interrupted and _core.in_main(later)):
                self.end_here(signum)
            return None
        self._tell_threads(reason)
        return self._process.exit.of_default(reason, signum), self._default

    def owes(self) -> bool:
        return bool(self.handed or self._default or self.deferred)

    def catch_up(self) -> None:
        """What main has to do, and must not inside a section of its own."""
        self._take_over()
        while self.deferred:
            # A copy: a handler that interrupts main may add one, or run them all.
            for signum in list(self.deferred):
                previous = layers.previous.get(signum)
                frame: FrameType = sys._getframe(1)
                if callable(previous):
                    _core.pop_call(self.deferred, signum, previous, signum, frame)
                else:
                    self.deferred.pop(signum, None)
        if self._default:
            _core.conclude(self.owed)

    # ---- the end by a default disposition -----------------------------------

    def _tell_threads(self, reason: SignalInfo | None) -> None:
        """The other threads end too, each once, and not inside a section."""
        with self._process.lock:
            ours = "gracefulexit-"
            self._told_of = reason
            self._told = {
                i: t for i, t in threads().items() if not t.name.startswith(ours)
            }
            self._told.pop(threading.get_ident(), None)
            _core.look(self.looking)
            self._lift()

    def drain(self) -> None:
        """Nothing is torn by the end of the process, which is near."""
        _core.drain()
        self._drained = True
        with self._process.lock:
            # Who left last has counted itself out, and may not have come to settle().
            # What had come is still for it to deliver.
            over = not _core.opened()
            if over:
                self._note_held()
            self._process.refresh(settling=over)

    def wait_at_exit(self) -> None:
        """Who ends by a signal ends no section by it; who has caught that end has
        another. And Python waits for threads that are not daemons, but for the
        faults of its join() before 3.13."""
        uncaught = getattr(sys, "last_type", None)  # what the interpreter has shown
        if self._process.exit.ends_by or (
            self.interrupted and uncaught is KeyboardInterrupt
        ):
            self.drain()
        me = threading.get_ident()
        while True:
            waited_for = {i for i, t in threads().items() if not t.daemon} - {me}
            if not any(i in waited_for for _, i, _, holds in _core.opened() if holds):
                return
            time.sleep(0.01)

    def end_here(self, signum: int) -> None:
        """Main has unwound and only waits for other threads, which the default
        action would not have done: the end, once no section is open."""
        if self._ends_here:
            return  # a pending call in the middle of it
        self._ends_here = True
        try:
            self.drain()
            atexit._run_exitfuncs()
            flush()
            _core.die(signum)
        finally:
            self._ends_here = False


def _taken_from(notes: list[T]) -> Iterator[T]:
    """Until none is left. A handler that interrupts it may take the last one."""
    while True:
        try:
            note = notes.pop()
        except IndexError:
            return
        yield note


def _is_default(signum: int) -> bool:
    return layers.owner(signum) is signal.SIG_DFL


def _reason_for(signum: int) -> SignalInfo | None:
    raw = _core.last(signum)
    return with_sender(info_from_core(raw)) if raw is not None else None


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def loop_is_running() -> bool:
    """A thread whose loop runs must not sleep: the one it waits for may be a task
    of that loop."""
    events = sys.modules.get("asyncio.events")
    return events is not None and events._get_running_loop() is not None
