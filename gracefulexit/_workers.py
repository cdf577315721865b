"""Threads that stop when they are asked to."""

from __future__ import annotations

import math
import threading
import time
from types import TracebackType
from typing import Any, Protocol, TypeVar

from . import _checks
from ._budget import share, time_for_workers
from ._killer import current
from ._members import Grouped, Member, Members
from ._notice import AskedEvent, Notice

Self = TypeVar("Self", bound="WorkerGroup")


class Worker(threading.Thread, Grouped):
    """A ``threading.Thread`` with a flag that asks it to stop.

    The same constructor as ``threading.Thread``. Override ``step()``, which is
    called every ``interval`` seconds until the worker is asked, or ``run()``
    with ``while not self.stopping:`` or ``while not self.wait(5):`` in it.

    ``start()`` registers it with the oldest live killer, if there is one and no
    killer or group has it yet; a stop then asks it. An exception that ends it is
    in ``error``, and by default stops the program.

    >>> class Counter(Worker):
    ...     n = 0
    ...     def step(self):
    ...         self.n += 1
    ...         if self.n == 3:
    ...             self.shutdown()
    >>> counter = Counter()
    >>> counter.start(); counter.join(); counter.n
    3
    """

    #: Seconds from one begin of ``step()`` to the next; 0.0: no pause.
    interval: float = 0.0
    #: The exception that ended ``run()``, or None.
    error: BaseException | None

    _notice: Notice
    _shutdown_flag: threading.Event
    _group: WorkerGroup | None

    def __new__(cls, *args: Any, **kwargs: Any) -> Worker:
        # Here and not in __init__, so that a subclass may call
        # threading.Thread.__init__(self) and never ours.
        self = super().__new__(cls)
        self._notice = Notice()
        self._shutdown_flag = AskedEvent(self._notice)
        self._group = None
        self.error = None
        return self

    @property
    def shutdown_flag(self) -> threading.Event:
        """The event that is set when this worker is asked to stop. Assignable:
        one that replaces a set one is set."""
        return self._shutdown_flag

    @shutdown_flag.setter
    def shutdown_flag(self, flag: threading.Event) -> None:
        before, self._shutdown_flag = self._shutdown_flag, flag
        if before.is_set():
            flag.set()

    @property
    def _noticed_at(self) -> float | None:
        return self._notice.seen

    @property
    def _ended_at(self) -> float | None:
        return self._notice.ended

    @property
    def stopping(self) -> bool:
        """True from the moment that this worker is asked to stop."""
        return self._shutdown_flag.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep until asked to stop, or for `timeout` seconds; True once asked."""
        return self._shutdown_flag.wait(_checks.timeout(timeout))

    def shutdown(self) -> None:
        """Ask this worker to stop; returns at once. Override it to wake what
        ``run()`` blocks in, and call ``super().shutdown()``."""
        self._shutdown_flag.set()

    def step(self) -> None:
        """One piece of work; called again and again until asked to stop."""

    def run(self) -> None:
        """Call ``step()`` until asked; with a `target`, call that instead."""
        if type(self).step is Worker.step:
            super().run()
            return
        run_steps(self)

    def start(self) -> None:
        """As ``threading.Thread.start()``; also registers with the killer."""
        check_interval(self.interval)
        if self.ident is None and not isinstance(self.run, _Guarded):
            self.run = _Guarded(self)  # type: ignore[method-assign]
            killer = current()
            if killer is not None and self._group is None:
                killer.add(self)
        super().start()


class Stepping(Protocol):
    """A worker, in the thread or process in which it runs."""

    interval: float

    @property
    def stopping(self) -> bool: ...
    @property
    def shutdown_flag(self) -> threading.Event: ...
    def step(self) -> None: ...


def run_steps(worker: Stepping) -> None:
    """Call ``step()`` every ``interval`` seconds until asked."""
    due = time.monotonic()
    while not worker.stopping:
        worker.step()
        if worker.interval > 0:
            # From begin to begin, so that it does not drift; beats that a slow
            # step has missed are skipped, not made up for.
            now = time.monotonic()
            missed = max(0, int((now - due) / worker.interval))
            due += worker.interval * (missed + 1)
            worker.shutdown_flag.wait(_checks.timeout(due - now))


def check_interval(interval: float) -> None:
    if isinstance(interval, bool) or not interval >= 0:
        raise ValueError(f"interval must be 0 or more seconds; got {interval!r}")


class _Guarded:
    """`run()` of a worker, with the exception noted on its way out."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._run = worker.run

    def __call__(self) -> None:
        worker, run = self._worker, self._run
        del self._worker, self._run  # no cycle is left behind
        worker._notice.ident = threading.get_ident()
        try:
            run()
        except SystemExit:
            raise  # a way to end a thread, silent in threading too
        except BaseException as error:
            worker.error = error
            killer = current()
            if killer is not None:
                killer._worker_failed(worker.name, error)
            raise
        finally:
            worker._notice.ended = time.monotonic()


