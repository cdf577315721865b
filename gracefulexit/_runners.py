"""Threads that run the user's code: hooks, callbacks, shutdown() of workers.

A lane is a queue of jobs that one thread at a time works off. It has a thread
only while it has jobs, so an idle program has none. A job over its limit is
left behind with its thread, and a new thread takes the rest.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from . import _births
from ._checks import shown
from ._masks import Apart, draw_back, let_out

log = logging.getLogger("gracefulexit")


class Job:
    """One call of user code, and what became of it."""

    def __init__(self, name: str, func: Callable[[], Any]) -> None:
        self.name = name
        self.func = func
        self.thread: threading.Thread | None = None
        self.started: float | None = None
        self.ended: float | None = None
        self.error: BaseException | None = None
        self.left_behind = False
        self.over = threading.Event()  # ended or left behind

    def run(self) -> None:
        self.thread = threading.current_thread()
        self.started = time.monotonic()
        out = False  # of a job in a job the outer one has let out, and draws back
        try:
            out = let_out()
            self.func()
        except BaseException as error:
            # SystemExit and KeyboardInterrupt too: a hook has nobody above it.
            self.error = error
            with contextlib.suppress(Exception):  # a filter of the user's, a handler
                log.error("%s failed: %s", self.name, shown(error), exc_info=error)
        finally:
            self.ended = time.monotonic()
            if out:
                draw_back()
            self.over.set()

    @property
    def result(self) -> str:
        if self.error is not None:
            return "failed"
        if self.ended is not None:
            return "done"
        if self.left_behind:
            return "left behind"
        return "running" if self.started is not None else "not started"


class Runner(Apart):
    """Works for a lane."""

    def __init__(self, lane: Lane) -> None:
        super().__init__(
            target=lane._work, name=f"gracefulexit-{lane.name}", daemon=True
        )
        self._lane = lane
        self.job: Job | None = None  # the latest

    @property
    def busy(self) -> bool:
        """Does user code run here, or will it?"""
        job = self.job
        return job is None or job.ended is None or bool(self._lane._waiting)


class Lane:
    """Jobs one after the other. Any thread may call any method.

    limit: seconds after which a job is left behind, None for no limit.
    patience: seconds after which the next job starts beside a slow one, which
    is not held against the slow one.
    """

    def __init__(
        self,
        name: str,
        *,
        limit: float | None = None,
        patience: float | None = None,
    ) -> None:
        self.name = name
        self._limit = limit
        self._patience = patience
        # Protects the three below. Nothing else is locked while it is held, and
        # no user code runs under it, but for a Python signal handler in main
        # that registers a hook: re-entrant for that.
        self._lock = threading.RLock()
        self._waiting: deque[Job] = deque()
        self._current: Job | None = None
        self._thread: threading.Thread | None = None

    def restart(self) -> None:
        """In a forked child: the threads are the parent's, and so is their work."""
        self._lock = threading.RLock()
        self._waiting = deque()
        self._current = self._thread = None

    def submit(self, job: Job) -> Job:
        self.put(job)
        self.go()
        return job

    def put(self, *jobs: Job) -> None:
        """In the queue; go() follows. For who must not start a thread, which may run
        them here, while he holds a lock."""
        with self._lock:
            self._waiting.extend(jobs)

    def go(self) -> None:
        with self._lock:
            start = self._thread is None and bool(self._waiting)
            if start:
                self._thread = Runner(self)
        if start:
            self._start()

    def _start(self) -> None:
        thread = self._thread
        assert thread is not None
        try:
            _births.start(thread)
        except RuntimeError:
            # No new threads any more (interpreter shutdown, or the limit of
            # the system): better in this thread than not at all.
            with self._lock:
                self._thread = threading.current_thread()
            self._work()

    def _work(self) -> None:
        me = threading.current_thread()
        while True:
            with self._lock:
                if self._thread is not me:
                    return  # left behind with a slow job; another has the rest
                if not self._waiting:
                    self._thread = self._current = None
                    return
                job = self._current = self._waiting.popleft()
                if isinstance(me, Runner):
                    me.job = job
            job.run()

    def check(self, now: float) -> float | None:
        """Leave behind what is over its limit; seconds until the next look."""
        bound = self._limit if self._patience is None else self._patience
        if bound is None:
            return None
        with self._lock:
            job = self._current
            if job is None or job.started is None:
                return bound if self._thread is not None else None
            left = job.started + bound - now
            if left > 0 or job.ended is not None:
                return max(left, 0.01)
            self._current = None
            self._thread = Runner(self) if self._waiting else None
            start = self._thread is not None
        if self._limit is not None:
            job.left_behind = True
            log.warning("%s is over its %.3g s; going on without it", job.name, bound)
            job.over.set()
        if start:
            self._start()
        return bound if start else None
