"""_schedule: which steps, and when each is done."""

from __future__ import annotations

import functools
import logging
import math
import signal
import threading
import weakref
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from probe import until

from gracefulexit._schedule import Course, Schedule

LIMIT = 100.0
ALLOWED = ("EOF", "ASK")
TERM, KILL = int(signal.SIGTERM), int(signal.SIGKILL)


@pytest.mark.parametrize(
    ("given", "steps"),
    [
        (("KILL",), ((0, KILL),)),
        (("TERM", 10, "KILL"), ((0, TERM), (10, KILL))),
        (["SIGTERM", 10, signal.SIGKILL], ((0, TERM), (10, KILL))),
        ((signal.SIGTERM, 0, "SIGKILL"), ((0, TERM), (0, KILL))),
        (("EOF", 2, "TERM", 0.5, "KILL"), ((0, "EOF"), (2, TERM), (0.5, KILL))),
        (("ASK", 10, "TERM", 5, "KILL"), ((0, "ASK"), (10, TERM), (5, KILL))),
        ((30, "TERM", 10, "KILL"), ((30, TERM), (10, KILL))),
        ((0, "KILL"), ((0, KILL),)),
        (("INT", 1, "INT", 1, "KILL"), ((0, 2), (1, 2), (1, KILL))),
        (("TERM", Decimal("1.5"), "KILL"), ((0, TERM), (1.5, KILL))),
        (
            ("RTMIN+1", 1, "KILL"),
            ((0, int(signal.SIGRTMIN) + 1), (1, KILL)),
        ),
    ],
)
def test_steps(given: Any, steps: Any) -> None:
    """Signals and other steps, each with the seconds before it."""
    schedule = Schedule(given, ALLOWED)

    assert schedule.steps == steps
    assert repr(schedule) == repr(tuple(given))


def test_what_is_in_it() -> None:
    """It can be asked for a step."""
    assert "EOF" in Schedule(("EOF", 2, "KILL"))
    assert "EOF" not in Schedule(("TERM", 2, "KILL"))


def test_an_iterator_is_a_schedule() -> None:
    """Anything that gives the items in order will do."""
    assert Schedule(iter(("TERM", 1, "KILL"))).steps == ((0, TERM), (1, KILL))


@pytest.mark.parametrize(
    ("given", "kind", "says"),
    [
        ((), ValueError, "must end with 'KILL'"),
        (("TERM",), ValueError, "must end with 'KILL'"),
        (("TERM", 10), ValueError, "must end with 'KILL'"),
        (("TERM", 10, "KILL", 3), ValueError, "must end with 'KILL'"),
        (("TERM", 10, "INT"), ValueError, "may never end; got"),
        ((10,), ValueError, "must end with 'KILL'"),
        (("KILL", 3, "TERM", 3, "KILL"), ValueError, "nothing can follow 'KILL'"),
        (("TERM", "KILL"), ValueError, "put the time to wait between two steps"),
        (("TERM", 1, 2, "KILL"), ValueError, "two numbers in a row"),
        ((1, 2, "KILL"), ValueError, "two numbers in a row"),
        (("TERM", -1, "KILL"), ValueError, "0 or more seconds"),
        (("TERM", math.nan, "KILL"), ValueError, "0 or more seconds"),
        (("TERM", math.inf, "KILL"), ValueError, "a finite number of seconds"),
        (("TERM", True, "KILL"), TypeError, "in turn"),
        (("TERM", None, "KILL"), TypeError, "in turn"),
        (("TERM", b"10", "KILL"), TypeError, "in turn"),
        (("TERM", [10], "KILL"), TypeError, "a number of seconds"),
        (("TERM", "10", "KILL"), ValueError, "no seconds before '10'"),
        (("NONSENSE", 1, "KILL"), ValueError, "unknown signal 'NONSENSE'.*'EOF'"),
        (("STOP", 1, "KILL"), ValueError, "SIGSTOP cannot"),
        (("eof", 1, "KILL"), ValueError, "unknown signal 'eof'.*'EOF'"),
        ("TERM", TypeError, r"a schedule is a tuple like \('TERM', 10, 'KILL'\)"),
        (b"TERM", TypeError, "a schedule is a tuple"),
        (15, TypeError, "a schedule is a tuple"),
        (None, TypeError, "a schedule is a tuple"),
        (signal.SIGTERM, TypeError, "a schedule is a tuple"),
    ],
)
def test_bad_schedules(given: Any, kind: type[Exception], says: str) -> None:
    """What cannot work is refused with what to write instead."""
    with pytest.raises(kind, match=says):
        Schedule(given)


def test_names_of_others_are_unknown() -> None:
    """A step that this program cannot do is an unknown name."""
    with pytest.raises(ValueError, match="unknown signal 'ASK'"):
        Schedule(("ASK", 1, "KILL"))


class Program:
    """What a schedule is run on: its own clock, and who ends it."""

    def __init__(self, left: float | None = None, ends_at: float = math.inf) -> None:
        self.now = 0.0
        self.until = left
        self.ends_at = ends_at
        self.done: list[tuple[float, Any]] = []
        self.early: list[tuple[float, Callable[[], Any]]] = []

    def do(self, step: Any) -> None:
        self.done.append((round(self.now, 6), step))
        if step == KILL:
            self.ends_at = self.now

    def ended(self, timeout: float | None) -> bool:
        until = self.ends_at if timeout is None else self.now + timeout
        if self.early and self.early[0][0] <= until:
            self.now, act = self.early.pop(0)
            act()
        else:
            self.now = min(until, max(self.now, self.ends_at))
        return self.now >= self.ends_at

    def remaining(self) -> float | None:
        return None if self.until is None else max(0.0, self.until - self.now)

    def run(self, *steps: Any) -> list[tuple[float, Any]]:
        Schedule(steps, ALLOWED).run(
            self.do, self.ended, self.remaining, _clock=lambda: self.now
        )
        return self.done


