"""A few rounds of tests/stress, which can do many more."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from child_process import Child

STRESS = Path(__file__).parents[1] / "stress"
SIGNALS = 150
RUNS = 50
ROUNDS = 150
LIMIT = 300.0  # seconds; it takes a few, but one that hangs is to tell where


@pytest.mark.slow
def test_nothing_torn_nothing_lost(start_child: Callable[..., Child]) -> None:
    """Signals at random moments tear no record, and each is obeyed."""
    child = start_child(STRESS / "sections.py", "--signals", SIGNALS)
    done = child.finish(LIMIT)
    last = done.out.splitlines()[-1]

    assert done.status == 0, done.out + done.err
    assert last.endswith("torn=0 lost=0 hung=0 wrong=0")
    counts = re.match(r"all: +rounds=\d+ signals=(\d+) records=(\d+) ", last)
    assert counts is not None
    assert int(counts[1]) >= SIGNALS
    assert int(counts[2]) > 0


@pytest.mark.slow
def test_no_crash_and_no_hang_at_the_end(start_child: Callable[..., Child]) -> None:
    """Signals at random moments of the end leave a status that the program asked for,
    and nothing on stderr."""
    # One at a time: tests run beside it.
    child = start_child(STRESS / "finalisation.py", "--runs", RUNS, "--jobs", 1)
    done = child.finish(LIMIT)
    last = done.out.splitlines()[-1]

    assert done.status == 0, done.out + done.err
    assert last == f"all: runs={RUNS} crashed=0 hung=0 wrong=0 noise=0"


@pytest.mark.slow
def test_nothing_lost_while_it_is_closed(start_child: Callable[..., Child]) -> None:
    """A signal during close() is the killer's or the previous owner's, exactly once."""
    child = start_child(STRESS / "uninstall.py", "--rounds", ROUNDS)
    done = child.finish(LIMIT)
    last = done.out.splitlines()[-1]

    assert done.status == 0, done.out + done.err
    counts = re.fullmatch(
        rf"all: rounds={ROUNDS} by killer=(\d+) by owner=(\d+) lost=0 wrong=0", last
    )
    assert counts is not None
    assert int(counts[1]) + int(counts[2]) == ROUNDS
    assert int(counts[1]) > 0
