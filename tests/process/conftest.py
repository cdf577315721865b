"""Fixtures of tests that are whole programs."""

from __future__ import annotations

import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ccompile import shared_library
from child_process import Child, Finished
from programs import AT_ONCE, CALL_MAIN, PRELUDE, WORKERS

HARNESS = Path(__file__).resolve().parents[1] / "harness"


@pytest.fixture
def program(start_child: Callable[..., Child]) -> Callable[..., Child]:
    """Start a child that has the package's names and harness/probe.py in scope."""

    def start(source: str, *args: object, **kwargs: Any) -> Child:
        env = {"PYTHONPATH": str(HARNESS), **kwargs.pop("env", {})}
        return start_child(PRELUDE + textwrap.dedent(source), *args, env=env, **kwargs)

    return start


@pytest.fixture
def passes(program: Callable[..., Child]) -> Callable[..., Finished]:
    """Run a child that checks things itself: it must reach its end, with status 0."""

    def run(source: str, *args: object, **kwargs: Any) -> Finished:
        __tracebackhide__ = True
        whole = (
            AT_ONCE
            + textwrap.dedent(source)
            + "\nprint('reached the end', flush=True)\n"
        )
        done = program(whole, *args, **kwargs).finish()
        ended = done.status == 0 and done.out.endswith("reached the end\n")
        if not ended:
            pytest.fail(f"status {done.status}\n{done.out}\n{done.err}")
        return done

    return run


@pytest.fixture
def late(program: Callable[..., Child], tmp_path: Path) -> Callable[..., Child]:
    """As `program`, with a clock that is put on where it hangs (harness/clocks.py is
    in scope), and put over the deadline by let_it_end()."""
    clock = shared_library(HARNESS / "clock.c", tmp_path)

    def start(source: str, *args: object) -> Child:
        whole = "from clocks import *\n" + textwrap.dedent(source)
        return program(whole, *args, preload=clock, stdin=subprocess.PIPE)

    return start


@pytest.fixture
def let_it_end() -> Callable[[Child], Finished]:
    def end(child: Child) -> Finished:
        __tracebackhide__ = True
        child.stdin.write(b"x")
        child.stdin.flush()
        return child.finish()

    return end


@pytest.fixture
def script(start_child: Callable[..., Child], tmp_path: Path) -> Callable[..., Child]:
    """As `program`, from a file, so that spawned children can import it: definitions,
    and a main() that gets the arguments. harness/process_workers.py is in scope."""

    def start(source: str, *args: object, **kwargs: Any) -> Child:
        path = tmp_path / "script.py"
        path.write_text(PRELUDE + WORKERS + textwrap.dedent(source) + CALL_MAIN)
        env = {"PYTHONPATH": str(HARNESS), **kwargs.pop("env", {})}
        return start_child(path, *args, env=env, **kwargs)

    return start


@pytest.fixture
def works(script: Callable[..., Child]) -> Callable[..., Finished]:
    """As `passes`, with `script`."""

    def run(source: str, *args: object, **kwargs: Any) -> Finished:
        __tracebackhide__ = True
        done = script(source, *args, **kwargs).finish()
        if done.status != 0 or "main has returned\n" not in done.out:
            pytest.fail(f"status {done.status}\n{done.out}\n{done.err}")
        return done

    return run


@pytest.fixture
def beside(request: pytest.FixtureRequest, passes: Any, backend: str) -> Any:
    """Run a child's checks with a neighbour and this back end: the module's COMMON,
    then the source. Further arguments go before the source and follow the back end."""
    return _beside(request.module.COMMON, passes, backend)


@pytest.fixture
def beside_in_main(
    request: pytest.FixtureRequest, passes: Any, handler_backend: str
) -> Any:
    """The same for what the handler's thread matters to, as the main thread's system
    calls and exceptions: sigwait mode keeps the signals away from it."""
    return _beside(request.module.COMMON, passes, handler_backend)


def _beside(common: str, passes: Any, backend: str) -> Callable[..., Finished]:
    def run(*args_and_source: str) -> Finished:
        __tracebackhide__ = True
        *args, source = args_and_source
        return passes(common + textwrap.dedent(source), backend, *args)

    return run
