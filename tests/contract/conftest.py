"""Fixtures of tests of what is built and how it is laid out."""

from __future__ import annotations

import importlib.util

import pytest


@pytest.fixture(scope="session")
def library() -> str:
    """The path of the compiled part that is installed."""
    spec = importlib.util.find_spec("gracefulexit._core")
    assert spec is not None
    assert spec.origin is not None
    return spec.origin
