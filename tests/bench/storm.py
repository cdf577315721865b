"""8. A storm of signals: each handler run counted, its cost, and who else suffers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from harness import FLOOR, HERE, ITSELF, OURS, Aim, How, Program, Row, Who, rows, turns
from wake import BACKENDS

TITLE = "8 senders, 50,000 signals each, at one process"
SENDERS, EACH = 8, 50_000
KINDS = {"standard": signal.SIGUSR1, "real-time": signal.SIGRTMIN + 1}
# In counters.py.
WAYS = {
    **{Who(f"gracefulexit, {backend}", OURS): backend for backend in BACKENDS},
    Who("plain C, a counter", FLOOR): "C",
    Who("signal.signal, Python"): "signal",
    Who("sigwait thread, Python"): "wait",
}
# The kernel merges standard signals, so only of the others each is one run.
MISSED = "signals without a run"
UNITS = {
    "runs": "",
    MISSED: "",
    "CPU of a run": "us",
    "a bystander stands still, in all": "ms",
    "a bystander stands still, at once": "ms",
}
AIMS = tuple(
    Aim(f"real-time, {MISSED}", f"gracefulexit, {backend}", 0, ITSELF)
    for backend in BACKENDS
)


def storm(
    how: How, way: str, signum: int, each: int, *, bystander: bool
) -> dict[str, int]:
    command = (sys.executable, HERE / "counters.py", way, how.library, int(bystander))
    with Program(*command, int(signum)) as program:
        program.expect("ready")
        numbers = [program.pid, int(signum), SENDERS, each]
        tool: Path = how.compile("storm.c")
        subprocess.run([tool, *map(str, numbers)], check=True)
        found: dict[str, int] = json.loads(program.ask(""))
    return found


def bench(how: How) -> Iterator[Row]:
    each = how.rounds(EACH, 100)
    for kind, signum in KINDS.items():
        found: dict[str, dict[Who, list[float]]] = {
            what: {who: [] for who in WAYS} for what in UNITS
        }
        for _, who in turns(how.rounds(7, 1), WAYS):
            alone = storm(how, WAYS[who], signum, each, bystander=False)
            beside = storm(how, WAYS[who], signum, each, bystander=True)
            figures = (
                alone["runs"],
                SENDERS * each - alone["runs"],
                alone["cpu"] / max(1, alone["runs"]) / 1e3,
                beside["sum"] / 1e6,
                beside["longest"] / 1e6,
            )
            for what, figure in zip(UNITS, figures, strict=True):
                found[what][who].append(figure)
        for what, unit in UNITS.items():
            yield from rows(f"{kind}, {what}", unit, found[what])
