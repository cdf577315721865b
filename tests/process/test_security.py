"""What another process can make of a signal, and what it cannot."""

from __future__ import annotations

import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a system call of it")


def test_sender_may_lie(passes) -> None:
    """Pid and user id are what the sender says, and the stop is a stop all the same."""
    passes(
        """
        from forged import SI_QUEUE, forge
        with GracefulKiller() as killer:
            equal(0, forge(SI_QUEUE, 1))
            assert killer.wait(LIMIT)
            reason = killer.reason
            equal((15, 1, 0), (reason.signum, reason.si_pid, reason.si_uid))
        """
    )


def test_no_signal_of_ours_can_be_forged(passes) -> None:
    """The codes of kill(), of the kernel, and of what we send to our main thread are
    refused to others; with another code our own pid makes no difference."""
    passes(
        """
        import errno
        from forged import SI_KERNEL, SI_QUEUE, SI_TKILL, SI_USER, forge
        from gracefulexit import lowlevel
        with GracefulKiller() as killer:
            for code in SI_USER, SI_TKILL, SI_KERNEL:
                equal(errno.EPERM, forge(code, os.getpid()))
            equal({"SIGTERM": 0}, lowlevel.counts("TERM"))
            equal(0, forge(SI_QUEUE, os.getpid()))
            assert killer.wait(LIMIT)
            equal({"SIGTERM": 1}, lowlevel.counts("TERM"))
        """
    )
