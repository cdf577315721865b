"""What the public names do in any order is what a few lines of a model say.

hypothesis chooses the order, a child does it (children/api_server.py), and after each
step all that the child shows is compared. The same orders in every run; `-m long` has
more of them, and others each time.
"""

from __future__ import annotations

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from child_process import Child
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

HARNESS = Path(__file__).resolve().parents[1] / "harness"
STOPS = ("TERM", "INT", "HUP")  # killers and sections
OTHER = "USR1"  # take()
MOST_KILLERS = 4
DEEPEST = 3

names = st.lists(st.sampled_from(STOPS), unique=True, max_size=3)
some_names = st.lists(st.sampled_from(STOPS), unique=True, min_size=1, max_size=3)
which = st.integers(0, MOST_KILLERS - 1)
backend = st.sampled_from(["auto", "futex", "pipe", "sigwait"])


class Killer:
    def __init__(self, signals: list[str], grace: float | None, on_fork: str) -> None:
        self.signals, self.grace, self.on_fork = signals, grace, on_fork
        self.counts = dict.fromkeys(signals, 0)
        self.taken = 0
        self.live = True
        self.lost = False  # to a fork
        self.last_reason: str | None = None


class Model:
    """One process."""

    def __init__(self) -> None:
        self.killers: list[Killer] = []
        self.sections: list[list[str]] = []
        self.held: set[str] = set()  # what sections hold, until the last is left
        self.waiting: set[str] = set()  # what has come of it
        self.heard = dict.fromkeys((*STOPS, OTHER), 0)
        self.reason: str | None = None

    @property
    def live(self) -> list[Killer]:
        return [k for k in self.killers if k.live]

    def install(self, killer: Killer) -> None:
        self.killers.append(killer)
        taken_over = [s for s in killer.signals if s in self.waiting]
        self.waiting -= set(taken_over)
        self.reason = self.reason or next(iter(taken_over), None)

    def close(self, killer: Killer) -> None:
        if killer.live:
            killer.live = False
            killer.last_reason = self.reason
        if not self.live:
            self.reason = None

    def send(self, name: str) -> None:
        hearers = [k for k in self.live if name in k.counts]
        for killer in hearers:
            killer.counts[name] += 1
        if any(name in k.signals for k in hearers):
            self.reason = self.reason or name
        elif not hearers and name in self.held:
            self.waiting.add(name)
        elif not hearers:
            self.heard[name] += 1

    def protect(self, signals: list[str]) -> None:
        self.sections.append(signals)
        self.held |= set(signals)

    def unprotect(self) -> None:
        self.sections.pop()
        if not self.sections:
            for name in self.waiting:
                self.heard[name] += 1
            self.held, self.waiting = set(), set()

    def forked(self) -> Model:
        child = copy.deepcopy(self)
        child.reason, child.waiting = None, set()
        child.held = {s for names in self.sections for s in names}
        for killer in child.live:
            killer.counts = dict.fromkeys(killer.counts, 0)
            killer.taken = 0
            killer.lost = killer.on_fork == "reset"
            killer.live = not killer.lost
        return child

    def killer_state(self, killer: Killer) -> dict[str, Any] | str:
        if killer.lost:
            return "the parent's"
        reason = self.reason if killer.live else killer.last_reason
        limited = any(k.grace is not None for k in self.live)
        return {
            "stopped": reason is not None,
            "running": reason is None,
            "reason": reason,
            "counts": killer.counts,
            "armed": killer.live,
            "limited": killer.live and reason is not None and limited,
        }

    def seen(self) -> dict[str, Any]:
        stopping = self.reason is not None
        return {
            "state": "stopping" if stopping else "running",
            "killers": [self.killer_state(k) for k in self.killers],
            "pending": [
                stopping or not self.waiting.isdisjoint(s) for s in self.sections
            ],
            "heard": self.heard,
        }


