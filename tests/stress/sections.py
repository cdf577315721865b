"""Protected sections under stress: is a record ever torn, a stop lost, an end hung?

    python tests/stress/sections.py --signals 10000

Starts writer.py again and again, with many threads that write records of two parts
in protected sections, and sends it SIGTERM and SIGINT at random moments. Each round
ends the program; what it has written and its exit status must be right.

The plan of a round follows from its seed, the moments at which the threads are hit
do not: a failure is printed with the command that tries its round again.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import selectors
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

WRITER = Path(__file__).with_name("writer.py")
LIMIT = 100.0  # seconds for whatever a program is to do; it takes less than two
TERM, INT = signal.SIGTERM, signal.SIGINT
ENOUGH = 7  # writer.py's own status
HANDLED = b"handled\n"  # and what it prints
PLACES = ("bytecode", "read", "join", "sections")
FORMS = {  # of writer.py, and how many of all rounds
    "killer": 3,
    "hurry": 1,
    "default": 3,
    "drain": 2,
    "handler": 6,
}
FAULTS = ("torn", "lost", "hung", "wrong")


@dataclass
class Plan:
    """What is done in one round."""

    name: str
    form: str
    place: str
    signals: list[tuple[float, int]]  # seconds to wait, then what to send
    threads: int

    @classmethod
    def make(cls, name: str, forms: list[str], threads: int) -> Plan:
        rng = random.Random(name)
        form = rng.choices(forms, [FORMS[f] for f in forms])[0]
        place = rng.choice(PLACES)
        if form == "hurry":
            # A second Ctrl-C within half a second is taken for the first.
            signals = [(rng.uniform(0, 0.05), INT), (rng.uniform(0.55, 0.7), INT)]
        else:
            number = {"handler": 20}.get(form, rng.choice((1, 1, 2, 3, 5)))
            which = (TERM,) if form == "drain" else (TERM, INT)
            signals = [
                (rng.choice((0, rng.uniform(0, 0.03))), rng.choice(which))
                for _ in range(number)
            ]
        return cls(name, form, place, signals, threads)

    def __str__(self) -> str:
        sent = " ".join(
            f"{wait * 1000:.1f}ms:{signal.Signals(signum).name}"
            for wait, signum in self.signals
        )
        return f"{self.name}: {self.form}, main in {self.place}, {sent}"


@dataclass
class Result:
    plan: Plan
    sent: int = 0
    records: int = 0
    faults: collections.Counter[str] = field(default_factory=collections.Counter)
    notes: list[str] = field(default_factory=list)

    def fault(self, kind: str, note: str, number: int = 1) -> None:
        self.faults[kind] += number
        self.notes.append(f"{kind}: {note}")


class Program:
    """One run of writer.py."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.folder = folder
        self.errors = (folder / "stderr").open("w+b")
        self.process = subprocess.Popen(
            [
                sys.executable,
                WRITER,
                *(folder, plan.name, plan.form, plan.place),
                *(str(plan.threads), str(len(plan.signals))),
            ],
            stdin=subprocess.PIPE,  # its end is ours
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env={**os.environ, "PYTHONFAULTHANDLER": "1"},
        )
        self.out = b""
        self.killed = False
        self.select = selectors.DefaultSelector()
        self.select.register(self.process.stdout, selectors.EVENT_READ)

    def said(self, line: bytes, number: int) -> bool:
        """Has it printed the line so often? False: not within the limit, or it has
        closed its output."""
        end = time.monotonic() + LIMIT
        while self.out.count(line) < number:
            if not self.select.select(max(0.0, end - time.monotonic())):
                return False
            data = os.read(self.process.stdout.fileno(), 4096)
            if not data:
                return False
            self.out += data
        return True

    def handled(self) -> int:
        """How often so far."""
        while self.select.select(0):
            data = os.read(self.process.stdout.fileno(), 4096)
            if not data:
                break
            self.out += data
        return self.out.count(HANDLED)

    def send(self, signum: int) -> bool:
        if self.process.poll() is not None:
            return False
        self.process.send_signal(signum)
        return True

    def ended(self, limit: float = LIMIT) -> bool:
        try:
            self.process.wait(limit)
        except subprocess.TimeoutExpired:
            return False
        return True

    def size(self) -> int:
        return sum(f.stat().st_size for f in self.folder.glob("own-*"))

    def stop(self) -> str:
        """For one that should have ended: its stacks, and whether it still works."""
        before = self.size()
        self.send(signal.SIGUSR2)
        time.sleep(1)
        works = self.size() > before
        self.killed = self.process.poll() is None
        self.process.kill()
        self.process.wait()
        return f"{'goes on writing' if works else 'does nothing'}\n{self.said_wrong()}"

    def said_wrong(self) -> str:
        self.errors.seek(0)
        return self.errors.read().decode("utf-8", "backslashreplace")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.select.close()
        self.errors.close()
        self.process.stdin.close()
        self.process.stdout.close()


# ---- one round


