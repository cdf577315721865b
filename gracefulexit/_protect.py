"""TerminateProtected: a section that no signal of ours tears."""

from __future__ import annotations

import functools
import inspect
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from . import _checks, _core
from ._info import SignalInfo, info_from_core, with_sender
from ._layers import in_main_thread, layers
from ._process import OpenSection, process
from ._signals import SignalsLike, parse_stop_signals

log = logging.getLogger("gracefulexit")

Self = TypeVar("Self", bound="TerminateProtected")
Func = TypeVar("Func", bound=Callable[..., Any])


class TerminateProtected:
    """Finish what is in the block before a signal ends the program.

    Inside, `signals` reach nobody. When the last open section of the process
    is left, they are delivered as if they came right then: a Python handler is
    called in the main thread (SIGINT: ``KeyboardInterrupt``), an ignored signal
    stays ignored, a default one raises ``GracefulExit`` in the main thread. With
    a ``GracefulKiller`` alive for them the killer hears at once, and the end of
    the process waits for the section.

    A context manager (``with``, ``async with``) and a decorator. Re-usable and
    re-entrant, from any thread. A second signal is held too; Ctrl+\\ (SIGQUIT)
    is not.

    Args:
        signals: what to hold, as for ``GracefulKiller``.
        timeout: seconds after which the section no longer holds anything up;
            None for no limit.
        name: for logs and reports; default: the place in the code.

    >>> with TerminateProtected() as p:
    ...     p.pending
    False
    """

    def __init__(
        self,
        signals: SignalsLike = ("TERM", "INT"),
        *,
        timeout: float | None = None,
        name: str | None = None,
    ) -> None:
        if callable(signals):
            raise TypeError(
                "write @TerminateProtected() with parentheses above "
                f"{_checks.describe(signals)}"
            )
        self.signals = parse_stop_signals(signals)
        if signal.SIGQUIT in self.signals:
            raise ValueError(
                "SIGQUIT (Ctrl+\\) cannot be held: it is the way out of a section "
                "that is stuck; leave it out of signals"
            )
        self.timeout = _checks.seconds(timeout, "timeout", zero=False)
        self.name = name
        self._stacks = threading.local()

    # ---- what the code inside may ask ---------------------------------------

    @property
    def pending(self) -> bool:
        """Has one of the signals come (or, with a killer, has the stop begun)?"""
        if _core.state() != _core.RUNNING:
            return True
        return any(_core.held(s) for s in self.signals)

    @property
    def reason(self) -> SignalInfo | None:
        """The signal that is pending, or None."""
        if _core.state() != _core.RUNNING:
            return process.reason
        for signum in self.signals:
            raw = _core.last(signum) if _core.held(signum) else None
            if raw is not None:
                return info_from_core(raw)
        return None

    def renew(self) -> None:
        """Let `timeout` count from now."""
        stack = self._stack()
        if not stack:
            raise RuntimeError("renew() is called inside the section")
        stack[-1].since = time.monotonic()

    # ---- entering and leaving -----------------------------------------------

    def _stack(self) -> list[OpenSection]:
        stack: list[OpenSection] | None = getattr(self._stacks, "open", None)
        if stack is None:
            stack = self._stacks.open = []
        return stack

    def __enter__(self: Self) -> Self:
        self._open(sys._getframe(1))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    async def __aenter__(self: Self) -> Self:
        self._open(sys._getframe(1))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def _open(self, frame: Any) -> None:
        thread = threading.current_thread()
        section = OpenSection(
            name=self.name or _place(frame),
            thread=thread.name,
            ident=threading.get_ident(),
            since=time.monotonic(),
            signals=self.signals,
            timeout=self.timeout,
        )
        if not _core.section_enter():
            # The process is being ended at this moment, by another thread.
            raise process.exit_exception(process.reason, process.exit_status)
        try:
            _hold(section)
        except BaseException:
            _core.section_leave()
            raise
        self._stack().append(section)

    def _close(self) -> None:
        stack = self._stack()
        if not stack:
            raise RuntimeError(
                "this section is not open in this thread; "
                "enter it with `with TerminateProtected():`"
            )
        _release(stack.pop())

    # ---- as a decorator -----------------------------------------------------

    def __call__(self, func: Func) -> Func:
        if not callable(func):
            raise TypeError(f"a function is needed, not {func!r}")
        if inspect.isgeneratorfunction(func) or inspect.isasyncgenfunction(func):
            raise TypeError(
                f"{_checks.describe(func)} is a generator function, which would leave "
                "the section at its first yield; put `with TerminateProtected():` "
                "inside it"
            )
        name = self.name or _checks.describe(func)
        protected = type(self)(self.signals, timeout=self.timeout, name=name)
        if inspect.iscoroutinefunction(func):

            @functools.wraps(func)
            async def run_async(*args: Any, **kwargs: Any) -> Any:
                async with protected:
                    return await func(*args, **kwargs)

            return run_async  # type: ignore[return-value]

        @functools.wraps(func)
        def run(*args: Any, **kwargs: Any) -> Any:
            with protected:
                return func(*args, **kwargs)

        return run  # type: ignore[return-value]


def _place(frame: Any) -> str:
    code = frame.f_code
    return f"{code.co_name} ({os.path.basename(code.co_filename)}:{frame.f_lineno})"


def _managed(signums: tuple[int, ...]) -> bool:
    """Do live killers manage all of them? Then a section is only counted."""
    return any(
        all(s in killer.signals for s in signums) for killer in list(process.killers)
    )


def _hold(section: OpenSection) -> None:
    process.sections[id(section)] = section
    try:
        if _managed(section.signals):
            section.signals = ()  # the killer hears; nothing to hold
        else:
            with process.lock:
                process.hold(section.signals)
        if section.timeout is not None:
            with process.lock:
                process.start()
    except BaseException:
        process.sections.pop(id(section), None)
        raise


def _release(section: OpenSection) -> None:
    process.sections.pop(id(section), None)
    if not section.expired:
        _core.section_leave()
        _let_go(section)
    if in_main_thread():
        process.raise_if_due()


def _let_go(section: OpenSection) -> None:
    """It holds its signals no longer: it was left, or is over its timeout."""
    signals, section.signals = section.signals, ()
    if signals:
        with process.lock:
            pending = process.release(signals)
        if pending:
            _deliver(pending, section)


def _deliver(signums: list[int], section: OpenSection) -> None:
    """The last section is closed: to whoever owned the signals before."""
    reasons = {s: _core.last(s) for s in signums}
    first = min(signums, key=lambda s: (reasons[s] or (0,) * 6)[5])
    raw = reasons[first]
    reason = with_sender(info_from_core(raw)) if raw is not None else None
    log.info("%s was held until section %s was left", reason, section.name)
    default = []
    for signum in signums:
        owner = layers.owner(signum)
        if owner is signal.SIG_DFL:
            default.append(signum)
        elif owner is not signal.SIG_IGN:
            # A real signal to the restored owner, whatever it is. CPython's
            # handler notes it, and main runs it next; from another thread it
            # has to reach main, or main would sleep on in a system call.
            if in_main_thread():
                signal.raise_signal(signum)
            else:
                os.kill(os.getpid(), signum)

    def end_main() -> None:
        raise process.exit_exception(reason, "signal")

    if default and in_main_thread():
        end_main()
    elif default:
        _core.in_main(end_main)


process.expired = _let_go
