"""GracefulKiller: the object that hears the signals."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from signal import Signals
from types import TracebackType
from typing import Any, NoReturn, TypeVar

from . import _checks, _core
from ._exit import ExitStatus
from ._info import SignalInfo
from ._layers import in_main_thread, layers
from ._lifecycle import Lifecycle
from ._members import Member
from ._process import process
from ._report import Report
from ._runners import Job
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


class _Guarded(type):
    """`while not GracefulKiller.kill_now:` would read the descriptor, which is
    true, and the loop would never run."""

    @property
    def kill_now(cls) -> bool:
        raise AttributeError(
            "kill_now is an attribute of an instance: write "
            "killer = GracefulKiller() and then `while not killer.kill_now:`"
        )


class GracefulKiller(Lifecycle, metaclass=_Guarded):
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
            no limit, or the number in ``GRACEFULEXIT_GRACE``; 0 ends it at the
            signal itself, with no hook run and no section finished.
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
        _core.attempt(self._install, self._uninstall)

    def _install(self) -> None:
        """May be interrupted anywhere: by a signal that was pending, for one."""
        process.add(self, self._backend)
        self._unblock(self.signals)
        self._ready = True
        if self.grace == 0:
            log.info("grace=0: a stop ends the process at once, and waits for nothing")
        if self.kill_now and self.raises is not None:
            _core.in_main(process.catch_up)

    def _uninstall(self) -> None:
        self._give_back()
        self._closed = True  # also where it had not got as far as the list
        self._block_again()
        process.join_retired()

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

    def __repr__(self) -> str:
        names = ", ".join(name_of(s) for s in self.signals)
        state = "closed" if self._closed else STATES[_core.state()]
        return f"<GracefulKiller {names or 'no signals'}: {state}>"

    # ---- hearing ------------------------------------------------------------

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
        stopping = self._sleep(timeout)
        if stopping:
            # What `raises` asks for may be on its way still, from another thread, and
            # without a GIL main is the faster one.
            process.catch_up()
        return stopping

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
    def flag_address(self) -> int:
        """The address of a C ``int`` that is not 0 while the program is stopping.

        For ctypes, Numba and their like: native loops without the interpreter lock
        look at it with one load, which must be volatile or atomic, or the compiler
        takes it out of the loop. Flipped by the signal handler. It belongs to the
        process, not to this killer: all killers have the same one, it is never
        freed, and it is 0 again once the last of them is closed. Do not write to
        it. From any thread; RuntimeError on a killer that a fork has inherited.

        >>> import ctypes
        >>> with GracefulKiller() as killer:
        ...     flag = ctypes.c_int.from_address(killer.flag_address)
        ...     flag.value
        0
        """
        if self._inherited:
            self._check_open()
        return _core.flag_address()

    @property
    def reason(self) -> SignalInfo | None:
        """Why the program stops: a ``SignalInfo``, or None while it runs."""
        return self._why()

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
        signals that come while a call waits for its turn share it. Real-time
        signals do not share: each is a call of its own, with its number from
        ``sigqueue()`` in ``si_value``, in the order in which they were sent only
        with ``backend="sigwait"``. What comes while 16384 wait is lost, and so is
        what waits at ``close()``; ``report().lost`` counts it.

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
        _core.wake_news()  # the dispatcher has it open, or blocked, from now on

    def _unblock(self, signums: tuple[int, ...]) -> None:
        # Noted before it is unblocked: what is pending may raise then.
        leaked = process.blocked(signums)
        if leaked:
            self._blocked.setdefault(threading.get_ident(), set()).update(leaked)
            process.unblock(leaked)

    @property
    def armed(self) -> bool:
        """Are all our handlers in place? False if other code took a signal."""
        return self._armed()

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
        """Seconds to the forced end; None if not stopping or without `grace`.

        The same for all killers, from any thread: in a hook or a worker ask
        ``gracefulexit.current().remaining()``.
        """
        return None if self._closed else process.remaining()

    def extend(self, seconds: float) -> None:
        """Move the deadline of the stop that is under way by so many seconds.

        From any thread; ``join()`` and other waits that have begun see it.
        RuntimeError before the stop, ValueError for a negative or infinite number.
        """
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
        if in_main_thread():
            # Where it was closed before, or by a hook that was faster than we.
            self._take_deadline_again()
        if not stopped:
            raise SystemExit(int(self._failed))
        raise process.exit.exception(self.reason, status, failed=self._failed)

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
        if self._closed:
            # Since we looked, and after close() did for the last time.
            self._run_on_exit()
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

    def _worker_failed(self, name: str, error: BaseException) -> None:
        """A worker ended by an exception, or a process worker by its own death."""
        stopping = self._worker_error == "stop"
        log.error("worker %s failed: %r%s", name, error, "; stopping" * stopping)
        if stopping:
            for killer in {self, *process.killers}:
                killer._failed = True  # any of them may end the program
            process.stop(f"worker {name} failed: {error!r}")

    # ---- the end ------------------------------------------------------------

    def report(self) -> Report:
        """What happened so far, as data; ``str()`` of it is for people.

        At any time: before the stop, from a hook, on a closed killer. From any
        thread, from a Python signal handler. RuntimeError on a killer that a
        forked child cannot use.

        >>> with GracefulKiller() as killer:
        ...     killer.report().state
        'running'
        """
        if self._inherited:
            self._check_open()
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
            lost={name_of(s): n for s, n in self._callbacks.lost().items()},
            workers=self._members.report(stopped),
            sections=self._drain.report(now),
            hooks=self._hooks.report(stopped),
            phases=self._timeline.report(stopped),
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

    def close(self) -> None:
        """Give everything back: handlers, masks, descriptors, threads.

        Runs the ``on_exit`` hooks. From any thread, from a hook, any number of
        times. Stops nothing: ``kill_now``, ``reason`` and ``counts`` keep their
        last values. What was waiting in ``wait()`` returns.
        """
        self._close(linger=False)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a killer cannot be pickled or copied: it hears for one process; make a "
            "new GracefulKiller() in the other one, or use a ProcessWorker"
        )


def _member(signum: int) -> Any:
    try:
        return Signals(signum)
    except ValueError:
        return signum


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
