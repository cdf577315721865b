"""The examples of TerminateProtected: what was begun is finished, then it ends.

Where no killer is made there is no back end to choose.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from signal import SIGINT, SIGTERM

import pytest
from child_process import Child
from examples import EXAMPLES, Example

STOPS = pytest.mark.parametrize("signum", [SIGTERM, SIGINT], ids=lambda s: s.name)
REPEATS = 20


def say(child: Child, text: bytes) -> None:
    assert child.stdin is not None
    child.stdin.write(text)
    child.stdin.flush()


@pytest.mark.slow
@STOPS
def test_both_parts_are_written(
    start_child: Callable[..., Child], tmp_path: Path, signum: int
) -> None:
    """A signal between the parts ends the program after the second, every time."""
    children = []
    for i in range(REPEATS):
        path = tmp_path / f"records-{i}"
        child = start_child(
            EXAMPLES / "protected_write.py", path, stdin=subprocess.PIPE
        )
        children.append((child, path))
        say(child, b"a1\na2\nb1\n")
    for child, _ in children:
        child.wait_line("next record")
        child.wait_line("ready")
        child.signal(signum)
        child.signal(signum)  # a second one is held as well
        say(child, b"b2\nc1\nc2\n")
    for child, path in children:
        done = child.finish()

        assert done.status == -signum, done.err
        assert path.read_text() == "a1\na2\nb1\nb2\n"
        assert done.out == "ready\nnext record\nready\nfinally\n"
        assert ("KeyboardInterrupt" in done.err) == (signum == SIGINT)


@STOPS
def test_nested(start_child: Callable[..., Child], tmp_path: Path, signum: int) -> None:
    """One signal is delivered after the outer section, past a swallowed exit."""
    path = tmp_path / "file"
    child = start_child(EXAMPLES / "protected_nested.py", path, stdin=subprocess.PIPE)
    child.wait_line("ready")
    child.signal(signum)
    say(child, b"go on\n")
    done = child.finish()

    assert done.status == -signum, done.err
    assert path.read_text() == "first\nsecond\n"
    assert done.out == "ready\ninner section left\nSystemExit swallowed\n"


@STOPS
def test_a_killer_waits_for_the_section(
    start_child: Callable[..., Child], backend: str, tmp_path: Path, signum: int
) -> None:
    """With a killer the worker in the section hears, and finishes the record."""
    path = tmp_path / "records"
    example = Example(start_child, backend)
    child = example("protected_killer.py", path, stdin=subprocess.PIPE)
    say(child, b"a1\n")
    child.wait_line("ready")
    child.signal(signum)
    child.wait_line("finishing section record in Thread-1")
    say(child, b"a2\nb1\nb2\n")
    done = child.finish()

    assert done.status == -signum, done.err
    assert path.read_text() == "a1\na2\n"
    assert "asked to stop: True" in done.out.splitlines()


@pytest.mark.slow
def test_a_second_ctrl_c_waits_for_the_section(
    start_child: Callable[..., Child], backend: str, tmp_path: Path
) -> None:
    """What a second Ctrl-C cuts short is the waiting, not the section."""
    path = tmp_path / "records"
    example = Example(start_child, backend)
    child = example("protected_killer.py", path, stdin=subprocess.PIPE)
    say(child, b"a1\n")
    child.wait_line("ready")
    child.signal(SIGINT)
    child.wait_line("finishing section record")
    time.sleep(0.6)  # one that comes sooner is taken for the same Ctrl-C
    child.signal(SIGINT)
    child.wait_line("ending as soon as section record in Thread-1")
    say(child, b"a2\nb1\nb2\n")
    done = child.finish()

    assert done.status == -SIGINT, done.err
    assert path.read_text() == "a1\na2\n"
    assert "asked to stop: True" in done.out.splitlines()
