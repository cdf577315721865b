"""GracefulKiller: the object that hears the signals."""

from __future__ import annotations

import _thread
import functools
import logging
import threading
import time
import types
from collections.abc import Callable, Mapping
from signal import SIG_BLOCK, Signals, pthread_sigmask
from types import TracebackType
from typing import Any, NoReturn, TypeVar

from . import _checks, _core
from ._callbacks import Callbacks
from ._hooks import Hooks
from ._info import SignalInfo
from ._layers import in_main_thread, layers
from ._members import Member, Members
from ._process import ExitStatus, process
from ._report import Report, SectionReport
from ._runners import Job
from ._sections import open_sections
from ._signals import (
    SignalLike,
    SignalsLike,
    name_of,
    parse_signal,
    parse_signals,
    parse_stop_signals,
)
from ._stopfd import StopDescriptor

log = logging.getLogger("gracefulexit")

Self = TypeVar("Self", bound="GracefulKiller")
Func = TypeVar("Func", bound=Callable[..., Any])

STATES = {_core.RUNNING: "running", _core.STOPPING: "stopping", _core.HURRY: "hurry"}
# The part of the grace that is kept for the hooks after the workers.
RESERVE = 0.1


class _Guarded(type):
    """`while not GracefulKiller.kill_now:` would read the descriptor, which is
    true, and the loop would never run."""

    @property
    def kill_now(cls) -> bool:
        raise AttributeError(
            "kill_now is an attribute of an instance: write "
            "killer = GracefulKiller() and then `while not killer.kill_now:`"
        )


