"""The programs of docs/howto/programs-that-never-end.md: each hangs with the usual
recipe, and ends with ours.

Ours take a second, and are not marked slow all the same: that it ends is promised on
every Python.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path
from signal import SIGKILL, SIGTERM

import pytest
from child_process import Child
from examples import EXAMPLES, Example, until_asleep
from probe import masks, until

FOLDER = EXAMPLES / "never_ends"
PAGE = EXAMPLES.parent / "howto" / "programs-that-never-end.md"
# What the usual recipe prints when it has the signal, and is stuck all the same. That
# of the first has no Python that could print.
HEARD = {
    "c_call.py": [],
    "stuck_thread.py": ["stopping"],
    "executor.py": ["stopping"],
    "atexit_deadlock.py": ["stopping"],
    "swallowing_worker.py": ["stopping", "swallowed SystemExit"],
    "log_pipe.py": ["stopping"],
}


def bits(number: str) -> set[int]:
    return {s for s in signal.valid_signals() if int(number, 16) >> s - 1 & 1}


def taken(pid: int, signum: int) -> bool:
    """Has the process a handler, and is no such signal on its way to it?"""
    status = Path(f"/proc/{pid}/status").read_text()
    pending = re.findall(r"^(?:Sig|Shd)Pnd:\s(\w+)$", status, re.MULTILINE)
    assert len(pending) == 2
    caught = bits(masks(pid)["SigCgt:"])
    return signum in caught and not any(signum in bits(p) for p in pending)


@pytest.fixture
def example(start_child: Callable[..., Child], backend: str) -> Example:
    return Example(start_child, backend)


def test_each_is_here() -> None:
    """The page is about all of the programs."""
    linked = re.findall(r"\(\.\./examples/never_ends/(\w+\.py)\)", PAGE.read_text())

    assert sorted(linked) == sorted(HEARD) == sorted(p.name for p in FOLDER.iterdir())


def lines(text: str) -> set[str]:
    stripped = (line.partition("  # noqa")[0].strip() for line in text.splitlines())
    return set(filter(None, stripped))


@pytest.mark.parametrize("name", HEARD)
def test_the_page_shows_the_program(name: str) -> None:
    """What a section has of a program is what the program has."""
    programs = {path.name: lines(path.read_text()) for path in FOLDER.iterdir()}
    shown = re.findall(
        r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    usual, *ours = map(lines, shown)

    assert len(ours) == len(programs)
    assert usual <= programs["log_pipe.py"]
    assert any(o <= programs[name] for o in ours)


@pytest.mark.parametrize("name", HEARD)
def test_the_usual_hangs_and_ours_ends(example: Example, name: str) -> None:
    """SIGTERM reaches both; when ours has ended by it, the usual one is still there."""
    usual, ours = (example(f"never_ends/{name}", form) for form in ("usual", "ours"))
    for child in (usual, ours):
        child.wait_line("ready")
    # The usual one's own wait may miss a signal that comes just before it.
    until_asleep(usual.pid, [usual.pid])
    for child in (usual, ours):
        child.signal(SIGTERM)
    until(lambda: taken(usual.pid, SIGTERM), "the signal has been taken")
    for line in HEARD[name]:
        usual.wait_line(line)
    until_asleep(usual.pid, [usual.pid])

    done = ours.finish()

    assert done.status == -SIGTERM, done.err
    until_asleep(usual.pid, [usual.pid])
    usual.signal(SIGKILL)  # fails if it has ended
    assert usual.finish().status == -SIGKILL
