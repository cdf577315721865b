"""1. From kill(2) in one process to a waiting worker that runs in the other, idle."""

from __future__ import annotations

import importlib.util
import random
import sys
from collections.abc import Iterator, Mapping, Sequence

from harness import (
    BEST,
    FLOOR,
    HERE,
    OURS,
    Aim,
    How,
    Program,
    Row,
    Sender,
    Who,
    programs,
    rows,
    sender,
    turns,
)

TITLE = "From kill(2) to a worker that is awake, in an idle process"
CASE = "idle"
BACKENDS = ("futex", "pipe", "sigwait")
PLAIN_C = Who("plain C, the handler wakes it", FLOOR)
SLEEP_LOOP = Who("sleep loop, 1 s")
AIMS = tuple(
    aim
    for backend in BACKENDS
    for aim in (
        Aim(CASE, f"gracefulexit, {backend}", 1.5, PLAIN_C.name),
        Aim(CASE, f"gracefulexit, {backend}", 0.7, BEST),
    )
)
PATIENCE = 10.0  # seconds
PAUSE = (0.003, 0.008)  # seconds before the signal: all that is to sleep sleeps


def ear(how: How, way: str, main: str = "join", load: int = 0) -> Sequence[object]:
    return sys.executable, HERE / "ears.py", way, main, load, how.library


def installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def others(how: How, main: str = "join", load: int = 0) -> dict[Who, Sequence[object]]:
    """The ways of threads that a program can take instead."""
    ways = {
        Who("signal.signal, Event"): "event",
        Who("set_wakeup_fd, pipe, Event"): "pipe",
        Who("sigwait thread, Event"): "sigwait",
    }
    if installed("GracefulKiller"):
        ways[Who("GracefulKiller of PyPI, Event")] = "pypi"
    return {who: ear(how, way, main, load) for who, way in ways.items()}


def loops(how: How, load: int = 0) -> dict[Who, Sequence[object]]:
    """Those that hear in the main thread, and wake no other."""
    names = ["asyncio"] + ["trio"] * installed("trio")
    return {Who(f"{name}, a task"): ear(how, name, load=load) for name in names}


def lateness(
    how: How,
    commands: Mapping[Who, Sequence[object]],
    rounds: Mapping[Who, int],
    pauses: Mapping[Who, tuple[float, float]],
) -> dict[Who, dict[str, list[float]]]:
    """Microseconds from the signal to what each of them reports."""
    found: dict[Who, dict[str, list[float]]] = {who: {} for who in commands}
    with sender(how) as send, programs(commands) as running:
        for turn, who in turns(max(rounds.values()), commands):
            if turn >= rounds[who]:
                continue
            sent, answer = one(send, running[who], random.uniform(*pauses[who]), who)
            if turn == 0 and not how.quick:
                continue  # for caches
            for name, when in answer.items():
                found[who].setdefault(name, []).append((when - sent) / 1000)
    return found


def one(
    send: Sender, program: Program, pause: float, who: Who
) -> tuple[int, dict[str, int]]:
    """When the signal was sent, and what was reported."""
    program.tell("")
    program.expect("ready")
    send.kill(program.pid, pause)
    answer = program.line_within(PATIENCE)
    sent, _ = send.when()
    while answer is None:
        if who.kind == OURS:
            raise RuntimeError(f"{who.name} has not heard a signal in {PATIENCE} s")
        # A wake-up can fall between a check of CPython's and its system call, and
        # then main sleeps on, with the signal noted. Another one ends that.
        send.kill(program.pid, 0)
        answer = program.line_within(PATIENCE)
    pairs = (pair.split("=") for pair in answer.split())
    return sent, {name: int(when) for name, when in pairs}


def bench(how: How) -> Iterator[Row]:
    floor = how.compile("floor.c")
    commands: dict[Who, Sequence[object]] = {
        Who(f"gracefulexit, {backend}", OURS): ear(how, f"ours {backend}")
        for backend in BACKENDS
    }
    commands |= {
        PLAIN_C: (floor, "handler"),
        Who("plain C, the handler wakes a thread, which wakes it", FLOOR): (
            floor,
            "watcher",
        ),
        Who("plain C, a sigwait thread wakes it", FLOOR): (floor, "sigwait"),
    }
    commands |= others(how) | loops(how)
    commands[SLEEP_LOOP] = ear(how, "sleep")
    rounds = dict.fromkeys(commands, how.rounds(1000))
    rounds[SLEEP_LOOP] = how.rounds(60)  # each takes a second
    pauses = dict.fromkeys(commands, PAUSE)
    pauses[SLEEP_LOOP] = (0.0, 1.0)  # at any moment of its sleep
    found = lateness(how, commands, rounds, pauses)
    yield from rows(CASE, "us", {who: s["woken"] for who, s in found.items() if s})
