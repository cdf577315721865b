"""GracefulExit: a SystemExit with a reason."""

from __future__ import annotations

import copy
import pickle

import pytest

from gracefulexit import GracefulExit, SignalInfo

REASON = SignalInfo(15, si_pid=1, sender="systemd")


def test_it_is_a_system_exit() -> None:
    """It is caught by `except SystemExit` and not by `except Exception`."""
    assert issubclass(GracefulExit, SystemExit)
    assert not issubclass(GracefulExit, Exception)


def test_attributes() -> None:
    """reason, code, and a text for people."""
    error = GracefulExit(REASON, 143)

    assert error.reason is REASON
    assert error.code == 143
    assert str(error) == "SIGTERM from pid 1 (systemd), uid 0"
    assert str(GracefulExit(None, 3)) == "3"


def test_only_the_interpreter_makes_it_die() -> None:
    """Reading `code` from Python arranges nothing."""
    arranged: list[int] = []
    error = GracefulExit(REASON, 143, signum=15, _at_end=arranged.append)

    assert error.code == 143
    assert getattr(error, "code") == 143  # noqa: B009
    assert arranged == []


def test_code_can_be_changed() -> None:
    """Whoever sets `code` chooses the status."""
    error = GracefulExit(REASON, 143, signum=15)
    error.code = 4

    assert error.code == 4


@pytest.mark.parametrize(
    "through", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))]
)
def test_copies(through) -> None:
    """A copy, or one that came from another process, tells the same."""
    copied = through(GracefulExit(REASON, 143))

    assert (copied.reason, copied.code) == (REASON, 143)
