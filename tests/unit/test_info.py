"""SignalInfo: what is known about a signal, and how people read it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from gracefulexit import SignalInfo
from gracefulexit._info import with_sender

SI_KERNEL = 0x80


@pytest.mark.parametrize(
    ("info", "text"),
    [
        (SignalInfo(15, 1, 0, sender="systemd"), "SIGTERM from pid 1 (systemd), uid 0"),
        (SignalInfo(15, 77, 5), "SIGTERM from pid 77, uid 5"),
        (SignalInfo(15, os.getpid()), "SIGTERM from ourselves"),
        (SignalInfo(2, 0, si_code=SI_KERNEL), "SIGINT from the terminal"),
        (SignalInfo(15, 0), "SIGTERM from outside this container"),
        (SignalInfo(15), "SIGTERM from an unknown sender"),
        (SignalInfo(0), "stop()"),
        (SignalInfo(0, message="disk full"), "stop(): disk full"),
        (SignalInfo(signal.SIGRTMIN + 1, 7), "SIGRTMIN+1 from pid 7, uid 0"),
    ],
)
def test_text(info: SignalInfo, text: str) -> None:
    """str() says what it was and where it came from."""
    assert str(info) == text


def test_signal_member() -> None:
    """`signal` is the member, None for a stop from code and for SIGRTMIN+n."""
    assert SignalInfo(15).signal is signal.SIGTERM
    assert SignalInfo(0).signal is None
    assert SignalInfo(signal.SIGRTMIN + 1).signal is None


def test_it_is_a_value() -> None:
    """It cannot be changed, and is equal to another with the same facts."""
    info = SignalInfo(15, 1)

    assert info == SignalInfo(15, 1)
    with pytest.raises(AttributeError):
        info.signum = 2  # type: ignore[misc]


def test_sender_is_the_command_line() -> None:
    """The sender's command line is looked up while it lives; after that it is None."""
    code = "print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        info = with_sender(SignalInfo(15, child.pid))
        child.communicate(b"\n")

    assert info.sender == f"{sys.executable} -c {code}"
    assert with_sender(SignalInfo(15, child.pid)).sender is None
    assert with_sender(info) is info


def test_sender_writes_no_line_of_its_own() -> None:
    """Who may signal us chooses its command line, but not what a log looks like."""
    code = "print(flush=True); input()"
    hostile = "x\n2026 CRITICAL root: \x1b[2Jpassword:\r\u202e"
    command = [sys.executable, "-c", code, hostile]
    with subprocess.Popen(command, stdin=-1, stdout=-1) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        info = with_sender(SignalInfo(15, child.pid))
        child.communicate(b"\n")

    written = r"x\n2026 CRITICAL root: \x1b[2Jpassword:\r\u202e"
    assert info.sender == f"{sys.executable} -c {code} {written}"
    assert str(info).isprintable()
