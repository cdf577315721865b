"""Report: as data for JSON, and as a table for people."""

from __future__ import annotations

import json
import signal
import threading

import pytest

from gracefulexit import (
    GracefulKiller,
    Report,
    SignalInfo,
    Worker,
    WorkerGroup,
    _sections,
)
from gracefulexit._notice import AskedEvent, Notice
from gracefulexit._report import HookReport, PhaseReport, SectionReport, WorkerReport
from gracefulexit._sections import Drain, OpenSection
from gracefulexit._timeline import EXIT, ON_EXIT, SECTIONS, WORK, Timeline

LIMIT = 20.0

FULL = Report(
    state="stopping",
    reason=SignalInfo(signal.SIGTERM, si_pid=1, si_value=-7, sender="systemd \udcff"),
    stopping_for=2.5,
    remaining=7.5,
    counts={"SIGTERM": 1, "SIGINT": 0},
    lost={},
    workers=(
        WorkerReport("reader", False, 0.001, 0.002, 0.25),
        WorkerReport("a worker", True, 0.001, None, None, None, "  File x"),
        WorkerReport("mailer", False, error="OSError('full')"),
    ),
    sections=(
        SectionReport("ledger", "reader", 3.0, open=True, waited=1.5),
        SectionReport("x", "MainThread", 0.5, open=False),
    ),
    hooks=(
        HookReport("on_stop hook wake", "failed", 0.001, 0.5, "ValueError()"),
        HookReport("on_exit hook close", "not started"),
    ),
    phases=(PhaseReport(WORK, 0.0, 1.0), PhaseReport(SECTIONS, 1.0, None)),
)
TABLE = """\
state    stopping
reason   SIGTERM from pid 1 (systemd \udcff), uid 0
time     2.5 s since the stop, 7.5 s left
signals  SIGTERM x 1, SIGINT x 0

phase              start    length
hooks and workers  0.000 s  1.000 s
sections           1.000 s  1.500 s so far

worker    asked    noticed  ended
reader    0.001 s  0.002 s  0.250 s
a worker  0.001 s  -        still running
mailer    -        -        ended, failed: OSError('full')

section  thread      open           waited
ledger   reader      3.000 s        1.500 s
x        MainThread  0.500 s, left  -

hook                start    result
on_stop hook wake   0.001 s  failed after 0.500 s: ValueError()
on_exit hook close  -        not started

a worker is at
  File x"""


def test_table() -> None:
    """str() has a row for each thing, and its columns are aligned."""
    assert str(FULL) == TABLE


def test_table_of_nothing() -> None:
    """Before a stop there are no tables, and a killer without signals has none."""
    assert str(Report("running", None, None, None, {}, {})) == (
        "state    running\nsignals  -"
    )


def test_json() -> None:
    """to_dict() comes back out of JSON as it went in."""
    plain = FULL.to_dict()

    assert json.loads(json.dumps(plain)) == plain
    assert plain["reason"]["signum"] == 15
    assert plain["reason"]["text"].startswith("SIGTERM from pid 1 (systemd ")
    assert plain["phases"][1] == {"name": SECTIONS, "start": 1.0, "length": None}


def test_phases() -> None:
    """Each phase ends where the next begins; an earlier one begins no more."""
    timeline = Timeline()
    for phase in (WORK, ON_EXIT, SECTIONS, ON_EXIT, EXIT):
        timeline.begin(phase)
    work, on_exit, ending = timeline.report(0.0)

    assert [p.name for p in (work, on_exit, ending)] == [WORK, ON_EXIT, EXIT]
    assert work.start is not None
    assert work.length is not None
    assert on_exit.start == pytest.approx(work.start + work.length)
    assert ending.length is None


def test_phases_that_are_over() -> None:
    """The last phase ends with the stop; nothing begins after that."""
    timeline = Timeline()
    timeline.begin(WORK)
    timeline.end()
    timeline.begin(ON_EXIT)
    timeline.end()
    [work] = timeline.report(None)

    assert (work.name, work.start) == (WORK, None)
    assert work.length is not None
    assert str(timeline) == f"{WORK} {work.length:.3f} s"


def test_phases_without_anything() -> None:
    """Who was never told of a stop has no phases."""
    timeline = Timeline()
    timeline.end()

    assert timeline.report(None) == ()
    assert str(timeline) == ""


LOOKS = {
    "stopping": lambda w: w.stopping,
    "wait()": lambda w: w.wait(LIMIT),
    "shutdown_flag.is_set()": lambda w: w.shutdown_flag.is_set(),
    "shutdown_flag.wait()": lambda w: w.shutdown_flag.wait(LIMIT),
}


