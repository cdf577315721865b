"""on_stop and on_exit hooks: last registered first, each exactly once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from . import _core
from ._checks import shown
from ._report import HookReport
from ._runners import Job, Lane
from ._stragglers import Straggler


class Hooks:
    """The hooks of one killer. Any thread may call any method.

    on_stop hooks run on a runner, so that one that blocks delays nobody else's
    hearing. on_exit hooks run in the thread that ends the program, because what
    they close was often opened there (sqlite3 connections insist on it); with a
    time limit they need a runner, to be left behind with.
    """

    def __init__(self, limit: float | None) -> None:
        self._limit = limit
        # Protects the lists and `_told`; no user code runs under it. Re-entrant,
        # for a Python signal handler in main that registers a hook.
        self._lock = threading.RLock()
        self._registered: tuple[list[Job], list[Job]] = ([], [])  # at stop, at exit
        self._at_stop: list[Job] = []
        self._at_exit: list[Job] = []
        self._called: list[Job] = []
        self._told = False
        self._exiting: object | None = None  # the one call of run_exit()
        self._lanes = (Lane("on_stop", limit=limit), Lane("on_exit", limit=limit))

    def on_stop(self, job: Job) -> None:
        with self._lock:
            self._registered[0].append(job)
            late = self._told
            (self._called if late else self._at_stop).append(job)
            if late:
                self._lanes[0].put(job)  # behind those that tell() has put there
        if late:
            self._lanes[0].go()
            _core.wake_news()  # the dispatcher watches the limit from now on

    def on_exit(self, job: Job) -> None:
        with self._lock:
            self._registered[1].append(job)
            self._at_exit.append(job)

    def restart(self) -> None:
        """In a forked child that is re-armed: all of them are still to be run, also
        those that the parent has run or is running."""
        self._lock = threading.RLock()
        for jobs in self._registered:
            jobs[:] = [Job(job.name, job.func) for job in jobs]
        self._at_stop, self._at_exit = map(list, self._registered)
        self._called = []
        self._told = False
        self._exiting = None
        for lane in self._lanes:
            lane.restart()

    def tell(self) -> None:
        """The stop has begun."""
        with self._lock:
            self._told = True
            jobs = self._at_stop[::-1]
            self._called += jobs
            self._at_stop.clear()
            self._lanes[0].put(*jobs)
        self._lanes[0].go()

    def wait(self, until: Callable[[], float | None]) -> list[Job]:
        """Wait for the on_stop hooks, also those that they register meanwhile; those
        that have not ended by then."""
        late: list[Job] = []
        while jobs := [job for job in self._awaited() if job not in late]:
            late += [job for job in jobs if not _wait_for(job, until)]
        return late

    def _awaited(self) -> list[Job]:
        me = threading.current_thread()
        jobs = [job for job in list(self._called) if not job.over.is_set()]
        if any(job.thread is me for job in jobs):
            # Called from a hook: those that have not begun wait for this thread.
            jobs = [j for j in jobs if j.started is not None and j.thread is not me]
        return jobs

    def run_exit(self, begin: Callable[[], None]) -> None:
        """Run the on_exit hooks that have not run; `begin` is called before, if there
        are any."""
        me = object()
        try:
            with self._lock:
                if self._exiting is not None:
                    return  # by one of them, and who runs them goes on
                self._exiting = me
            # Again for those that they register; not in a child that one has forked.
            while jobs := self._take_exit(me):
                begin()
                for job in jobs:
                    self._run_exit(job)
        finally:
            if self._exiting is me:
                self._exiting = None

    def _take_exit(self, me: object) -> list[Job]:
        with self._lock:
            if self._exiting is not me:
                return []
            jobs = self._at_exit[::-1]
            if not jobs:
                self._exiting = None  # who registers one from now on runs it
            self._at_exit.clear()
            self._called += jobs
        return jobs

    def _run_exit(self, job: Job) -> None:
        if self._limit is None:
            job.run()
            return
        lane = self._lanes[1]
        lane.submit(job)
        left = self._limit
        while not job.over.wait(left):  # it may have begun later than we
            left = lane.check(time.monotonic()) or self._limit

    def check(self, now: float) -> float | None:
        """Leave behind what is over its limit; seconds until the next look."""
        waits = [w for w in (lane.check(now) for lane in self._lanes) if w is not None]
        return min(waits, default=None)

    def stragglers(self, now: float) -> list[Straggler]:
        """Those that are waited for."""
        jobs = [job for job in list(self._called) if not job.over.is_set()]
        return [_straggler(job, now) for job in jobs]

    def report(self, stopped: float | None) -> tuple[HookReport, ...]:
        with self._lock:
            jobs = self._called + self._at_stop[::-1] + self._at_exit[::-1]
        return tuple(_report(job, stopped) for job in jobs)


def _wait_for(job: Job, until: Callable[[], float | None]) -> bool:
    while True:
        limit = until()
        left = None if limit is None else max(0.0, limit - time.monotonic())
        if job.over.wait(left):
            return True
        if until() == limit:
            return False  # else somebody has moved the deadline meanwhile


def _straggler(job: Job, now: float) -> Straggler:
    if job.started is None or job.thread is None:
        return Straggler(job.name, None, job.result)
    return Straggler(
        job.name, job.thread.ident, f"running for {now - job.started:.1f} s"
    )


def _report(job: Job, stopped: float | None) -> HookReport:
    started, ended, error = job.started, job.ended, job.error
    return HookReport(
        job.name,
        job.result,
        start=None if started is None or stopped is None else started - stopped,
        length=None if started is None or ended is None else ended - started,
        error=None if error is None else shown(error),
    )
