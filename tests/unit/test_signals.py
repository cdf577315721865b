"""_signals: which signals, given as names, numbers or members."""

from __future__ import annotations

import signal

import pytest

from gracefulexit._signals import (
    name_of,
    parse_signal,
    parse_signals,
    parse_stop_signals,
)

FAULTS = {
    *(signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL),
    *(signal.SIGTRAP, signal.SIGSYS),
}


@pytest.mark.parametrize("given", ["TERM", "SIGTERM", signal.SIGTERM, 15])
def test_one_signal(given) -> None:
    """A signal is a name with or without SIG, a member or a number."""
    assert parse_signal(given) == signal.SIGTERM
    assert parse_signals(given) == (signal.SIGTERM,)


@pytest.mark.parametrize("given", ["RTMIN+3", "SIGRTMIN+3", signal.SIGRTMIN + 3])
def test_real_time_signals(given) -> None:
    """Real-time signals are named by their distance from the first."""
    assert parse_signal(given) == signal.SIGRTMIN + 3
    assert name_of(signal.SIGRTMIN + 3) == "SIGRTMIN+3"


def test_several_signals() -> None:
    """Several keep their order, each once."""
    assert parse_signals(("INT", 15, "SIGINT", signal.SIGTERM)) == (2, 15)
    assert parse_signals(()) == ()
    assert parse_signals(s for s in ["HUP"]) == (1,)
    assert parse_stop_signals({"TERM"}) == (15,)


# Python 3.10 has no name for SIGSTKFLT (16).
@pytest.mark.parametrize("signum", sorted(signal.valid_signals() - {16}))
def test_every_signal_has_a_name_that_is_understood(signum: int) -> None:
    """name_of() and parse_signal() agree for every signal that may be handled."""
    if signum in (signal.SIGKILL, signal.SIGSTOP) or signum in FAULTS:
        with pytest.raises(ValueError, match=name_of(signum)):
            parse_signal(name_of(signum))
    else:
        assert parse_signal(name_of(signum)) == signum


def test_number_without_a_name() -> None:
    """A number that is no signal has a text all the same."""
    assert name_of(33) == "signal 33"
