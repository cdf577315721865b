"""How late the end of the grace period is, and that it is never early.

    python tests/bench/deadline.py [--quick] [--grace SECONDS] [--json FILE]

Each round is a process of its own that never ends by itself. This one sends the
signal and waits for the end: late is what lies between the two, less the grace. That
includes what the kernel takes to end the process. The competitors take turns:

    gracefulexit  a GracefulKiller with that grace
    timer         the usual recipe: a Python handler that calls signal.setitimer()
    plain C       the floor: deadline.c sleeps, and then dies of the signal

The second part sends Ctrl-C twice to a process of ours with a long grace, 0.6 s apart,
and measures from the second one to the end. Where Python code can still run, it
writes and flushes before the end; where it cannot, the watcher gives it a second.

The exit status is 1 if any end was early, or not by the signal.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from signal import SIGALRM, SIGINT, SIGTERM
from typing import Any

from gracefulexit import __version__

TITLE = "How late the end of the grace period is, and the end by a second Ctrl-C."
AIMS = ()  # the median is not what matters; an early or a wrong end is an error

GRACE = 0.3  # seconds
NEVER = 5.0  # seconds over the grace after which a process is given up
GAP = 0.6  # seconds between two Ctrl-C; those that are 0.5 s apart are two
LONG = 60.0  # a grace that is not waited for

OURS, TIMER, FLOOR = "gracefulexit", "timer", "plain C"
DIES_OF = {OURS: SIGTERM, TIMER: SIGALRM, FLOOR: SIGTERM}

# Their arguments: the situation, the grace.
BEGIN = {
    OURS: """
import sys
from gracefulexit import GracefulKiller
killer = GracefulKiller(grace=float(sys.argv[2]))
""",
    TIMER: """
import signal, sys
def on_term(signum, frame):
    signal.setitimer(signal.ITIMER_REAL, float(sys.argv[2]))
signal.signal(signal.SIGTERM, on_term)
""",
}
STUCK = """
import ctypes, threading
def spin():
    while True:
        pass
never = threading.Event()
if sys.argv[1] == "busy":
    for _ in range(16):
        threading.Thread(target=spin).start()
print("ready", flush=True)
if sys.argv[1] == "held":
    mutex = ctypes.create_string_buffer(128)
    library = ctypes.PyDLL(None)  # keeps the GIL in its calls
    library.pthread_mutex_lock(mutex)
    library.pthread_mutex_lock(mutex)
