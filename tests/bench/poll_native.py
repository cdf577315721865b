"""12. What a poll of the stop costs in native code, beside an empty loop, and how long
after the signal such a loop sees it."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator

from harness import (
    FLOOR,
    HERE,
    ITSELF,
    OURS,
    Aim,
    How,
    Program,
    Row,
    Who,
    rows,
    sender,
    turns,
)

import gracefulexit

TITLE = "One look at the flag, in a native loop without the interpreter lock"
EMPTY = "an empty loop"
# In poll_native.c, with the passes of a turn in thousands.
WHOS = {
    Who("gracefulexit_stopping()", OURS): ("loop_header", 20_000),
    Who(EMPTY, FLOOR): ("loop_empty", 20_000),
    Who("gracefulexit_wait_ns(0)"): ("loop_call", 100),
    Who("the lock and PyErr_CheckSignals()"): ("loop_lock", 100),
}
SEEN = Who("gracefulexit_stopping()", OURS)
CASE, SIGNAL = "a pass", "kill to loop"
AIMS = (
    Aim(CASE, SEEN.name, 2.0, EMPTY),
    Aim(SIGNAL, SEEN.name, 1000.0, ITSELF),  # "within a millisecond"
)
REST = 0.005  # seconds before a signal: the loop is at work by then


def bench(how: How) -> Iterator[Row]:
    includes = [gracefulexit.get_include(), sysconfig.get_path("include")]
    flags = ["-shared", "-fPIC", *(f"-I{folder}" for folder in includes)]
    library = how.compile("poll_native.c", *flags)
    series: dict[Who, list[float]] = {who: [] for who in WHOS}
    seen: list[float] = []
    with (
        Program(sys.executable, "-I", HERE / "native_poller.py", library) as poller,
        sender(how) as signals,
    ):
        for turn, who in turns(how.rounds(101, 3), WHOS):
            name, thousands = WHOS[who]
            number = 1000 * how.rounds(thousands, 1)
            ns = float(poller.ask(f"{name} {number}"))
            if turn:  # the first is for caches
                series[who].append(ns)
        yield from rows(CASE, "ns", series)
        for _ in range(how.rounds(500)):
            poller.tell("stop")
            poller.expect("ready")
            signals.kill(poller.pid, REST)
            at = int(poller.line())
            seen.append((at - signals.when()[0]) / 1000)
    yield from rows(SIGNAL, "us", {SEEN: seen})
