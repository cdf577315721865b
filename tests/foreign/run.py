"""CPython's own tests, and trio's and anyio's, with a killer in every process.

    python tests/foreign/run.py --python python3.11 --python python3.13

Makes temporary environments in which each interpreter makes a killer when it starts
(everywhere.py), one for each kind of signals and each back end, and one without us;
runs the suites in each of them, and compares the outcomes test by test. A difference
that expected.py does not name is tried again alone: if it comes again it is a fault of
ours, and the status is 1; else it is printed as unsteady.

What is not seen: children that are started with -S, which do not read .pth files.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from compare import Difference, differences, explanation
from environments import Environment, environments
from everywhere import KINDS, is_possible
from expected import EXPECTED
from suites import NEIGHBOURS, SUITES, Outcome, run_suite, steady

BACKENDS = ("futex", "pipe", "sigwait")


class Comparison:
    """Of one Python, in all its environments."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self.faults = 0
        self.results: dict[tuple[str, str], Outcome | None] = {}

    def run(self, envs: list[Environment], suites: list[str]) -> None:
        with ThreadPoolExecutor(self.jobs) as pool:
            pairs = [(env, suite) for suite in suites for env in envs]
            done = pool.map(lambda pair: (pair, run_suite(*pair)), pairs)
            for (env, suite), outcome in done:
                self.results[env.name, suite] = outcome
                self._say_done(env, suite, outcome)
        for env in envs[1:]:
            for suite in suites:
                self._compare(envs[0], env, suite)

    def _say_done(self, env: Environment, suite: str, outcome: Outcome | None) -> None:
        if outcome is None:
            print(f"{env.name} {suite}: cannot be run", flush=True)
            return
        count, seconds = len(outcome.tests), outcome.seconds
        print(f"{env.name} {suite}: {count} tests, {seconds:.0f} s", flush=True)

    def _compare(self, plain: Environment, ours: Environment, suite: str) -> None:
        without = self.results[plain.name, suite]
        with_us = self.results[ours.name, suite]
        if without is None or with_us is None:
            return
        unexplained = []
        for difference in differences(without.tests, with_us.tests):
            reason = explanation(ours.name, difference, EXPECTED)
            if reason is None:
                unexplained.append(difference)
            else:
                print(f"EXPECTED {ours.name} {difference}\n    {reason}", flush=True)
        if unexplained:
            self._judge(unexplained, steady(plain, ours, suite, unexplained), ours)

    def _judge(
        self, found: list[Difference], seen: set[str], ours: Environment
    ) -> None:
        for difference in found:
            steady = difference.test in seen
            self.faults += steady
            word = "FAULT" if steady else "UNSTEADY"
            print(f"{word} {ours.name} {difference}", flush=True)


def version_of(python: str) -> str:
    program = "import sys; print('%d.%d' % sys.version_info[:2] + sys.abiflags)"
    return subprocess.check_output([python, "-c", program], text=True).strip()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("suites", nargs="*", default=SUITES)
    parser.add_argument("--python", action="append", metavar="EXECUTABLE")
    parser.add_argument("--kind", action="append", choices=KINDS)
    parser.add_argument("--backend", action="append", choices=BACKENDS)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--folder", type=Path, help="keep environments and logs here")
    return parser.parse_args()


def main() -> int:
    # Ignored in what a shell starts in the background, and inherited.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    asked = parse()
    kinds = [
        (kind, backend)
        for kind in asked.kind or KINDS
        for backend in asked.backend or BACKENDS
        if is_possible(kind, backend)
    ]
    faults = 0
    with tempfile.TemporaryDirectory() as temporary:
        top = (asked.folder or Path(temporary)).resolve()
        for python in asked.python or [sys.executable]:
            folder = top / version_of(python)
            folder.mkdir(parents=True)
            comparison = Comparison(asked.jobs)
            neighbours = not set(NEIGHBOURS).isdisjoint(asked.suites)
            made = list(environments(python, folder, kinds, neighbours))
            comparison.run(made, list(asked.suites))
            faults += comparison.faults
    print(f"{faults} unexplained differences")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
