"""Stop schedules: what is tried, in which order, on what does not end by itself.

("TERM", 10, "KILL") is: send SIGTERM, wait up to 10 seconds, send SIGKILL.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterable
from typing import Any

from . import _births, _checks
from ._runners import Job, Lane
from ._signals import name_of, parse_signal

log = logging.getLogger("gracefulexit")

#: A signal's number, or the name of a step that is no signal.
Step = int | str
#: As users give it: steps and seconds in turn.
Steps = Iterable[str | float | signal.Signals]

# The part of what is left of the grace that is kept for what follows the last
# step: dying, being reaped, being told of. At most so many seconds.
RESERVE, MOST_RESERVE = 0.1, 1.0
EXAMPLE = "('TERM', 10, 'KILL')"


class Schedule:
    """Steps, each with the seconds to wait before it. Immutable.

    Args:
        steps: signals by name (or as ``signal.Signals``) and seconds in turn; the
            last is ``"KILL"``. A number in front gives time to end unasked.
        allowed: the names of steps that are no signals.

    Raises:
        ValueError, TypeError: a schedule that cannot work or that has no end.

    >>> Schedule(("EOF", 2, "TERM", 10, "KILL")).steps
    ((0.0, 'EOF'), (2.0, 15), (10.0, 9))
    """

    def __init__(self, steps: Steps, allowed: tuple[str, ...] = ("EOF",)) -> None:
        if isinstance(steps, (str, bytes)) or not isinstance(steps, Iterable):
            raise TypeError(f"a schedule is a tuple like {EXAMPLE}, not {steps!r}")
        given = tuple(steps)
        parsed: list[tuple[float, Step]] = []
        pause: float | None = 0.0
        for position, item in enumerate(given):
            if _is_step(item):
                if pause is None:
                    raise ValueError(
                        f"no seconds before {item!r} in {given!r}: put the time to "
                        f"wait between two steps, 0 for none, as in {EXAMPLE}"
                    )
                if parsed and parsed[-1][1] == signal.SIGKILL:
                    raise ValueError(f"nothing can follow 'KILL', as in {given!r}")
                parsed.append((pause, _parse_step(item, allowed)))
                pause = None
            else:
                if pause is not None and position:
                    raise ValueError(
                        f"two numbers in a row in {given!r}: add them up, or put a "
                        "step between them"
                    )
                pause = _parse_seconds(item)
        if pause is not None or parsed[-1][1] != signal.SIGKILL:
            raise ValueError(
                "a schedule must end with 'KILL', or the program may never end; "
                f"got {given!r}, write something like {EXAMPLE}"
            )
        self.given = given
        self.steps = tuple(parsed)

    def __repr__(self) -> str:
        return repr(self.given)

    def __contains__(self, step: object) -> bool:
        return any(step == known for _, known in self.steps)

    def run(
        self,
        do: Callable[[Step], Any],
        ended: Callable[[float | None], bool],
        remaining: Callable[[], float | None],
        *,
        _clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Do the steps until it has ended; returns when it has.

        do: takes one step. What it raises is logged, and the rest goes on.
        ended: waits for the end for so many seconds (None: for ever); has it
            ended? May come back earlier, for a new look at `remaining`.
        remaining: seconds until nobody waits any more, or None. The waits are
            cut in proportion to fit into nine tenths of it (all but a second,
            if that is more): our own end, forced at the deadline, would leave
            an orphan.
        _clock: for tests.

        Call from: a thread that may block, never a handler.
        """
        waits = _Waits(ended, remaining, _clock)
        for index, (pause, step) in enumerate(self.steps):
            later = sum(seconds for seconds, _ in self.steps[index + 1 :])
            if waits.wait(pause, later):
                return
            _attempt(do, step)
        while not ended(None):
            pass  # it came back early


class _Waits:
    """The waits of one run, cut to what time there is."""

    def __init__(
        self,
        ended: Callable[[float | None], bool],
        remaining: Callable[[], float | None],
        clock: Callable[[], float],
    ) -> None:
        self._ended = ended
        self._remaining = remaining
        self._clock = clock
        # Fixed when the limit is first seen: a part of what is left at each look
        # would become nothing in the end.
        self._reserve: float | None = None

    def wait(self, pause: float, later: float) -> bool:
        """For `pause` seconds, or less if that and `later` are too long."""
        if self._ended(0):
            return True
        while pause > 0:
            pace = self._pace(pause + later)
            if pace == 0:
                return False
            begin = self._clock()
            if self._ended(pause * pace):
                return True
            pause -= (self._clock() - begin) / pace
        return False

    def _pace(self, planned: float) -> float:
        """How much of the planned time there is, 1.0 at most."""
        left = self._remaining()
        if left is None:
            return 1.0
        if self._reserve is None:
            self._reserve = min(RESERVE * left, MOST_RESERVE)
        return min(1.0, max(0.0, left - self._reserve) / planned)


def _attempt(do: Callable[[Step], Any], step: Step) -> None:
    try:
        do(step)
    except Exception as error:  # the next step may do better
        log.error("%s failed: %r", describe(step), error, exc_info=error)


def describe(step: Step) -> str:
    return step if isinstance(step, str) else name_of(step)


def _is_step(item: object) -> bool:
    return isinstance(item, (str, signal.Signals))


def _parse_step(item: Any, allowed: tuple[str, ...]) -> Step:
    if item in allowed:
        return str(item)
    if item in ("KILL", "SIGKILL", signal.SIGKILL):
        return int(signal.SIGKILL)
    try:
        return parse_signal(item)
    except ValueError as error:
        others = ", ".join(map(repr, allowed))
        raise ValueError(f"no step of a schedule: {error}; or {others}") from None


def _parse_seconds(item: Any) -> float:
    if item is None or isinstance(item, (bool, bytes)):
        raise TypeError(
            f"a schedule has signals and seconds in turn, as {EXAMPLE}, not {item!r}"
        )
    value = _checks.seconds(item, "a wait in a schedule", none=False)
    if value is None:
        raise ValueError(
            "a wait in a schedule is a finite number of seconds, or the steps after "
            f"it would never come; got {item!r}"
        )
    return value


class Course:
    """One stop by a schedule, on a thread of its own. Any thread may call any
    method; main in a Python signal handler may, too."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}

    @property
    def under_way(self) -> bool:
        """Has it begun, and not ended?"""
        job = self._jobs.get("first")
        return job is not None and not job.over.is_set()

    def wait(self, timeout: float | None) -> bool:
        """Wait for its end if it has begun; is it not under way?"""
        job = self._jobs.get("first")
        return job is None or job.over.wait(timeout)

    def begin(self, name: str, run: Callable[[], Any]) -> None:
        """Run that unless it has begun before; returns at once."""
        once = [run]  # not kept: it keeps whom it stops
        job = Job(f"the stop of {name}", lambda: once.pop()())
        if self._jobs.setdefault("first", job) is not job:
            return
        lane = Lane("stop")
        try:
            # Thread.start() takes locks of `threading`, which main may hold where
            # a handler interrupts it; on a thread of its own it can wait for them.
            _births.start_bare(lambda: lane.submit(job))
        except RuntimeError:  # no new threads any more: better here than not at all
            lane.submit(job)
