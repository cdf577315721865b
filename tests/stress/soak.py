"""Half an hour of everything: are memory, descriptors and threads as many as before?

    python tests/stress/soak.py --minutes 30 --plot soak.svg

One process, in generations, some a second. In each a killer is made, workers come
that open sections all the time, a storm of real-time signals, of which the kernel
merges none, comes while children are forked, and SIGTERM stops it all. Every count
must be exact: signals, children that were stopped, workers that have ended.
"""

from __future__ import annotations

import argparse
import collections
import importlib.util
import itertools
import os
import signal
import statistics
import sys
import threading
import time
import warnings
from array import array
from collections.abc import Callable
from pathlib import Path

from gracefulexit import GracefulKiller, TerminateProtected, Worker, lowlevel

LIMIT = 100.0  # seconds for anything; it takes less than one
STORM = 500  # signals
AHEAD = 100  # of what has been heard
WORKERS = 8
FORKS = 3
STOPPED = 7  # exit status of a child that was
WARM_UP = 0.25  # of the time; until then memory may grow
ROOM = 1.02  # and then no more than this
QUEUED = signal.SIGRTMIN + 1
BACKENDS = ("futex", "pipe", "sigwait")
PAGE = os.sysconf("SC_PAGE_SIZE")
KINDS = ("memory", "descriptors", "threads", "mappings")

counts: collections.Counter[str] = collections.Counter()


def until(fact: Callable[[], object], what: str) -> None:
    end = time.monotonic() + LIMIT
    while not fact():
        if time.monotonic() > end:
            raise SystemExit(f"not within {LIMIT} s: {what}; so far {dict(counts)}")
        time.sleep(0.001)


class Busy(Worker):
    interval = 0.001
    steps = 0

    def step(self) -> None:
        with TerminateProtected():
            self.steps += 1


def storm(killer: GracefulKiller) -> None:
    """Never far ahead: with a full queue the kernel merges these, too."""
    for n in range(STORM):
        until(lambda n=n: killer.counts[QUEUED] > n - AHEAD, f"signal {n - AHEAD}")
        os.kill(os.getpid(), QUEUED)


def fork(killer: GracefulKiller) -> int:
    pid = os.fork()
    if not pid:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            stopped = killer.wait(LIMIT) and killer.counts[signal.SIGTERM] == 1
            os._exit(STOPPED if stopped else 1)
        finally:
            os._exit(2)
    return pid


