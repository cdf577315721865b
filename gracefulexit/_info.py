"""What is known about a signal: who sent it, when."""

from __future__ import annotations

import os
import signal
from typing import NamedTuple

from . import _core
from ._signals import name_of

# signum, si_code, si_pid, si_uid, si_value, when: as _core tells it.
CoreInfo = tuple[int, int, int, int, int, float]


class SignalInfo(NamedTuple):
    """One signal, or one ``stop()`` from code (``signum`` 0).

    Safe to read from any thread. ``when`` is ``time.monotonic()`` seconds;
    ``si_pid``, ``si_uid``, ``si_code`` and ``si_value`` are the kernel's, and
    -1 or 0 where it did not say. They help to find who sent it; they prove
    nothing: the sender may have ended, and its pid may be another's by now.

    >>> print(SignalInfo(15, si_pid=1, sender="systemd"))
    SIGTERM from pid 1 (systemd), uid 0
    """

    signum: int
    si_pid: int = -1
    si_uid: int = 0
    si_code: int = 0
    si_value: int = 0
    when: float = 0.0
    sender: str | None = None
    message: str = ""

    @property
    def signal(self) -> signal.Signals | None:
        """The ``signal.Signals`` member; None for a stop from code or SIGRTMIN+n."""
        try:
            return signal.Signals(self.signum)
        except ValueError:
            return None

    def __str__(self) -> str:
        if self.signum == 0:
            return f"stop(): {self.message}" if self.message else "stop()"
        return f"{name_of(self.signum)} {self._from()}"

    def _from(self) -> str:
        if self.si_pid == os.getpid():
            return "from ourselves"
        if self.si_pid < 0:
            return "from an unknown sender"
        if self.si_pid == 0:
            # A terminal's Ctrl-C comes from the kernel; a process that we see
            # as pid 0 lives in another pid namespace.
            if self.si_code == _core.SI_KERNEL:
                return "from the terminal"
            return "from outside this container"
        who = f" ({self.sender})" if self.sender else ""
        return f"from pid {self.si_pid}{who}, uid {self.si_uid}"


def info_from_core(raw: CoreInfo, message: str = "") -> SignalInfo:
    signum, code, pid, uid, value, when = raw
    return SignalInfo(signum, pid, uid, code, value, when, None, message)


def with_sender(info: SignalInfo) -> SignalInfo:
    """Add the sender's command line, if it can still be read. Does file I/O."""
    if info.si_pid <= 0 or info.sender is not None:
        return info
    try:
        cmdline = _core.read_file(f"/proc/{info.si_pid}/cmdline", 200)
    except OSError:
        return info
    words = cmdline.rstrip(b"\0").split(b"\0")
    line = b" ".join(words).decode("utf-8", "replace").strip()
    return info._replace(sender=_in_one_line(line) or None)


def _in_one_line(text: str) -> str:
    # The sender chose it: it must not forge a line of the log, nor reach the terminal
    # that shows it. Not by a codec, which is imported when it is first wanted: there
    # may be no descriptor for that.
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
