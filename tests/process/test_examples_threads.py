"""The examples in which the signal comes to some other thread than main.

FreeBSD does so by itself; here the signal is directed.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from signal import SIGTERM

import pytest
from child_process import Child
from examples import (
    Example,
    said,
    signal_thread,
    thread_ids,
    until_asleep,
)

TOLD = ["main: kill_now is True", "worker-0: told", "worker-1: told"]
# What main is blocked in, where it has released the GIL.
RELEASED = ["pause", "join", "sleep", "read"]
# Its threads, in the order in which undisturbed.py names them.
TARGETS = ["main", "recv", "C recv", "worker"]
REPEATS, AT_ONCE = 20, 10


@pytest.fixture
def example(start_child: Callable[..., Child], handler_backend: str) -> Example:
    return Example(start_child, handler_backend)


def start(example: Example, how: str, *sender: str) -> Child:
    """A child that will be blocked in `how`."""
    return example("any_thread.py", how, *sender, stdin=subprocess.PIPE)


def until_blocked(child: Child) -> int:
    """Wait until main and a worker are; returns the worker's native id."""
    worker = int(child.wait_line("ready").split()[1])
    until_asleep(child.pid, [child.pid, worker])
    return worker


def say(child: Child, line: bytes) -> None:
    assert child.stdin is not None
    child.stdin.write(line)
    child.stdin.flush()


def check_all_told(child: Child) -> None:
    done = child.finish()

    assert done.status == -SIGTERM, done.err
    assert said(done.out, "any") == TOLD


@pytest.mark.slow
@pytest.mark.parametrize("how", [*RELEASED, "gil-sleep"])
def test_a_signal_to_a_worker(example: Example, how: str) -> None:
    """A worker gets the signal; all are told, and main's call ends, every time."""
    for _ in range(REPEATS // AT_ONCE):
        children = [start(example, how) for _ in range(AT_ONCE)]
        for child in children:
            signal_thread(child.pid, until_blocked(child), SIGTERM)
        for child in children:
            check_all_told(child)


@pytest.mark.parametrize("how", [*RELEASED, "gil-sleep"])
def test_a_signal_to_main(example: Example, how: str) -> None:
    """The same where the kernel chooses, and takes main."""
    child = start(example, how)
    until_blocked(child)
    child.signal(SIGTERM)

    check_all_told(child)


@pytest.mark.parametrize("sender", ["thread", "process"])
@pytest.mark.parametrize("how", RELEASED)
def test_a_worker_sends_the_signal(example: Example, how: str, sender: str) -> None:
    """pthread_kill() at a worker, or kill() at the own process, from a worker."""
    child = start(example, how, sender)
    until_blocked(child)
    say(child, b"now\n")

    check_all_told(child)


@pytest.mark.parametrize("to_main", [True, False], ids=["main", "worker"])
def test_no_gil_is_needed(example: Example, to_main: bool) -> None:
    """A C call holds the GIL and does not end; the handler sets kill_now meanwhile."""
    child = start(example, "gil-read")
    worker = until_blocked(child)
    signal_thread(child.pid, child.pid if to_main else worker, SIGTERM)
    until_asleep(child.pid, [child.pid])
    say(child, b"x")  # main's C call ends and releases the GIL

    check_all_told(child)


@pytest.mark.slow
def test_other_code_is_undisturbed(example: Example) -> None:
    """recv() in Python and in C, and time.sleep(1), do not notice the signal."""
    children = []
    for target in TARGETS:
        child = example("undisturbed.py")  # its sleep of 1 s is what time there is
        children.append(child)
        ids = [child.pid, *map(int, child.wait_line("ready").split()[1:])]
        threads = dict(zip(TARGETS, ids, strict=True))
        until_asleep(child.pid, ids)
        for _ in range(3):
            signal_thread(child.pid, threads[target], SIGTERM)
        assert threads[target] in thread_ids(child.pid)

    for child in children:
        done = child.finish()
        assert done.status == -SIGTERM, done.err
        assert said(done.out, "undisturbed") == [
            "C recv: last words",
            "main: slept",
            "recv: last words",
            "worker: slept",
        ]
