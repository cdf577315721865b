"""What cannot differ between machines, counted: wake-ups, allocations, instructions.

Times are measured by tests/bench, and asserted nowhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ccompile import compiler, run, shared_library
from child_process import LIMIT, Child, Finished

HARNESS = Path(__file__).parents[1] / "harness"
NO_TRACE = 77  # how the tool says that this system does not let it trace


def test_no_allocation(passes: Callable[..., Finished], tmp_path: Path) -> None:
    """A loop that polls kill_now asks for no memory."""
    library = shared_library(HARNESS / "count_allocations.c", tmp_path)
    passes(
        """
        import ctypes
        from itertools import repeat
        from sections import until_asleep
        counter = ctypes.PyDLL(sys.argv[1])

        def poll(killer, turns):
            before = counter.allocations()
            for _ in repeat(None, turns):
                killer.kill_now
            return counter.allocations() - before

        def keep(turns):
            before = counter.allocations()
            kept = [object() for _ in repeat(None, turns)]
            return counter.allocations() - before

        with GracefulKiller() as killer:
            for thread in threading.enumerate():
                if thread is not threading.main_thread():
                    until_asleep(thread)  # it asks for memory, too
            counter.install()
            poll(killer, 100)  # for what the interpreter makes once
            equal(poll(killer, 0), poll(killer, 10_000))
            assert keep(10_000) - keep(0) >= 10_000, "nothing is counted"
        """,
        library,
    )


@pytest.mark.slow
def test_no_wake_up(passes: Callable[..., Finished], backend: str) -> None:
    """A hundred waiting workers, and all of our own threads, are never scheduled."""
    passes(
        """
        from examples import all_asleep, switches

        with GracefulKiller(backend=sys.argv[1], grace=60) as killer:
            killer.start(*(Worker(target=killer.wait) for _ in range(100)))
            seen = {}
            def settled():
                global seen
                last, seen = seen, switches(os.getpid())
                del seen[os.getpid()]
                return last == seen and all_asleep(seen)
            until(settled, "all sleep")
            assert len(seen) > 100, seen
            assert not killer.wait(1)
            now = switches(os.getpid())
            del now[os.getpid()]
            equal(seen, now)
        """,
        backend,
    )


# ---- instructions --------------------------------------------------------------

# Each kind of run is counted for FEW and for MANY, and the difference is without what
# is around it.
FEW, MANY = 10, 40
COUNTED = ["kill_now", "plain attribute", "ignored", "counted", "stopping"]
PROGRAM = f"""
import os, signal, sys
from itertools import repeat
from gracefulexit import GracefulKiller

class Plain:
    def __init__(self):
        self.kill_now = False

def poller():  # code of its own for each, which the interpreter specialises
    scope = {{"repeat": repeat}}
    exec("def poll(x, turns):\\n for _ in repeat(None, turns): x.kill_now", scope)
    return scope["poll"]

def send(signum, turns):
    me = os.getpid()
    for _ in repeat(None, turns):
        os.kill(me, signum)

def count(func, arg):
    for turns in ({MANY}, {FEW}, {MANY}):  # the first is for what is made once
        signal.raise_signal(signal.SIGSTOP)
        func(arg, turns)
        signal.raise_signal(signal.SIGSTOP)

# Nobody takes the GIL meanwhile: to give it away costs instructions, the more of them
# the slower the machine.
sys.setswitchinterval(1000)
killer = GracefulKiller()
killer.take("USR1")
signal.signal(signal.SIGUSR2, signal.SIG_IGN)
count(poller(), killer)
count(poller(), Plain())
count(send, signal.SIGUSR2)
count(send, signal.SIGUSR1)
count(send, signal.SIGTERM)
os._exit(0)
"""


@pytest.fixture(scope="module")
def instructions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """Of one poll, and of one os.kill() with what it makes happen in that thread."""
    if sys.platform != "linux":
        pytest.skip("the tool that counts needs Linux's ptrace")
    folder = tmp_path_factory.mktemp("count")
    tool = folder / "count_instructions"
    source = HARNESS / "count_instructions.c"
    run([*compiler(), "-std=c11", "-O2", "-Wall", "-Wextra", source, "-o", tool])
    program = f"""
        import os, sys
        os.dup2(1, 3)  # where the tool prints
        os.execv({str(tool)!r}, [{str(tool)!r}, sys.executable, "-c", {PROGRAM!r}])
    """
    child = Child(program, (), cwd=folder)
    try:
        done = child.finish(4 * LIMIT)
    finally:
        child.kill_if_alive()
    if done.status == NO_TRACE:
        pytest.skip("this system does not let one process trace another")
    assert (done.status, done.err) == (0, "")
    lines = [int(line) for line in done.out.split()]
    assert len(lines) == 3 * len(COUNTED)
    return {
        what: (lines[3 * i + 2] - lines[3 * i + 1]) / (MANY - FEW)
        for i, what in enumerate(COUNTED)
    }


@pytest.mark.slow
def test_instructions_of_a_poll(instructions: dict[str, float]) -> None:
    """A poll of kill_now is what the interpreter does for a plain attribute."""
    assert instructions["kill_now"] <= 1.1 * instructions["plain attribute"]


@pytest.mark.slow
@pytest.mark.parametrize(("what", "most"), [("counted", 600), ("stopping", 900)])
def test_instructions_of_a_handler_run(
    instructions: dict[str, float], what: str, most: int
) -> None:
    """A signal costs the thread that gets it some hundred instructions."""
    # Half as many again as gcc 12 makes of it: other compilers differ by less.
    assert instructions[what] - instructions["ignored"] <= most
