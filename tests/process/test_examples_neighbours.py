"""The examples beside event loops and other code that handles signals, each stopped
by a real signal."""

from __future__ import annotations

from collections.abc import Callable
from signal import SIGINT, SIGTERM, SIGUSR1, SIGUSR2

import pytest
from child_process import Child, Finished
from examples import EXAMPLES, Example, until_asleep

pytestmark = pytest.mark.slow
STOPS = pytest.mark.parametrize("signum", [SIGTERM, SIGINT], ids=lambda s: s.name)


@pytest.fixture
def example(start_child: Callable[..., Child], backend: str) -> Example:
    return Example(start_child, backend)


def end(child: Child, signum: int) -> Finished:
    child.signal(signum)
    done = child.finish()

    assert done.status == -signum, done.err
    assert "Traceback" not in done.err
    return done


@STOPS
def test_uvloop(example: Example, signum: int) -> None:
    """The loop hears its own signal, the killer the others."""
    child = example("uvloop_service.py")
    child.wait_line("ready")
    for _ in range(2):
        child.signal(SIGUSR1)
        child.wait_line("status: well")

    done = end(child, signum)

    assert done.out.splitlines()[-1] == "finishing"
    assert done.err == ""


@STOPS
@pytest.mark.parametrize("name", ["trio_service.py", "gevent_service.py"])
def test_rounds_are_finished(example: Example, name: str, signum: int) -> None:
    """Tasks end their round, and main ends after them."""
    child = example(name)
    child.wait_line("ready")

    done = end(child, signum)

    ended = [f"{name} ended after a whole round" for name in ("first", "second")]
    assert sorted(done.out.splitlines()[1:]) == ended
    assert done.err == ""


@STOPS
@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_anyio(example: Example, loop: str, signum: int) -> None:
    """The stop cancels the tasks, which clean up."""
    child = example("anyio_service.py", loop)
    child.wait_line("ready")

    done = end(child, signum)

    told = ["ready", "the task has cleaned up", f"stopped by {signum.name}"]
    assert done.out.splitlines() == told
    assert done.err == ""


@STOPS
def test_other_handlers(example: Example, signum: int) -> None:
    """Each has its own signals, and the loop wakes for those of both."""
    child = example("other_handlers.py")
    child.wait_line("ready")
    child.signal(SIGUSR1)
    child.wait_line("woken by SIGUSR1")
    child.signal(SIGUSR2)
    child.wait_line("Current thread", stream="err")
    until_asleep(child.pid, [child.pid])  # in its select(), after the dump

    done = end(child, signum)

    assert f"woken by {signum.name}\n" in done.out


def test_a_cell(passes: Callable[..., Finished]) -> None:
    """Run as a cell, the program ends its round at the stop button; the kernel lives
    on."""
    passes(
        """
        from pathlib import Path
        from kernel import Kernel
        with Kernel() as kernel:
            stop = {"ready": kernel.manager.interrupt_kernel}
            for _ in range(2):
                found = kernel.run(Path(sys.argv[1]).read_text(), at=stop)
                told = "ready\\nstopped by SIGINT after a whole round\\n"
                equal((told, ""), found)
            assert kernel.manager.is_alive()
        """,
        EXAMPLES / "jupyter_cell.py",
    )
