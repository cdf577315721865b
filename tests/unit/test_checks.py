"""_checks: bad arguments, caught at the call."""

from __future__ import annotations

import functools
import math
from decimal import Decimal
from unittest import mock

import pytest

from gracefulexit._checks import callback, describe, seconds, timeout


@pytest.mark.parametrize("given", [2, 2.0, Decimal(2), "2"])
def test_seconds(given) -> None:
    """Numbers of any kind are seconds, as floats."""
    assert seconds(given, "x") == 2.0
    assert isinstance(seconds(given, "x"), float)


def test_no_limit() -> None:
    """None and infinity are no limit."""
    assert seconds(None, "x") is None
    assert seconds(math.inf, "x") is None
    assert timeout(None) is None
    assert timeout(math.inf) is None


def test_timeout_as_in_threading() -> None:
    """A negative timeout is no time at all."""
    assert timeout(-3) == 0.0
    assert timeout(0) == 0.0
    assert timeout(2) == 2.0


def test_seconds_past_all_floats() -> None:
    """As good as no limit."""
    assert seconds(10**400, "x") is None
    with pytest.raises(ValueError, match="0 or more"):
        seconds(-(10**400), "x")


@pytest.mark.parametrize("given", [[], "soon", object(), 1j, True, False, b"2 s"])
def test_no_number(given) -> None:
    """What is no number is a TypeError that names the argument."""
    with pytest.raises(TypeError, match="grace"):
        seconds(given, "grace")


def function(a, *, b=2) -> None: ...


class Thing:
    def method(self, a) -> None: ...
    def __call__(self, a) -> None: ...


@pytest.mark.parametrize(
    "func",
    [
        function,
        Thing().method,
        Thing(),
        functools.partial(function, b=3),
        lambda *args: None,
        print,
        [].append,
        dict,
    ],
)
def test_callables_of_every_kind(func) -> None:
    """Functions, methods, objects, partials and builtins are accepted."""
    callback(func, "hook", (1,), {})


async def coroutine(a) -> None: ...


@pytest.mark.parametrize(
    "func", [function, Thing().method, Thing(), functools.partial(function, 1, b=2)]
)
def test_wrong_arity(func) -> None:
    """A call that would fail later fails now, and is named."""
    with pytest.raises(TypeError, match=r"hook .*cannot be called with the 2"):
        callback(func, "hook", (1, 2), {})


class Async:
    async def __call__(self, a) -> None: ...
    async def method(self, a) -> None: ...


def generator(a):
    yield a


async def async_generator(a):
    yield a


@pytest.mark.parametrize(
    "func",
    [
        coroutine,
        functools.partial(coroutine),
        functools.partial(functools.partial(coroutine)),
        Async(),
        Async().method,
        functools.partial(Async()),
        mock.AsyncMock(),
    ],
)
def test_coroutine_functions(func) -> None:
    """A coroutine function is refused, in whatever form: nobody would await it."""
    with pytest.raises(TypeError, match="nobody would await"):
        callback(func, "hook", (1,), {})


@pytest.mark.parametrize(
    ("func", "kind"),
    [
        (generator, "a generator"),
        (functools.partial(generator), "a generator"),
        (async_generator, "an async generator"),
    ],
)
def test_generator_functions(func, kind: str) -> None:
    """A call of one runs nothing of it, so it is refused."""
    with pytest.raises(TypeError, match=f"is {kind} function, which nobody would iter"):
        callback(func, "hook", (1,), {})


def test_describe() -> None:
    """A callable is named as people know it."""
    assert describe(function) == "function"
    assert describe(Thing().method) == "Thing.method"
    assert describe(functools.partial(function, 1)) == "function"
    assert "Thing object" in describe(Thing())
