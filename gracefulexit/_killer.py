"""GracefulKiller: the object that hears the signals."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from signal import Signals
from types import TracebackType
from typing import Any, NoReturn, TypeVar

from . import _checks, _core
from ._info import SignalInfo, info_from_core, with_sender
from ._layers import in_main_thread, layers
from ._members import Member, join_all
from ._process import ExitStatus, process
from ._report import HookReport, Report, SectionReport
from ._runners import Job, Lane
from ._signals import (
    SignalLike,
    SignalsLike,
    name_of,
    parse_signal,
    parse_signals,
    parse_stop_signals,
)

log = logging.getLogger("gracefulexit")

Self = TypeVar("Self", bound="GracefulKiller")
Func = TypeVar("Func", bound=Callable[..., Any])

STATES = {_core.RUNNING: "running", _core.STOPPING: "stopping", _core.HURRY: "hurry"}
# A shutdown() of a worker that takes longer than this no longer delays the
# asking of the others.
ASK_PATIENCE = 0.5
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


def _exit_status(given: ExitStatus) -> ExitStatus:
    if given in ("signal", "code"):
        return given
    if isinstance(given, int) and not isinstance(given, bool) and 0 <= given <= 255:
        return given
    raise ValueError(
        "exit_status is 'signal' (die of the signal), 'code' (128 + its number), or "
        f"a number of 0 to 255; got {given!r}"
    )


def _one_of(given: str, name: str, choices: tuple[str, ...]) -> str:
    if given not in choices:
        raise ValueError(
            f"{name} is one of {', '.join(map(repr, choices))}; got {given!r}"
        )
    return given


def _grace(given: float | None) -> float | None:
    if given is not None:
        return _checks.seconds(given, "grace")
    text = os.environ.get("GRACEFULEXIT_GRACE", "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    return _checks.seconds(value, f"GRACEFULEXIT_GRACE={text!r}: it")


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
        backend: ``"auto"``, ``"futex"`` (Linux) or ``"pipe"``.
        on_fork: what ``os.fork`` children get: ``"auto"`` and ``"reset"``, the
            handlers from before us; ``"rearm"``, this killer, fresh.
        hook_timeout: seconds after which a hook is left behind.
        worker_error: ``"stop"`` the program when a ``Worker`` fails, or
            ``"ignore"`` it but for the log.

    Raises:
        ValueError, TypeError: an argument that cannot work; nothing is
            installed then.

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
        self.grace = _grace(grace)
        self.exit_status = _exit_status(exit_status)
        if raises is not None:
            if not (isinstance(raises, type) and issubclass(raises, BaseException)):
                raise TypeError(f"raises must be an exception class, not {raises!r}")
            _checks.callback(raises, "raises", (), {})
        self.raises = raises
        self.chain = bool(chain)
        self._on_fork = _one_of(on_fork, "on_fork", ("auto", "rearm", "reset"))
        self._hook_timeout = _checks.seconds(hook_timeout, "hook_timeout", zero=False)
        self._worker_error = _one_of(worker_error, "worker_error", ("stop", "ignore"))
        self._start_fresh()
        process.add(self, backend)
        self._backend = backend
        process.unblock(self.signals)

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
        # Protects the lists below. Inside `process.lock`; user code never runs
        # under it. Re-entrant for Python signal handlers.
        self._lock = threading.RLock()
        self._members: list[Member] = []
        self._stop_hooks: list[Job] = []
        self._exit_hooks: list[Job] = []
        self._past_hooks: list[Job] = []
        self._callbacks: dict[int, list[Callable[[SignalInfo], Any]]] = {}
        self._called: dict[int, int] = {}
        self._queued: dict[int, list[Job]] = {}
        self._taken: dict[int, int] = {}
        self._base: dict[int, int] = {s: _core.count(s) for s in self.signals}
        self._lanes: dict[str, Lane] = {}
        self._wakes: set[threading.Event] = set()
        self._told = False
        self._closed = False
        self._inherited = False
        self._failed = False
        self._phases: dict[str, float] = {}
        self._last_reason: SignalInfo | None = None
        self._last_counts: dict[int, int] | None = None
        self._fds: tuple[int, int] | None = None
        self._sleepers: weakref.WeakKeyDictionary[
            asyncio.AbstractEventLoop, set[asyncio.Future[None]]
        ] = weakref.WeakKeyDictionary()

    def __repr__(self) -> str:
        names = ", ".join(name_of(s) for s in self.signals)
        state = "closed" if self._closed else STATES[_core.state()]
        return f"<GracefulKiller {names or 'no signals'}: {state}>"

    # ---- hearing ------------------------------------------------------------

    def _check_open(self) -> None:
        if self._inherited:
            raise RuntimeError(
                "this killer belongs to the parent process and hears nothing in a "
                "forked child; make a new GracefulKiller() here, or pass "
                "on_fork='rearm' in the parent"
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
        return self._sleep(timeout)

    async def wait_async(self, timeout: float | None = None) -> bool:
        """``wait()`` for asyncio: suspends the task, not the loop. Safe to cancel."""
        timeout = _checks.timeout(timeout)
        if self.kill_now:
            return True
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        sleepers = self._sleepers.setdefault(loop, set())
        if not sleepers:
            # One reader for all tasks of a loop: a second add_reader() for the
            # same descriptor would replace the first.
            loop.add_reader(self.fileno(), self._wake_loop, sleepers)
        sleepers.add(future)
        try:
            await asyncio.wait_for(future, timeout)
        except asyncio.TimeoutError:
            pass
        finally:
            sleepers.discard(future)
            if not sleepers and self._fds is not None:
                loop.remove_reader(self._fds[0])
        return self.kill_now

    @staticmethod
    def _wake_loop(sleepers: set[asyncio.Future[None]]) -> None:
        for future in list(sleepers):
            if not future.done():
                future.set_result(None)

    def fileno(self) -> int:
        """A descriptor that is readable from the stop on, for select() and loops.

        Made on first use, closed by ``close()``. Do not read from it.
        """
        self._check_open()
        with self._lock:
            if self._fds is None:
                self._fds = _stop_pipe()
            return self._fds[0]

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
            counts = {s: _core.count(s) - base for s, base in self._base.items()}
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
        with self._lock:
            count = _core.count(signum)
            new = count - self._taken.get(signum, self._base[signum])
            self._taken[signum] = count
            return new

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
        self._hear_also(signum)
        with self._lock:
            self._called.setdefault(signum, _core.count(signum))
            self._callbacks.setdefault(signum, []).append(func)
        return func

    def _hear_also(self, signum: int) -> None:
        with process.lock:
            if signum in self._base:
                return
            self._base[signum] = _core.count(signum)
            try:
                process.refresh()
            except BaseException:
                del self._base[signum]
                raise
        process.unblock((signum,))

    @property
    def armed(self) -> bool:
        """Are all our handlers in place? False if other code took a signal."""
        if self._closed or self._inherited:
            return False
        return all(layers.armed(s) for s in self._base if s in layers.wanted)

    def rearm(self) -> None:
        """Take our signals back; who has them now is restored by ``close()``."""
        self._check_open()
        with process.lock:
            for signum in self._base:
                if signum in layers.wanted and not layers.armed(signum):
                    layers.rearm(signum)

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
        if not self._closed:
            self._check_open()
            if not stopped:
                process.stop("exit()", raising=False)
            self._finish()
        if not stopped:
            raise SystemExit(int(self._failed))
        raise self._exception()

    def _exception(self) -> SystemExit:
        status = self.exit_status if self._closed else process.exit_status
        error = process.exit_exception(self.reason, status, failed=self._failed)
        if in_main_thread():
            return error
        # threading prints a traceback for every subclass of SystemExit.
        plain = SystemExit(error.code)
        plain.reason = self.reason  # type: ignore[attr-defined]
        return plain

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
        with self._lock:
            late = self._told
            (self._past_hooks if late else self._stop_hooks).append(job)
        if late:
            self._lane("on_stop", limit=self._hook_timeout).submit(job)
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
        with self._lock:
            self._exit_hooks.append(job)
        return func

    def add(
        self,
        thread: Any,
        *,
        stop: Callable[[], Any] | None = None,
        timeout: float | None = None,
    ) -> None:
        """Register a thread (any ``threading.Thread``, or a ``WorkerGroup``).

        At the stop ``stop()`` is called; by default ``thread.shutdown()``, else
        ``thread.shutdown_flag.set()``, else TypeError here. `timeout`: seconds
        that ``join()`` gives this one after it was asked. While stopping it is
        asked at once. Adding a thread twice does nothing.
        """
        self._check_open()
        member = Member(thread, stop, timeout)
        with self._lock:
            if any(m.thread is thread for m in self._members):
                return
            self._members.append(member)
            late = self._told
        if late:
            self._ask(member)

    def start(self, *workers: Any) -> None:
        """``add()`` and start each."""
        for worker in workers:
            self.add(worker)
            worker.start()

    def join(self, timeout: float | None = None) -> list[Any]:
        """Wait until all registered threads have ended; returns those that have not.

        For `timeout` seconds, and, once stopping, within the grace, a tenth of
        which is kept for the hooks. Uses no CPU meanwhile.
        """
        timeout = _checks.timeout(timeout)
        until = None if timeout is None else time.monotonic() + timeout
        me = threading.current_thread()
        with self._lock:
            members = [m for m in self._members if m.thread is not me]
        with self._woken_at_stop() as wake:
            return join_all(members, until, self._reserve, wake)

    @contextmanager
    def _woken_at_stop(self) -> Iterator[threading.Event]:
        wake = threading.Event()
        with self._lock:
            self._wakes.add(wake)
            if self._told or self._closed:
                wake.set()
        try:
            yield wake
        finally:
            with self._lock:
                self._wakes.discard(wake)

    def _reserve(self) -> float | None:
        """Until when workers are waited for, once stopping."""
        deadline, reason = _core.deadline(), self.reason
        if deadline is None or reason is None:
            return None
        return deadline - RESERVE * (deadline - reason.when)

    def worker_failed(self, worker: threading.Thread, error: BaseException) -> None:
        """A registered ``Worker`` ended by an exception."""
        stopping = self._worker_error == "stop"
        log.error("worker %s failed: %r%s", worker.name, error, "; stopping" * stopping)
        if stopping:
            self._failed = True
            process.stop(f"worker {worker.name} failed: {error!r}")

    # ---- called by the dispatcher -------------------------------------------

    def other_signals(self) -> list[int]:
        """Those of on() and take()."""
        return [s for s in list(self._base) if s not in self.signals]

    def turn(self, now: float, state: int) -> float | None:
        if state != _core.RUNNING and not self._told:
            self._tell()
        self._call_back()
        waits = [lane.check(now) for lane in list(self._lanes.values())]
        return min((w for w in waits if w is not None), default=None)

    def _lane(self, name: str, **limits: float | None) -> Lane:
        with self._lock:
            lane = self._lanes.get(name)
            if lane is None:
                lane = self._lanes[name] = Lane(name, **limits)
        _core.wake_news()  # the dispatcher watches its limits from now on
        return lane

    def _tell(self) -> None:
        with self._lock:
            self._told = True
            hooks = self._stop_hooks[::-1]
            self._past_hooks += hooks
            self._stop_hooks.clear()
            members = list(self._members)
            wakes = list(self._wakes)
        self.event.set()
        for wake in wakes:
            wake.set()
        for member in members:
            self._ask(member)
        for job in hooks:
            self._lane("on_stop", limit=self._hook_timeout).submit(job)

    def _ask(self, member: Member) -> None:
        def ask() -> None:
            member.asked = time.monotonic()
            member.ask()

        lane = self._lane("shutdown", patience=ASK_PATIENCE)
        lane.submit(Job(f"shutdown of {member.name}", ask))

    def _call_back(self) -> None:
        for signum, funcs in list(self._callbacks.items()):
            count = _core.count(signum)
            raw = _core.last(signum)
            if count == self._called[signum] or raw is None:
                continue
            queued = self._queued.get(signum, [])
            if any(job.started is None for job in queued):
                continue  # it has not begun, so it is about this signal too
            self._called[signum] = count
            info = info_from_core(raw)
            lane = self._lane(f"on-{name_of(signum)}", limit=self._hook_timeout)
            self._queued[signum] = [
                lane.submit(
                    Job(f"on({name_of(signum)}) {_checks.describe(f)}", _bind(f, info))
                )
                for f in list(funcs)
            ]

    def describe_stragglers(self) -> str:
        """Who is still running, with stacks; "" if nobody."""
        lines = []
        for member in list(self._members):
            report = member.report(None)
            if report.alive:
                lines.append(f"worker {report.name}, at\n{report.stack}")
        lines += [job.name for job in self._past_hooks if not job.over.is_set()]
        return "; ".join(lines)

    # ---- the end ------------------------------------------------------------

    def report(self) -> Report:
        """What happened so far, as data; ``str()`` of it is for people."""
        reason = self.reason
        now = time.monotonic()
        stopped = reason.when if reason is not None else None
        with self._lock:
            members = list(self._members)
            hooks = self._past_hooks + self._stop_hooks + self._exit_hooks
        return Report(
            state="closed" if self._closed else STATES[_core.state()],
            reason=reason,
            stopping_for=now - stopped if stopped is not None else None,
            remaining=self.remaining(),
            counts={name_of(int(s)): n for s, n in self.counts.items()},
            workers=tuple(m.report(stopped) for m in members),
            sections=tuple(
                SectionReport(s.name, s.thread, now - s.since)
                for s in list(process.sections.values())
            ),
            hooks=tuple(HookReport(job.name, job.result) for job in hooks),
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
        self._finish()

    def _finish(self) -> None:
        """Stopping: workers and on_stop hooks, then on_exit hooks, then close()."""
        start = time.monotonic()
        try:
            for thread in self.join():
                log.warning(
                    "%s has not ended in time; going on without it", thread.name
                )
            self._wait_for_hooks()
        finally:
            self._phases["workers and on_stop hooks"] = time.monotonic() - start
            reason = self.reason
            self.close()
            log.info(
                "stopped: %s; %s",
                reason,
                ", ".join(
                    f"{name} {length:.3f} s" for name, length in self._phases.items()
                ),
            )

    def _wait_for_hooks(self) -> None:
        with self._woken_at_stop() as told:
            # The dispatcher has queued them when it has told; it is quick.
            told.wait(5.0)
        with self._lock:
            jobs = list(self._past_hooks)
        me = threading.current_thread()
        if me.name.startswith("gracefulexit-"):
            return  # close() from a hook does not wait for itself
        for job in jobs:
            until = self._reserve()
            left = None if until is None else max(0.0, until - time.monotonic())
            if not job.over.wait(left):
                log.warning("%s has not ended in time; going on without it", job.name)

    def close(self) -> None:
        """Give everything back: handlers, masks, descriptors, threads.

        Runs the ``on_exit`` hooks. From any thread, from a hook, any number of
        times. Stops nothing: ``kill_now``, ``reason`` and ``counts`` keep their
        last values. What was waiting in ``wait()`` returns.
        """
        if self._closed or self._inherited:
            return
        self._run_exit_hooks()
        with process.lock:
            if self._closed:
                return
            if self._fds is not None:
                self._close_fds()
            process.remove(self, self._keep_last_values)
            self._closed = True
        for wake in list(self._wakes):
            wake.set()

    def _keep_last_values(self) -> None:
        self._last_reason = process.reason
        self._last_counts = {s: _core.count(s) - b for s, b in self._base.items()}
        if self.kill_now:
            self.event.set()

    def _run_exit_hooks(self) -> None:
        with self._lock:
            hooks = self._exit_hooks[::-1]
            self._exit_hooks.clear()
            self._past_hooks += hooks
        start = time.monotonic()
        for job in hooks:
            if self._hook_timeout is None:
                # In this thread: what is closed here was often opened here, and
                # sqlite3 connections insist on that.
                job.run()
            else:
                lane = self._lane("on_exit", limit=self._hook_timeout)
                lane.submit(job)
                if not job.over.wait(self._hook_timeout):
                    lane.check(time.monotonic())
        if hooks:
            self._phases["on_exit hooks"] = time.monotonic() - start

    def _close_fds(self) -> None:
        assert self._fds is not None
        for loop, sleepers in list(self._sleepers.items()):
            if sleepers and not loop.is_closed():
                try:
                    loop.call_soon_threadsafe(self._wake_loop, sleepers)
                    loop.remove_reader(self._fds[0])
                except RuntimeError:
                    pass  # the loop was closed meanwhile
        reader, writer = self._fds
        self._fds = None
        try:
            _core.fd_remove(writer)
        except ValueError:
            pass  # forgotten already: it had been closed behind our back
        for fd in (reader, writer):
            with suppress(OSError):
                os.close(fd)

    def at_interpreter_exit(self) -> None:
        """Never closed: run the on_exit hooks and leave no trace."""
        self.close()

    def inherited_by_fork(self) -> None:
        """In the forked child."""
        reason, counts = self._last_reason, dict.fromkeys(self._base, 0)
        if self._fds is not None:
            for fd in self._fds:
                os.close(fd)
        hooks = self._stop_hooks, self._exit_hooks
        others = self._callbacks
        base = list(self._base)
        self._start_fresh()
        self._last_reason, self._last_counts = reason, counts
        self._renew()
        if self._on_fork != "rearm":
            self._inherited = True
            return
        self._last_counts = None
        self._stop_hooks, self._exit_hooks = hooks
        self._callbacks = others
        self._called = dict.fromkeys(others, 0)
        self._base = dict.fromkeys(base, 0)
        process.add(self, self._backend)


def _bind(func: Callable[[SignalInfo], Any], info: SignalInfo) -> Callable[[], Any]:
    return lambda: func(with_sender(info))


def _member(signum: int) -> Any:
    try:
        return Signals(signum)
    except ValueError:
        return signum


def _stop_pipe() -> tuple[int, int]:
    """A pipe at 64 or above; the watcher writes one byte at the stop."""
    ends = list(os.pipe())
    try:
        for i, low in enumerate(ends):
            try:
                ends[i] = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 64)
            except OSError:
                continue  # the limit is lower than that: it stays where it is
            os.close(low)
        os.set_blocking(ends[1], False)
        _core.fd_add(ends[1], True)
    except BaseException:
        for fd in ends:
            os.close(fd)
        raise
    return ends[0], ends[1]


def current() -> GracefulKiller | None:
    """The oldest live killer, or None. For libraries: they need not make one.

    >>> with GracefulKiller() as killer:
    ...     current() is killer
    True
    """
    killers = process.killers
    return killers[0] if killers else None  # type: ignore[return-value]
