"""A few rounds of tests/stress/sections.py, which can do ten thousand signals."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from child_process import Child

SECTIONS = Path(__file__).parents[1] / "stress" / "sections.py"
SIGNALS = 150
LIMIT = 300.0  # seconds; it takes a few, but one that hangs is to tell where


@pytest.mark.slow
def test_nothing_torn_nothing_lost(start_child: Callable[..., Child]) -> None:
    """Signals at random moments tear no record, and each is obeyed."""
    child = start_child(SECTIONS, "--signals", SIGNALS)
    done = child.finish(LIMIT)
    last = done.out.splitlines()[-1]

    assert done.status == 0, done.out + done.err
    assert last.endswith("torn=0 lost=0 hung=0 wrong=0")
    counts = re.match(r"all: +rounds=\d+ signals=(\d+) records=(\d+) ", last)
    assert counts is not None
    assert int(counts[1]) >= SIGNALS
    assert int(counts[2]) > 0
