"""Whatever is given as a signal is one that may be handled, or a clear error.

hypothesis chooses what is given: the same in every run, more of it by `-m long`.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from gracefulexit import _core
from gracefulexit._signals import name_of, parse_signal, parse_signals

FAULTS = {
    *(signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL),
    *(signal.SIGTRAP, signal.SIGSYS),
}
NOBODYS = {signal.SIGKILL, signal.SIGSTOP}
MAY_BE_HANDLED = {int(s) for s in signal.valid_signals()} - FAULTS - NOBODYS
FIRST, LAST = int(signal.SIGRTMIN), int(signal.SIGRTMAX)
# name -> number, every way to write each
NAMES = {
    prefix + member.name[3:]: int(member)
    for member in signal.Signals
    for prefix in ("", "SIG")
} | {
    f"{prefix}RTMIN+{n - FIRST}": n
    for n in range(FIRST, LAST + 1)
    for prefix in ("", "SIG")
}


class Own(IntEnum):
    TERM = 15
    HUGE = 2**80


numbers = st.one_of(
    st.integers(), st.integers(-3, 140), st.sampled_from([2**31, 2**32 + 15, -(2**63)])
)
pieces = st.sampled_from(
    [
        *("SIG", "RTMIN", "RTMAX", "TERM", "_IGN", "_DFL", "_BLOCK"),
        *("+", "-", "_", " ", "\0", "\ud800"),
        *("0", "3", "30", "34", "²", "٣", "9" * 5000),
    ]
)
texts = st.one_of(
    st.sampled_from(sorted(NAMES)), st.text(max_size=8), st.lists(pieces).map("".join)
)
others = st.one_of(
    *(
        st.none(),
        st.booleans(),
        st.floats(),
        st.binary(max_size=3),
        st.complex_numbers(),
    ),
    st.sampled_from([Own.TERM, Own.HUGE, signal.SIG_DFL, signal.SIG_BLOCK, object()]),
)


def with_examples(
    test: Callable[..., None], examples: int, *, long: bool = False
) -> Callable[..., None]:
    chosen = settings(
        max_examples=examples,
        derandomize=not long,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    return chosen(test)


def meant(given: object) -> int | None:
    """The signal, if it is one that may be handled."""
    if isinstance(given, bool):
        return None
    number = NAMES.get(given) if isinstance(given, str) else given
    return int(number) if isinstance(number, int) and number in MAY_BE_HANDLED else None


@example("TERM+3")
@example("RTMIN+²")
@example("RTMIN+٣")
@example("RTMIN+" + "9" * 5000)
@example("RTMIN+-1")
@example(Own.HUGE)
@given(st.one_of(numbers, texts, others))
def is_a_signal_or_a_clear_error(it: Any) -> None:
    number = meant(it)
    if number is None:
        with pytest.raises((ValueError, TypeError), match=r"signal|SIG"):
            parse_signal(it)
    else:
        assert parse_signal(it) == number
        assert type(parse_signal(it)) is int
        assert parse_signals([it, it]) == (number,)
        assert parse_signal(name_of(number)) == number


@given(
    st.sampled_from((_core.count, _core.held, _core.last, _core.ours)),
    st.one_of(numbers, texts, others, st.lists(numbers)),
)
def is_looked_up_or_refused(look: Callable[[Any], object], it: Any) -> None:
    if isinstance(it, int) and 0 < it < _core.NSIG:
        look(it)
    else:
        with pytest.raises((ValueError, TypeError, OverflowError)):
            look(it)


@pytest.mark.parametrize(
    "test", [is_a_signal_or_a_clear_error, is_looked_up_or_refused]
)
def test_whatever_is_given(test: Callable[..., None]) -> None:
    """It is a signal that may be handled, exactly if a simple model says so."""
    with_examples(test, 300)()


@pytest.mark.long
@pytest.mark.parametrize(
    "test", [is_a_signal_or_a_clear_error, is_looked_up_or_refused]
)
def test_whatever_else_is_given(test: Callable[..., None]) -> None:
    """The same, for others each time."""
    with_examples(test, 50_000, long=True)()
