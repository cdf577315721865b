"""11. What it costs to start a process while a killer is alive."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from harness import HERE, OURS, Aim, How, Row, Who, programs, rows, turns
from wake import BACKENDS

TITLE = 'subprocess.run(["true"]) while a killer is alive, and without one'
CASE = "spawn"
AIMS: tuple[Aim, ...] = ()
WAYS = {
    **{Who(f"gracefulexit, {backend}", OURS): backend for backend in BACKENDS},
    Who("signal.signal"): "signal",
    Who("nothing"): "nothing",
}


def bench(how: How) -> Iterator[Row]:
    commands = {
        who: (sys.executable, HERE / "spawner.py", way) for who, way in WAYS.items()
    }
    series: dict[Who, list[float]] = {who: [] for who in commands}
    with programs(commands) as running:
        for turn, who in turns(how.rounds(501), commands):
            us = float(running[who].ask(""))
            if turn:  # the first is for caches
                series[who].append(us)
    yield from rows(CASE, "us", series)
