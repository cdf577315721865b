"""GracefulKiller without signals: what an embedding library or a test uses."""

from __future__ import annotations

import threading

import gracefulexit
from gracefulexit import GracefulKiller

LIMIT = 100.0


def test_stop(killer: GracefulKiller) -> None:
    """stop() is what a signal would be: flag, event, waiters, reason."""
    assert killer.kill_now is False
    assert killer.wait(0) is False
    killer.stop("enough")

    assert killer.kill_now is True
    assert killer.wait(0) is True
    assert killer.event.wait(LIMIT)
    assert killer.reason is not None
    assert (killer.reason.signum, killer.reason.message) == (0, "enough")


def test_event_is_a_threading_event(killer: GracefulKiller) -> None:
    """`event` can be given to whoever wants a threading.Event."""
    assert type(killer.event) is threading.Event


def test_polling_loop(killer: GracefulKiller) -> None:
    """`while not killer.kill_now` in other threads ends at the stop."""
    turns = [0, 0]

    def work(i: int) -> None:
        while not killer.kill_now:
            turns[i] += 1

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    killer.stop()
    for thread in threads:
        thread.join(LIMIT)

    assert not any(thread.is_alive() for thread in threads)


def test_subclass() -> None:
    """A subclass with its own constructor and attributes works."""

    class Mine(GracefulKiller):
        def __init__(self, extra: str) -> None:
            super().__init__((), grace=5)
            self.extra = extra

    with Mine("x") as killer:
        assert killer.extra == "x"
        assert killer.grace == 5
    assert killer.kill_now


def test_version() -> None:
    """The package tells its version, and every public name is there."""
    assert gracefulexit.__version__
    assert all(hasattr(gracefulexit, name) for name in gracefulexit.__all__)
