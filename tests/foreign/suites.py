"""The suites: how each is run, and what it says of its tests."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from compare import Difference, differences, last_started, outcomes, selector
from environments import ANYIO_TESTS, Environment, ask

CPYTHON = (
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
# The tests of theirs that have to do with signals, threads and processes.
TRIO = (
    *("trio._core._tests.test_ki", "trio._core._tests.test_guest_mode"),
    *("trio._tests.test_signals", "trio._tests.test_subprocess"),
    *("trio._tests.test_threads", "trio._tests.test_repl"),
)
ANYIO = ("test_signals.py", "test_subprocesses.py", "test_to_process.py")
NEIGHBOURS = ("trio", "anyio")
SUITES = (*CPYTHON, *NEIGHBOURS)
# Without the files that set it up for its authors, which want more packages.
PYTEST = ["pytest", "-c", os.devnull, "--noconftest", "-p", "no:cacheprovider"]
OLD_NAMES = {"test_sqlite3": "test_sqlite"}  # up to 3.10
QUIET = 400.0  # seconds without a line of output: it hangs
REPEATS = 3
# The runners' statuses at an end of their own; there are two for failed tests.
ENDS = {
    "test": {0: "clean", 2: "clean", 3: "altered"},
    "pytest": {0: "clean", 1: "clean"},
}
ENVIRONMENT = "what it leaves behind"  # as a test: threads, files, handlers
STUCK = 8  # tests of a suite that may hang or crash before it is given up


@dataclass
class Outcome:
    """Of a suite in an environment."""

    tests: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


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


def command(env: Environment, suite: str) -> list[str] | None:
    """What to run it with, after `python -m`; None if it cannot be run there."""
    if suite == "trio":
        if "-interrupt-" in env.name:
            # It leaves SIGINT to whoever has it: what its tests send ends the run.
            return None
        return [*PYTEST, "-p", "trio._tests.pytest_plugin", "--pyargs", *TRIO]
    if suite == "anyio":
        tests = env.package / ANYIO_TESTS
        files = [str(tests / name) for name in ANYIO]
        return [*PYTEST, "-o", "anyio_mode=auto", *files] if tests.exists() else None
    regrtest = ["test", "--fail-env-changed"]
    for name in (suite, OLD_NAMES.get(suite, suite)):
        if has_suite(env, name):
            return [*regrtest, name]
    if suite.startswith("test_multiprocessing_"):
        return [*regrtest, *stand_in(env, suite)]
    return None


def watch(process: subprocess.Popen[bytes], log: Path) -> int | None:
    """Wait for its end, and give the status; None if it is no more heard of."""
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
            return None
        time.sleep(0.2)
    return process.returncode


def attempt(
    env: Environment, title: str, arguments: list[str], into: dict[str, str]
) -> str | None:
    """Run tests once, and note the outcomes. The test that ended it all, if one did."""
    log, report = env.logs / f"{title}.log", env.logs / f"{title}.xml"
    report.unlink(missing_ok=True)
    called = [env.python, "-m", *arguments, "-v", "--junit-xml", report]
    with log.open("wb") as output:
        process = subprocess.Popen(
            called,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=env.logs,
        )
        status = watch(process, log)
    ends = ENDS[arguments[0]]
    if status in ends and report.exists():
        into.update(outcomes(report))
        into[ENVIRONMENT] = ends[status]
        return None
    culprit = last_started(log.read_text(errors="replace"))
    if culprit is None:
        raise RuntimeError(f"{env.name} {title} did not begin; see {log}")
    into[culprit] = "hung" if status is None else "crashed"
    return culprit


def run_suite(env: Environment, suite: str) -> Outcome | None:
    """All of it, if need be without the tests that end it. None: there is none."""
    asked = command(env, suite)
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
    if ENVIRONMENT not in tests and suite in CPYTHON:
        wanted = [word for test in tests for word in ("--match", selector(test))]
    attempt(env, f"{suite}-again", [*(command(env, suite) or ()), *wanted], found)
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
