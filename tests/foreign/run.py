"""CPython's own tests, with a killer in every process.

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
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from compare import (
    Difference,
    differences,
    explanation,
    last_started,
    outcomes,
    selector,
)
from everywhere import KINDS, is_possible
from expected import EXPECTED

ROOT = Path(__file__).resolve().parents[2]
SUITES = (
    "test_multiprocessing_spawn",
    "test_multiprocessing_forkserver",
    "test_multiprocessing_fork",
    "test_concurrent_futures",
    "test_asyncio",
    "test_subprocess",
    "test_threading",
    "test_faulthandler",
    "test_signal",
    "test_threadsignals",
    "test_os",
    "test_posix",
    "test_pty",
    "test_sqlite3",
)
OLD_NAMES = {"test_sqlite3": "test_sqlite"}  # up to 3.10
BACKENDS = ("futex", "pipe", "sigwait")
QUIET = 400.0  # seconds without a line of output: it hangs
REPEATS = 3
# The runner's own statuses; the first is for failed tests, too.
ENDS = {0: "clean", 2: "clean", 3: "altered"}
ENVIRONMENT = "what it leaves behind"  # as a test: threads, files, handlers
STUCK = 8  # tests of a suite that may hang or crash before it is given up


@dataclass(frozen=True)
class Environment:
    name: str
    python: Path
    logs: Path


@dataclass
class Outcome:
    """Of a suite in an environment."""

    tests: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


# --- environments


def build(python: str, folder: Path) -> Path:
    """The package, as this Python installs it: a folder for sys.path."""
    source, target = folder / "source", folder / "package"
    ignored = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "*.so")
    shutil.copytree(ROOT, source, ignore=ignored)
    subprocess.run([python, "-m", "venv", folder / "builder"], check=True)
    pip = [folder / "builder/bin/python", "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--target", target, source], check=True)
    shutil.copy(Path(__file__).with_name("everywhere.py"), target)
    return target


def environment(
    python: str, folder: Path, name: str, package: Path, start: str
) -> Environment:
    """One whose interpreters run `start`, a line of a .pth file, first of all."""
    place = folder / name
    subprocess.run([python, "-m", "venv", "--without-pip", place], check=True)
    (site,) = place.glob("lib/python*/site-packages")
    (site / "foreign.pth").write_text(f"{package}\n{start}\n")
    made = Environment(name, place / "bin/python", place / "logs")
    made.logs.mkdir()
    return made


def ask(env: Environment, program: str) -> subprocess.CompletedProcess[str]:
    # Not in the source tree, whose package is not compiled.
    command = [env.python, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, cwd=env.logs)


def check(env: Environment, has_killer: bool) -> None:
    """What a .pth file raises is printed and forgotten: look whether it worked."""
    program = "import gracefulexit as g; k = g.current(); print(bool(k) and k.armed)"
    done = ask(env, program)
    if (done.stdout, done.stderr) != (f"{has_killer}\n", ""):
        raise SystemExit(f"{env.name}: {done.stdout}{done.stderr}")


def environments(
    python: str, folder: Path, kinds: list[tuple[str, str]]
) -> Iterator[Environment]:
    """The one without us comes first."""
    version = folder.name
    package = build(python, folder)
    plain = environment(python, folder, f"{version}-without", package, "")
    check(plain, has_killer=False)
    yield plain
    for kind, backend in kinds:
        start = f"import everywhere; everywhere.install({kind!r}, {backend!r})"
        name = f"{version}-{kind}-{backend}"
        made = environment(python, folder, name, package, start)
        check(made, has_killer=True)
        yield made


# --- suites


def stand_in(env: Environment, suite: str) -> list[str]:
    """Some CPythons were installed without these, which are one line each."""
    where = env.logs / "stand-ins"
    where.mkdir(exist_ok=True)
    method = suite.removeprefix("test_multiprocessing_")
    # Under a name of its own: of the other one, it is known to be a package.
    (where / f"test_by_{method}.py").write_text(
        "from test._test_multiprocessing import install_tests_in_module_dict\n"
        f"install_tests_in_module_dict(globals(), {method!r})\n"
    )
    return ["--testdir", str(where), f"test_by_{method}"]


def has_suite(env: Environment, suite: str) -> bool:
    find = f"import importlib.util as u; print(u.find_spec('test.{suite}') is not None)"
    return ask(env, find).stdout == "True\n"


def options(env: Environment, suite: str) -> list[str] | None:
    """How to ask for the suite; None if this Python does not have it."""
    for name in (suite, OLD_NAMES.get(suite, suite)):
        if has_suite(env, name):
            return [name]
    if suite.startswith("test_multiprocessing_"):
        return stand_in(env, suite)
    return None


def watch(process: subprocess.Popen[bytes], log: Path) -> str:
    """Wait for its end: "hung" if it is no more heard of."""
    size, since = -1, time.monotonic()
    while process.poll() is None:
        if log.stat().st_size != size:
            size, since = log.stat().st_size, time.monotonic()
        if time.monotonic() - since > QUIET:
            os.killpg(process.pid, signal.SIGABRT)  # faulthandler shows the stacks
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            return "hung"
        time.sleep(0.2)
    return ENDS.get(process.returncode, "crashed")


def attempt(
    env: Environment, title: str, arguments: list[str], into: dict[str, str]
) -> str | None:
    """Run tests once, and note the outcomes. The test that ended it all, if one did."""
    log, report = env.logs / f"{title}.log", env.logs / f"{title}.xml"
    report.unlink(missing_ok=True)
    options = ["-v", "--fail-env-changed", "--junit-xml", report]
    command = [env.python, "-m", "test", *options, *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=env.logs,
        )
        ended = watch(process, log)
    if ended in ENDS.values() and report.exists():
        into.update(outcomes(report))
        into[ENVIRONMENT] = ended
        return None
    culprit = last_started(log.read_text(errors="replace"))
    if culprit is None:
        raise RuntimeError(f"{env.name} {title} did not begin; see {log}")
    into[culprit] = ended if ended == "hung" else "crashed"
    return culprit


def run_suite(env: Environment, suite: str) -> Outcome | None:
    """All of it, if need be without the tests that end it. None: there is none."""
    asked = options(env, suite)
    if asked is None:
        return None
    outcome, start = Outcome(), time.monotonic()
    stuck: list[str] = []
    while len(stuck) < STUCK:
        left_out = [word for test in stuck for word in ("--ignore", test)]
        title = f"{suite}-{len(stuck)}"
        culprit = attempt(env, title, [*asked, *left_out], outcome.tests)
        if culprit is None or culprit in stuck:
            break
        stuck.append(culprit)
    outcome.seconds = time.monotonic() - start
    return outcome


def again(env: Environment, suite: str, tests: list[str]) -> dict[str, str]:
    """These tests alone, as far as that can be."""
    found: dict[str, str] = {}
    wanted = []
    if ENVIRONMENT not in tests:
        wanted = [word for test in tests for word in ("--match", selector(test))]
    attempt(env, f"{suite}-again", [*(options(env, suite) or ()), *wanted], found)
    return found


def steady(
    plain: Environment, ours: Environment, suite: str, found: list[Difference]
) -> set[str]:
    """Those of the differences that come again."""
    tests = [difference.test for difference in found]
    seen: set[str] = set()
    for _ in range(REPEATS):
        pairs = differences(again(plain, suite, tests), again(ours, suite, tests))
        seen.update(pair.test for pair in pairs)
    return seen


# --- the whole


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
            print(f"{env.name} {suite}: not installed with this Python", flush=True)
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
            comparison.run(
                list(environments(python, folder, kinds)), list(asked.suites)
            )
            faults += comparison.faults
    print(f"{faults} unexplained differences")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
