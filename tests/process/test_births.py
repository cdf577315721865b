"""The interpreter ends while threads of ours are being made."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from ccompile import shared_library
from child_process import Finished

HARNESS = Path(__file__).resolve().parents[1] / "harness"

# Time for a thread that is late, between the end of its state and that of the process.
# What is freed is overwritten: nobody uses it unnoticed.
COMMON = """
import time

class Last:
    def __del__(self, sleep=time.sleep):
        sleep(0.2)

last = Last()
"""


@pytest.fixture
def late_births(passes: Callable[..., Finished], tmp_path: Path) -> Callable[..., None]:
    """As `passes`, where a new thread needs longer than the end of the interpreter."""
    slow_birth = shared_library(HARNESS / "slow_birth.c", tmp_path)

    def run(source: str) -> None:
        whole = COMMON + textwrap.dedent(source)
        done = passes(whole, preload=slow_birth, env={"PYTHONMALLOC": "debug"})

        assert done.err == ""

    return run


def test_a_stop_that_has_just_begun(late_births) -> None:
    """The thread of a Popen's stop."""
    late_births(
        """
        from gracefulexit import Popen
        p = Popen("true")
        os.waitpid(p.pid, 0)
        p.shutdown()
        """
    )


def test_the_thread_of_a_thread(late_births) -> None:
    """One that a thread of ours makes, which is not waited for."""
    late_births(
        """
        from gracefulexit import Popen
        p = Popen("true")
        os.waitpid(p.pid, 0)
        p.shutdown()
        until(lambda: len(threading.enumerate()) > 1, "the thread's thread")
        """
    )


def test_the_thread_that_closes_stdin(late_births) -> None:
    """Made by the thread of a Popen's stop, which is not waited for."""
    late_births(
        """
        import warnings
        from gracefulexit import Popen
        warnings.simplefilter("ignore", ResourceWarning)
        p = Popen("cat", stdin=-1, stop=("EOF", LIMIT, "KILL"))
        p.shutdown()
        names = lambda: [t.name for t in threading.enumerate()]
        until(lambda: "gracefulexit-stdin" in names(), "the thread's thread")
        """
    )


def test_a_stop_after_the_last_thread(start_child) -> None:
    """A stop that begins when no threads are made any more has nothing to complain of:
    what would need one is left to the end of the process."""
    done = start_child(
        """
        import atexit
        def last():
            p.shutdown()
            print(p.wait())
        atexit.register(last)  # before ours is, so it is called after
        from gracefulexit import Popen
        p = Popen("cat", stdin=-1, stop=("EOF", 0, "TERM", 1000, "KILL"))
        """
    ).finish()

    assert (done.status, done.out, done.err) == (0, "-15\n", "")