def reap(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def generation(backend: str) -> None:
    killer = GracefulKiller(escalate=(), backend=backend)
    killer.take(QUEUED)
    workers = [Busy() for _ in range(WORKERS)]
    killer.start(*workers)
    sender = threading.Thread(target=storm, args=[killer])
    sender.start()
    children = [fork(killer) for _ in range(FORKS)]
    statuses = [reap(pid) for pid in children]
    sender.join()
    until(lambda: killer.counts[QUEUED] >= STORM, f"{STORM} signals of the storm")
    os.kill(os.getpid(), signal.SIGTERM)
    if not killer.wait(LIMIT):
        raise SystemExit("the stop was not heard")
    left = killer.join(LIMIT)
    killer.close()
    counts.update(
        {
            "generations": 1,
            "sent": STORM + 1,
            "heard": killer.counts[QUEUED] + killer.counts[signal.SIGTERM],
            "forked": FORKS,
            "stopped": statuses.count(STOPPED),
            "workers": WORKERS,
            "ended": WORKERS - len(left),
            "sections": sum(worker.steps for worker in workers),
        }
    )
    if lowlevel.state() != "running":
        raise SystemExit(f"{lowlevel.state()} after the last close()")


# ---- what must stay the same


def calm() -> None:
    """A thread that was joined is in the kernel's list for a moment longer."""
    until(
        lambda: len(os.listdir("/proc/self/task")) == threading.active_count() == 1,
        f"one thread, not {[t.name for t in threading.enumerate()]}",
    )


def sample() -> dict[str, int]:
    calm()
    return {
        "memory": int(Path("/proc/self/statm").read_text().split()[1]) * PAGE,
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "mappings": Path("/proc/self/maps").read_text().count("\n"),
    }


class Record:
    """The most of each second. All made at the start: notes must not be growth."""

    def __init__(self, minutes: float) -> None:
        self.seconds = int(minutes * 60) + 1
        self.most = {kind: array("q", [0]) * self.seconds for kind in KINDS}

    def note(self, second: float, found: dict[str, int]) -> None:
        row = min(int(second), self.seconds - 1)
        for kind, most in self.most.items():
            most[row] = max(most[row], found[kind])

    def noted(self) -> list[int]:
        """The seconds in which a generation has ended."""
        return [row for row in range(self.seconds) if self.most["threads"][row]]


def grown(record: Record) -> list[str]:
    """What has become more since the warm-up, by medians of its quarters."""
    noted = record.noted()
    warm = noted[int(len(noted) * WARM_UP) :]
    quarter = max(1, len(warm) // 4)
    found = []
    for kind in KINDS:
        first, last = (
            statistics.median(record.most[kind][row] for row in part)
            for part in (warm[:quarter], warm[-quarter:])
        )
        # The allocator's mappings come and go; the other two are whole numbers.
        room = ROOM if kind in ("memory", "mappings") else 1
        if last > first * room:
            found.append(f"{kind} from {first:.0f} to {last:.0f}")
    return found


# ---- the picture

BENCH = Path(__file__).resolve().parents[1] / "bench"
# Text as text, and the same names in the file each time.
SVG = {"svg.fonttype": "none", "svg.hashsalt": "gracefulexit"}


def plot(record: Record, path: Path) -> None:
    """Imports only now: what a plot needs is no memory of ours."""
    sys.path.insert(0, str(BENCH))
    import machine
    import matplotlib
    from matplotlib.figure import Figure
    from page import says_where

    figure = Figure(figsize=(9, 8), layout="constrained")
    axes = figure.subplots(len(KINDS), sharex=True)
    noted = record.noted()
    minutes = [row / 60 for row in noted]
    for axis, kind in zip(axes, KINDS, strict=True):
        unit = 2**20 if kind == "memory" else 1
        axis.plot(
            minutes, [record.most[kind][row] / unit for row in noted], color="#00506b"
        )
        axis.set_ylim(bottom=0)
        axis.set_ylabel("memory, MiB" if kind == "memory" else kind)
    axes[-1].set_xlabel("minutes")
    figure.suptitle(
        f"The most of each second, in {counts['generations']} generations", fontsize=11
    )
    figure.supxlabel(says_where(machine.describe()), fontsize=6)
    with matplotlib.rc_context(SVG):
        figure.savefig(path, format="svg", metadata={"Date": None})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="default: 30")
    parser.add_argument(
        "--plot", metavar="FILE", type=Path, help="draw it, as SVG; needs matplotlib"
    )
    args = parser.parse_args()
    if args.plot and importlib.util.find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib; install it, or leave out --plot")
    warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads
    record = Record(args.minutes)
    first = sample()
    start = time.monotonic()
    told = start
    for backend in itertools.cycle(BACKENDS):
        generation(backend)
        now = time.monotonic()
        last = sample()
        record.note(now - start, last)
        if now > told + 60:
            told = now
            print(f"{(now - start) / 60:.0f} min:", tell(last), flush=True)
        if now - start > args.minutes * 60:
            break
    print("first:", tell(first))
    print("last: ", tell(last))
    more = grown(record)
    print("grown:", ", ".join(more) or "nothing")
    print("all:", tell(counts))
    if args.plot:
        plot(record, args.plot)
    exact = (
        counts["sent"] == counts["heard"]
        and counts["forked"] == counts["stopped"]
        and counts["workers"] == counts["ended"]
    )
    return int(bool(more) or not exact)


def tell(found: collections.Counter[str] | dict[str, int]) -> str:
    return " ".join(f"{name}={n}" for name, n in found.items())


if __name__ == "__main__":
    sys.exit(main())
