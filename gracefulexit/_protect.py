"""TerminateProtected: a section that no signal of ours tears."""

from __future__ import annotations

import functools
import inspect
import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from . import _checks, _core
from ._delivery import loop_is_running
from ._info import SignalInfo, info_from_core
from ._process import process
from ._sections import name_of_section
from ._signals import SignalsLike, parse_stop_signals

if TYPE_CHECKING:
    from contextvars import ContextVar

Self = TypeVar("Self", bound="TerminateProtected")
Func = TypeVar("Func", bound=Callable[..., Any])


class TerminateProtected(_core.Section):
    """Finish what is in the block before a signal ends the program.

    Inside, `signals` reach nobody. When the last open section of the process
    is left, they are delivered as if they came right then: a Python handler is
    called in the main thread (SIGINT: ``KeyboardInterrupt``), an ignored signal
    stays ignored, a default one raises ``GracefulExit`` in the main thread, and
    ``SystemExit``, once, in other threads at their next outermost section. With
    a ``GracefulKiller`` alive for them the killer hears at once; its end by a
    second Ctrl-C waits for the section, that of the grace period does not.

    A context manager (``with``, which belongs to the thread, and ``async with``,
    to the task) and a decorator. Re-usable and re-entrant, from any thread. While
    a signal is held, entering waits in threads that are in no section. A second
    signal is held too; Ctrl+\\ (SIGQUIT) is not.

    Args:
        signals: what to hold, as for ``GracefulKiller``.
        timeout: seconds after which the section no longer holds anything up;
            None for no limit.
        name: for logs and reports; default: the place where it is made.

    Raises:
        ValueError: a signal that cannot be held, or a timeout that is not > 0.
        TypeError: another type; a decorator without (), or of a generator.
        RuntimeError: on leaving in another thread than it was entered in.
        SystemExit: on entering, while the process is being ended.

    >>> with TerminateProtected() as p:
    ...     p.pending
    False
    """

    __slots__ = ("__weakref__",)

    if TYPE_CHECKING:

        def __init__(
            self,
            signals: SignalsLike = ("TERM", "INT"),
            *,
            timeout: float | None = None,
            name: str | None = None,
        ) -> None: ...

    def _parse(
        self,
        signals: SignalsLike = ("TERM", "INT"),
        *,
        timeout: float | None = None,
        name: str | None = None,
    ) -> tuple[tuple[int, ...], float | None, str | None]:
        """What the constructor calls when it has arguments."""
        if callable(signals):
            raise TypeError(
                "write @TerminateProtected() with parentheses above "
                f"{_checks.describe(signals)}"
            )
        signums = parse_stop_signals(signals)
        if signal.SIGQUIT in signums:
            raise ValueError(
                "SIGQUIT (Ctrl+\\) cannot be held: it is the way out of a section "
                "that is stuck; leave it out of signals"
            )
        if name is not None and not isinstance(name, str):
            raise TypeError(f"name must be a string, not {name!r}")
        return signums, _checks.seconds(timeout, "timeout", zero=False), name

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
        serial = next((n for n in reversed(_tasks_own(self))), 0)
        if not self._renew(serial):
            raise RuntimeError("renew() is called inside the section")

    # ---- entering and leaving: what _core.Section calls ---------------------
    #
    # __enter__ and __exit__ are C, so that no handler of other code can raise
    # between the `with` and the first line here, or between the last and the
    # block; and so that they cost next to nothing where nothing is to be done.

    def _open(self, serial: int) -> None:
        process.delivery.open(self, serial)

    def _say_held(self) -> None:
        process.delivery.say_held()

    @property
    def _steps(self) -> tuple[Callable[[], object], ...]:
        return process.delivery.steps(self)

    def _not_ours(self) -> RuntimeError:
        return RuntimeError(
            f"section {name_of_section(self)} was closed in another thread than the "
            "one that opened it; it is closed now, but this thread was not "
            "protected by it: open and close it in the same thread"
        )

    def _not_open(self) -> NoReturn:
        raise RuntimeError(
            "this section is not open in this thread; "
            "enter it with `with TerminateProtected():`"
        )

    async def __aenter__(self: Self) -> Self:
        # It belongs to the task, not to the thread: tasks take turns in one.
        me = threading.get_ident()
        own = [entry for entry in _own.get() if _core.is_open(entry[0])]
        serial = _core.new_serial()
        delivery = process.delivery
        # Elsewhere than in asyncio nothing can be awaited.
        inside = bool(own) or _core.inside(me, False) or not loop_is_running()
        try:
            while not delivery.enter(self, serial, inside=inside, task=True):
                await delivery.wait_in_task(self)
            _own.set((*own, (serial, self)))
        except BaseException:
            if _core.is_open(serial):
                self._shut(serial)
            raise
        return self

    @staticmethod
    async def _done() -> None:
        """What __aexit__, which is C too, gives to await."""

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
        protected: TerminateProtected = self
        if self.name is None and type(self) is TerminateProtected:
            protected = TerminateProtected(
                self.signals, timeout=self.timeout, name=_checks.describe(func)
            )
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


# The sections of this asyncio task, the innermost last. A task that was made in
# one of them has it too, and is inside as long as it is open.
_own: ContextVar[tuple[tuple[int, _core.Section], ...]] = _core.own


def _tasks_own(section: TerminateProtected) -> list[int]:
    return [n for n, owner in _own.get() if owner is section and _core.is_open(n)]


# What inspect.signature() shows; the constructor itself is C.
TerminateProtected.__signature__ = inspect.signature(  # type: ignore[attr-defined]
    TerminateProtected._parse
).replace(
    parameters=list(inspect.signature(TerminateProtected._parse).parameters.values())[
        1:
    ],
    return_annotation=inspect.Signature.empty,
)
