"""What threads of ours block, so that the program can wait for a signal itself."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

import pytest
from child_process import Finished

SETUP = """
from sections import until_asleep
from sigwaits import *
def dispatcher():
    return next(
        t for t in threading.enumerate() if t.name == "gracefulexit-dispatcher")
def is_open(*signums):
    def fact():
        mask = blocked(dispatcher().native_id)
        return all((s in signums) == (s not in mask) for s in (
            SIGTERM, SIGINT, SIGUSR1, SIGUSR2, signal.SIGRTMIN))
    until(fact, f"{signums} open")
"""


@pytest.fixture
def checks(passes: Callable[..., Finished]) -> Callable[..., Finished]:
    return lambda source, *args: passes(SETUP + textwrap.dedent(source), *args)


def test_signal_stays_for_whom_blocks_it(checks, backend: str) -> None:
    """What main blocks, to take it by sigwait(), no sleeping thread of ours takes."""
    checks(
        """
        def leave_pending(signum):
            signal.pthread_sigmask(signal.SIG_BLOCK, [signum])
            until_asleep(dispatcher())
            send(signum)
            equal({signum}, signal.sigpending())
            equal(signum, signal.sigwait([signum]))
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signum])
        with GracefulKiller(backend=sys.argv[1], grace=LIMIT) as killer:
            for _ in range(20):
                leave_pending(SIGUSR1)
                leave_pending(signal.SIGRTMIN)
            killer.on("HUP", print)
            leave_pending(SIGUSR1)
        """,
        backend,
    )


def test_what_is_heard_is_open(checks, handler_backend: str) -> None:
    """The dispatcher has open what killers hear, no longer than they do."""
    checks(
        """
        first = GracefulKiller("TERM", backend=sys.argv[1])
        is_open(SIGTERM)
        second = GracefulKiller("INT", backend=sys.argv[1])
        is_open(SIGTERM, SIGINT)
        second.on("USR1", print)
        is_open(SIGTERM, SIGINT, SIGUSR1)
        second.close()
        is_open(SIGTERM)
        """,
        handler_backend,
    )


def test_heard_while_main_blocks_it(checks, backend: str) -> None:
    """A killer's signal is heard while main, the only thread of the program, blocks
    it."""
    checks(
        """
        with GracefulKiller(backend=sys.argv[1]) as killer:
            signal.pthread_sigmask(signal.SIG_BLOCK, [SIGTERM])
            until_asleep(dispatcher())
            send(SIGTERM)
            equal(True, killer.wait(LIMIT))
            equal(SIGTERM, killer.reason.signum)
        """,
        backend,
    )


@pytest.mark.parametrize("option", ["chain", "raises"])
def test_pending_signal_raises_out_of_the_constructor(checks, option: str) -> None:
    """A signal that was pending, because it was blocked, raises as soon as the killer
    unblocks it: then nothing is installed, and it is blocked as before."""
    checks(
        """
        import gracefulexit
        ARGUMENTS = {"chain": {"chain": True}, "raises": {"raises": KeyboardInterrupt}}
        for _ in range(20):
            before = calm()
            signal.pthread_sigmask(signal.SIG_BLOCK, [SIGINT])
            send(SIGINT)
            killer = None
            try:
                killer = GracefulKiller("INT", **ARGUMENTS[sys.argv[1]])
                for _ in range(1000):
                    pass
            except KeyboardInterrupt:
                pass
            else:
                raise AssertionError("nothing was raised")
            if killer is None:
                equal(None, gracefulexit.current())
                equal({SIGINT}, signal.pthread_sigmask(signal.SIG_UNBLOCK, [SIGINT]))
            else:
                killer.close()
                signal.pthread_sigmask(signal.SIG_UNBLOCK, [SIGINT])
            equal({}, changes(before))
        """,
        option,
    )
