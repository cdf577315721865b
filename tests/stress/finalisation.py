"""The end of the interpreter under stress: does a signal crash it, or hang it?

    python tests/stress/finalisation.py --runs 250

Starts ending.py again and again, in all the ways that a program may end, and sends
it signals at random moments from the last statement of main to the end of the
process. The plan of a run follows from its name, the moments that the signals hit do
not: a failure is printed with the command that tries its run again.

The exit status must be in a set that follows from the plan:

  its own     what the program ends with if no signal has a say: each of them came
              before or after, or a killer heard it and main had chosen a status
  by signal   of one that was sent, as exit_status says where a killer heard it
              after main had returned, by its default action where nobody hears;
              SIGINT also as KeyboardInterrupt in main
  cut short   where main had begun the stop itself, at a deadline, or by SIGINT on a
              machine so slow that half a second has passed: exit_status if that is a
              number, else 1, as no signal had begun it
  never       any other: a crash, or a failure of the interpreter's or ours
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

ENDING = Path(__file__).with_name("ending.py")
LIMIT = 30.0  # seconds for a program; it takes a quarter of one
DUMP_LIMIT = 2.0  # seconds for the stacks of one that hangs
SPREAD = 0.06  # seconds from the last statement to the latest first signal
TERM, INT = signal.SIGTERM, signal.SIGINT
# How main ends, and the status of that.
ENDS = {
    "returns": 0,
    "closed": 0,
    "block": 0,
    "exit": 0,
    "raises": 1,
    "no killer": 0,
    "stopped": None,  # by SIGTERM: as exit_status says
}
THREADS = ("worker", "outlive", "daemon", "daemon")
FAULTS = ("crashed", "hung", "wrong", "noise")


@dataclass
class Plan:
    name: str
    end: str
    backend: str
    exit_status: str | int
    grace: float | None
    threads: list[str]
    sections: bool
    signals: list[tuple[float, int]]  # seconds to wait, then what to send

    @classmethod
    def make(cls, name: str) -> Plan:
        rng = random.Random(name)
        which = rng.choice(((TERM,), (INT,), (TERM, INT)))
        end = rng.choice(list(ENDS))
        return cls(
            name,
            end=end,
            backend=rng.choice(("auto", "pipe", "sigwait")),
            exit_status=rng.choice(("signal", "signal", "code", 7)),
            # A deadline somewhere in the end, or none.
            grace=rng.choice((None, rng.uniform(0.02, 0.08))),
            threads=[t for t in THREADS if rng.random() < 0.5],
            sections=rng.random() < 0.5,
            signals=[
                (rng.uniform(0, SPREAD if first else 0.01), rng.choice(which))
                for first in [True] + [False] * rng.choice((0, 1, 7))
            ],
        )

    def __str__(self) -> str:
        sent = " ".join(
            f"{wait * 1000:.1f}ms:{signal.Signals(s).name}" for wait, s in self.signals
        )
        what = ", ".join(f"{k}={v}" for k, v in self.asdict().items() if k != "signals")
        return f"{what}; {sent}"

    def asdict(self) -> dict[str, object]:
        return asdict(self)

    def allowed(self, sent: set[int]) -> set[int]:
        """See above."""
        own = ENDS[self.end]
        heard = sent | ({TERM} if own is None else set())
        as_asked = {
            {"signal": -s, "code": 128 + s}.get(self.exit_status, self.exit_status)
            for s in heard
        }
        cut = set()
        hurries = self.grace is not None or INT in sent
        if hurries and self.end in ("block", "exit"):
            cut = {self.exit_status if isinstance(self.exit_status, int) else 1}
        return {own} - {None} | as_asked | {-s for s in sent} | cut


@dataclass
class Run:
    plan: Plan
    fault: str = ""
    note: str = ""
    status: int | None = None


def stacks(process: subprocess.Popen[bytes]) -> None:
    """faulthandler writes where each thread is; that ends the program."""
    process.send_signal(signal.SIGABRT)
    try:
        process.wait(DUMP_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()


def run(plan: Plan) -> Run:
    result = Run(plan)
    process = subprocess.Popen(
        [sys.executable, ENDING, json.dumps(plan.asdict())],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONFAULTHANDLER": "1"},
    )
    guard = threading.Timer(LIMIT, stacks, [process])
    guard.start()
    assert process.stdout is not None
    ready = process.stdout.readline() == b"ending\n"
    sent: set[int] = set()
    for wait, signum in plan.signals if ready else []:
        time.sleep(wait)
        if process.poll() is None:
            process.send_signal(signum)
            sent.add(signum)
    _, errors = process.communicate()
    hung = not guard.is_alive()
    guard.cancel()
    result.status = process.returncode
    result.note = errors.decode("utf-8", "backslashreplace")
    result.fault = judge(plan, result, ready, sent, hung)
    return result


def judge(plan: Plan, result: Run, ready: bool, sent: set[int], hung: bool) -> str:
    if hung:
        return "hung"
    if "Fatal Python error" in result.note:
        return "crashed"
    early = plan.end == "stopped" and plan.grace is not None  # the deadline struck
    if not ready and not early:
        return "wrong"
    if result.status not in plan.allowed(sent):
        return "wrong"
    # What went wrong in the interpreter or in us, and did not change the status.
    own = "ValueError: mine" if plan.end == "raises" else None
    lines = re.findall(r"^[\w.]*Error\b.*", result.note, re.MULTILINE)
    return "noise" if set(lines) - {own} else ""


# ---- all runs


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=250, help="default: %(default)s")
    parser.add_argument("--jobs", type=int, default=2, help="programs at a time")
    parser.add_argument("--seed", default=None, help="default: another each time")
    parser.add_argument("--run", help="only this one, as SEED:NUMBER, so many times")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    seed = args.seed or str(random.randrange(10**6))
    names = [args.run or f"{seed}:{n}" for n in range(args.runs)]
    statuses: collections.Counter[str] = collections.Counter()
    faults = dict.fromkeys(FAULTS, 0)
    print(f"seed {seed}", flush=True)
    with ThreadPoolExecutor(args.jobs) as pool:
        for result in pool.map(lambda name: run(Plan.make(name)), names):
            statuses[f"{result.plan.end} {result.status}"] += 1
            if result.fault:
                faults[result.fault] += 1
                tell(result)
    print("statuses:", *(f"{k}={n}" for k, n in sorted(statuses.items())))
    print(f"all: runs={len(names)}", *(f"{k}={n}" for k, n in faults.items()))
    return any(faults.values())


def tell(result: Run) -> None:
    print(
        f"--- {result.fault}: status {result.status}: {result.plan}",
        result.note,
        f"again: {sys.executable} {__file__} --run {result.plan.name} --runs 100",
        sep="\n",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