@pytest.mark.parametrize("look", LOOKS)
def test_noticed(killer: GracefulKiller, look: str) -> None:
    """A worker has noticed when its own thread first saw it, in whatever way, and the
    report tells how long after it was asked; others that look do not count."""
    asked, ended = threading.Event(), threading.Event()

    class Looking(Worker):
        def run(self) -> None:
            assert not self.stopping
            assert asked.wait(LIMIT)
            while not LOOKS[look](self):
                pass
            ended.set()

    worker = Looking()
    killer.start(worker)
    killer.stop()
    assert worker.shutdown_flag.wait(LIMIT)
    assert worker.stopping
    [before] = killer.report().workers
    asked.set()
    assert ended.wait(LIMIT)
    worker.join(LIMIT)
    [after] = killer.report().workers

    assert before.alive
    assert before.asked is not None
    assert (before.noticed, before.ended) == (None, None)
    assert not after.alive
    assert after.noticed is not None
    assert after.ended is not None
    assert 0 <= after.noticed <= after.ended


def test_not_noticed(killer: GracefulKiller) -> None:
    """Of a plain thread nobody knows, nor with an event of the user's own."""
    flag, go = threading.Event(), threading.Event()
    plain = threading.Thread(target=flag.wait, args=(LIMIT,))
    own = Worker(target=go.wait, args=(LIMIT,))
    own.shutdown_flag = threading.Event()
    killer.add(plain, stop=flag.set)
    killer.start(own)
    plain.start()
    killer.stop()
    assert own.wait(LIMIT)
    go.set()

    assert killer.join(LIMIT) == []
    assert [w.noticed for w in killer.report().workers] == [None, None]
    assert all(w.ended is not None for w in killer.report().workers)


def test_end_is_when_it_was(killer: GracefulKiller) -> None:
    """A worker's end is its own, also if somebody looks later."""
    release = threading.Event()
    quick, slow = Worker(target=lambda: None), Worker(target=release.wait)
    killer.start(quick, slow)
    quick.join(LIMIT)
    threading.Event().wait(0.05)
    killer.stop()
    assert quick.shutdown_flag.wait(LIMIT)
    assert slow.shutdown_flag.wait(LIMIT)
    release.set()
    assert killer.join(LIMIT) == []
    first, second = killer.report().workers

    assert first.ended == 0.0  # before it was asked
    assert second.ended is not None


def test_groups_are_reported_by_their_workers(killer: GracefulKiller) -> None:
    """Whose worker it is does not matter; who holds up the stop does."""
    release = threading.Event()
    stuck = Worker(target=release.wait, args=(LIMIT,), name="stuck")
    group = WorkerGroup(WorkerGroup(stuck), Worker(target=release.wait, name="other"))
    group.start()
    killer.stop()
    assert stuck.shutdown_flag.wait(LIMIT)
    rows = killer.report().workers
    release.set()

    assert sorted(row.name for row in rows) == ["other", "stuck"]
    assert all(row.alive for row in rows)


def test_exception_that_cannot_be_shown(killer: GracefulKiller) -> None:
    """A repr() that raises does not spoil the report."""

    class Mean(Exception):
        def __repr__(self) -> str:
            raise ZeroDivisionError

    def fail() -> None:
        raise Mean

    over = threading.Event()
    killer.on_stop(over.set)
    killer.on_stop(fail)
    killer.stop()
    assert over.wait(LIMIT)
    [failed, _] = killer.report().hooks

    assert failed.error is not None
    assert failed.error.endswith("Mean")
    assert failed.error in str(killer.report())


def test_asked_event_is_an_event() -> None:
    """It does all that a threading.Event does."""
    event = AskedEvent(Notice())
    assert not event.is_set()
    assert not event.wait(0)
    event.set()
    assert event.is_set()
    assert event.wait()
    event.clear()

    assert not event.is_set()
    assert not event.wait(0)


def test_the_next_section_of_a_thread_was_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thread may leave one and open the next within a tick of the coarse clock."""
    ledger = OpenSection("ledger", "booking", 1.0, True, 4711)
    now_open = [ledger]
    monkeypatch.setattr(_sections, "open_sections", lambda: now_open)
    monkeypatch.setattr(_sections, "runs_python", lambda ident: True)
    drain = Drain()
    assert drain.begin()
    now_open = [ledger._replace(name="other")]

    rows = drain.report(2.0)

    told = [(row.name, row.open, row.waited is not None) for row in rows]
    assert told == [("ledger", False, True), ("other", True, False)]
