"""One stop per process: the live killers and open sections, and what they
together want of the core.

Any killer's signal or stop() stops all. The deadline is the earliest; the exit
status, the escalation and the back end are the oldest killer's.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, NamedTuple, Protocol

from . import _core
from ._delivery import Delivery
from ._dispatcher import Dispatcher
from ._dump import Dump
from ._early import flush
from ._errors import GracefulExit
from ._exit import Exit, ExitStatus, for_core
from ._forks import forked_by_library
from ._info import SignalInfo, info_from_core, with_sender
from ._layers import in_main_thread, layers, on_python_signal
from ._roles import Hearer, blockable, heard, roles
from ._sections import held, names, tell_overdue, timed
from ._signals import name_of
from ._sigwait import Sigwait
from ._stragglers import Straggler, describe
from ._teller import Teller

log = logging.getLogger("gracefulexit")

JOIN_LIMIT = 2.0  # seconds for threads of ours, which are never busy for long


class Member(Hearer, Protocol):
    """What the process needs to know of a killer."""

    grace: float | None
    exit_status: ExitStatus
    _ready: bool
    _failed: bool

    def _attach(self) -> None: ...
    def _detach(self) -> None: ...
    def _turn(self, now: float, state: int) -> float | None: ...
    def _stragglers(self, now: float) -> list[Straggler]: ...
    def _registered(self) -> set[int]: ...
    def _at_interpreter_exit(self) -> None: ...
    def _inherited_by_fork(self, library: bool) -> None: ...
    def _exception(self) -> BaseException: ...
    def _stopping(self) -> bool: ...
    def _set_event(self) -> bool: ...


class _Ending(NamedTuple):
    """A killer that was closed before exit(), which ends the program."""

    killer: Member
    grace: float  # from the stop that stands in for its own

    @property
    def exit_status(self) -> ExitStatus:
        return self.killer.exit_status


class Process:
    """Steps that take or give back are worked out from what is there now (the
    killers, the open sections), never counted up and down: a Python signal
    handler may raise in the middle of any of them, and then they are undone or
    repeated from C (`_core.attempt`, `_core.insist`)."""

    def __init__(self) -> None:
        self.killers: list[Member] = []
        self.exit = Exit()
        self.delivery = Delivery(self)
        self.backend: str | None = None
        self._sigwait = Sigwait()
        self._dispatcher: Dispatcher | None = None
        self._retired: list[Dispatcher] = []
        self._teller = Teller()
        self._dump = Dump()
        self._message = ""
        self._reason: SignalInfo | None = None
        self._raised = False
        # Killers that were closed by exit(): their deadline and status stand
        # until the process has ended.
        self._kept: list[Member] = []
        self._endings: list[_Ending] = []  # of those that were closed before exit()
        self._conflicts: list[tuple[Member, Member]] = []
        self._prepared = False
        self._child = 0  # pid, in a forked child that has forgotten its parent
        self._inherited: list[Member] = []  # of the parent, and not yet looked after

    # ---- killers ------------------------------------------------------------

    @property
    def lock(self) -> Any:
        """Protects killers, the roles in the core, and the life of watcher and
        dispatcher. User code never runs under it but for a Python signal handler
        that interrupts main, and no thread of ours is waited for but the native
        watcher."""
        return layers.lock

    def add(self, killer: Member, backend: str) -> None:
        """Start what is needed and install; on failure nothing has changed."""
        with self.lock:
            self._check_backend(killer, backend)
            _core.attempt(
                lambda: self._install(killer, backend), lambda: self.remove(killer)
            )
        with contextlib.suppress(IndexError):  # another thread may tell of the last one
            while True:  # a log handler may want the lock in another thread
                self._warn_of_conflict(*self._conflicts.pop())
        older = self._sigwait.older_threads()
        if older and self._teller.once("older threads"):
            log.warning(
                "%s %s older than the killer and may see system calls interrupted by "
                "its signals, which are heard all the same; make the killer before "
                "other threads are started",
                ", ".join(older),
                "is" if len(older) == 1 else "are",
            )
        _core.wake_news()

    def _install(self, killer: Member, backend: str) -> None:
        self.prepare()
        if not self.killers and self.backend is None:
            _core.reset()  # a stop() that came after the last close() is nobody's
        if self.killers:
            self._conflicts.append((killer, self.killers[0]))
        self.killers.append(killer)
        self.start_watcher(backend)
        killer._attach()
        self.refresh()
        self.start_dispatcher()
        for signum in killer.signals:
            if _core.held(signum):
                _core.promote(signum)  # it came inside an open section
                _core.held_take(signum)

    def remove(
        self,
        killer: Member,
        last_look: Callable[[], None] = lambda: None,
        *,
        linger: bool = False,
    ) -> bool:
        """Give back what only this killer wanted; False if it is not live.

        `last_look` is called when nothing can reach the killer any more, before
        its stop is forgotten. `linger`: the program is about to end, and the
        watcher keeps the deadline of the stop until it has. May be interrupted
        and called again: the killer leaves the list as the last step.
        """
        with self.lock:
            if killer not in self.killers:
                return False
            # In this order: what reached the core before the give-back has
            # flipped the killer's flag when refresh() returns.
            if linger and killer._stopping() and killer not in self._kept:
                self._kept.append(killer)
            self.refresh(without=killer)
            killer._detach()
            last_look()
            if self.killers == [killer]:
                self._end_stop()
            self.rest(without=killer)
            self.killers.remove(killer)
            _core.wake_news()  # the dispatcher blocks what is not heard any more
            return True

    def _warn_of_conflict(self, killer: Member, oldest: Member) -> None:
        shared = set(killer.signals) & set(oldest.signals)
        both = (killer, oldest)
        mine, theirs = ({name_of(s) for s in shared & set(k.escalate)} for k in both)
        for name, wanted, stands in (
            ("exit_status", killer.exit_status, oldest.exit_status),
            ("escalate", mine or (), theirs or ()),
        ):
            if wanted != stands and self._teller.once(f"conflict of {name}"):
                log.warning(
                    "%s=%r of a second killer has no effect: the oldest live one "
                    "decides, with %r",
                    name,
                    wanted,
                    stands,
                )

    def _check_backend(self, killer: Member, backend: str) -> None:
        offered = _core.backends()
        if backend != "auto" and backend not in offered:
            raise ValueError(
                f"unknown backend {backend!r}; this build has 'auto', "
                + ", ".join(map(repr, offered))
            )
        chosen = self._choose(backend)
        if backend not in ("auto", chosen):
            raise ValueError(
                f"backend {chosen!r} is in use by a live killer, and a process "
                f"has one; close() that killer first, or pass backend='auto'"
            )
        if chosen == "sigwait" and (killer.raises is not None or killer.chain):
            raise ValueError(
                "raises= and chain= interrupt the main thread by the signal, which "
                "backend='sigwait' keeps away from it; leave them out, or use "
                "backend='auto' for all killers"
            )

    def _choose(self, backend: str) -> str:
        """The one that stands: that of live killers or, without, of the watcher that
        runs for sections."""
        if self.backend is None:
            return _core.backends()[0] if backend == "auto" else backend
        if backend == "sigwait" and not self.killers:
            return backend  # it has no watcher of its own
        return self.backend

    # ---- watcher and dispatcher ---------------------------------------------

    def start_watcher(self, backend: str = "auto") -> None:
        """If it does not run. Under the lock."""
        chosen = self._choose(backend)
        if self.backend is None:
            # It runs already if this was interrupted before the next line.
            with contextlib.suppress(BlockingIOError):
                _core.watcher_start(chosen)
        self.backend = chosen

    def start_dispatcher(self) -> None:
        """If it does not run. Under the lock."""
        if self._dispatcher is None:
            # Known before it starts: a start that is interrupted is undone.
            self._dispatcher = Dispatcher(self._turn, self._heard)
        if self._dispatcher.ident is None:
            try:
                self._dispatcher.start()
            except RuntimeError:
                # Not started; or started, and wait() of CPython was interrupted,
                # which may leave the thread before its run() for ever.
                self._dispatcher.quit()
                self._dispatcher = None
                raise
        self.exit.start_ender()

    def _heard(self) -> frozenset[int]:
        return frozenset(heard(list(self.killers)))

    def _end_stop(self) -> None:
        """The last killer goes: RUNNING again, unless the process is to end."""
        if _core.state() != _core.RUNNING:
            # If it came too late for the dispatcher.
            self._tell_stop(list(self.killers), "", self.remaining())
        if not self._lingering():
            self._kept.clear()
            self._endings.clear()
            _core.reset()
            self._reason = None
            self._message = ""
            self._raised = False
            self.delivery.deferred.clear()
            self._teller.forget()

    def _lingering(self) -> bool:
        return bool(self._kept or self._endings) and _core.deadline() is not None

    def end_by(
        self, killer: Member, deadline: float | None, reason: SignalInfo
    ) -> None:
        """Main ends the program now, after the stop of a killer that is closed: its
        deadline stands again, until the process has ended. One that is over begins
        anew, as atexit and the flush of the streams take time."""
        if deadline is None:
            return
        try:
            with self.lock:
                if not self._lingering():
                    self._stop_again(killer, deadline, reason)
        except OSError as error:  # no thread is to be had for the watcher
            log.warning("the end has no time limit: %s", error)

    def _stop_again(self, killer: Member, deadline: float, reason: SignalInfo) -> None:
        if self.backend is None:
            _core.reset()  # as for a new killer
        self.start_watcher()
        if _core.state() == _core.RUNNING:
            self._message = reason.message  # before the fact, as in stop()
        if _core.promote(reason.signum) if reason.signum else _core.stop():
            self._raised = True  # main is on its way out
        now = time.monotonic()
        if deadline <= now:
            deadline += now - reason.when
        stop = _core.stop_record()
        began = now if stop is None else stop[5]
        self._endings.append(_Ending(killer, deadline - began))
        self.refresh()
        with contextlib.suppress(RuntimeError):  # main has ended; the watcher is enough
            self.start_dispatcher()

    def rest(self, without: Member | None = None) -> None:
        """Stop the threads that nobody needs. Under the lock."""
        killers = [k for k in self.killers if k is not without]
        if not killers and self.backend == "sigwait":
            self.backend = _core.backends()[0]  # the watcher may go on for sections
        if killers or timed() or self._lingering():
            return  # at the end of the grace they say what the end waits for
        self._retire_dispatcher()
        _core.watcher_stop()
        self.backend = None

    def _retire_dispatcher(self) -> None:
        dispatcher = self._dispatcher
        if dispatcher is not None:
            self._retired[:] = [d for d in self._retired if d.is_alive()]
            self._retired.append(dispatcher)
            dispatcher.quit()
            self._dispatcher = None

    def join_retired(self) -> None:
        """Wait for dispatchers that were told to quit. Without the lock: they may
        be waiting for it."""
        with contextlib.suppress(IndexError):  # another thread joins the last one
            while True:
                self._retired.pop().join_from_outside(JOIN_LIMIT)

    def prepare(self) -> None:
        # Not at import: importing registers nothing.
        if not self._prepared:
            atexit.register(self._at_interpreter_exit)
            # Private, and the only hook there is between the end of main and
            # the wait for the other threads.
            register = getattr(threading, "_register_atexit", None)
            if register is not None:
                try:
                    register(self._note_end_of_main)
                except RuntimeError:  # main has ended already
                    self.exit.note_end_of_main()
            # No bytecode of ours before insist(): a Python signal handler may raise in
            # the first, and who called os.fork() would not hear of it, as CPython
            # only prints what a fork hook raises.
            os.register_at_fork(
                after_in_child=functools.partial(_core.insist, self._repair_child)
            )
            _core.main_is(_main_ident())
            layers.init_solo()
            layers.noticed = self._noticed
            self._prepared = True

    # ---- what the core shall do ---------------------------------------------

    def refresh(self, without: Member | None = None, *, settling: bool = False) -> None:
        """Tell the core what killers and sections want. Under the lock.

        `settling`: by who has left the last section, or has noted what was held for
        it. Nobody else gives up what sections held:
          leaver:  is the last, and has something to settle
          here:    no section is open, gives back
          leaver:  finds nothing held, and the signal is lost
        """
        layers.adopt()
        killers = [k for k in self.killers if k is not without]
        wanted = self._wanted(killers, settling)
        blockable = self._blockable(killers, wanted)
        deciding: list[Member | _Ending]
        deciding = [*self._kept, *self._endings, *killers]
        self._dump.follow(any(k.grace is not None for k in deciding), wanted)
        changes = wanted != layers.wanted or blockable != self._sigwait.taken
        if changes or layers.dirty or self._sigwait.dirty:
            # From here on openers wait for the lock, and who is open is known:
            #   opener:  counted, listed      then  looks who hears its signals
            #   here:    openers wait         then  the list, then the change
            _core.look(True)
            wanted = self._wanted(killers, settling)
            blockable = self._blockable(killers, wanted)
            self._sigwait.shrink(blockable)
            layers.apply(wanted)
            self._sigwait.grow(blockable)
            _core.look(self.delivery.looking)
        if killers:
            _core.gate_lift()  # workers open what they need to finish
        layers.note_idle(not (killers or self.delivery.busy))
        if deciding:
            graces = [k.grace for k in deciding if k.grace is not None]
            how = for_core(deciding[0].exit_status)
            _core.policy(min(graces, default=None), how)

    def _wanted(self, killers: list[Member], settling: bool) -> dict[int, int]:
        holds = held()
        if not settling:
            holds |= {s for s, r in layers.wanted.items() if r & _core.ROLE_HOLD}
        return roles(killers, holds, self.delivery.handed)

    def _blockable(self, killers: list[Member], wanted: dict[int, int]) -> set[int]:
        return blockable(killers, wanted) if self.backend == "sigwait" else set()

    def rearm(self, signum: int) -> None:
        """Under the lock."""
        layers.rearm(signum)
        self._teller.taken_back(signum)

    @property
    def exit_status(self) -> ExitStatus:
        return self.killers[0].exit_status if self.killers else "signal"

    def blocked(self, signums: tuple[int, ...]) -> set[int]:
        """Which of these this thread blocks, and not for our sake."""
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        return {int(s) for s in mask & set(signums) - self._sigwait.taken}

    def unblock(self, leaked: set[int]) -> None:
        """Our own parent has leaked a blocked mask; say so."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, leaked)
        names = ", ".join(sorted(name_of(s) for s in leaked))
        log.warning("%s was blocked in this thread; it is unblocked now", names)

    # ---- sections -----------------------------------------------------------

    @property
    def heard(self) -> set[int]:
        """What killers hear, and sections need not deliver."""
        return {s for k in self.killers for s in k.signals}

    def refusal(self) -> SystemExit:
        """For who wants to open a section while the process is being ended."""
        return self.exit.exception(self.reason, self.exit_status)

    # ---- the stop -----------------------------------------------------------

    def stop(self, message: str, *, raising: bool = True) -> bool:
        """As a signal would; from any thread, from a Python signal handler too."""
        running = _core.state() == _core.RUNNING
        if running:
            self._message = message  # before the fact, for who reads it at once
        quiet = running and not raising
        if quiet:
            self._raised = True  # the same: main in wait() looks
        if _core.stop():
            self._message = message
            if raising and any(k.raises for k in self.killers):
                self._raise_soon()
            return True
        if quiet:
            # Another stop was faster, and may have found that nothing is to be raised.
            self._raised = False
            self._raise_soon()
        return False

    def _raise_soon(self) -> None:
        """Through a signal whose handler in Python is ours, which wakes main out
        of system calls; else before its next bytecode."""
        for signum, bits in list(layers.wanted.items()):
            ours = signal.getsignal(signum) is on_python_signal
            if ours and bits & _core.ROLE_TRIP and _core.trip(signum):
                return
        _core.in_main(self.catch_up)

    @property
    def reason(self) -> SignalInfo | None:
        raw = _core.stop_record()
        if raw is None:
            return None
        known = self._reason
        if known is None or known.when != raw[5]:
            # Not kept: the dispatcher may be adding the sender at this moment.
            known = info_from_core(raw, "" if raw[0] else self._message)
        return known

    def remaining(self) -> float | None:
        deadline = _core.deadline()
        return None if deadline is None else max(0.0, deadline - time.monotonic())

    # ---- in the main thread -------------------------------------------------

    def _noticed(self, signum: int, frame: FrameType | None) -> None:
        """Layer 1 has seen a signal that the core accepted. Without a frame: it came
        before layer 1 was laid, and CPython has called the previous handler."""
        chaining = [k for k in self.killers if k.chain and frame is not None]
        if any(signum in (*k.signals, *k._other_signals()) for k in chaining):
            self.delivery.deferred[signum] = None
        self.delivery.noticed(signum, late=frame is None)
        self.catch_up()

    def catch_up(self) -> None:
        """Run what the main thread owes: what sections held, previous handlers
        (`chain`), then the exception (`raises`), once a stop. Not inside a section
        of its own."""
        if not in_main_thread():
            return
        if _core.inside(threading.get_ident()):
            if self._raising() or self.delivery.owes():
                _core.owes(True)
            return
        self.delivery.catch_up()
        _core.owes(False)
        for killer in self._raising():
            if killer.raises is not None:  # for the type checker
                if issubclass(killer.raises, GracefulExit):
                    error = killer._exception()
                else:
                    error = killer.raises()
                self._raised = True  # nothing is called between this and the raise
                raise error

    def _raising(self) -> list[Member]:
        if self._raised or _core.state() == _core.RUNNING:
            return []
        return [k for k in self.killers if k.raises is not None and k._ready]

    def _note_end_of_main(self) -> None:
        """Main has returned or unwound, and is about to wait for other threads."""
        self.exit.note_end_of_main()
        if self.exit.ends_by:
            # Not in the middle of a section; and where the default action would
            # not have waited for a thread, nor do we.
            self.delivery.drain()
            others = set(threading.enumerate()) - {threading.current_thread()}
            if any(t.is_alive() and not t.daemon for t in others):
                self.delivery.end_here(self.exit.ends_by)

    # ---- in the dispatcher --------------------------------------------------

    def _turn(self) -> float | None:
        self._sigwait.follow()
        now = time.monotonic()
        # In this order: a killer that is made in between is not told of a stop
        # that was over.
        killers = list(self.killers)
        state = _core.state()
        # Before all else. Then those in wait() have the interpreter lock before us:
        # what follows takes us longer than a hundred of them. Rejected: to let it go
        # for those who wait for the event, too. Where threads compute, getting it
        # back takes 5 ms for each of them, and the workers wait for it.
        told = [k for k in killers if k._stopping() and k._set_event()]
        if told:
            _core.let_pass()
        # As of the signal, for the log.
        sections, left = names(), self.remaining()
        # Who waits is told before the log, which may block.
        waits = [killer._turn(now, state) for killer in killers]
        stopping = state != _core.RUNNING
        if stopping or any(_core.held(s) for s in held()):
            self.delivery.say_held()
            waits.append(self._expire(now))
        if stopping and killers:
            self._tell_stop(killers, sections, left)
        self._teller.lost_descriptors()
        if state == _core.HURRY:
            self._teller.hurry()
        reason = self.reason
        if stopping and reason is not None:
            waits.append(self._teller.stragglers(now, reason, self._stragglers))
            waits.append(self._teller.last_words(reason.when))
        if self._teller.unarmed():
            # Not while main is giving it back at this moment.
            with self.lock:
                taken = self._teller.unarmed()
            self._teller.taken_over(taken)
        return min((w for w in waits if w is not None), default=None)

    def _stragglers(self, now: float) -> dict[tuple[str, int | None], str]:
        waiting = (*self.killers, *self._kept, *(e.killer for e in self._endings))
        found = [s for k in waiting for s in k._stragglers(now)]
        known = {i for k in waiting for i in k._registered()}
        return describe(found, known, now)

    def _expire(self, now: float) -> float | None:
        """Sections over their timeout hold nothing up any more; seconds until the
        next one."""
        over, following = _core.overdue()
        for owner, ident, _, _ in over:
            tell_overdue(owner, ident)
        if over and not _core.sections():
            _core.conclude(*self.delivery.steps(over[-1][0]))
        return None if following is None else max(0.0, following - now)

    def _tell_stop(
        self, killers: list[Member], sections: str, left: float | None
    ) -> None:
        """`killers`: those that were alive at the stop, the oldest first."""
        reason = self.reason
        if reason is None or not self._teller.once("stop"):
            return
        self._reason = reason = with_sender(reason)
        failed = any(k._failed for k in killers)
        self.exit.choose_for_main(reason, killers[0].exit_status, failed)
        escalates = signal.SIGINT in killers[0].escalate
        self._teller.stop(reason, left, escalates, sections)

    # ---- the end of the process, forks --------------------------------------

    def _at_interpreter_exit(self) -> None:
        self.delivery.wait_at_exit()
        _core.insist(self._let_go_at_exit)

    def _let_go_at_exit(self) -> None:
        """May be interrupted and called again: a killer that is closed has given
        Ctrl-C back."""
        for killer in reversed(list(self.killers)):
            killer._at_interpreter_exit()
        if self._lingering():
            # The watcher goes on, and nobody else could do it from now on.
            flush()
        with self.lock:
            self._retire_dispatcher()
        self.join_retired()

    def _repair_child(self) -> None:
        """The child is a normal process again; see the page on limits. May be
        interrupted and called again; prepare() may have registered it twice."""
        if self._child != os.getpid():
            self._forget_parent()
            self._child = os.getpid()
        library = forked_by_library()
        while self._inherited:
            self._inherited[0]._inherited_by_fork(library)
            del self._inherited[0]
        if held() and not library:
            # The forking thread goes on in its section, here too.
            self._hold_in_child()

    def _forget_parent(self) -> None:
        _core.fork_child(_core.keep_own_sections())
        self._dump.forget_in_child()
        self._sigwait.forget_in_child()
        _core.main_is(_main_ident())
        self.delivery.forget_in_child()
        self.exit.forget_in_child()
        layers.forget_in_child()
        self._inherited = self._inherited or self.killers
        self.killers = []
        self.backend = self._dispatcher = None
        self._retired.clear()
        self._reason, self._message, self._raised = None, "", False
        self._kept.clear()
        self._endings.clear()
        self._teller.forget()

    def _hold_in_child(self) -> None:
        with self.lock:
            self.refresh()


def _main_ident() -> int:
    ident = threading.main_thread().ident
    assert ident is not None
    return ident


process = Process()
