"""Fixtures of all tests. Classes and functions behind them are in harness/."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import pytest
from child_process import Child

ROOT = Path(__file__).resolve().parents[1]
# These look at the C sources only.
NEED_NO_PACKAGE = {"test_c.py", "test_layers.py", "test_signal_safety.py"}


def has_core(package: Path) -> bool:
    return any((package / f"_core{end}").exists() for end in EXTENSION_SUFFIXES)


# `python -m pytest` puts the working directory first on sys.path. The sources
# there have no compiled _core (unless it was built in place), so they would
# hide the installed package, which is what we are here to test.
if not has_core(ROOT / "gracefulexit"):
    sys.path[:] = [p for p in sys.path if Path(p or os.curdir).resolve() != ROOT]


def pytest_configure(config: pytest.Config) -> None:
    if all(Path(arg.split("::")[0]).name in NEED_NO_PACKAGE for arg in config.args):
        return
    spec = importlib.util.find_spec("gracefulexit")
    if spec is None or spec.origin is None:
        raise pytest.UsageError(
            "gracefulexit is not installed for this Python; "
            "run `python -m pip install '.[test]'` first."
        )
    if not has_core(Path(spec.origin).parent):
        raise pytest.UsageError(
            f"{spec.origin} has no compiled _core for this Python; run "
            "`python -m pip install '.[test]'` and test the installed package."
        )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Two for each processor: tests mostly wait, for a child or for each other."""
    if config.option.usepdb:
        return None  # its own rule: none
    return 2 * min(len(os.sched_getaffinity(0)), 8)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The pipe in tests that are slow by themselves is for the long run."""
    for item in items:
        if len(list(item.iter_markers("slow"))) > 1:
            item.add_marker(pytest.mark.long)


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the source tree."""
    return ROOT


def signal_state() -> dict[str, set[int]]:
    """Which signals this process blocks, ignores and catches, as the kernel sees it."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return {}
    fields = dict(line.split(":", 1) for line in status.splitlines())
    # Valid ones only: the C library catches two of its own at the first thread.
    return {
        name: {s for s in signal.valid_signals() if int(fields[name], 16) >> s - 1 & 1}
        for name in ("SigBlk", "SigIgn", "SigCgt")
    }


@pytest.fixture(autouse=True)
def signals_left_alone() -> Iterator[None]:
    """A test that leaves pytest with a handler or a mask fails."""
    before = signal_state()
    yield
    after = signal_state()
    changed = {name: before[name] ^ after[name] for name in before}

    assert not any(changed.values()), f"the test changed pytest's own: {changed}"


ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="futex is Linux's")
# The pipe is C alone, and the same C on every interpreter: the main one is enough.
PIPE = pytest.param("pipe", marks=pytest.mark.slow)
HANDLER_BACKENDS = [pytest.param("futex", marks=ON_LINUX), PIPE]


@pytest.fixture(params=[*HANDLER_BACKENDS, "sigwait"])
def backend(request: pytest.FixtureRequest) -> str:
    """Each way in which signals reach us and the handler wakes the watcher."""
    return request.param


@pytest.fixture(params=HANDLER_BACKENDS)
def handler_backend(request: pytest.FixtureRequest) -> str:
    """Those where the kernel runs the handler in a thread of the program: for what
    interrupts a system call, is queued in one thread, or raises."""
    return request.param


@pytest.fixture
def start_child(tmp_path: Path) -> Iterator[Callable[..., Child]]:
    """Start a Python process: start_child(program, *args, ...) -> Child.

    program  source text (run with -c), or a Path, relative to tests/children
    args     become sys.argv[1:], as strings
    env      added to the environment, from which GRACEFULEXIT_* was removed
    preload  a shared library that is there before all but those of a sanitizer
    options  for the interpreter itself, such as ["-X", "dev"]
    ignored, blocked  signals that the child inherits so; all others start
             default and unblocked, whatever pytest itself was started with
    Anything else goes to Popen. The child has a session of its own
    (start_new_session=False: it has not) and nothing on stdin.

    The working directory is the test's tmp_path, because `-c` would import the
    uncompiled package from the source tree. A child left running at the end of
    the test is killed and fails it.
    """
    children: list[Child] = []

    def start(program: str | Path, *args: object, **kwargs: Any) -> Child:
        child = Child(program, args, **{"cwd": tmp_path, **kwargs})
        children.append(child)
        return child

    yield start

    left = [child for child in children if child.kill_if_alive()]
    assert not left, "\n".join(
        f"child {child.pid} was still running\n{child.out}\n{child.err}"
        for child in left
    )