never.wait()
"""
SITUATIONS = {
    "idle": "idle",
    "busy": "16 CPU-bound threads",
    "held": "the GIL held for ever",
}


class WrongEndError(Exception):
    """Early, or not as it should be."""


@dataclass
class Series:
    what: str
    situation: str
    who: str
    ms: list[float] = field(default_factory=list)
    never: bool = False  # does not end


def command(who: str, situation: str, grace: float, floor: Path) -> list[str]:
    begin = [sys.executable, "-c", BEGIN[who] + STUCK] if who in BEGIN else [str(floor)]
    return [*begin, situation, str(grace)]


def settle(pid: int) -> None:
    """Wait until the main thread is stuck: a signal that comes sooner finds one that
    can still run a handler. And until it has taken the signals that came."""
    before = None
    while True:
        status = Path(f"/proc/{pid}/status").read_text()
        now = re.findall(r"^(?:State|.*ctxt_switches):.*$", status, re.MULTILINE)
        pending = re.search(r"^ShdPnd:\s+0*[1-9a-f]", status, re.MULTILINE)
        if now == before and "sleeping" in "".join(now) and not pending:
            return
        before = now
        time.sleep(0.02)


def run(argv: list[str], signals: list[int], limit: float) -> tuple[float, int]:
    """Seconds from the last of the signals to the end of the process, and its status;
    it is killed after that limit."""
    # The source tree, from where `-c` would import, has no compiled part.
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/"
    ) as process:
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise WrongEndError(f"{argv} did not start")
        settle(process.pid)
        for signum in signals[:-1]:
            process.send_signal(signum)
            settle(process.pid)
            time.sleep(GAP)
        given_up = threading.Timer(limit, process.kill)
        given_up.start()
        start = time.monotonic_ns()
        os.kill(process.pid, signals[-1])  # not waited for: nobody else's number
        status = process.wait()
        end = time.monotonic_ns()
        given_up.cancel()
    return (end - start) / 1e9, status


def measure_late(series: Series, grace: float, floor: Path) -> None:
    """One round."""
    if series.never:
        return
    argv = command(series.who, series.situation, grace, floor)
    took, status = run(argv, [SIGTERM], grace + NEVER)
    if status == -signal.SIGKILL and series.who == TIMER:
        # Later than that, or never: what has ended before would have ended.
        series.never = not series.ms
        if series.ms:
            series.ms.append((took - grace) * 1000)
        return
    if took < grace or status != -DIES_OF[series.who]:
        raise WrongEndError(f"{series}: status {status} after {took} s")
    series.ms.append((took - grace) * 1000)


def measure_hurry(series: Series, floor: Path) -> None:
    """One round."""
    argv = command(series.who, series.situation, LONG, floor)
    took, status = run(argv, [SIGINT, SIGINT], LONG / 2)
    if status != -SIGINT:
        raise WrongEndError(f"{series}: status {status} after {took} s")
    series.ms.append(took * 1000)


def measure(floor: Path, rounds: int, grace: float) -> Iterator[list[Series]]:
    late = [
        Series("late", situation, who)
        for situation in SITUATIONS
        for who in (OURS, TIMER, FLOOR)
    ]
    for _ in range(rounds):
        for series in late:
            measure_late(series, grace, floor)
    yield late
    hurry = [Series("second Ctrl-C", situation, OURS) for situation in SITUATIONS]
    for _ in range(rounds):
        for series in hurry:
            measure_hurry(series, floor)
    yield hurry


def bench(how: Any) -> Iterator[Any]:
    """For run.py, which has its own way to print."""
    import harness  # beside run.py; alone we need nothing of it

    kinds = {OURS: harness.OURS, FLOOR: harness.FLOOR, TIMER: harness.OTHER}
    floor = how.compile("deadline.c")
    for part in measure(floor, how.rounds(50), GRACE):
        for situation, name in SITUATIONS.items():
            found = [s for s in part if s.situation == situation]
            who = {harness.Who(s.who, kinds[s.who]): s.ms for s in found}
            yield from harness.rows(f"{found[0].what}, {name}", "ms", who)


# ---- alone


def machine() -> dict[str, Any]:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    model = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    return {
        "version": __version__,
        "date": datetime.date.today().isoformat(),
        "python": sys.version,
        "platform": platform.platform(),
        "processor": model[1] if model else platform.machine(),
        "processors": os.cpu_count(),
        "load": os.getloadavg(),
    }


def table(part: list[Series]) -> Iterable[str]:
    floors = {s.situation: statistics.median(s.ms) for s in part if s.who == FLOOR}
    to_floor = f"{'to C':>8}" if floors else ""
    yield f"{part[0].what:38}{'median':>12}{'worst':>12}{to_floor}"
    for s in part:
        head = f"{SITUATIONS[s.situation]:24}{s.who:14}"
        if not s.ms:
            yield f"{head}{'never':>12}"
            continue
        median = statistics.median(s.ms)
        floor = floors.get(s.situation)
        ratio = f"{median / floor:8.2f}" if floor else ""
        yield f"{head}{median:9.2f} ms{max(s.ms):9.2f} ms{ratio}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="less exact")
    parser.add_argument("--grace", type=float, default=GRACE, help="seconds")
    parser.add_argument("--json", metavar="FILE", help="write the numbers there too")
    args = parser.parse_args()
    rounds = 3 if args.quick else 50

    where = machine()
    print(f"gracefulexit {__version__}, {where['date']}, {rounds} rounds")
    print(f"CPython {platform.python_version()}, {where['platform']}")
    load = ", ".join(f"{n:.1f}" for n in where["load"])
    print(f"{where['processors']} x {where['processor']}, load {load}")
    results: list[Series] = []
    with tempfile.TemporaryDirectory() as folder:
        floor = Path(folder) / "floor"
        source = Path(__file__).with_suffix(".c")
        subprocess.run(["cc", "-O2", "-pthread", "-o", floor, source], check=True)
        for part in measure(floor, rounds, args.grace):
            print("\n" + "\n".join(table(part)), flush=True)
            results += part
    if args.json:
        what = {**where, "grace": args.grace, "results": list(map(asdict, results))}
        Path(args.json).write_text(json.dumps(what, indent=1) + "\n")
    print(f"\nnone of {sum(len(s.ms) for s in results)} was early or wrong")


if __name__ == "__main__":
    try:
        main()
    except WrongEndError as error:
        sys.exit(f"WRONG: {error}")
