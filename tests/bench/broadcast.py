"""7. The last of many waiting workers awake, after a stop() or set() in the process.

The workers stay until all are awake: the end of a thread takes longer than its waking.
Each needs the interpreter lock once before it runs. So there is one more competitor,
C that sleeps on one futex, as plain C does, and then takes the lock.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from harness import FLOOR, HERE, OURS, Aim, How, Program, Row, Who, rows, turns

TITLE = "From stop() or set() to the last of the waiting workers awake"
# Workers, and rounds: with many each takes seconds, most of it for starting them.
NUMBERS = {1: 201, 16: 101, 256: 31, 1024: 15, 4096: 7}
WAIT = "killer.wait()"
EVENT = "threading.Event"
PLAIN_C = Who("plain C, FUTEX_WAKE", FLOOR)
WITH_LOCK = Who("C called by Python, FUTEX_WAKE, then the lock", FLOOR)
WAYS = {
    Who(WAIT, OURS): "ours",
    Who("killer.event", OURS): "ours event",
    Who(EVENT): "event",
    WITH_LOCK: "floor",
}


def case(number: int) -> str:
    return f"{number} waiting"


AIMS = (
    *(Aim(case(number), WAIT, 0.3, EVENT) for number in NUMBERS),
    # Linear growth, and what measuring adds.
    *(Aim(case(n), WAIT, 4 * 1.25, WAIT, case(n // 4)) for n in (1024, 4096)),
)


def bench(how: How) -> Iterator[Row]:
    floor = how.compile("broadcast.c")
    for number, rounds in list(NUMBERS.items())[: 2 if how.quick else None]:
        commands: dict[Who, Sequence[object]] = {
            who: (sys.executable, HERE / "broadcaster.py", way, number, how.library)
            for who, way in WAYS.items()
        }
        commands[PLAIN_C] = (floor, number)
        series: dict[Who, list[float]] = {who: [] for who in commands}
        # Not all at once: thousands of threads of others, even asleep, cost something.
        for _, who in turns(how.rounds(rounds, 1), commands):
            with Program(*commands[who]) as program:
                series[who].append(int(program.ask("")) / 1000)
        yield from rows(case(number), "us", series)
