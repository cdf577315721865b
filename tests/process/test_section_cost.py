"""What a section costs that no machine can make cheaper: system calls, counted."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from ccompile import compiler, run
from child_process import Child

TOOL = Path(__file__).parents[1] / "harness" / "count_syscalls.c"
NO_TRACE = 77  # how the tool says that this system does not let it trace
SECTIONS = 100
TRIES = 5

# What sigaction() is called for, for each signal, by the outermost section of a
# process without a killer.
# In main, by the short way.
MAIN_IN = 3  # who has it, signal.signal(), our handler over that
MAIN_OUT = 3  # is it still ours, signal.signal(), flags and mask as before
# Python's table is the main thread's alone, so workers leave it as it is. And
# whose process is it? Asked once on each way, as a fork may have come between.
WORKER_IN = 3  # who has it, is it ignored, our handler
WORKER_OUT = 2  # is it still ours, who had it before

# Prints nothing: the tool does, one line for each pair of marks.
PROGRAM = f"""
import ctypes, gc, os, threading
from gracefulexit import GracefulKiller, TerminateProtected

syscall = ctypes.PyDLL(None).syscall  # keeps the GIL: nothing else runs meanwhile
syscall.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_long)
number = int(os.environ["COUNT_SYSCALLS_NR"])
gc.disable()

def count(what):
    section = TerminateProtected()
    for _ in range({TRIES} + 1):  # the first one is for what is made once
        syscall(number, {0xBE61}, what)
        for _ in range({SECTIONS}):
            with TerminateProtected():
                pass
        syscall(number, {0xE4D}, what)
        syscall(number, {0xBE61}, what + 1)
        for _ in range({SECTIONS}):
            with section:
                pass
        syscall(number, {0xE4D}, what + 1)

def in_worker(func, *args):
    thread = threading.Thread(target=func, args=args)
    thread.start()
    thread.join()

def nested(what):
    with TerminateProtected():
        count(what)

count(0)
in_worker(count, 2)
nested(4)
in_worker(nested, 6)
with TerminateProtected():
    in_worker(count, 8)
killer = GracefulKiller()
count(10)
in_worker(count, 12)
nested(14)
"""
# In main, without a killer: made anew each time, and one object; then the others.
OUTERMOST, OUTERMOST_WORKER = (0, 1), (2, 3)
FREE = {
    4: "nested in main",
    6: "nested in a worker",
    8: "in a worker, while main has one open",
    10: "in main, with a killer",
    12: "in a worker, with a killer",
    14: "nested in main, with a killer",
}


def parse(line: str) -> tuple[int, dict[str, int]]:
    what, *pairs = line.split()
    calls = {name: int(n) for name, n in (pair.split("=") for pair in pairs)}
    # Reads the clock without entering the kernel, where there is a vDSO.
    calls.pop("clock_gettime", None)
    return int(what), calls


# How the program is started, and how many of the two signals a section then takes:
# Ctrl-C is ignored under nohup, and in the background of a shell script.
STARTS = {"usual": 2, "in the background": 1}


@pytest.fixture(scope="module", params=STARTS)
def start(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def counted(
    tmp_path_factory: pytest.TempPathFactory, start: str
) -> dict[int, dict[str, int]]:
    """Calls per section, as PROGRAM numbers them."""
    if sys.platform != "linux":
        pytest.skip("the tool that counts needs Linux's ptrace")
    folder = tmp_path_factory.mktemp("count")
    tool = folder / "count_syscalls"
    run([*compiler(), "-std=c11", "-O2", "-Wall", "-Wextra", TOOL, "-o", tool])
    program = f"""
        import os, signal, sys
        if {start!r} == "in the background":
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.dup2(1, 3)  # where the tool prints
        os.execv({str(tool)!r}, [{str(tool)!r}, sys.executable, "-c", {PROGRAM!r}])
    """
    child = Child(program, (), cwd=folder)
    try:
        done = child.finish()
    finally:
        child.kill_if_alive()
    if done.status == NO_TRACE:
        pytest.skip("this system does not let one process trace another")
    assert (done.status, done.err) == (0, "")

    tries: dict[int, list[dict[str, int]]] = {}
    for line in done.out.splitlines():
        what, calls = parse(line)
        tries.setdefault(what, []).append(calls)
    # Another thread of the process may cost a futex now and then, and memory comes
    # in big pieces; what the section itself calls is there each time.
    best = {what: min(found[1:], key=total) for what, found in tries.items()}
    return {
        what: {name: number / SECTIONS for name, number in calls.items()}
        for what, calls in best.items()
    }


def total(calls: dict[str, int]) -> int:
    return sum(calls.values())


@pytest.mark.slow
def test_free(counted) -> None:
    """Nested, or where a killer hears the signals, a section makes no system call."""
    expected = {name: ({}, {}) for name in FREE.values()}

    assert expected == {
        name: (counted[what], counted[what + 1]) for what, name in FREE.items()
    }


@pytest.mark.slow
def test_outermost(counted, start: str) -> None:
    """Without a killer the outermost section takes its signals and gives them back,
    and makes no other system calls."""
    signals = STARTS[start]
    in_main = {"sigaction": signals * (MAIN_IN + MAIN_OUT)}
    in_worker = {"sigaction": signals * (WORKER_IN + WORKER_OUT), "getpid": 2}

    assert [counted[what] for what in OUTERMOST] == [in_main] * 2
    # Main is asked for Python's table by the clock, at most 20 times a second: a
    # few calls in some of the hundred sections.
    each = [
        {name: round(n) for name, n in counted[what].items() if n >= 0.5}
        for what in OUTERMOST_WORKER
    ]
    assert each == [in_worker] * 2