def test_all_steps() -> None:
    """Each wait has its time where there is no limit."""
    assert Program().run("EOF", 2, "TERM", 10, "KILL") == [
        (0, "EOF"),
        (2, TERM),
        (12, KILL),
    ]


def test_it_ends_on_the_way() -> None:
    """What has ended gets no further step."""
    assert Program(ends_at=5).run("EOF", 2, "TERM", 10, "KILL") == [
        (0, "EOF"),
        (2, TERM),
    ]


def test_it_had_ended_before() -> None:
    """What had ended before gets no step at all."""
    assert Program(ends_at=0).run("TERM", 10, "KILL") == []


def test_time_to_end_unasked() -> None:
    """A number in front is waited before the first step."""
    assert Program(ends_at=29).run(30, "TERM", 10, "KILL") == []
    assert Program().run(30, "TERM", 10, "KILL") == [(30, TERM), (40, KILL)]


def test_waits_fit_into_the_grace() -> None:
    """With too little time the waits share what there is, and the last step comes
    before the end: a tenth of what is left is kept, a second at most."""
    assert Program(left=5).run("EOF", 3, "TERM", 6, "KILL") == [
        (0, "EOF"),
        (1.5, TERM),
        (4.5, KILL),
    ]
    assert Program(left=101).run("TERM", 1000, "KILL") == [(0, TERM), (100, KILL)]


def test_a_long_grace_changes_nothing() -> None:
    """With time enough the waits are as written."""
    assert Program(left=100).run("TERM", 10, "KILL") == [(0, TERM), (10, KILL)]


def test_no_time_left() -> None:
    """Past the last moment all steps are done at once."""
    assert Program(left=0).run("EOF", 3, "TERM", 6, "KILL") == [
        (0, "EOF"),
        (0, TERM),
        (0, KILL),
    ]


def test_no_waits() -> None:
    """A schedule of zeros does not divide by them."""
    assert Program(left=0).run("TERM", 0, "KILL") == [(0, TERM), (0, KILL)]


def test_a_limit_that_comes_later() -> None:
    """Begun by hand, and then the program stops: what is left fits into the grace."""
    program = Program()

    def stop() -> None:
        program.until = program.now + 10

    program.early = [(4.0, stop)]

    # 6 s of the first wait and 12 s were to come, and 9 of the 10 s are for them.
    assert program.run("EOF", 10, "TERM", 12, "KILL") == [
        (0, "EOF"),
        (7, TERM),
        (13, KILL),
    ]


def test_looking_again_and_again_does_not_eat_the_reserve() -> None:
    """However often the wait comes back early, the last step keeps its distance."""
    program = Program(left=10)
    program.early = [(n / 10, lambda: None) for n in range(1, 100)]

    assert program.run("TERM", 100, "KILL") == [(0, TERM), (9, KILL)]


def test_a_limit_that_moves_away() -> None:
    """With extend() the later waits get their time back."""
    program = Program(left=5)

    def extend() -> None:
        program.until = 1000

    program.early = [(1.0, extend)]

    # 1 s of 4.5 was as long as 2.22 s of 10; the others are not cut.
    assert program.run("TERM", 10, "KILL") == [(0, TERM), (8.777778, KILL)]


def test_a_step_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the next one is tried."""
    program = Program()

    def do(step: Any) -> None:
        if step == TERM:
            raise PermissionError("not yours")
        program.do(step)

    with caplog.at_level(logging.ERROR, "gracefulexit"):
        Schedule(("TERM", 10, "KILL")).run(
            do, program.ended, program.remaining, _clock=lambda: program.now
        )

    assert program.done == [(10, KILL)]
    assert "SIGTERM failed: PermissionError('not yours')" in caplog.text


def test_a_course_is_begun_once() -> None:
    """Whoever begins it next joins the one that is under way."""
    ran: list[threading.Thread] = []
    go = threading.Event()

    def run() -> None:
        ran.append(threading.current_thread())
        assert go.wait(LIMIT)

    course = Course()
    assert not course.under_way
    assert course.wait(0)
    course.begin("x", run)
    assert course.under_way
    course.begin("x", run)
    assert not course.wait(0)
    go.set()
    assert course.wait(LIMIT)
    assert not course.under_way
    course.begin("x", run)
    assert not course.under_way

    assert [thread.name for thread in ran] == ["gracefulexit-stop"]


def test_beginning_takes_no_lock_of_threading() -> None:
    """A Python signal handler may have interrupted main inside Thread.start()."""
    course = Course()
    with threading._active_limbo_lock:  # type: ignore[attr-defined]
        course.begin("x", lambda: None)
        assert course.under_way

    assert course.wait(LIMIT)


def test_a_course_that_is_over_keeps_nobody() -> None:
    """What it stopped is freed with its last user."""

    class Stopped:
        def __init__(self) -> None:
            self.course = Course()
            self.course.begin("x", self.run)

        def run(self) -> None: ...

    stopped = Stopped()
    assert stopped.course.wait(LIMIT)
    until(
        lambda: "gracefulexit-stop" not in {t.name for t in threading.enumerate()},
        "the runner's end",
    )
    gone = weakref.ref(stopped)
    del stopped

    assert gone() is None


def test_many_begin_at_once() -> None:
    """One of them has begun it."""
    for _ in range(100):
        ran: list[int] = []
        course = Course()
        begin = functools.partial(course.begin, "x", functools.partial(ran.append, 1))
        threads = [threading.Thread(target=begin) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert course.wait(LIMIT)

        assert ran == [1]