class GracefulKiller(_core.Flag, metaclass=_Guarded):
    """Hears SIGTERM, Ctrl-C or any chosen signal and tells the whole program.

    Installs in its constructor, from any thread; ``close()`` or the end of a
    ``with`` block gives everything back. One stop per process: a signal or
    ``stop()`` of any killer stops all, and a killer that is made while stopping
    is born stopped. A second signal of `escalate` (by default only SIGINT, the
    second Ctrl-C), at least 0.5 s after the first, ends the process as soon as
    no protected section is open.

    Args:
        signals: what stops the program: names, numbers or ``signal.Signals``.
            ``()`` installs nothing; then only ``stop()`` stops.
        grace: seconds from the stop to the forced end of the process; None for
            no limit, or the number in ``GRACEFULEXIT_GRACE``.
        exit_status: how we end the process: ``"signal"`` (die of it),
            ``"code"`` (128 + n) or a number of 0 to 255.
        escalate: which of `signals` may end it early when they come again.
        raises: an exception class, also raised once in the main thread.
        chain: whoever handled the signals before runs as well.
        backend: ``"auto"``, ``"futex"`` (Linux) or ``"pipe"``; or ``"sigwait"``:
            no system call of the program is interrupted by its signals.
        on_fork: what forked children get: ``"rearm"``, this killer, fresh;
            ``"reset"``, the handlers from before us; ``"auto"``, fresh for
            ``os.fork`` and the handlers from before for ``multiprocessing``,
            ``subprocess`` and their like.
        hook_timeout: seconds after which a hook is left behind.
        worker_error: ``"stop"`` the program when a ``Worker`` fails, or
            ``"ignore"`` it but for the log.

    Raises:
        ValueError, TypeError: an argument that cannot work; nothing is
            installed then.
        RuntimeError: no thread can be had, or gevent has patched them.

    >>> with GracefulKiller(grace=25) as killer:
    ...     killer.kill_now
    False
    """

    def __init__(
        self,
        signals: SignalsLike = ("TERM", "INT"),
        *,
        grace: float | None = None,
        exit_status: ExitStatus = "signal",
        escalate: SignalsLike = ("INT",),
        raises: type[BaseException] | None = None,
        chain: bool = False,
        backend: str = "auto",
        on_fork: str = "auto",
        hook_timeout: float | None = None,
        worker_error: str = "stop",
    ) -> None:
        super().__init__()
        self.signals = parse_stop_signals(signals)
        self.escalate = self._parse_escalate(escalate)
        self.grace = _checks.grace(grace)
        self.exit_status = _checks.exit_status(exit_status)
        if raises is not None:
            _checks.exception_class(raises)
        self.raises = raises
        self.chain = bool(chain)
        self._on_fork = _checks.one_of(on_fork, "on_fork", ("auto", "rearm", "reset"))
        self._hook_timeout = _checks.seconds(hook_timeout, "hook_timeout", zero=False)
        self._worker_error = _checks.one_of(
            worker_error, "worker_error", ("stop", "ignore")
        )
        self._ready = False  # `raises` waits until there is a killer to speak of
        self._start_fresh()
        self._backend = backend
        process.add(self, backend)
        self._unblock(self.signals)
        self._ready = True
        if self.kill_now and raises is not None:
            _core.in_main(process.catch_up)

    def _parse_escalate(self, escalate: SignalsLike) -> tuple[int, ...]:
        signums = parse_signals(escalate)
        if escalate == ("INT",):  # the default asks for it where SIGINT is ours
            return tuple(s for s in signums if s in self.signals)
        for signum in signums:
            if signum not in self.signals:
                raise ValueError(
                    f"escalate has {name_of(signum)}, which is not in signals; a "
                    "signal can only hurry a stop that it could have begun"
                )
        return signums

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
        # Protects _told: the dispatcher tells, or who closes before it could.
        self._telling = threading.RLock()
        self._told = False
        self._closed = False
        self._inherited = False
        self._failed = False
        self._phases: dict[str, float] = {}
        self._blocked: dict[int, set[int]] = {}  # by thread: given back by close()
        self._last_reason: SignalInfo | None = None
        self._last_counts: dict[int, int] | None = None

    def __repr__(self) -> str:
        names = ", ".join(name_of(s) for s in self.signals)
        state = "closed" if self._closed else STATES[_core.state()]
        return f"<GracefulKiller {names or 'no signals'}: {state}>"

    # ---- hearing ------------------------------------------------------------

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

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep until the stop, or for `timeout` seconds; True once stopping.

        ``threading.Event.wait()`` semantics, from any thread; wakes at once,
        uses no CPU meanwhile. In the main thread Python signal handlers run.
        Returns True at once after the stop, on a closed killer too.

        >>> with GracefulKiller() as killer:
        ...     killer.wait(0.01)
        False
        """
        timeout = _checks.timeout(timeout)
        if not self.kill_now:
            self._check_open()
            self._notice()
        return self._sleep(timeout)

    def _notice(self) -> None:
        """A natural moment to look whether others have taken a signal."""
        if not self._closed and not self.armed:
            _core.wake_news()

    async def wait_async(self, timeout: float | None = None) -> bool:
        """``wait()`` for asyncio: suspends the task, not the loop. Safe to cancel."""
        timeout = _checks.timeout(timeout)
        if self.kill_now:
            return True
        self._check_open()
        self._notice()
        await self._stop_fd.wait(timeout)
        return self.kill_now

    def fileno(self) -> int:
        """A descriptor that is readable from the stop on, for select() and loops.

        Made on first use, closed by ``close()``. Do not read from it. If other
        code has closed or replaced it, the next call makes a new one and logs a
        warning; register that one. OSError if there is no descriptor to be had.
        From any thread.
        """
        self._check_open()
        self._notice()
        return self._stop_fd.fileno()

    @property
    def reason(self) -> SignalInfo | None:
        """Why the program stops: a ``SignalInfo``, or None while it runs."""
        if self._closed or self._inherited:
            return self._last_reason
        return process.reason

    @property
    def counts(self) -> Mapping[Any, int]:
        """How often each signal's handler has run since this killer was made.

        Two ``kill``s can be one run: POSIX merges standard signals.
        """
        counts = self._last_counts
        if counts is None:
            counts = self._callbacks.counts()
        return {_member(s): n for s, n in counts.items()}

    def take(self, signal: SignalLike, /) -> int:
        """Handler runs since the last call: act on a signal at a safe point.

        The first call installs the handler, so make it before your loop.

        >>> with GracefulKiller() as killer:
        ...     killer.take("USR1")
        0
        """
        signum = parse_signal(signal)
        self._check_open()
        self._hear_also(signum)
        return self._callbacks.take(signum)

    def on(self, signal: SignalLike, func: Any = None, /) -> Any:
        """Call ``func(SignalInfo)`` at another signal, which does not stop.

        For SIGHUP to reload, SIGUSR1 to reopen logs. Also a decorator:
        ``@killer.on("HUP")``. Runs on a thread of its own, one call at a time;
        signals that come while a call waits for its turn share it.

        Raises TypeError if func cannot take one argument, ValueError if the
        signal stops the program or cannot be handled.
        """
        if func is None:
            return lambda f: self.on(signal, f)
        signum = parse_signal(signal)
        _checks.callback(func, "on()", (None,), {})
        self._check_open()
        if signum in self.signals:
            raise ValueError(
                f"{name_of(signum)} stops the program already; use on_stop(), or "
                "leave it out of signals"
            )
        with process.lock:
            # Before the handler stands: a signal that comes with it is not
            # swallowed.
            fresh = signum not in self._callbacks.signals()
            self._callbacks.call(signum, func)
            if fresh:
                self._hear_also(signum)
        return func

    def _hear_also(self, signum: int) -> None:
        with process.lock:
            if not self._callbacks.begin(signum):
                return

            def undo() -> None:
                self._callbacks.cancel(signum)
                process.refresh()

            _core.attempt(process.refresh, undo)
        self._unblock((signum,))

    def _unblock(self, signums: tuple[int, ...]) -> None:
        leaked = process.unblock(signums)
        if leaked:
            self._blocked.setdefault(threading.get_ident(), set()).update(leaked)

    @property
    def armed(self) -> bool:
        """Are all our handlers in place? False if other code took a signal."""
        if self._closed or self._inherited:
            return False
        ours = [s for s in self._callbacks.signals() if s in layers.wanted]
        return all(layers.armed(s) for s in ours)

    def rearm(self) -> None:
        """Take our signals back; who has them now is restored by ``close()``."""
        self._check_open()
        with process.lock:
            for signum in self._callbacks.signals():
                if signum in layers.wanted and not layers.armed(signum):
                    process.rearm(signum)

    # ---- stopping -----------------------------------------------------------

    def stop(self, message: str = "") -> None:
        """Ask the program to stop, as a signal would. Nothing if it is stopping.

        From any thread, from a Python signal handler, from a hook. Returns at
        once; ``message`` is in the log and in ``reason``.
        """
        if self._closed and self.kill_now:
            return
        self._check_open()
        process.stop(str(message))

    def remaining(self) -> float | None:
        """Seconds to the forced end; None if not stopping or without `grace`."""
        return None if self._closed else process.remaining()

    def extend(self, seconds: float) -> None:
        """Move the deadline of the stop that is under way by so many seconds."""
        span = _checks.seconds(seconds, "seconds", none=False)
        self._check_open()
        if not self.kill_now:
            raise RuntimeError(
                "the program is not stopping, so there is no deadline to move; "
                "pass a longer grace= to GracefulKiller"
            )
        if span is None:
            raise ValueError("extend needs a finite number of seconds")
        _core.extend(span)

    def checkpoint(self) -> None:
        """Raise ``GracefulExit`` if the program is stopping, else do nothing."""
        if self.kill_now:
            raise self._exception()
        self._check_open()

    def exit(self) -> NoReturn:
        """End the program; never returns.

        Stops it if it runs, joins the workers within the grace, runs the
        ``on_exit`` hooks, closes. After a stop raises ``GracefulExit``, which
        ends the process by `exit_status`; else ``SystemExit(0)``. Status 1 after
        a failed worker.
        """
        stopped = self.kill_now
        status = self.exit_status
        if not self._closed:
            self._check_open()
            # Whoever began it decides what kind of end this is.
            stopped = stopped or not process.stop("exit()", raising=False)
            status = process.exit_status
            self._finish(ending=True)
        if not stopped:
            raise SystemExit(int(self._failed))
        raise process.exit_exception(self.reason, status, failed=self._failed)

    def _exception(self) -> SystemExit:
        # The oldest live one's; of those that are closed, our own.
        status = process.exit_status if process.killers else self.exit_status
        return process.exit_exception(self.reason, status, failed=self._failed)

    # ---- hooks and workers --------------------------------------------------

    def on_stop(self, func: Func, /, *args: Any, **kwargs: Any) -> Func:
        """Call ``func(*args, **kwargs)`` at the stop, at once, on a thread of its own.

        For waking what blocks: ``killer.on_stop(httpd.shutdown)``. Also a
        decorator. Last registered first, each exactly once; one that fails is
        logged, one over `hook_timeout` is left behind, and the rest go on.
        Registered while stopping, it runs at once. Returns func.
        """
        _checks.callback(func, "on_stop hook", args, kwargs)
        self._check_open()
        job = Job(
            f"on_stop hook {_checks.describe(func)}", lambda: func(*args, **kwargs)
        )
        self._hooks.on_stop(job)
        return func

    def on_exit(self, func: Func, /, *args: Any, **kwargs: Any) -> Func:
        """Call ``func(*args, **kwargs)`` after the workers have ended.

        For closing what they used. Runs when the ``with`` block is left, in
        ``exit()``, ``close()`` or at interpreter exit, in that thread; with
        `hook_timeout`, on a thread of its own. Otherwise as ``on_stop()``.
        """
        _checks.callback(func, "on_exit hook", args, kwargs)
        self._check_open()
        job = Job(
            f"on_exit hook {_checks.describe(func)}", lambda: func(*args, **kwargs)
        )
        self._hooks.on_exit(job)
        return func

    def add(
        self,
        thread: Any,
        *,
        stop: Callable[[], Any] | None = None,
        timeout: float | None = None,
    ) -> None:
        """Register any ``threading.Thread``, ``ProcessWorker`` or ``WorkerGroup``.

        At the stop ``stop()`` is called; by default ``thread.shutdown()``, else
        ``thread.shutdown_flag.set()``, else TypeError here. `timeout`: seconds
        that ``join()`` gives this one after it was asked. While stopping it is
        asked at once. Adding a thread twice does nothing.
        """
        self._check_open()
        self._members.add(Member(thread, stop, timeout))

    def _forget(self, thread: Any) -> None:
        """It has ended, and need not be kept alive but for the report of a stop."""
        if not self._told:
            self._members.discard(thread)

    def start(self, *workers: Any) -> None:
        """``add()`` and start each."""
        for worker in workers:
            if not callable(getattr(worker, "start", None)):
                raise TypeError(
                    f"{worker!r} has no start(); killer.add() registers what runs "
                    "already, such as a Popen"
                )
            self.add(worker)
            worker.start()

    def join(self, timeout: float | None = None) -> list[Any]:
        """Wait until all that is registered has ended; returns what has not.

        For `timeout` seconds, and, once stopping, within the grace, a tenth of
        which is kept for the hooks. Uses no CPU meanwhile.
        """
        timeout = _checks.timeout(timeout)
        if self._inherited:
            self._check_open()
        until = None if timeout is None else time.monotonic() + timeout
        return self._members.join(until, self._stop_and_limit)

    def _stop_and_limit(self) -> tuple[float | None, float | None]:
        """When the stop began, and until when workers and hooks are waited for."""
        reason = self.reason
        return (None, None) if reason is None else (reason.when, _limit(reason))

    def _worker_failed(self, name: str, error: BaseException) -> None:
        """A worker ended by an exception, or a process worker by its own death."""
        stopping = self._worker_error == "stop"
        log.error("worker %s failed: %r%s", name, error, "; stopping" * stopping)
        if stopping:
            self._failed = True
            process.stop(f"worker {name} failed: {error!r}")

    # ---- called by the dispatcher -------------------------------------------

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

    def _tell(self) -> None:
        with self._telling:
            if self._told:
                return
            self._told = True
        _set(self.event)
        self._stop_fd.wake()
        self._members.tell()
        self._hooks.tell()
        # The dispatcher watches their limits, and its turn may be over:
        #   here: _told;   there: nothing to tell or to watch, sleeps;   here: tells
        _core.wake_news()

    def _describe_stragglers(self) -> str:
        """Who is still running, with stacks; "" if nobody."""
        lines = []
        for member in self._members.snapshot():
            report = member.report(None)
            if report.alive:
                # A process has no stack that we could see.
                at = f", at\n{report.stack}" if report.stack else ""
                lines.append(f"worker {report.name}{at}")
        return "; ".join(lines + self._hooks.unfinished())

    # ---- the end ------------------------------------------------------------

    def report(self) -> Report:
        """What happened so far, as data; ``str()`` of it is for people."""
        self._notice()
        reason = self.reason
        now = time.monotonic()
        stopped = reason.when if reason is not None else None
        return Report(
            state="closed" if self._closed else STATES[_core.state()],
            reason=reason,
            stopping_for=now - stopped if stopped is not None else None,
            remaining=self.remaining(),
            counts={name_of(int(s)): n for s, n in self.counts.items()},
            workers=tuple(m.report(stopped) for m in self._members.snapshot()),
            sections=tuple(
                SectionReport(s.name, s.thread, now - s.since) for s in open_sections()
            ),
            hooks=self._hooks.report(),
            phases=dict(self._phases),
        )

    def __enter__(self: Self) -> Self:
        self._check_open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._closed or self._inherited:
            return
        if not self.kill_now:
            process.stop("left the block", raising=False)
        self._finish(ending=False)

    def _finish(self, *, ending: bool) -> None:
        """Stopping: workers and on_stop hooks, then on_exit hooks, then close().

        `ending`: the program ends next, and the deadline holds until it has.
        """
        self._tell()
        start = time.monotonic()
        stragglers: list[Any] = []
        try:
            stragglers = self.join()
            for thread in stragglers:
                log.warning(
                    "%s has not ended in time; going on without it", thread.name
                )
            self._wait_for_hooks()
        finally:
            self._phases["workers and on_stop hooks"] = time.monotonic() - start
            reason = self.reason
            # One that has not ended may hold the interpreter for ever.
            held_up = any(not getattr(t, "daemon", True) for t in stragglers)
            self._close(linger=ending or held_up)
            log.info(
                "stopped: %s; %s",
                reason,
                ", ".join(
                    f"{name} {took:.3f} s" for name, took in self._phases.items()
                ),
            )

    def _wait_for_hooks(self) -> None:
        for job in self._hooks.wait(lambda: self._stop_and_limit()[1]):
            log.warning("%s has not ended in time; going on without it", job.name)

    def close(self) -> None:
        """Give everything back: handlers, masks, descriptors, threads.

        Runs the ``on_exit`` hooks. From any thread, from a hook, any number of
        times. Stops nothing: ``kill_now``, ``reason`` and ``counts`` keep their
        last values. What was waiting in ``wait()`` returns.
        """
        self._close(linger=False)

    def _close(self, *, linger: bool) -> None:
        if self._closed or self._inherited:
            return
        if self.kill_now:
            self._tell()
        start = time.monotonic()
        if self._hooks.run_exit():
            self._phases["on_exit hooks"] = time.monotonic() - start
        _core.insist(functools.partial(self._give_back, linger))
        blocked = self._blocked.pop(threading.get_ident(), None)
        if blocked:
            pthread_sigmask(SIG_BLOCK, blocked)
        process.join_retired()

    def _give_back(self, linger: bool) -> None:
        """May be interrupted and called again; see _core.insist()."""
        process.remove(self, self._keep_last_values, linger=linger)
        self._stop_fd.close()
        self._members.wake()

    def _keep_last_values(self) -> None:
        self._last_reason = process.reason
        self._last_counts = self._callbacks.counts()
        if self.kill_now:
            _set(self.event)
        self._closed = True

    def _at_interpreter_exit(self) -> None:
        """Never closed: run the on_exit hooks. A stop that is under way keeps its
        deadline: other atexit hooks and the finalisation may hang."""
        self._close(linger=True)

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
        if not isinstance(self, _Unusable):
            cls = type(self)
            self.__class__ = types.new_class(cls.__name__, (_Unusable, cls))

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a killer cannot be pickled or copied: it hears for one process; make a "
            "new GracefulKiller() in the other one, or use a ProcessWorker"
        )


class _Unusable:
    """Goes before the class of a killer that a child cannot use. kill_now is false
    there for ever and `event` not set, and who looks at them would be told nothing; a
    check in the member itself would cost every poll of every program."""

    __slots__ = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Not that of the user's class, which may want arguments."""

    def _refuse(self) -> NoReturn:
        self._check_open()  # type: ignore[attr-defined]
        raise AssertionError("an inherited killer is not open")

    kill_now = event = property(_refuse)


