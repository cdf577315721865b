"""2. The same while Python threads compute, which hold the interpreter lock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness import OURS, Aim, How, Row, Who, rows
from wake import BACKENDS, ear, lateness, loops, others

TITLE = "From kill(2) to a worker, while Python threads compute"
LOADS = {0: 200, 1: 100, 4: 60, 16: 30}  # rounds: each takes the longer
FLAG = "flag, by native code"
# Who of ours sees it, and its name in ears.py.
SEES = {FLAG: "flag", "wait()": "woken", "event": "event"}


def case(load: int) -> str:
    return f"{load} computing"


def name(sees: str, backend: str) -> str:
    return f"gracefulexit, {sees}, {backend}"


AIMS = tuple(
    Aim(case(load), name(FLAG, backend), 1.5, name(FLAG, backend), case(0))
    for backend in BACKENDS
    for load in list(LOADS)[1:]
)


def split(found: Mapping[Who, Mapping[str, list[float]]]) -> dict[Who, list[float]]:
    """Ours by who sees it; the others have one each."""
    ours = [who for who in found if who.kind == OURS]
    series = {
        Who(name(sees, backend), OURS): found[who].get(stamp, [])
        for sees, stamp in SEES.items()
        for who, backend in zip(ours, BACKENDS, strict=True)
    }
    rest = {w: s.get("woken", []) for w, s in found.items() if w.kind != OURS}
    return series | rest


def bench(how: How) -> Iterator[Row]:
    for load, rounds in list(LOADS.items())[: 2 if how.quick else None]:
        commands = {
            Who(f"gracefulexit, {backend}", OURS): ear(
                how, f"watched {backend}", load=load
            )
            for backend in BACKENDS
        }
        commands |= others(how, load=load) | loops(how, load)
        # The load starts with the round, and needs longer for it the more it is.
        pause = (0.005 * (1 + load), 0.010 * (1 + load))
        found = lateness(
            how,
            commands,
            dict.fromkeys(commands, how.rounds(rounds)),
            dict.fromkeys(commands, pause),
        )
        yield from rows(case(load), "us", split(found))
