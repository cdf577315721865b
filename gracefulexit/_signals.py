"""Which signals: given as names, numbers or signal.Signals. Pure."""

from __future__ import annotations

import errno
import re
import signal
from collections.abc import Iterable

from . import _core

_NAME = re.compile(r"(?:SIG)?([A-Z0-9]+)((?<=RTMIN)\+[0-9]{1,2}|)")

SignalLike = str | int | signal.Signals
SignalsLike = SignalLike | Iterable[SignalLike]


def name_of(signum: int) -> str:
    """The name people know: SIGTERM, SIGRTMIN+3."""
    try:
        return signal.Signals(signum).name
    except ValueError:
        if signal.SIGRTMIN <= signum <= signal.SIGRTMAX:
            return f"SIGRTMIN+{signum - signal.SIGRTMIN}"
        return f"signal {signum}"


def is_queued(signum: int) -> bool:
    """Does the kernel keep each one that is pending, with its payload?"""
    # macOS has none of them.
    first, last = getattr(signal, "SIGRTMIN", 0), getattr(signal, "SIGRTMAX", -1)
    return bool(first <= signum <= last)


def _number(given: object) -> int:
    if isinstance(given, str):
        # Further ones than these have no names, and SIGTERM+3 would be another signal.
        written = _NAME.fullmatch(given)
        found = getattr(signal, f"SIG{written[1]}", None) if written else None
        if not written or not isinstance(found, signal.Signals):
            raise ValueError(
                f"unknown signal {given!r}; give a name like 'TERM', 'SIGTERM' or "
                "'RTMIN+1', a number, or a signal.Signals member"
            )
        return int(found) + int(written[2] or 0)
    if isinstance(given, int) and not isinstance(given, bool):
        return int(given)
    raise TypeError(
        f"a signal is a name like 'TERM', a number or a signal.Signals member, "
        f"not {given!r}"
    )


def parse_signal(given: SignalLike) -> int:
    """One signal that a program may handle, or an error that says what to do."""
    signum = _number(given)
    # What does not even fit a C int is no signal either.
    problem = _core.sig_check(signum) if 0 < signum < _core.NSIG else errno.EINVAL
    if problem == errno.EPERM:
        raise ValueError(
            f"{name_of(signum)} cannot be handled by any program; "
            "use SIGTERM to stop it gracefully"
        )
    if problem == errno.EFAULT:
        raise ValueError(
            f"{name_of(signum)} reports a fault of the program itself, which would "
            "run into it again; use the faulthandler module for it"
        )
    if problem and 32 <= signum < int(signal.SIGRTMIN):
        raise ValueError(
            f"signal {signum} belongs to the C library's threads; "
            f"real-time signals for programs begin at SIGRTMIN ({signal.SIGRTMIN:d})"
        )
    if problem:
        raise ValueError(
            f"there is no signal {signum}; signal.valid_signals() lists them"
        )
    return signum


def parse_signals(given: SignalsLike) -> tuple[int, ...]:
    """One or several, in order, each once."""
    if isinstance(given, (str, int)):
        given = (given,)
    try:
        items = list(given)
    except TypeError:
        items = [given]  # type: ignore[list-item]  # parse_signal says it better
    return tuple(dict.fromkeys(parse_signal(item) for item in items))


def parse_stop_signals(given: SignalsLike) -> tuple[int, ...]:
    """Signals that may stop the program: their default action would end it."""
    signums = parse_signals(given)
    for signum in signums:
        if not _core.sig_ends(signum):
            raise ValueError(
                f"{name_of(signum)} does not end a program by default, so it cannot "
                f"be a stop signal; use killer.on({name_of(signum)[3:]!r}, func)"
            )
    return signums
