"""5. What a protected section costs, beside what programs use for such things.

Ours and the other are measured in turns, many times; the ratio is the median of the
ratios of neighbours, so that a machine that gets slower in between slows down both.
With several threads each runs the loop, and the time is that of all divided by the
sections of all: under the interpreter lock the work of one after the other.

Where "anew" stands, the `with` statement makes its object each time.
"""

from __future__ import annotations

import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

from harness import OURS, Aim, How, Row, Who, rows

from gracefulexit import GracefulKiller, TerminateProtected

TITLE = "A protected section, entered and left"
SIGNALS = (signal.SIGTERM, signal.SIGINT)
Loop = Callable[[int], None]
US = Who("TerminateProtected", OURS)
THREADS = (1, 4, 16)
LOCK, PAIR = "threading.Lock, {}", "signal.signal pair in main"


# ---- the loops: that many sections


def ours_anew(number: int) -> None:
    for _ in repeat(None, number):
        with TerminateProtected():
            pass


def ours_again(number: int) -> None:
    section = TerminateProtected()
    for _ in repeat(None, number):
        with section:
            pass


def lock_anew(number: int) -> None:
    for _ in repeat(None, number):
        with threading.Lock():
            pass


def lock_again(number: int) -> None:
    lock = threading.Lock()
    for _ in repeat(None, number):
        with lock:
            pass


def flag_pair(number: int) -> None:
    """What programs write by hand: save, set a flag, restore. In main only."""
    came = []

    def note(signum: int, frame: object) -> None:
        came.append(signum)

    for _ in repeat(None, number):
        before = [signal.signal(signum, note) for signum in SIGNALS]
        try:
            pass
        finally:
            for signum, handler in zip(SIGNALS, before, strict=True):
                signal.signal(signum, handler)
            if came:
                raise KeyboardInterrupt


# ---- what is around them


@contextmanager
def killer() -> Iterator[None]:
    made = GracefulKiller()
    try:
        yield
    finally:
        made.close()


@dataclass(frozen=True)
class Case:
    name: str
    ours: Loop
    other_name: str
    other: Loop
    threads: int
    number: int  # sections in each thread
    in_process: Callable[[], Any] = nullcontext
    in_thread: Callable[[], Any] = nullcontext
    other_in_main: bool = False  # because it can be nowhere else


def cases(number: int) -> Iterator[Case]:
    pairs: list[tuple[str, Loop, Loop]] = [
        ("anew", ours_anew, lock_anew),
        ("re-used", ours_again, lock_again),
    ]
    for threads in THREADS:
        each = number // threads
        for how, ours, lock in pairs:
            other = LOCK.format(how)
            yield Case(
                *(f"nested, {how}", ours, other, lock, threads, each),
                in_thread=TerminateProtected,
            )
            yield Case(
                *(f"with a killer, {how}", ours, other, lock, threads, each),
                in_process=killer,
            )
    for threads in THREADS:
        for how, ours, _ in pairs:
            # A tenth: these are system calls.
            each = max(1, number // threads // 10)
            yield Case(
                *(f"outermost, {how}", ours, PAIR, flag_pair, threads, each),
                other_in_main=True,
            )


# ---- measuring


def seconds(loop: Loop, case: Case, threads: int, number: int) -> float:
    """For one section of one thread, the threads one after the other."""
    if threads == 1:  # in main, without the cost of starting it
        with case.in_thread():
            start = time.perf_counter()
            loop(number)
            return (time.perf_counter() - start) / number
    begin = threading.Barrier(threads + 1)
    ready = threading.Barrier(threads + 1)

    def work() -> None:
        with case.in_thread():
            ready.wait()
            begin.wait()
            loop(number)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    ready.wait()
    start = time.perf_counter()
    begin.wait()
    for worker in workers:
        worker.join()
    return (time.perf_counter() - start) / (threads * number)


def titled(name: str, threads: int) -> str:
    return f"{name}, {threads} thread{'s' * (threads > 1)}"


AIMS = (
    *(
        Aim(titled(f"{where}, {how}", n), US.name, 1.0, LOCK.format(how))
        for where in ("nested", "with a killer")
        for how in ("anew", "re-used")
        for n in THREADS
    ),
    # The pair can be in main only.
    *(
        Aim(titled(f"outermost, {how}", 1), US.name, 1 / 3, PAIR)
        for how in ("anew", "re-used")
    ),
)


def measure(case: Case, turns: int) -> Iterator[Row]:
    ours, others = [], []
    with case.in_process():
        for turn in range(turns + 1):
            mine = seconds(case.ours, case, case.threads, case.number)
            threads = 1 if case.other_in_main else case.threads
            its = seconds(case.other, case, threads, case.number)
            if turn:  # the first is for caches
                ours.append(mine * 1e9)
                others.append(its * 1e9)
    title = titled(case.name, case.threads)
    other = Who(case.other_name)
    mine_row, other_row = rows(title, "ns", {US: ours, other: others})
    ratios = [b / a for a, b in zip(ours, others, strict=True)]
    yield mine_row
    yield replace(other_row, ratio=statistics.median(ratios))


def bench(how: How) -> Iterator[Row]:
    for case in cases(how.rounds(20000, 200)):
        yield from measure(case, how.rounds(31))