def _set(event: threading.Event) -> None:
    """Not in main, where the handler of another signal may raise in the middle of it:
    an Event takes its lock in Python, which then is never released,
      main: set() has the lock, KeyboardInterrupt;   main: close() again, set()
    and main waits for itself."""
    if event.is_set():
        return
    done = _thread.allocate_lock()
    done.acquire()

    def run() -> None:
        event.set()
        done.release()

    try:
        if not in_main_thread():
            run()
        else:
            _thread.start_new_thread(run, ())
    except RuntimeError:  # no thread is to be had, or not any more
        run()
    done.acquire()


def _member(signum: int) -> Any:
    try:
        return Signals(signum)
    except ValueError:
        return signum


def _limit(reason: SignalInfo) -> float | None:
    deadline = _core.deadline()
    if deadline is None:
        return None
    return deadline - RESERVE * (deadline - reason.when)


def time_for_workers() -> float | None:
    """Seconds until nobody waits for workers any more; None: no stop, or no limit."""
    reason = process.reason
    limit = None if reason is None else _limit(reason)
    return None if limit is None else max(0.0, limit - time.monotonic())


def stop_descriptor() -> int | None:
    """Readable from a stop that is yet to come; None: under way, or no killer."""
    killer = current()
    if killer is None or killer.kill_now:
        return None
    try:
        return killer.fileno()
    except (RuntimeError, OSError):  # closed at this moment; no descriptor left
        return None


def current() -> GracefulKiller | None:
    """The oldest live killer, or None. For libraries: they need not make one.

    >>> with GracefulKiller() as killer:
    ...     current() is killer
    True
    """
    killers = process.killers
    return killers[0] if killers else None  # type: ignore[return-value]
