"""Fixtures of tests in pytest's own process: no handler is ever installed here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gracefulexit import GracefulKiller, current


@pytest.fixture
def killer() -> Iterator[GracefulKiller]:
    """A killer without signals, which stops with stop() only."""
    killer = GracefulKiller(())
    yield killer
    killer.close()

    assert current() is None