def count_records(folder: Path, result: Result, *, killed: bool) -> None:
    found: list[str] = []
    for path in [*folder.glob("own-*"), folder / "shared"]:
        lines = path.read_text().splitlines() if path.exists() else []
        # A lock is around what goes to the shared file, so parts are neighbours.
        torn = [
            pair
            for pair in zip(lines[::2], [*lines[1::2], ""], strict=False)
            if pair[0].endswith(" 2") or pair[1] != f"{pair[0][:-2]} 2"
        ]
        result.records += (len(lines) + 1) // 2
        found += [f"{path.name}: {pair}" for pair in torn]
    database = sqlite3.connect(folder / "database")
    query = "SELECT record, count(*), sum(part) FROM parts GROUP BY record"
    rows = database.execute(query).fetchall()
    database.close()
    result.records += len(rows)
    found += [f"database: {row}" for row in rows if row[1:] != (2, 3)]
    if found and not killed:
        result.fault("torn", "; ".join(found[:5]), len(found))


def send_all(program: Program, result: Result) -> None:
    """Until the program has ended, or handled each signal by itself."""
    plan = result.plan
    for wait, signum in plan.signals:
        time.sleep(wait)
        if program.handled() > result.sent:
            note = f"{result.sent} signals, handled {program.handled()} times"
            result.fault("wrong", f"{note}\n{program.stop()}")
            return
        if not program.send(signum):
            return
        result.sent += 1
        # One after the other: two at a time may be one run of the handler.
        if plan.form == "handler" and not program.said(HANDLED, result.sent):
            which = f"signal {result.sent}, {signal.Signals(signum).name}"
            kind = "lost" if program.process.poll() is None else "wrong"
            result.fault(kind, f"{which}, not handled; it {program.stop()}")
            return


def check_end(program: Program, result: Result) -> None:
    plan = result.plan
    if not program.ended():
        what = program.stop()
        kind = "lost" if what.startswith("goes on") else "hung"
        result.fault(kind, f"not ended {LIMIT} s after the last signal: it {what}")
        return
    status = program.process.returncode
    right = {-signum for _, signum in plan.signals[: result.sent]}
    expected = 0
    told = f"{result.sent} signals, status {status}"
    if plan.form == "handler":
        told += f", handled {program.handled()} times"
        right, expected = {ENOUGH}, result.sent
    if status not in right or program.handled() != expected:
        result.fault("wrong", f"{told}\n{program.said_wrong()}")


def run(plan: Plan) -> Result:
    result = Result(plan)
    with tempfile.TemporaryDirectory(prefix="sections-") as name:
        program = Program(plan, Path(name))
        try:
            if program.said(b"ready\n", 1):
                send_all(program, result)
                if not result.faults:
                    check_end(program, result)
            else:
                result.fault("wrong", f"it never started\n{program.stop()}")
            # What we had to kill is torn by us.
            count_records(Path(name), result, killed=program.killed)
        finally:
            program.close()
    return result


# ---- all rounds


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--signals", type=int, default=10000, help="how many in all")
    parser.add_argument("--threads", type=int, default=16, help="in each program")
    parser.add_argument("--jobs", type=int, default=2, help="programs at a time")
    parser.add_argument("--seed", default=None, help="default: another each time")
    parser.add_argument("--round", help="only this one, as SEED:NUMBER")
    parser.add_argument("--times", type=int, default=1, help="for --round, how often")
    parser.add_argument("--forms", default=",".join(FORMS), help="default: %(default)s")
    return parser.parse_args()


def tell(result: Result, args: argparse.Namespace) -> None:
    print(f"--- {result.plan}", *result.notes, sep="\n")
    print(
        f"again: {sys.executable} {__file__} --round {result.plan.name} --times 100 "
        f"--threads {args.threads} --forms {args.forms}",
        flush=True,
    )


def main() -> int:
    args = arguments()
    seed = args.seed or str(random.randrange(10**6))
    forms = args.forms.split(",")
    total: collections.Counter[str] = collections.Counter()
    by_form: dict[str, collections.Counter[str]] = collections.defaultdict(
        collections.Counter
    )
    lock = threading.Lock()
    begun = 0

    def more() -> str | None:
        nonlocal begun
        with lock:
            done = begun if args.round else total["signals"]
            if done >= (args.times if args.round else args.signals):
                return None
            begun += 1
            return args.round or f"{seed}:{begun}"

    def work() -> None:
        while (name := more()) is not None:
            result = run(Plan.make(name, forms, args.threads))
            found = {
                "rounds": 1,
                "signals": result.sent,
                "records": result.records,
                **result.faults,
            }
            with lock:
                total.update(found)
                by_form[result.plan.form].update(found)
                if result.faults:
                    tell(result, args)

    print(f"seed {seed}", flush=True)
    with ThreadPoolExecutor(args.jobs) as pool:
        for job in [pool.submit(work) for _ in range(args.jobs)]:
            job.result()
    for form in sorted(by_form):
        print(f"{form + ':':10}", summary(by_form[form]))
    print(f"{'all:':10}", summary(total))
    return any(total[fault] for fault in FAULTS)


def summary(found: collections.Counter[str]) -> str:
    counts = " ".join(f"{n}={found[n]}" for n in ("rounds", "signals", "records"))
    return f"{counts} " + " ".join(f"{fault}={found[fault]}" for fault in FAULTS)


if __name__ == "__main__":
    sys.exit(main())
