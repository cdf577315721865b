"""Fixtures of tests that are whole programs."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from child_process import Child, Finished
from programs import AT_ONCE, PRELUDE

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
