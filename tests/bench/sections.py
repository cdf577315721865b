"""What a protected section costs, beside what programs use for such things.

    python tests/bench/sections.py [--quick] [--json FILE]

Ours and the other are measured in turns, many times; each line is the median of the
ratios of neighbours, so that a machine that gets slower in between slows down both.
With several threads each runs the loop, and the time is that of all divided by the
sections of all: under the interpreter lock the work of one after the other.

Where "anew" stands, the `with` statement makes its object each time.
"""

from __future__ import annotations

import argparse
import json
import platform
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from itertools import repeat
from typing import Any

from gracefulexit import GracefulKiller, TerminateProtected, __version__

SIGNALS = (signal.SIGTERM, signal.SIGINT)
Loop = Callable[[int], None]


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
    for threads in (1, 4, 16):
        each = number // threads
        for how, ours, lock in pairs:
            other = f"threading.Lock, {how}"
            yield Case(
                *(f"nested, {how}", ours, other, lock, threads, each),
                in_thread=TerminateProtected,
            )
            yield Case(
                *(f"with a killer, {how}", ours, other, lock, threads, each),
                in_process=killer,
            )
    for threads in (1, 4, 16):
        for how, ours, _ in pairs:
            # A tenth: these are system calls.
            each = max(1, number // threads // 10)
            yield Case(
                *(f"outermost, {how}", ours, "signal.signal pair", flag_pair),
                *(threads, each),
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


@dataclass
class Result:
    name: str
    threads: int
    against: str
    ours_ns: float
    other_ns: float
    ratio: float
    least: float  # of the ratios
    most: float
    turns: int


def measure(case: Case, turns: int) -> Result:
    ours, others = [], []
    with case.in_process():
        for turn in range(turns + 1):
            mine = seconds(case.ours, case, case.threads, case.number)
            threads = 1 if case.other_in_main else case.threads
            its = seconds(case.other, case, threads, case.number)
            if turn:  # the first is for caches
                ours.append(mine)
                others.append(its)
    ratios = [a / b for a, b in zip(ours, others, strict=True)]
    return Result(
        case.name,
        case.threads,
        case.other_name + (" in main" if case.other_in_main else ""),
        statistics.median(ours) * 1e9,
        statistics.median(others) * 1e9,
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        turns,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="less exact")
    parser.add_argument("--json", metavar="FILE", help="write the numbers there too")
    args = parser.parse_args()
    number, turns = (2000, 5) if args.quick else (20000, 31)

    where = f"CPython {platform.python_version()}, {platform.machine()}"
    print(f"gracefulexit {__version__}, {where}, {turns} turns")
    print(
        f"{'section':28}{'threads':>8}{'ours':>11}{'other':>11}{'ratio':>8}  other is"
    )
    results = []
    for case in cases(number):
        result = measure(case, turns)
        results.append(result)
        print(
            f"{result.name:28}{result.threads:8}{result.ours_ns:8.0f} ns"
            f"{result.other_ns:8.0f} ns{result.ratio:8.2f}  {result.against}",
            flush=True,
        )
    if args.json:
        with open(args.json, "w") as file:
            json.dump(
                {
                    "version": __version__,
                    "python": sys.version,
                    "platform": platform.platform(),
                    "results": [asdict(result) for result in results],
                },
                file,
                indent=1,
            )
            file.write("\n")


if __name__ == "__main__":
    main()
