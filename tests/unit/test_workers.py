"""Worker and WorkerGroup, without signals."""

from __future__ import annotations

import math
import threading
import time

import pytest

from gracefulexit import GracefulKiller, Worker, WorkerGroup

LIMIT = 100.0


class Waiting(Worker):
    """Ends when it is asked."""

    def run(self) -> None:
        self.wait()


class Noting(Worker):
    """Notes when it is asked, and when it ends."""

    def __init__(self, notes: list[str], **kwargs) -> None:
        super().__init__(**kwargs)
        self.notes = notes

    def shutdown(self) -> None:
        self.notes.append(f"ask {self.name}")
        super().shutdown()

    def run(self) -> None:
        self.wait()
        self.notes.append(f"end {self.name}")


class Stuck(Worker):
    """Ends when the test releases it."""

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.release = threading.Event()

    def run(self) -> None:
        self.release.wait(LIMIT)


def test_constructor_is_thread_s() -> None:
    """All arguments of threading.Thread work as there."""
    ran: list[object] = []
    worker = Worker(None, lambda *a, **k: ran.append((a, k)), "name", (1,), {"x": 2})
    worker.start()
    worker.join()

    assert ran == [((1,), {"x": 2})]
    assert worker.name == "name"
    assert Worker(daemon=True).daemon


def test_subclass_that_calls_thread_init() -> None:
    """A subclass may call threading.Thread.__init__ itself and assign a flag."""

    class Old(Worker):
        def __init__(self) -> None:
            threading.Thread.__init__(self, name="old")
            self.shutdown_flag = threading.Event()

        def run(self) -> None:
            assert self.shutdown_flag.wait(LIMIT)

    worker = Old()
    assert not worker.stopping
    worker.start()
    worker.shutdown()
    worker.join(LIMIT)

    assert not worker.is_alive()
    assert worker.stopping
    assert worker.error is None


def test_no_init_at_all() -> None:
    """State is there before any __init__."""

    class Early(Worker):
        def __init__(self) -> None:
            self.early = self.stopping, self.error, self.shutdown_flag.is_set()
            self.shutdown()
            super().__init__()

    worker = Early()

    assert worker.early == (False, None, False)
    assert worker.stopping


def test_shutdown_flag_is_assignable() -> None:
    """An assigned flag is the one that is set and waited for; one that replaces a set
    flag is set."""
    worker = Worker()
    flag = threading.Event()
    worker.shutdown_flag = flag
    assert worker.shutdown_flag is flag
    worker.shutdown()
    assert flag.is_set()
    second = threading.Event()
    worker.shutdown_flag = second

    assert second.is_set()
    assert worker.stopping


def test_wait() -> None:
    """wait() is False after its timeout and True once asked."""
    worker = Worker()

    assert worker.wait(0) is False
    assert worker.wait(-1) is False
    assert worker.wait(0.001) is False
    worker.shutdown()
    assert worker.wait() is True
    assert worker.wait(math.inf) is True


def test_step_until_asked() -> None:
    """step() is called again and again until asked."""

    class Counter(Worker):
        n = 0

        def step(self) -> None:
            self.n += 1
            if self.n == 100:
                self.shutdown()

    counter = Counter()
    counter.start()
    counter.join(LIMIT)

    assert counter.n == 100


@pytest.mark.parametrize("interval", [100.0, 1e10, math.inf])
def test_interval_is_left_at_once(interval: float) -> None:
    """A worker in its interval, of any length, ends at once when asked."""
    stepped = threading.Event()

    class Slow(Worker):
        def step(self) -> None:
            stepped.set()

    worker = Slow()
    worker.interval = interval
    worker.start()
    assert stepped.wait(LIMIT)
    worker.shutdown()
    worker.join(LIMIT)

    assert not worker.is_alive()
    assert worker.error is None


def test_interval_does_not_drift() -> None:
    """Steps begin at multiples of the interval from the first on."""
    begun: list[float] = []

    class Beat(Worker):
        interval = 0.02

        def step(self) -> None:
            begun.append(time.monotonic())
            if len(begun) == 10:
                self.shutdown()

    beat = Beat()
    beat.start()
    beat.join(LIMIT)

    # Late is what a busy machine does; early never.
    assert all(at - begun[0] >= n * 0.02 - 0.002 for n, at in enumerate(begun))


def test_error() -> None:
    """The exception that ended run() or step() is in `error`."""
    seen: list[object] = []
    failure = OSError("disk full")

    class Failing(Worker):
        def step(self) -> None:
            raise failure

    worker = Failing()
    before, threading.excepthook = threading.excepthook, seen.append
    try:
        worker.start()
        worker.join(LIMIT)
    finally:
        threading.excepthook = before

    assert worker.error is failure
    assert len(seen) == 1


def test_start_registers_with_the_killer(killer: GracefulKiller) -> None:
    """A started Worker is stopped by the live killer, once, without add()."""
    worker = Waiting()
    worker.start()
    killer.add(worker)

    assert [w.name for w in killer.report().workers] == [worker.name]
    killer.stop()
    assert killer.join(LIMIT) == []
    assert worker.stopping


def test_started_twice() -> None:
    """A second start() is threading's RuntimeError, and harms nothing."""
    worker = Waiting()
    worker.start()
    with pytest.raises(RuntimeError, match="once"):
        worker.start()
    worker.shutdown()
    worker.join(LIMIT)

    assert worker.error is None
    assert not worker.is_alive()


