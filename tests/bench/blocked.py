"""3. The same with the main thread where it runs no Python signal handler."""

from __future__ import annotations

from collections.abc import Iterator

from busy import SEES, name, split
from harness import BEST, OURS, Aim, How, Row, Who, rows
from wake import BACKENDS, ear, lateness, others

TITLE = "From kill(2) to a worker, while the main thread is busy"
# What main does in ears.py, in calls of 50 ms.
CASES = {
    "in join()": "join",
    "in C, without the GIL": "C",
    "in C, with the GIL": "GIL",
    "in a large sum(range())": "sum",
}
FLAG, WAIT = list(SEES)[:2]
AIMS = tuple(
    Aim(case, name(FLAG, backend), 1.5, name(FLAG, backend), "in join()")
    for backend in BACKENDS
    for case in list(CASES)[1:]
) + tuple(
    Aim(case, name(WAIT, backend), 0.7, BEST)
    for backend in BACKENDS
    for case in list(CASES)[:2]  # in the others nobody returns before the call does
)
PAUSE = (0.06, 0.11)  # seconds: at any moment of a call, but the first


def bench(how: How) -> Iterator[Row]:
    for case, main in CASES.items():
        commands = {
            Who(f"gracefulexit, {backend}", OURS): ear(how, f"watched {backend}", main)
            for backend in BACKENDS
        }
        commands |= others(how, main)
        rounds = dict.fromkeys(commands, how.rounds(100))
        found = lateness(how, commands, rounds, dict.fromkeys(commands, PAUSE))
        yield from rows(case, "us", split(found))
