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
from typing import Any, NoReturn, TypeVar

from . import _checks, _core
from ._info import SignalInfo, info_from_core, with_sender
from ._layers import in_main_thread, layers
from ._process import process
from ._sections import OpenSection
from ._signals import SignalsLike, parse_stop_signals
from ._teller import flush

log = logging.getLogger("gracefulexit")

Self = TypeVar("Self", bound="TerminateProtected")
MAIN_SEES = 1.0  # seconds for main to notice that it is to end
Func = TypeVar("Func", bound=Callable[..., Any])


class TerminateProtected(_core.Section):
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
        section = process.sections.innermost(self)
        if section is None:
            raise RuntimeError("renew() is called inside the section")
        section.since = time.monotonic()

    # ---- entering and leaving: what _core.Section calls ---------------------
    #
    # __enter__ and __exit__ are C, so that no handler of other code can raise
    # between the `with` and the first line here, or between the last and the
    # block. _begin and _open are called once, and _let_go if _open fails; the
    # others are repeated until they have returned: _innermost, _let_go, then
    # _send_held, _owed and _catch_up.

    def _begin(self) -> OpenSection:
        thread = threading.current_thread()
        return OpenSection(
            name=self.name or _place(sys._getframe(1)),
            owner=self,
            thread=thread.name,
            ident=threading.get_ident(),
            since=time.monotonic(),
            signals=self.signals,
            timeout=self.timeout,
        )

    def _open(self, section: OpenSection) -> None:
        if not section.count_in():
            # The process is being ended at this moment, by another thread.
            raise process.exit_exception(process.reason, process.exit_status)
        process.sections.add(section)
        process.hold(section)

    def _innermost(self) -> OpenSection | None:
        return process.sections.innermost(self)

    def _let_go(self, section: OpenSection) -> None:
        section.count_out()
        process.sections.discard(section)
        process.release(section)

    def _send_held(self, section: OpenSection) -> None:
        _send_held(section)

    def _owed(self, section: OpenSection) -> BaseException | None:
        """The exception that ends the block."""
        error = _owed(section)
        if error is None and section.ident != threading.get_ident():
            error = RuntimeError(
                f"section {section.name} was opened in {section.thread} and closed "
                "in another thread; it is closed now, but that thread was not "
                "protected by it: open and close it in the same thread"
            )
        return error

    def _catch_up(self, section: OpenSection) -> None:
        if in_main_thread():
            process.catch_up()

    def _not_open(self) -> NoReturn:
        raise RuntimeError(
            "this section is not open in this thread; "
            "enter it with `with TerminateProtected():`"
        )

    async def __aenter__(self: Self) -> Self:
        self.__enter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)

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
    if code.co_name == "__aenter__" and frame.f_back is not None:
        code = (frame := frame.f_back).f_code
    return f"{code.co_name} ({os.path.basename(code.co_filename)}:{frame.f_lineno})"


def _reason_for(signum: int) -> SignalInfo | None:
    raw = _core.last(signum)
    return with_sender(info_from_core(raw)) if raw is not None else None


def _send_held(section: OpenSection) -> None:
    """What came inside goes to whoever owned it before, now that the last section
    was left; a default disposition is noted for _owed()."""
    if not section.pending:
        return
    signums = list(section.pending)
    known = [raw for raw in map(_core.last, signums) if raw is not None]
    reason = info_from_core(min(known, key=lambda raw: raw[5])) if known else None
    owners = {signum: layers.owner(signum) for signum in signums}
    default = [s for s, owner in owners.items() if owner is signal.SIG_DFL]
    others = [s for s in signums if s not in default and owners[s] != signal.SIG_IGN]
    section.reason = reason
    section.default = default[0] if default else 0
    # Real signals to the restored owners, whatever they are; all of them, before
    # the first handler in Python runs and may raise.
    _core.send(others, in_main_thread(), section.pending)


def _owed(section: OpenSection) -> BaseException | None:
    """The end of main by a default disposition; from another thread, main is told."""
    reason, section.reason = section.reason, None
    if reason is not None:
        log.info("%s was held until section %s was left", reason, section.name)
    if not section.default:
        return None
    if in_main_thread():
        return process.exit_exception(_reason_for(section.default), "signal")
    signum, section.default = section.default, 0
    _end_main_soon(signum)
    return None


def _end_main_soon(signum: int) -> None:
    """Main unwinds, if it sees the call in a second (a system call hides it); else
    the process dies, as the default action would have had it do at once."""
    reason = _reason_for(signum)
    seen = threading.Event()

    def end_main() -> None:
        seen.set()
        raise process.exit_exception(reason, "signal")

    def die_if_unseen() -> None:
        if not seen.wait(MAIN_SEES):
            flush()
            _core.die(signum)

    _core.in_main(end_main)
    threading.Thread(
        target=die_if_unseen, name="gracefulexit-deliver", daemon=True
    ).start()


def _deliver(section: OpenSection) -> None:
    """Of a section that is over its timeout; called by the dispatcher."""
    _send_held(section)
    _owed(section)


process.deliver = _deliver