def test_worker_asked_before_its_start(killer: GracefulKiller) -> None:
    """A worker that is started while stopping is asked at once."""
    killer.stop()
    assert killer.event.wait(LIMIT)
    worker = Waiting()
    worker.start()
    worker.join(LIMIT)

    assert not worker.is_alive()


# ---- groups ------------------------------------------------------------------


def test_unordered_group_asks_all_at_once() -> None:
    """Unordered, all are asked before anybody is waited for."""
    notes: list[str] = []
    workers = [Noting(notes, name=n) for n in "abc"]
    stuck = Stuck(name="stuck")
    group = WorkerGroup(*workers, stuck)
    group.start()
    group.stop()
    for worker in workers:
        worker.join(LIMIT)

    assert group.join(0) == [stuck]
    assert group.is_alive()
    assert sorted(notes) == sorted(f"{w} {n}" for w in ("ask", "end") for n in "abc")
    stuck.release.set()
    assert group.join(LIMIT) == []
    assert not group.is_alive()


def test_ordered_group() -> None:
    """Ordered, the last started is asked first and joined before the next is asked."""
    notes: list[str] = []
    with WorkerGroup(*(Noting(notes, name=n) for n in "abc"), ordered=True):
        pass

    assert notes == ["ask c", "end c", "ask b", "end b", "ask a", "end a"]


def test_timeout_of_a_member() -> None:
    """An ordered group waits for a member for its timeout, and then goes on."""
    notes: list[str] = []
    stuck = Stuck(name="stuck")
    group = WorkerGroup(Noting(notes, name="a"), ordered=True)
    group.add(stuck, timeout=0.05)
    group.start()
    group.stop()

    assert group.join(LIMIT) == [stuck]
    assert notes == ["ask a", "end a"]
    stuck.release.set()
    stuck.join()


def test_nested_groups() -> None:
    """Groups nest: an inner group is one member of the outer."""
    notes: list[str] = []
    inner = WorkerGroup(Noting(notes, name="b"), Noting(notes, name="c"), ordered=True)
    outer = WorkerGroup(Noting(notes, name="a"), inner, ordered=True)
    outer.start()
    assert outer.join(0.001) != []
    outer.stop()

    assert outer.join(LIMIT) == []
    assert notes == ["ask c", "end c", "ask b", "end b", "ask a", "end a"]


def test_stragglers_of_nested_groups() -> None:
    """join() of the outer group returns the threads that are left, not groups."""
    stuck = Stuck(name="stuck")
    inner = WorkerGroup(Waiting(), stuck)
    outer = WorkerGroup(inner)
    outer.start()
    outer.stop()

    assert outer.join(0.05) == [stuck]
    stuck.release.set()
    assert outer.join(LIMIT) == []


def test_group_with_any_thread() -> None:
    """A group takes any thread with stop=, as killer.add() does."""
    event = threading.Event()
    thread = threading.Thread(target=event.wait, args=(LIMIT,))
    group = WorkerGroup()
    group.add(thread, stop=event.set)
    group.add(thread, stop=event.set)
    with group:
        assert group.is_alive()

    assert event.is_set()
    assert not thread.is_alive()


def test_added_after_the_stop_is_asked_at_once() -> None:
    """A member that is added after stop() is asked without anybody's doing."""
    group = WorkerGroup()
    group.stop()
    worker = Waiting()
    group.add(worker)

    assert worker.wait(LIMIT)  # asked on a thread of its own


class Stopper(Worker):
    """Stops and joins its own group."""

    def run(self) -> None:
        self.wait_for_all.wait(LIMIT)
        self.group.stop()
        self.stragglers = self.group.join(LIMIT)

    def __init__(self) -> None:
        super().__init__()
        self.wait_for_all = threading.Event()
        self.group: WorkerGroup
        self.stragglers: object = "not joined"


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("place", [0, 1])
def test_stop_from_a_member(ordered: bool, place: int) -> None:
    """A member may stop and join its own group, and is not joined by itself."""
    other, stopper = Waiting(), Stopper()
    workers: list[Worker] = [other]
    workers.insert(place, stopper)
    stopper.group = WorkerGroup(*workers, ordered=ordered)
    stopper.group.start()
    stopper.wait_for_all.set()
    stopper.join(LIMIT)
    other.shutdown()
    other.join(LIMIT)

    assert (stopper.error, stopper.stragglers) == (None, [])


def test_group_is_one_member_of_the_killer(killer: GracefulKiller) -> None:
    """start() registers the group, not its workers, and the stop goes through it in
    its order."""
    notes: list[str] = []
    group = WorkerGroup(Noting(notes, name="a"), Noting(notes, name="b"), ordered=True)
    group.start()

    assert [m.thread for m in killer._members.snapshot()] == [group]
    assert [w.name for w in killer.report().workers] == ["a", "b"]
    killer.stop()
    assert killer.join(LIMIT) == []
    assert notes == ["ask b", "end b", "ask a", "end a"]


def test_stop_twice_asks_once() -> None:
    """stop() again asks nobody twice."""
    notes: list[str] = []
    group = WorkerGroup(Noting(notes, name="a"))
    group.start()
    group.stop()
    group.stop()
    group.shutdown()
    group.join(LIMIT)

    assert notes.count("ask a") == 1


def test_empty_group() -> None:
    """A group without members starts, stops and joins."""
    with WorkerGroup() as group:
        assert group.join() == []
        assert not group.is_alive()