class WorkerGroup(Grouped):
    """Several workers (threads, processes, groups) that stop together.

    Unordered, all are asked at once. With ``ordered=True`` the last started is
    asked first and joined before the next one is asked: start the consumers
    before the producers, and nothing is produced that nobody consumes.

    As a context manager it starts on entry, and stops and joins on exit.
    ``killer.add(group)`` registers it as one; ``start()`` does so by itself if
    a killer is alive.

    >>> with WorkerGroup(Worker(target=print, args=("hello",))) as group:
    ...     group.join()
    hello
    []
    """

    def __init__(self, *workers: Any, ordered: bool = False) -> None:
        self.name = "WorkerGroup"
        self.ordered = bool(ordered)
        self._members = Members()
        self._asked_at: float | None = None
        self._all_asked = threading.Event()
        self._until: float | None = None  # the share of a group in a group
        self._group: WorkerGroup | None = None
        for worker in workers:
            self.add(worker)

    def add(
        self, worker: Any, *, stop: Any = None, timeout: float | None = None
    ) -> None:
        """Add a worker, a thread or a group; as ``GracefulKiller.add()``.

        `timeout`: seconds that this member gets to end once it was asked.
        """
        if worker is self:
            raise ValueError("a group cannot be a member of itself")
        self._members.add(Member(worker, stop, timeout))
        if isinstance(worker, Grouped):
            worker._group = self

    def start(self) -> None:
        """Start all that are not started, in the order in which they were added."""
        killer = current()
        if killer is not None and self._group is None:
            killer.add(self)
        for member in self._members.snapshot():
            if isinstance(member.thread, WorkerGroup) or not member.started():
                member.thread.start()  # type: ignore[attr-defined]

    def stop(self) -> None:
        """Ask all to stop. Unordered it returns at once; ordered it returns when
        the first added has been asked, each after the one behind it ended or
        used up its `timeout`. In the stop of a program with a grace those who
        are yet to be asked get their share of it."""
        if self._asked_at is None:
            self._asked_at = time.monotonic()
        members = self._members.begin()[::-1]
        try:
            if self.ordered:
                while members:
                    self._ask_first_of(members)
                    del members[0]
            else:
                self._hand_down(members, self._until)
                # Groups last: one that is ordered takes its time.
                members.sort(key=lambda m: isinstance(m.thread, WorkerGroup))
                self._members.ask(members, self._until)
        finally:
            self._all_asked.set()

    def _ask_first_of(self, members: list[Member]) -> None:
        """It gets its share of what is left, so that the others are asked in time."""
        left = self._time_left()
        until = None
        if left is not None:
            wanted = [math.inf if m.timeout is None else m.timeout for m in members]
            until = time.monotonic() + share(left, wanted)
        self._hand_down(members[:1], until)
        self._members.ask(members[:1], until)
        members[0].join(until)

    def _hand_down(self, members: list[Member], until: float | None) -> None:
        for member in members:
            if isinstance(member.thread, WorkerGroup):
                member.thread._until = until

    def _time_left(self) -> float | None:
        """Seconds until all must have been asked and had their time."""
        own = None if self._until is None else self._until - time.monotonic()
        limits = [t for t in (own, time_for_workers()) if t is not None]
        return None if not limits else max(0.0, min(limits))

    def shutdown(self) -> None:
        """``stop()``, under the name by which a killer asks."""
        self.stop()

    def is_alive(self) -> bool:
        """Is any member alive?"""
        return any(m.thread.is_alive() for m in self._members.snapshot())

    def join(self, timeout: float | None = None) -> list[Any]:
        """Wait until all have ended, or for `timeout` seconds; the stragglers."""
        timeout = _checks.timeout(timeout)
        until = None if timeout is None else time.monotonic() + timeout

        def stop() -> tuple[float | None, float | None]:
            if self.ordered and self._asked_at is not None:
                # The timeout of a member begins when it is asked.
                left = None if until is None else max(0.0, until - time.monotonic())
                self._all_asked.wait(left)
            return self._asked_at, None

        return self._members.join(until, stop)

    def __enter__(self: Self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self.join()
