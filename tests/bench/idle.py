"""6. What a program costs that waits: wake-ups and CPU time of all its threads."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import (
    HERE,
    ITSELF,
    OURS,
    Aim,
    How,
    Program,
    Row,
    Who,
    programs,
    sender,
)
from wake import BACKENDS, installed

TITLE = "What waiting costs: wake-ups and CPU time of all threads"
NUMBERS = (1, 100, 1000)  # workers
SECONDS = 10.0


def waiters(number: int) -> dict[Who, Sequence[object]]:
    # "pipe" and "sigwait" are ways of others, too.
    ways = {
        Who(f"gracefulexit, {backend}", OURS): f"ours {backend}" for backend in BACKENDS
    }
    ways[Who("signal.signal, Event")] = "event"
    ways[Who("set_wakeup_fd, pipe, Event")] = "pipe"
    ways[Who("sigwait thread, Event")] = "sigwait"
    if installed("GracefulKiller"):
        ways[Who("GracefulKiller of PyPI, Event")] = "pypi"
    ways[Who("asyncio, tasks")] = "asyncio"
    if installed("trio"):
        ways[Who("trio, tasks")] = "trio"
    ways[Who("sleep loops, 1 s")] = "sleep"
    return {
        who: (sys.executable, HERE / "waiters.py", way, number)
        for who, way in ways.items()
    }


def case(number: int, what: str) -> str:
    return f"{number} waiting, {what}"


WAKE_UPS, CPU = "wake-ups", "CPU"
AIMS = tuple(
    Aim(case(number, what), f"gracefulexit, {backend}", 0, ITSELF)
    for number in NUMBERS
    for what in (WAKE_UPS, CPU)
    for backend in BACKENDS
)


@dataclass(frozen=True)
class Spent:
    wake_ups: int
    ms: float


def spent(pid: int) -> Spent:
    """By all threads of a process, since they began."""
    wake_ups, ns = 0, 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if "ctxt_switches" in line:
                wake_ups += int(line.split()[1])
        ns += int((task / "schedstat").read_text().split()[0])
    return Spent(wake_ups, ns / 1e6)


def until_asleep(program: Program) -> None:
    """Twice in a row none of its threads has run; or it is one that never rests."""
    end = time.monotonic() + (0.5 + SECONDS / 10)
    before, now = None, spent(program.pid)
    while before != now and time.monotonic() < end:
        time.sleep(0.05)
        before, now = now, spent(program.pid)


def bench(how: How) -> Iterator[Row]:
    seconds = 0.3 if how.quick else SECONDS
    for number in NUMBERS[: 1 if how.quick else None]:
        commands = waiters(number)
        # All of them in the same seconds: who does nothing disturbs nobody.
        with sender(how) as send, programs(commands) as running:
            for program in running.values():
                program.expect("ready")
            for program in running.values():
                until_asleep(program)
            before = {who: spent(p.pid) for who, p in running.items()}
            time.sleep(seconds)
            after = {who: spent(p.pid) for who, p in running.items()}
            for program in running.values():
                send.end(program.pid, 0)
                send.when()
        scale = SECONDS / seconds
        for who in commands:
            found = after[who].wake_ups - before[who].wake_ups
            yield row(case(number, WAKE_UPS), who, "/10 s", found * scale)
        for who in commands:
            ms = after[who].ms - before[who].ms
            yield row(case(number, CPU), who, "ms/10 s", ms * scale)


def row(case: str, who: Who, unit: str, found: float) -> Row:
    """There is no ratio to nothing."""
    return Row(case, who.name, who.kind, unit, found, found, found, found, 1)
