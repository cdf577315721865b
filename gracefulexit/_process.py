"""One stop per process: the live killers and open sections, and what they
together want of the core.

Any killer's signal or stop() stops all. The deadline is the earliest; the exit
status and the back end are the oldest killer's.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Protocol

from . import _core
from ._dispatcher import Dispatcher
from ._errors import GracefulExit
from ._info import SignalInfo, info_from_core, with_sender
from ._layers import in_main_thread, is_ignored, layers, on_python_signal
from ._signals import name_of

log = logging.getLogger("gracefulexit")

ExitStatus = str | int
JOIN_LIMIT = 2.0  # seconds for threads of ours, which are never busy for long


class Member(Protocol):
    """What the process needs to know of a killer."""

    signals: tuple[int, ...]
    escalate: tuple[int, ...]
    grace: float | None
    exit_status: ExitStatus
    raises: type[BaseException] | None
    chain: bool
    ready: bool

    def _attach(self) -> None: ...
    def _detach(self) -> None: ...
    def _other_signals(self) -> list[int]: ...
    def _turn(self, now: float, state: int) -> float | None: ...
    def _describe_stragglers(self) -> str: ...
    def _at_interpreter_exit(self) -> None: ...
    def _inherited_by_fork(self) -> None: ...
    def _exception(self) -> BaseException: ...


@dataclass(eq=False)
class OpenSection:
    """A protected section that is open now."""

    name: str
    thread: str
    ident: int
    since: float
    signals: tuple[int, ...]
    timeout: float | None
    expired: bool = False


class Process:
    def __init__(self) -> None:
        # Protects killers, sections' holds, the roles in the core, and the
        # life of watcher and dispatcher. Outermost of ours; user code never
        # runs under it. Re-entrant, for a Python signal handler in main that
        # makes or closes a killer while main is doing so.
        self.lock = threading.RLock()
        self.killers: list[Member] = []
        self.sections: dict[int, OpenSection] = {}
        self.holds: dict[int, int] = {}  # signal -> open sections that hold it
        self.backend: str | None = None
        self._dispatcher: Dispatcher | None = None
        self._message = ""
        self._reason: SignalInfo | None = None
        self._raised = False
        self._told: set[str] = set()
        self._prepared = False
        self._main_ended: float | None = None  # time.monotonic()
        # What _protect does with the held signals of a section that is over its
        # timeout; that module knows this one, so it comes from there.
        self.expired: Callable[[OpenSection], None] = lambda section: None

    # ---- killers ------------------------------------------------------------

    def add(self, killer: Member, backend: str) -> None:
        """Start what is needed and install; on failure nothing has changed."""
        with self.lock:
            self._check_backend(backend)
            self._prepare()
            self.killers.append(killer)
            try:
                self.start(backend)
                killer._attach()
                self.refresh()
            except BaseException:
                self.remove(killer)
                raise
            for signum in killer.signals:
                if _core.held_take(signum):
                    _core.promote(signum)  # it came inside an open section
        _core.wake_news()

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
        watcher keeps the deadline of the stop until it has.
        """
        with self.lock:
            if killer not in self.killers:
                return False
            self.killers.remove(killer)
            # In this order: what reached the core before the give-back has
            # flipped the killer's flag when refresh() returns.
            self.refresh()
            killer._detach()
            last_look()
            if not self.killers:
                self._shut_down(linger=linger)
            return True

    def _check_backend(self, backend: str) -> None:
        offered = _core.backends()
        if backend != "auto" and backend not in offered:
            raise ValueError(
                f"unknown backend {backend!r}; this build has 'auto', "
                + ", ".join(map(repr, offered))
            )
        if self.backend is not None and backend not in ("auto", self.backend):
            raise ValueError(
                f"backend {self.backend!r} is in use by a live killer, and a process "
                f"has one; close() that killer first, or pass backend='auto'"
            )

    def start(self, backend: str = "auto") -> None:
        """Watcher and dispatcher, if they do not run. Under the lock."""
        if self.backend is None:
            chosen = _core.backends()[0] if backend == "auto" else backend
            ident = threading.main_thread().ident
            assert ident is not None
            _core.watcher_start(chosen, ident)
            self.backend = chosen
        if self._dispatcher is None:
            dispatcher = Dispatcher(self._turn)
            dispatcher.start()
            self._dispatcher = dispatcher

    def _shut_down(self, *, linger: bool = False) -> None:
        dispatcher, self._dispatcher = self._dispatcher, None
        if dispatcher is not None:
            dispatcher.quit(JOIN_LIMIT)
        if _core.state() != _core.RUNNING:
            self._tell_stop()  # if it came too late for the dispatcher
        if linger and _core.deadline() is not None:
            return
        _core.watcher_stop()
        self.backend = None
        _core.reset()
        self._reason = None
        self._message = ""
        self._raised = False
        self._told.clear()

    def _prepare(self) -> None:
        # Not at import: importing registers nothing.
        if not self._prepared:
            atexit.register(self._at_interpreter_exit)
            # Private, and the only hook there is between the end of main and
            # the wait for the other threads.
            register = getattr(threading, "_register_atexit", None)
            if register is not None:
                with contextlib.suppress(RuntimeError):  # main has ended already
                    register(self._note_end_of_main)
            os.register_at_fork(after_in_child=self._after_fork_in_child)
            layers.noticed = self._noticed
            self._prepared = True

    # ---- what the core shall do ---------------------------------------------

    def refresh(self) -> None:
        """Tell the core what all killers and sections want. Under the lock."""
        roles: dict[int, int] = {}
        for killer in self.killers:
            extra = _core.ROLE_COUNT
            if killer.raises is not None:
                extra |= _core.ROLE_TRIP
            if killer.chain:
                extra |= _core.ROLE_CHAIN | _core.ROLE_TRIP
            for signum in killer.signals:
                bits = extra | _core.ROLE_STOP
                if signum in killer.escalate:
                    bits |= _core.ROLE_HURRY
                roles[signum] = roles.get(signum, 0) | bits
            for signum in killer._other_signals():
                bits = extra if killer.chain else _core.ROLE_COUNT
                roles[signum] = roles.get(signum, 0) | bits
        for signum in self.holds:
            roles[signum] = roles.get(signum, 0) | _core.ROLE_COUNT | _core.ROLE_HOLD
        for signum in list(roles):
            if signum not in layers.wanted and is_ignored(signum):
                del roles[signum]  # nohup meant it
        for signum, bits in roles.items():
            if bits & _core.ROLE_TRIP and signal.getsignal(signum) is None:
                # A handler from before Python: there is no layer 1 to trip.
                roles[signum] = bits & ~_core.ROLE_TRIP
        if roles != layers.wanted:
            layers.apply(roles)
        if self.killers:
            graces = [k.grace for k in self.killers if k.grace is not None]
            _core.policy(min(graces, default=None), _exit_how(self.exit_status))

    @property
    def exit_status(self) -> ExitStatus:
        return self.killers[0].exit_status if self.killers else "signal"

    def unblock(self, signums: tuple[int, ...]) -> None:
        """Our own parent may have leaked a blocked mask; say so once."""
        leaked = signal.pthread_sigmask(signal.SIG_UNBLOCK, signums) & set(signums)
        if leaked:
            names = ", ".join(sorted(name_of(s) for s in leaked))
            log.warning("%s was blocked in this thread; it is unblocked now", names)

    def hold(self, signums: tuple[int, ...]) -> None:
        """A section holds these from now on. Under the lock."""
        self._prepare()
        for signum in signums:
            self.holds[signum] = self.holds.get(signum, 0) + 1
        try:
            self.refresh()
        except BaseException:
            self._drop(signums)
            self.refresh()
            raise

    def _drop(self, signums: tuple[int, ...]) -> None:
        for signum in signums:
            self.holds[signum] -= 1
            if not self.holds[signum]:
                del self.holds[signum]

    def release(self, signums: tuple[int, ...]) -> list[int]:
        """A section holds these no longer; once nothing is held, the signals that
        have come meanwhile and that no killer has taken. Under the lock."""
        self._drop(signums)
        if self.holds:
            return []
        pending = [s for s in layers.wanted if layers.wanted[s] & _core.ROLE_HOLD]
        self.refresh()
        came = [s for s in pending if _core.held_take(s)]
        managed = {s for killer in self.killers for s in killer.signals}
        if not self.killers and self._dispatcher is not None:
            self._shut_down()
        return [s for s in came if s not in managed]

    # ---- the stop -----------------------------------------------------------

    def stop(self, message: str, *, raising: bool = True) -> bool:
        """As a signal would; from any thread, from a Python signal handler too."""
        if _core.state() == _core.RUNNING:
            self._message = message  # before the fact, for who reads it at once
        if not _core.stop():
            return False
        self._message = message
        if not raising:
            self._raised = True
        elif any(k.raises for k in self.killers):
            tripped = [s for s, r in layers.wanted.items() if r & _core.ROLE_TRIP]
            if not tripped or not _core.trip(tripped[0]):
                _core.in_main(self.raise_if_due)
        return True

    @property
    def reason(self) -> SignalInfo | None:
        if self._reason is None:
            raw = _core.stop_record()
            if raw is None:
                return None
            self._reason = info_from_core(raw, "" if raw[0] else self._message)
        return self._reason

    def remaining(self) -> float | None:
        deadline = _core.deadline()
        return None if deadline is None else max(0.0, deadline - time.monotonic())

    def exit_exception(
        self, reason: SignalInfo | None, status: ExitStatus, *, failed: bool = False
    ) -> SystemExit:
        """What ends the calling thread for this reason; in main, the program."""
        code, signum = self._status(reason, status, failed)
        if not in_main_thread():
            # threading prints a traceback for every subclass of SystemExit.
            plain = SystemExit(code)
            plain.reason = reason  # type: ignore[attr-defined]
            return plain
        return GracefulExit(reason, code, signum=signum, _die_at_exit=_die_at_exit)

    @staticmethod
    def _status(
        reason: SignalInfo | None, status: ExitStatus, failed: bool
    ) -> tuple[int, int]:
        """The exit code, and the signal to die of or 0."""
        signum = reason.signum if reason is not None else 0
        if isinstance(status, int):
            return status, 0
        if failed or not signum:
            return int(failed), 0
        return 128 + signum, signum if status == "signal" else 0

    # ---- in the main thread -------------------------------------------------

    def _noticed(self, signum: int, frame: FrameType | None) -> None:
        """Layer 1 has seen a signal that the core accepted."""
        if any(
            k.chain and signum in (*k.signals, *k._other_signals())
            for k in self.killers
        ):
            previous = layers.previous.get(signum)
            if callable(previous):
                previous(signum, frame)
        self.raise_if_due()

    def raise_if_due(self) -> None:
        """`raises`: once a stop, and not inside a section of the main thread."""
        if self._raised or _core.state() == _core.RUNNING or self._main_protected():
            return
        for killer in self.killers:
            if killer.raises is not None and killer.ready:
                self._raised = True
                if issubclass(killer.raises, GracefulExit):
                    raise killer._exception()
                raise killer.raises()

    def _main_protected(self) -> bool:
        main = threading.main_thread().ident
        return any(
            s.ident == main and not s.expired for s in list(self.sections.values())
        )

    def _note_end_of_main(self) -> None:
        self._main_ended = time.monotonic()

    # ---- in the dispatcher --------------------------------------------------

    def _turn(self) -> float | None:
        now = time.monotonic()
        state = _core.state()
        if state != _core.RUNNING:
            self._tell_stop()
        waits = [killer._turn(now, state) for killer in list(self.killers)]
        if state != _core.RUNNING or any(_core.held(s) for s in list(self.holds)):
            waits.append(self._expire_sections(now))
        if state != _core.RUNNING:
            waits.append(self._tell_stragglers(now))
        if state == _core.HURRY:
            self._tell_hurry()
        self._tell_disarmed()
        return min((w for w in waits if w is not None), default=None)

    def _once(self, what: str) -> bool:
        if what in self._told:
            return False
        self._told.add(what)
        return True

    def _tell_stop(self) -> None:
        reason = self.reason
        if reason is None or not self._once("stop"):
            return
        self._reason = reason = with_sender(reason)
        if self._main_ended is not None and reason.when >= self._main_ended:
            # Main had returned already: nobody is left to choose the status.
            code, signum = self._status(reason, self.exit_status, failed=False)
            _core.at_exit(signum, -1 if signum else code)
        left = self.remaining()
        limit = "no time limit" if left is None else f"{left:.1f} s left"
        log.info("stopping: %s; %s%s", reason, limit, self._again(reason))
        if self.sections:
            log.info("finishing %s first", self._name_sections())

    def _again(self, reason: SignalInfo) -> str:
        """At the first interactive Ctrl-C: what the second will do."""
        escalates = any(signal.SIGINT in k.escalate for k in self.killers)
        if reason.signum != signal.SIGINT or reason.si_pid or not escalates:
            return ""
        return "; press Ctrl-C again to end without waiting for workers"

    def _name_sections(self) -> str:
        return ", ".join(
            f"section {s.name} in {s.thread}" for s in list(self.sections.values())
        )

    def _tell_hurry(self) -> None:
        if _core.ending():
            if self._once("ending"):
                log.warning("ending now: asked again while stopping")
                _flush()
                _core.end()
        elif self.sections and self._once("hurry"):
            log.warning(
                "ending as soon as %s is left; Ctrl+\\ abandons it",
                self._name_sections(),
            )

    def _tell_stragglers(self, now: float) -> float | None:
        """In the last fifth of the grace: who is still running, and where."""
        deadline, reason = _core.deadline(), self.reason
        if deadline is None or reason is None or "stragglers" in self._told:
            return None
        at = deadline - (deadline - reason.when) / 5
        if now < at:
            return at - now
        self._told.add("stragglers")
        what = [k._describe_stragglers() for k in list(self.killers)]
        what += [self._name_sections()] if self.sections else []
        if any(what):
            log.warning(
                "%.1f s left until the end; still waiting for %s",
                deadline - now,
                "; ".join(w for w in what if w),
            )
        _flush()
        return None

    def _expire_sections(self, now: float) -> float | None:
        """Sections over their timeout no longer hold anything up."""
        waits = []
        for section in list(self.sections.values()):
            if section.timeout is None or section.expired:
                continue
            left = section.since + section.timeout - now
            if left > 0:
                waits.append(left)
                continue
            section.expired = True
            log.warning(
                "section %s in %s is over its timeout of %.3g s; going on without it",
                section.name,
                section.thread,
                section.timeout,
            )
            _core.section_leave()
            self.expired(section)
        return min(waits, default=None)

    def _tell_disarmed(self) -> None:
        for signum in list(layers.wanted):
            if self._taken_over(signum) and self._once(f"disarmed {signum}"):
                owner = signal.getsignal(signum)
                log.warning(
                    "%s was taken over by %s; call killer.rearm() to take it back, "
                    "or make the killer after that code has run",
                    name_of(signum),
                    "C code" if owner is on_python_signal else repr(owner),
                )

    def _taken_over(self, signum: int) -> bool:
        if layers.armed(signum):
            return False
        # Not while main is giving it back at this moment.
        with self.lock:
            return signum in layers.wanted and not layers.armed(signum)

    # ---- the end of the process, forks --------------------------------------

    def _at_interpreter_exit(self) -> None:
        for killer in reversed(list(self.killers)):
            killer._at_interpreter_exit()

    def _after_fork_in_child(self) -> None:
        """The child is a normal process again; see the page on limits."""
        self.lock = threading.RLock()
        me = threading.get_ident()
        mine = {key: s for key, s in self.sections.items() if s.ident == me}
        _core.fork_child(sum(not s.expired for s in mine.values()))
        layers.forget_in_child()
        _core.at_exit(0, -1)
        killers, self.killers = self.killers, []
        self.sections = mine
        self.holds = {}
        self.backend = self._dispatcher = None
        self._reason, self._message, self._raised = None, "", False
        self._told = set()
        for killer in killers:
            killer._inherited_by_fork()


def _exit_how(status: ExitStatus) -> int:
    if isinstance(status, int):
        return status
    return _core.EXIT_SIGNAL if status == "signal" else _core.EXIT_CODE


def _die_at_exit(signum: int) -> None:
    _core.at_exit(signum, -1)


def _flush() -> None:
    """What print() has buffered is not lost when the process ends early."""
    for stream in (sys.stdout, sys.stderr):
        # None without a console; closed; a broken pipe.
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()


process = Process()
