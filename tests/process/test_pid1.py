"""Process number 1 of a container: the kernel gives it no default actions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from child_process import Child
from programs import PRELUDE

TERM, INT, USR1 = signal.SIGTERM, signal.SIGINT, signal.SIGUSR1
# --kill-child: nothing of it outlives a test that fails.
UNSHARE = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child"]
# unshare dies of the signal that its child has died of, so 143 is an exit.
STATUSES = {"signal": 143, "code": 143, 7: 7}


@pytest.fixture(scope="session")
def namespaces() -> None:
    """The one place that says why these tests do not run."""
    try:
        done = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no unshare (util-linux), which makes a process number 1")
    if done.returncode:
        pytest.skip(f"no process number 1 may be made here: {done.stderr.strip()}")


class FirstProcess:
    """A child that is number 1 where it lives, and has another number here."""

    def __init__(self, unshare: Child) -> None:
        self.unshare = unshare
        unshare.wait_line("ready")

    @cached_property
    def pid(self) -> int:
        """While it lives: one that is done has no number."""
        task = Path(f"/proc/{self.unshare.pid}/task/{self.unshare.pid}/children")
        (pid,) = map(int, task.read_text().split())
        return pid

    def signal(self, signum: int) -> None:
        os.kill(self.pid, signum)


@pytest.fixture
def first_process(
    program: Callable[..., Child], namespaces: None
) -> Callable[..., FirstProcess]:
    """Start a program as number 1, and wait until it prints `ready`."""

    def start(source: str, *args: object, **kwargs: Any) -> FirstProcess:
        command = [*UNSHARE, sys.executable, "-c", PRELUDE + textwrap.dedent(source)]
        unshare = program(
            f"os.execvp('unshare', {[*command, *map(str, args)]!r})", **kwargs
        )
        return FirstProcess(unshare)

    return start


START = """
    import atexit
    equal(1, os.getpid())
    atexit.register(print, "atexit")
    exit_status, grace, backend = eval(sys.argv[1])
    killer = GracefulKiller(exit_status=exit_status, grace=grace, backend=backend)
    never = threading.Event()
    def ready():
        print("ready", flush=True)
        print("buffered")
    def tell():
        killer.wait()
        until(lambda: killer.report().stopping_for > 0.6, "0.6 s")
        os.write(1, b"later\\n")
"""
# What main does; does the end run atexit?
WAYS = {
    "exit": ("    ready(); killer.wait(); killer.exit()\n", True),
    "has returned": (
        """
    class Late(Worker):
        def run(self):
            until(lambda: not threading.main_thread().is_alive(), "main has returned")
            ready()
            self.wait()
    killer.start(Late())
""",
        True,
    ),
    "deadline": ("    ready(); never.wait()\n", False),
    "hurry": (
        "    threading.Thread(target=tell).start(); ready(); never.wait()\n",
        False,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", STATUSES)
@pytest.mark.parametrize("way", WAYS)
def test_ends_as_it_would_elsewhere(
    first_process, backend: str, way: str, how: str | int
) -> None:
    """Number 1 stops at a signal and ends in each way, by an exit with 128 + n where it
    would die of the signal."""
    code, runs_atexit = WAYS[way]
    grace = 10.0 if way == "deadline" else None
    first = first_process(START + code, repr((how, grace, backend)))
    first.signal(TERM if way != "hurry" else INT)
    if way == "hurry":
        first.unshare.wait_line("later")
        first.signal(INT)
    done = first.unshare.finish()

    expected = ["ready", "buffered"] + ["atexit"] * runs_atexit
    assert [s for s in done.out.splitlines() if s != "later"] == expected
    lower = 13 if way == "hurry" and how != 7 else 0  # SIGINT is 2, SIGTERM 15
    assert done.status == STATUSES[how] - lower


def test_number_one_stops_gracefully(first_process) -> None:
    """SIGTERM from outside, as `docker stop` sends it, is heard; its sender has no
    number in there."""
    first = first_process(
        """
        killer = GracefulKiller()
        print("ready", flush=True)
        killer.wait()
        print(killer.reason)
        killer.exit()
        """
    )
    first.signal(TERM)
    done = first.unshare.finish()

    assert (done.status, done.err) == (143, "")
    assert done.out == "ready\nSIGTERM from outside this container\n"


def test_number_one_that_is_done(first_process) -> None:
    """exit() without a stop is a success."""
    first = first_process("print('ready', flush=True)\nGracefulKiller().exit()")
    done = first.unshare.finish()

    assert (done.status, done.err) == (0, "")


def test_section_of_number_one(first_process) -> None:
    """A signal without a handler, which a section has held, ends number 1, after
    atexit."""
    first = first_process(
        """
        import atexit
        atexit.register(print, "atexit")
        with TerminateProtected() as section:
            print("ready", flush=True)
            until(lambda: section.pending, "it is held")
            print("whole")
        """
    )
    first.signal(TERM)
    done = first.unshare.finish()

    assert (done.status, done.out) == (143, "ready\nwhole\natexit\n")


def test_signals_that_nobody_hears(first_process) -> None:
    """What the killer does not hear has no effect on number 1, before and after."""
    first = first_process(
        """
        killer = GracefulKiller()
        print("ready", flush=True)
        killer.wait()
        killer.close()
        send(SIGTERM)  # as it would be without us
        print("alive")
        """
    )
    first.signal(USR1)
    first.signal(TERM)
    done = first.unshare.finish()

    assert (done.status, done.out, done.err) == (0, "ready\nalive\n", "")
