"""For builders of integrations: supported, but not for daily use.

Everything here is process-wide and may be called from any thread.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Protocol, SupportsIndex

from . import _core
from ._info import SignalInfo, info_from_core
from ._signals import SignalLike, name_of, parse_signal

__all__ = [
    "add_wakeup_fd",
    "backends",
    "counts",
    "first",
    "last",
    "remove_wakeup_fd",
    "state",
]


class HasFileno(Protocol):
    def fileno(self) -> int: ...


def _number(fd: int | HasFileno) -> int:
    if isinstance(fd, SupportsIndex):
        return operator.index(fd)
    if not callable(getattr(fd, "fileno", None)):
        raise TypeError(
            f"a descriptor or an object with fileno() is needed, not {fd!r}"
        )
    return operator.index(fd.fileno())


def add_wakeup_fd(fd: int | HasFileno) -> None:
    """Write to `fd` one byte for each signal that a killer manages: its number.

    What ``signal.set_wakeup_fd()`` does, for any number of descriptors, each at
    the same time as the others. Written by a native thread while a killer is
    alive; what does not fit is dropped, since a full descriptor wakes its reader
    as it is.

    Call ``remove_wakeup_fd()`` before you close `fd`. If it was closed, replaced or
    made blocking without that, it is dropped at the next signal with a warning in
    the log. Prefer a socket to a pipe: nothing can ever be written to another file
    that gets a socket's number.

    Raises:
        ValueError: the descriptor blocks, or is fed already.
        OSError: it is not open.
    """
    _core.fd_add(_number(fd))


def remove_wakeup_fd(fd: int | HasFileno) -> None:
    """Write nothing to `fd` any more. ValueError if it was not added."""
    _core.fd_remove(_number(fd))


def counts(*signals: SignalLike) -> Mapping[str, int]:
    """Handler runs of these signals (default: all that ran) in this process.

    >>> counts("TERM")
    {'SIGTERM': 0}
    """
    if signals:
        return {name_of(s): _core.count(s) for s in map(parse_signal, signals)}
    everything = {name_of(s): _core.count(s) for s in range(1, _core.NSIG)}
    return {name: n for name, n in everything.items() if n}


def first(signal: SignalLike) -> SignalInfo | None:
    """What the kernel told of the first run of a signal's handler, or None.

    Tells who began from who repeats it: compare with `last()`.

    >>> first("USR2") is None
    True
    """
    raw = _core.first(parse_signal(signal))
    return None if raw is None else info_from_core(raw)


def last(signal: SignalLike) -> SignalInfo | None:
    """The same of the latest run."""
    raw = _core.last(parse_signal(signal))
    return None if raw is None else info_from_core(raw)


def state() -> str:
    """``"running"``, ``"stopping"`` or ``"hurry"``.

    >>> state()
    'running'
    """
    return ("running", "stopping", "hurry")[_core.state()]


def backends() -> list[str]:
    """The back ends of this build, the one that ``"auto"`` takes first."""
    return _core.backends()
