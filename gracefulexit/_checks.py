"""Bad arguments, caught at the call. Pure."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any


def seconds(
    value: Any, name: str, *, zero: bool = True, none: bool = True
) -> float | None:
    """A time span in seconds; infinity is None, no limit."""
    if value is None and none:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        try:
            value = float(value)  # type: ignore[arg-type]  # Decimal, numpy, ...
        except (TypeError, ValueError):
            raise TypeError(f"{name} is a number of seconds, not {value!r}") from None
    if math.isnan(value) or value < 0 or (value == 0 and not zero):
        least = "0 or more" if zero else "more than 0"
        limit = ", or None for no limit" if none else ""
        raise ValueError(f"{name} must be {least} seconds{limit}; got {value!r}")
    if math.isinf(value):
        return None
    return float(value)


def timeout(value: float | None) -> float | None:
    """How long to wait, as `threading` takes it: negative means not at all."""
    if value is None:
        return None
    if math.isnan(value):
        raise ValueError("timeout must be a number of seconds or None; got nan")
    return max(0.0, float(value))


def callback(
    func: Any, what: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Raise TypeError unless func(*args, **kwargs) can be called."""
    if not callable(func):
        raise TypeError(f"{what} must be callable, not {func!r}")
    if inspect.iscoroutinefunction(func):
        raise TypeError(
            f"{what} {describe(func)} is a coroutine function, which nobody would "
            "await; pass a function, e.g. one that calls loop.call_soon_threadsafe()"
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


def describe(func: Callable[..., Any]) -> str:
    """The name of a callable for people."""
    name = getattr(func, "__qualname__", None) or getattr(func, "__name__", None)
    if name is None:
        name = getattr(getattr(func, "func", None), "__qualname__", None)
    return str(name or repr(func))
