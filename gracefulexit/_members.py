"""What a killer asks to stop, threads and processes: how, when, and who is left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from . import _births
from ._checks import callback, seconds, shown
from ._masks import Apart
from ._report import WorkerReport
from ._runners import Job, Lane
from ._stacks import stack_of
from ._stragglers import Straggler

# A shutdown() that takes longer than this no longer delays the asking of others.
ASK_PATIENCE = 0.5
PRUNE_AT = 256  # members, after which those that have ended are forgotten


# When the stop began, and until when it waits for threads; None: not yet, no limit.
Stop = Callable[[], tuple[float | None, float | None]]


class Joinable(Protocol):
    """A threading.Thread, or a process or group that looks like one."""

    @property
    def name(self) -> str: ...
    def is_alive(self) -> bool: ...
    def join(self, timeout: float | None = None) -> Any: ...


class Grouped:
    """Registers itself with the oldest live killer when it starts, unless a group
    has it."""

    _group: Any


class Member:
    """One registered thread, process or group."""

    def __init__(
        self,
        thread: Any,
        stop: Callable[[], Any] | None = None,
        timeout: float | None = None,
    ) -> None:
        like_a_thread = all(
            callable(getattr(thread, name, None)) for name in ("join", "is_alive")
        )
        if isinstance(thread, type) or not like_a_thread:
            raise TypeError(
                "a threading.Thread, a ProcessWorker or a WorkerGroup is needed, not "
                f"{thread!r}"
            )
        self.thread: Joinable = thread
        self.timeout = seconds(timeout, "timeout")
        self._ask = _how_to_ask(thread, stop)
        self.asked: float | None = None  # time.monotonic()
        self.ended: float | None = None

    @property
    def name(self) -> str:
        return self.thread.name

    def ask_once(self) -> None:
        if self.asked is None:
            self.asked = time.monotonic()
            self._ask()

    def started(self) -> bool:
        return getattr(self.thread, "ident", 0) is not None

    def note_end(self) -> bool:
        """Has it ended? Remembers when: some tell, of others when it was seen."""
        if self.ended is None and self.started() and not self.thread.is_alive():
            self.ended = self._told("_ended_at") or time.monotonic()
        return self.ended is not None

    def _told(self, name: str) -> float | None:
        """A moment that our own workers remember."""
        when = getattr(self.thread, name, None)
        return when if isinstance(when, float) else None

    def join(self, until: float | None, stopped: float | None = None) -> list[Any]:
        """Join until that moment or the own timeout after it was asked (at the
        stop, if that has yet to be done); whoever is left over."""
        if not self.started() or self.thread is threading.current_thread():
            return []
        begin = stopped if self.asked is None else self.asked
        if self.timeout is not None and begin is not None:
            own = begin + self.timeout
            until = own if until is None else min(until, own)
        left = None if until is None else max(0.0, until - time.monotonic())
        stragglers = self.thread.join(left)
        if self.note_end():
            return []
        return stragglers if isinstance(stragglers, list) else [self.thread]

    def alive(self) -> bool:
        return not self.note_end() and self.thread.is_alive()

    def leaves(self) -> Iterator[Member]:
        """Itself, or the members of the group that it is."""
        inner = getattr(self.thread, "_members", None)
        if isinstance(inner, Members):
            for member in inner.snapshot():
                yield from member.leaves()
        else:
            yield self

    def report(self, stopped: float | None) -> WorkerReport:
        alive = self.alive()
        error = getattr(self.thread, "error", None)
        asked = self.asked
        return WorkerReport(
            name=self.name,
            alive=alive,
            asked=_since(stopped, asked),
            noticed=_since(asked, self._told("_noticed_at")),
            ended=_since(asked, self.ended),
            error=shown(error) if isinstance(error, BaseException) else None,
            stack=stack_of(self.ident) if alive and asked is not None else None,
        )

    def straggler(self, now: float) -> Straggler:
        asked = "not asked yet"
        if self.asked is not None:
            asked = f"asked {now - self.asked:.1f} s ago"
        return Straggler(f"worker {self.name}", self.ident, asked)

    @property
    def ident(self) -> int | None:
        """Of the thread; None if it is a process."""
        thread = self.thread
        return thread.ident if isinstance(thread, threading.Thread) else None


def _since(begin: float | None, then: float | None) -> float | None:
    """Seconds; asked twice at once, the one who was later may be noted first."""
    return None if begin is None or then is None else max(0.0, then - begin)


def _how_to_ask(thread: Any, stop: Callable[[], Any] | None) -> Callable[[], Any]:
    """The callable that asks the thread to stop, or an error that says what to pass."""
    if stop is not None:
        callback(stop, "stop", (), {})
        return stop
    if callable(getattr(thread, "shutdown", None)):
        return thread.shutdown  # type: ignore[no-any-return]
    flag = getattr(thread, "shutdown_flag", None)
    if callable(getattr(flag, "set", None)):
        return flag.set  # type: ignore[union-attr,no-any-return]
    raise TypeError(
        f"do not know how to stop {thread!r}: it has neither shutdown() nor a "
        "shutdown_flag; pass stop=, e.g. killer.add(thread, stop=my_event.set)"
    )


class Joiner:
    """Wakes who waits in join() when the last thread has ended.

    One helper thread for all of them, however often they come back, and only
    while somebody waits for threads that run; nobody polls.
    """

    def __init__(self, members: Callable[[], list[Member]]) -> None:
        self._members = members
        # Protects the two below; nothing is locked or joined under it.
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._waiting: set[threading.Event] = set()

    def wait(self, wake: threading.Event, timeout: float | None) -> None:
        """Until all have ended, `wake` was set for another reason, or the timeout."""
        with self._lock:
            self._waiting.add(wake)
            if self._thread is None:
                self._thread = self._start()
            joined_by_another = self._thread is not None
        try:
            if joined_by_another:
                wake.wait(timeout)
        finally:
            with self._lock:
                self._waiting.discard(wake)

    def _start(self) -> threading.Thread | None:
        thread = Apart(target=self._run, name="gracefulexit-join", daemon=True)
        try:
            _births.start(thread)
        except RuntimeError:
            return None  # main has returned (3.12): the caller joins by itself
        return thread

    def _run(self) -> None:
        seen: set[Member] = set()
        while True:
            todo = [m for m in self._members() if m.started() and m not in seen]
            for member in todo:
                # A join() that raises (some re-raise what ended the thread) or
                # comes back early is over for us; who waits joins by itself.
                with suppress(BaseException):
                    member.thread.join()
                member.note_end()
            seen.update(todo)
            if not todo:
                break
        with self._lock:
            self._thread = None
            for wake in self._waiting:
                wake.set()


def join_all(
    joiner: Joiner,
    members: list[Member],
    until: float | None,
    stop: Stop,
    wake: threading.Event,
) -> list[Any]:
    """Join all until that moment and, once stopping, within the limit of `stop`;
    returns who is left over. `wake` is set by the caller at the stop."""
    me = threading.current_thread()
    others = [m for m in members if m.thread is not me]
    if others == members and members and not wake.is_set():
        joiner.wait(wake, None if until is None else max(0.0, until - time.monotonic()))
    return [late for member in others for late in _join_one(member, until, stop)]


def _join_one(member: Member, until: float | None, stop: Stop) -> list[Any]:
    while True:
        began, limit = stop()
        limits = [t for t in (until, limit) if t is not None]
        late = member.join(min(limits, default=None), began)
        if not late or stop()[1] == limit:
            return late  # else somebody has moved the deadline meanwhile


class Members:
    """The registered threads of one killer. Any thread may call any method."""

    def __init__(self) -> None:
        # Protects what follows; no user code runs under it. Re-entrant, for a
        # Python signal handler in main that adds a thread.
        self._lock = threading.RLock()
        self._members: list[Member] = []
        self._wakes: set[threading.Event] = set()
        self._told = False
        self._prune_at = PRUNE_AT
        self._lane = Lane("shutdown", patience=ASK_PATIENCE)
        self._joiner = Joiner(self.snapshot)

    def snapshot(self) -> list[Member]:
        with self._lock:
            return list(self._members)

    def add(self, member: Member) -> None:
        with self._lock:
            if any(m.thread is member.thread for m in self._members):
                return
            if len(self._members) >= self._prune_at and not self._told:
                # A server that starts a short-lived worker a request.
                self._members = [m for m in self._members if not m.note_end()]
                self._prune_at = max(PRUNE_AT, 2 * len(self._members))
            self._members.append(member)
            late = self._told
        if late:
            self._ask([member])

    def discard(self, thread: Any) -> None:
        with self._lock:
            self._members = [m for m in self._members if m.thread is not thread]

    def leaves(self) -> list[Member]:
        """Those of groups in the place of the groups."""
        return [leaf for member in self.snapshot() for leaf in member.leaves()]

    def idents(self) -> set[int]:
        return {m.ident for m in self.leaves() if m.ident is not None}

    def report(self, stopped: float | None) -> tuple[WorkerReport, ...]:
        return tuple(m.report(stopped) for m in self.leaves())

    def stragglers(self, now: float) -> list[Straggler]:
        return [m.straggler(now) for m in self.leaves() if m.alive()]

    def begin(self) -> list[Member]:
        """The stop has begun: wake who joins; those to ask."""
        with self._lock:
            self._told = True
            members = list(self._members)
        self.wake()
        return members

    def tell(self) -> None:
        """The stop has begun: ask everybody, on a thread of its own."""
        self._ask(self.begin())

    def wake(self) -> None:
        with self._lock:
            wakes = list(self._wakes)
        for wake in wakes:
            wake.set()

    def _ask(self, members: list[Member]) -> list[Job]:
        jobs = [Job(f"shutdown of {m.name}", m.ask_once) for m in members]
        self._lane.put(*jobs)  # all, before there is a thread that may end
        self._lane.go()
        return jobs

    def ask(self, members: list[Member], until: float | None = None) -> None:
        """Ask these, one after the other, on a thread of its own; returns when the
        last one has been asked. Who takes long, or blocks, is left behind with it."""
        for job in self._ask(members):
            now = time.monotonic()
            patience = ASK_PATIENCE if until is None else until - now
            patience = min(patience, ASK_PATIENCE)
            while patience > 0 and not job.over.wait(patience):
                now = time.monotonic()
                self._lane.check(now)
                end = (job.started or now) + ASK_PATIENCE
                patience = (end if until is None else min(end, until)) - now

    def check(self, now: float) -> float | None:
        return self._lane.check(now)

    @contextmanager
    def woken(self) -> Iterator[threading.Event]:
        """An event that is set at the stop."""
        wake = threading.Event()
        with self._lock:
            self._wakes.add(wake)
            if self._told:
                wake.set()
        try:
            yield wake
        finally:
            with self._lock:
                self._wakes.discard(wake)

    def join(self, until: float | None, stop: Stop) -> list[Any]:
        """Also those that are added or started meanwhile, by a worker that ends."""
        late: list[Any] = []
        seen: set[Member] = set()
        with self.woken() as wake:
            while members := self._started_but(seen):
                late += join_all(self._joiner, members, until, stop, wake)
                seen.update(members)
        return late

    def _started_but(self, seen: set[Member]) -> list[Member]:
        return [m for m in self.snapshot() if m not in seen and m.started()]