class AnyOrder(RuleBasedStateMachine):
    server: Child | None = None  # for all runs, until one fails

    def __init__(self) -> None:
        super().__init__()
        self.processes = [Model()]
        self.over = False
        if AnyOrder.server is None:
            AnyOrder.server = Child(
                Path("api_server.py"),
                [],
                options=["-W", "ignore::DeprecationWarning"],
                env={"PYTHONPATH": str(HARNESS)},
                stdin=subprocess.PIPE,
            )

    # ---- the protocol

    @classmethod
    def let_go(cls) -> None:
        if cls.server is not None:
            cls.server.kill_if_alive()
            cls.server = None

    def ask(
        self, command: str, *args: Any, expected: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        self.over = True  # unless the answer comes
        server = AnyOrder.server
        assert server is not None
        line = json.dumps([expected, command, args, kwargs])
        server.stdin.write(line.encode() + b"\n")
        server.stdin.flush()
        reply = json.loads(server.wait_line("reply ").removeprefix("reply "))
        self.over = False
        return reply

    def do(self, command: str, *args: Any, raises: str = "", **kwargs: Any) -> Any:
        """The model has done it already; returns what the command returns."""
        expected = self.model.seen()
        reply = self.ask(command, *args, expected=expected, **kwargs)
        self.over = True  # unless it is right

        assert raises == reply.get("error", "").partition(":")[0], reply
        assert expected == reply["seen"]
        self.over = False
        return reply.get("result")

    @property
    def model(self) -> Model:
        return self.processes[-1]

    def killer(self, index: int) -> tuple[int, Killer]:
        index %= len(self.model.killers)
        return index, self.model.killers[index]

    # ---- what may happen

    @initialize()
    def begin(self) -> None:
        self.ask("fork")
        self.do("begin")

    @precondition(lambda self: len(self.model.killers) < MOST_KILLERS)
    @rule(
        signals=names,
        grace=st.sampled_from([None, 3600.0]),
        on_fork=st.sampled_from(["auto", "rearm", "reset"]),
        other=st.booleans(),
    )
    def install(
        self, signals: list[str], grace: float | None, on_fork: str, other: bool
    ) -> None:
        self.model.install(Killer(signals, grace, on_fork))
        self.do("install", signals, other, grace=grace, on_fork=on_fork)

    @precondition(
        lambda self: not self.model.live and len(self.model.killers) < MOST_KILLERS
    )
    @rule(signals=names, backend=backend)
    def install_first(self, signals: list[str], backend: str) -> None:
        self.model.install(Killer(signals, None, "auto"))
        # A watcher that runs for sections alone has one already.
        self.do("install", signals, False, backend=backend)

    @precondition(lambda self: self.model.killers)
    @rule(index=which, other=st.booleans())
    def close(self, index: int, other: bool) -> None:
        index, killer = self.killer(index)
        self.model.close(killer)
        self.do("close", index, other)

    @precondition(lambda self: self.model.killers)
    @rule(index=which, other=st.booleans())
    def stop(self, index: int, other: bool) -> None:
        index, killer = self.killer(index)
        refused = killer.lost or not (killer.live or killer.last_reason)
        if killer.live:
            self.model.reason = self.model.reason or "asked"
        raises = "RuntimeError" if refused else ""
        self.do("stop", index, "asked", other, raises=raises)

    @precondition(lambda self: self.model.killers)
    @rule(index=which, seconds=st.sampled_from([0.0, 0.5, 100.0]))
    def extend(self, index: int, seconds: float) -> None:
        index, killer = self.killer(index)
        refused = not (killer.live and self.model.reason)
        self.do("extend", index, seconds, raises="RuntimeError" if refused else "")

    @precondition(lambda self: self.model.killers)
    @rule(index=which)
    def take(self, index: int) -> None:
        index, killer = self.killer(index)
        if not killer.live:
            self.do("take", index, OTHER, raises="RuntimeError")
            return
        killer.counts.setdefault(OTHER, 0)
        new = killer.counts[OTHER] - killer.taken
        killer.taken += new

        assert new == self.do("take", index, OTHER)

    @rule(name=st.sampled_from((*STOPS, OTHER)))
    def signal(self, name: str) -> None:
        self.model.send(name)
        self.do("send", name)

    # These two are here because chance alone seldom comes to what follows them.

    @precondition(lambda self: self.model.held)
    @rule()
    def signal_held(self) -> None:
        self.signal(min(self.model.held))

    @precondition(
        lambda self: self.model.waiting and len(self.model.killers) < MOST_KILLERS
    )
    @rule(other=st.booleans())
    def install_for_waiting(self, other: bool) -> None:
        self.install(sorted(self.model.waiting), None, "auto", other)

    @precondition(lambda self: len(self.model.sections) < DEEPEST)
    @rule(signals=some_names)
    def protect(self, signals: list[str]) -> None:
        self.model.protect(signals)
        self.do("protect", signals)

    @precondition(lambda self: self.model.sections)
    @rule()
    def unprotect(self) -> None:
        self.model.unprotect()
        self.do("unprotect")

    @precondition(lambda self: len(self.processes) < DEEPEST)
    @rule()
    def fork(self) -> None:
        self.ask("fork")
        self.processes.append(self.model.forked())
        self.do("look")

    @precondition(lambda self: len(self.processes) > 1)
    @rule()
    def leave(self) -> None:
        """The child of the fork ends, and the parent is as it was."""
        reply = self.ask("leave")
        self.processes.pop()

        assert reply["result"] == 0
        self.do("look")

    def teardown(self) -> None:
        if self.over:
            AnyOrder.let_go()
            return
        while len(self.processes) > 1:
            self.leave()
        left = self.ask("end")["result"]
        status = self.ask("leave")["result"]

        assert (left, status) == ({}, 0)


def run(**kwargs: Any) -> None:
    try:
        run_state_machine_as_test(
            AnyOrder,
            settings=settings(
                deadline=None,
                database=None,
                # No shrinking: each wrong step waits long for the right state.
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
                **kwargs,
            ),
        )
    finally:
        AnyOrder.let_go()


@pytest.mark.slow
def test_any_order() -> None:
    """Killers, sections, signals and forks do what the model says, in any order."""
    run(derandomize=True, max_examples=50, stateful_step_count=25)


@pytest.mark.long
def test_any_order_for_long() -> None:
    """The same for other orders each time; a failure prints the steps."""
    run(max_examples=1000, stateful_step_count=50)
