"""10. The stop of a whole program: from the signal to the end of the process."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from harness import FLOOR, HERE, Aim, How, Program, Row, Who, rows, sender, turns
from idle import until_asleep, waiters

TITLE = "The stop of a whole program, from kill(2) to the end of the process"
NUMBERS = (8, 64, 512)  # workers
AIMS: tuple[Aim, ...] = ()
PAUSE = 0.003


def bench(how: How) -> Iterator[Row]:
    floor = how.compile("waiters.c")
    for number in NUMBERS[: 1 if how.quick else None]:
        commands: dict[Who, Sequence[object]] = waiters(number)
        way = "event, gracefulexit imported"
        beside = sys.executable, HERE / "waiters.py", way, number
        commands[Who("signal.signal, Event, and an import of ours")] = beside
        commands[Who("plain C", FLOOR)] = (floor, number)
        series: dict[Who, list[float]] = {who: [] for who in commands}
        with sender(how) as send:
            for _, who in turns(how.rounds(31, 1), commands):
                with Program(*commands[who]) as program:
                    program.expect("ready")
                    until_asleep(program)
                    send.end(program.pid, PAUSE)
                    sent, ended = send.when()
                series[who].append((ended - sent) / 1e6)
        yield from rows(f"{number} workers", "ms", series)
