"""Bad arguments, caught at the call. Pure."""

from __future__ import annotations

import functools
import inspect
import math
import os
import threading
from collections.abc import Callable
from typing import Any


def seconds(
    value: Any, name: str, *, zero: bool = True, none: bool = True
) -> float | None:
    """A time span in seconds; infinity is None, no limit."""
    if value is None and none:
        return None
    try:
        if isinstance(value, bool):
            raise TypeError
        value = float(value)  # Decimal, numpy, ...
    except OverflowError:
        value = math.inf if value > 0 else -math.inf
    except (TypeError, ValueError):
        raise TypeError(
            f"{name} is a number of seconds, not {value!r}; pass one such as 2.5"
        ) from None
    if math.isnan(value) or value < 0 or (value == 0 and not zero):
        least = "0 or more" if zero else "more than 0"
        limit = ", or None for no limit" if none else ""
        raise ValueError(f"{name} must be {least} seconds{limit}; got {value!r}")
    if math.isinf(value):
        return None
    return value  # type: ignore[no-any-return]


def grace(given: Any) -> float | None:
    """The program's own, else the one in the environment."""
    if given is not None:
        return seconds(given, "grace")
    text = os.environ.get("GRACEFULEXIT_GRACE", "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    return seconds(value, f"GRACEFULEXIT_GRACE={text!r} in the environment")


def exit_status(given: Any) -> str | int:
    if given in ("signal", "code") and isinstance(given, str):
        return given
    if isinstance(given, int) and not isinstance(given, bool) and 0 <= given <= 255:
        return int(given)
    raise ValueError(
        "exit_status is 'signal' (die of the signal), 'code' (128 + its number), or "
        f"a number of 0 to 255; got {given!r}"
    )


def exception_class(given: Any) -> None:
    if not (isinstance(given, type) and issubclass(given, BaseException)):
        raise TypeError(f"raises must be an exception class, not {given!r}")
    callback(given, "raises", (), {})


def one_of(given: str, name: str, choices: tuple[str, ...]) -> str:
    if given not in choices:
        listed = ", ".join(map(repr, choices))
        raise ValueError(f"{name} is one of {listed}; got {given!r}")
    return given


def timeout(value: float | None) -> float | None:
    """How long to wait, as `threading` takes it: negative means not at all."""
    if value is None:
        return None
    if math.isnan(value):
        raise ValueError("timeout must be a number of seconds or None; got nan")
    if value > threading.TIMEOUT_MAX:
        return None  # `threading` would raise OverflowError; it is for ever
    return max(0.0, float(value))


def callback(
    func: Any, what: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Raise TypeError unless func(*args, **kwargs) can be called."""
    if not callable(func):
        raise TypeError(f"{what} must be callable, not {func!r}")
    for kind, is_kind, lack in (
        ("a coroutine function", inspect.iscoroutinefunction, "await"),
        ("an async generator function", inspect.isasyncgenfunction, "iterate over"),
        ("a generator function", inspect.isgeneratorfunction, "iterate over"),
    ):
        if any(map(is_kind, _called(func))):
            raise TypeError(
                f"{what} {describe(func)} is {kind}, which nobody would {lack}; pass "
                "a function, e.g. one that calls loop.call_soon_threadsafe()"
            )
    try:
        signature = inspect.signature(func)
    except (TypeError, ValueError):
        return  # some builtins do not tell
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(
            f"{what} {describe(func)}{signature} cannot be called with the "
            f"{len(args) + len(kwargs)} argument(s) that it will get: {error}"
        ) from None


def _called(func: Any) -> tuple[Any, ...]:
    """The function, or what runs when an object is called."""
    while isinstance(func, functools.partial):
        func = func.func
    if isinstance(func, type) or not callable(func):
        return (func,)
    return func, type(func).__call__


def describe(func: Callable[..., Any]) -> str:
    """The name of a callable for people."""
    name = getattr(func, "__qualname__", None) or getattr(func, "__name__", None)
    if name is None:
        name = getattr(getattr(func, "func", None), "__qualname__", None)
    return str(name or repr(func))


def shown(error: BaseException) -> str:
    """repr(), for reports; that of the user's own exceptions may fail."""
    try:
        return repr(error)
    except Exception:  # noqa: BLE001
        return describe(type(error))
