"""9. What it costs to begin: import, install, close; memory, descriptors, threads."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence

from harness import HERE, OURS, Aim, How, Program, Row, Who, rows, turns
from wake import BACKENDS, installed

TITLE = "What it costs to begin, in a process of its own each time"
AIMS: tuple[Aim, ...] = ()


def commands() -> dict[Who, Sequence[object]]:
    ways = {Who(f"gracefulexit, {backend}", OURS): backend for backend in BACKENDS}
    ways[Who("signal.signal, Event")] = "event"
    if installed("GracefulKiller"):
        ways[Who("GracefulKiller of PyPI")] = "pypi"
    ways[Who("asyncio, add_signal_handler")] = "asyncio"
    if installed("trio"):
        ways[Who("trio, open_signal_receiver")] = "trio"
    return {
        who: (sys.executable, "-I", HERE / "starter.py", way)
        for who, way in ways.items()
    }


# What starter.py prints, and in which unit; the last three are counts.
WHAT = {
    "import": "us",
    "install": "us",
    "close": "us",
    "memory": "KiB",
    "descriptors": "",
    "threads": "",
}


def bench(how: How) -> Iterator[Row]:
    everyone = commands()
    found: dict[str, dict[Who, list[float]]] = {
        what: {who: [] for who in everyone} for what in WHAT
    }
    for _, who in turns(how.rounds(51), everyone):
        with Program(*everyone[who]) as program:
            for what, number in json.loads(program.line()).items():
                found[what][who].append(number)
    for what, unit in WHAT.items():
        yield from rows(what, unit, found[what])
