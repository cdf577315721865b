"""_runners: threads for the user's code that exist only while there is some."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from gracefulexit._runners import Job, Lane

LIMIT = 100.0


def run_all(lane: Lane, *funcs) -> list[Job]:
    return [lane.submit(Job(getattr(f, "__name__", "job"), f)) for f in funcs]


def test_order() -> None:
    """Jobs of a lane run one after the other, in the order in which they came."""
    ran: list[int] = []
    jobs = run_all(Lane("x"), *(lambda n=n: ran.append(n) for n in range(50)))

    assert all(job.over.wait(LIMIT) for job in jobs)
    assert ran == list(range(50))
    assert jobs[0].result == "done"


def test_one_thread_for_all() -> None:
    """Jobs that are submitted together share a thread, however quick each one is."""
    lane = Lane("x")
    threads: set[threading.Thread] = set()
    jobs = [
        Job("job", lambda: threads.add(threading.current_thread())) for _ in range(500)
    ]
    lane.put(*jobs)
    lane.go()

    assert all(job.over.wait(LIMIT) for job in jobs)
    assert len(threads) == 1
    lane.go()  # nothing to do: starts none
    assert lane._thread in (None, *threads)


def test_no_thread_while_there_is_no_job() -> None:
    """The thread of a lane ends with its last job."""
    seen: list[threading.Thread] = []
    (job,) = run_all(Lane("x"), lambda: seen.append(threading.current_thread()))
    assert job.over.wait(LIMIT)
    seen[0].join(LIMIT)

    assert not seen[0].is_alive()
    assert seen[0].name == "gracefulexit-x"
    assert seen[0].daemon


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3), KeyboardInterrupt()])
def test_failing_job(error: BaseException, caplog) -> None:
    """A job that raises anything is logged, and the next one runs."""

    def bad() -> None:
        raise error

    with caplog.at_level(logging.ERROR):
        first, second = run_all(Lane("x"), bad, lambda: None)
        assert second.over.wait(LIMIT)

    assert (first.result, first.error) == ("failed", error)
    assert "bad failed" in caplog.text


def test_limit(caplog) -> None:
    """check() leaves a job over its limit behind, and the rest goes on."""
    entered, release = threading.Event(), threading.Event()

    def stuck() -> None:
        entered.set()
        release.wait(LIMIT)

    lane = Lane("x", limit=5.0)
    first, second = run_all(lane, stuck, lambda: None)
    assert entered.wait(LIMIT)
    started = first.started
    assert started is not None
    with caplog.at_level(logging.WARNING):
        left = lane.check(started + 4.0)
        assert left == pytest.approx(1.0)
        assert not second.over.is_set()
        lane.check(started + 5.5)
        assert second.over.wait(LIMIT)

    assert first.over.is_set()
    assert first.result == "left behind"
    assert caplog.text.count("stuck is over its 5 s") == 1
    release.set()


def test_patience() -> None:
    """With patience a slow job is overtaken, not given up."""
    entered, release = threading.Event(), threading.Event()

    def slow() -> None:
        entered.set()
        release.wait(LIMIT)

    lane = Lane("x", patience=0.5)
    first, second = run_all(lane, slow, lambda: None)
    assert entered.wait(LIMIT)
    lane.check(time.monotonic() + 1.0)
    assert second.over.wait(LIMIT)

    assert not first.over.is_set()
    assert first.result == "running"
    release.set()
    assert first.over.wait(LIMIT)
    assert first.result == "done"


def test_results() -> None:
    """A job's result is told at each moment of its life."""
    job = Job("x", lambda: None)

    assert job.result == "not started"
    job.run()
    assert job.result == "done"
