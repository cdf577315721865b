"""The life of a killer below its public face: fresh, told of a stop, ending, closed."""

from __future__ import annotations

import functools
import logging
import threading
from signal import SIG_BLOCK, pthread_sigmask
from typing import Any

from . import _core
from ._budget import stop_and_limit
from ._callbacks import Callbacks
from ._events import set_event
from ._exit import ExitStatus
from ._hooks import Hooks
from ._info import SignalInfo
from ._inherited import make_unusable
from ._layers import layers
from ._members import Members
from ._process import process
from ._sections import Drain
from ._stopfd import StopDescriptor
from ._stragglers import Straggler
from ._timeline import EXIT, ON_EXIT, SECTIONS, WORK, Timeline

log = logging.getLogger("gracefulexit")


class Lifecycle(_core.Flag):
    """The parts of one killer, and what becomes of them. Called by the process, the
    dispatcher and the public members."""

    signals: tuple[int, ...]
    escalate: tuple[int, ...]
    grace: float | None
    exit_status: ExitStatus
    raises: type[BaseException] | None
    chain: bool
    event: threading.Event
    _ready: bool
    _backend: str
    _on_fork: str
    _hook_timeout: float | None

    # ---- fresh --------------------------------------------------------------

    def _start_fresh(self) -> None:
        self.event = threading.Event()
        self._hooks = Hooks(self._hook_timeout)
        self._callbacks = Callbacks(self._hook_timeout)
        self._stop_fd = StopDescriptor()
        for signum in self.signals:
            self._callbacks.begin(signum)
        self._forget_stop()

    def _forget_stop(self) -> None:
        self._members = Members()
        # Protects these two: the dispatcher tells, or who closes before it could.
        self._telling = threading.RLock()
        self._told = False
        self._event_told = False
        self._closed = False
        self._inherited = False
        self._ending = False  # the program ends with it: the deadline holds until then
        self._failed = False
        self._timeline = Timeline()
        self._drain = Drain()
        self._blocked: dict[int, set[int]] = {}  # by thread: given back by close()
        self._last_reason: SignalInfo | None = None
        self._last_counts: dict[int, int] | None = None
        self._last_deadline: float | None = None

    def _check_open(self) -> None:
        if self._inherited:
            raise RuntimeError(
                "this killer belongs to the parent process and hears nothing in this "
                "forked child; make a new GracefulKiller() here, use a ProcessWorker, "
                "or pass on_fork='rearm' in the parent"
            )
        if self._closed:
            raise RuntimeError(
                "this killer is closed and hears nothing; make a new GracefulKiller()"
            )

    def _notice(self) -> None:
        """A natural moment to look whether others have taken a signal."""
        if not self._closed and not self._armed():
            _core.wake_news()

    def _armed(self) -> bool:
        if self._closed or self._inherited:
            return False
        ours = [s for s in self._callbacks.signals() if s in layers.wanted]
        return all(layers.armed(s) for s in ours)

    # ---- told by the dispatcher ---------------------------------------------

    def _other_signals(self) -> list[int]:
        """Those of on() and take()."""
        return [s for s in self._callbacks.signals() if s not in self.signals]

    def _turn(self, now: float, state: int) -> float | None:
        """Called whenever something has happened; seconds until the next call."""
        if state != _core.RUNNING:
            self._tell()
        waits = (
            self._callbacks.turn(now),
            self._members.check(now),
            self._hooks.check(now),
        )
        return min((w for w in waits if w is not None), default=None)

    def _stopping(self) -> bool:
        return self.kill_now

    def _set_event(self) -> bool:
        """Once: it can be cleared. Was it this time?"""
        with self._telling:
            fresh, self._event_told = not self._event_told, True
        if fresh:
            set_event(self.event)
        return fresh

    def _tell(self) -> None:
        with self._telling:
            if self._told:
                return
            self._told = True
        self._set_event()
        self._timeline.begin(WORK)
        self._stop_fd.wake()
        self._members.tell()
        self._hooks.tell()
        # The dispatcher watches their limits, and its turn may be over:
        #   here: _told;   there: nothing to tell or to watch, sleeps;   here: tells
        _core.wake_news()

    def _stragglers(self, now: float) -> list[Straggler]:
        """Workers and hooks that are still running."""
        return [*self._members.stragglers(now), *self._hooks.stragglers(now)]

    def _registered(self) -> set[int]:
        """The threads of the workers."""
        return self._members.idents()

    # ---- the end ------------------------------------------------------------

    def _why(self) -> SignalInfo | None:
        if self._closed or self._inherited:
            return self._last_reason
        return process.reason

    def _stop_and_limit(self) -> tuple[float | None, float | None]:
        # A hook may have closed it: who waits has his limit from before.
        deadline = self._last_deadline if self._closed else _core.deadline()
        return stop_and_limit(self._why(), deadline)

    def _finish(self, *, ending: bool) -> None:
        """Stopping: workers and on_stop hooks, then open sections, then on_exit
        hooks, then close().

        `ending`: the program ends next, and the deadline holds until it has.
        """
        self._ending = self._ending or ending
        self._tell()
        stragglers: list[Any] = []
        try:
            stragglers = self._members.join(None, self._stop_and_limit)
            # The dispatcher may have begun to tell, and not have come so far.
            self._hooks.tell()
            hooks = self._hooks.wait(self._limit)
            for late in (*stragglers, *hooks):
                _say_late(late.name)
            if self._drain.begin():
                self._timeline.begin(SECTIONS)
                for section in self._drain.wait(self._limit):
                    _say_late(str(section))
        finally:
            reason = self._why()
            # One that has not ended may hold the interpreter for ever.
            held_up = any(not getattr(t, "daemon", True) for t in stragglers)
            self._close(linger=held_up)
            log.info("stopped: %s; %s", reason, self._timeline)

    def _limit(self) -> float | None:
        return self._stop_and_limit()[1]

    def _close(self, *, linger: bool) -> None:
        if self._closed or self._inherited:
            return
        # Also if a hook or another thread closes it meanwhile.
        self._ending = self._ending or linger
        if self.kill_now:
            self._tell()
        self._run_on_exit()
        if self._ending and self.kill_now:
            self._timeline.begin(EXIT)
        else:
            self._timeline.end()
        _core.insist(self._give_back)
        self._run_on_exit()  # those that were registered meanwhile
        self._block_again()
        process.join_retired()

    def _block_again(self) -> None:
        """What was blocked in this thread before us. May be interrupted and called
        again."""
        me = threading.get_ident()
        pthread_sigmask(SIG_BLOCK, self._blocked.get(me, ()))
        self._blocked.pop(me, None)

    def _run_on_exit(self) -> None:
        self._hooks.run_exit(functools.partial(self._timeline.begin, ON_EXIT))

    def _give_back(self) -> None:
        """May be interrupted and called again; see _core.insist()."""
        if self._last_deadline is None:
            self._last_deadline = _core.deadline()  # while ours still counts
        process.remove(self, self._keep_last_values, linger=self._ending)
        self._callbacks.close()
        self._stop_fd.close()
        self._members.wake()

    def _keep_last_values(self) -> None:
        self._last_reason = process.reason
        self._last_counts = self._callbacks.counts()
        if self.kill_now:
            set_event(self.event)
        self._closed = True

    def _at_interpreter_exit(self) -> None:
        """Never closed: run the on_exit hooks. A stop that is under way keeps its
        deadline: other atexit hooks and the finalisation may hang."""
        self._close(linger=True)

    def _exception(self) -> SystemExit:
        # The oldest live one's; of those that are closed, our own.
        status = process.exit_status if process.killers else self.exit_status
        return process.exit.exception(
            self._why(), status, failed=self._failed, at_end=self._take_deadline_again
        )

    def _take_deadline_again(self) -> None:
        """The program ends, and close() has given it back. If the killer is still
        open, it is kept at interpreter exit."""
        if self._closed and self._last_reason is not None:
            process.end_by(self, self._last_deadline, self._last_reason)

    # ---- in a forked child --------------------------------------------------

    def _inherited_by_fork(self, library: bool) -> None:
        """In the forked child. `library`: of one that runs its own code there. May
        be interrupted and called again."""
        if self in process.killers:
            return
        self._renew()
        self._stop_fd.forget_in_child()
        self._forget_stop()
        if self._on_fork == "rearm" or (self._on_fork == "auto" and not library):
            # The same objects: `event` may have been handed out, and a hook that
            # forked goes on in its lane.
            self.event.__init__()  # type: ignore[misc]
            self._hooks.restart()
            self._callbacks.restart()
            try:
                process.add(self, self._backend)
            except (OSError, RuntimeError) as error:
                # Nobody could catch it here. The child has the default actions.
                log.error("a forked child cannot hear its signals: %s", error)
            else:
                return
        self._last_counts = dict.fromkeys(self._callbacks.signals(), 0)
        self._hooks = Hooks(self._hook_timeout)  # the locks of those are the parent's
        self._inherited = True
        make_unusable(self)


def _say_late(name: str) -> None:
    log.warning("%s has not ended in time; going on without it", name)
