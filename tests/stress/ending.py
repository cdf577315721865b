"""The program of finalisation.py: ends in one of the ways that programs end.

    python ending.py PLAN

PLAN is a Plan of finalisation.py, as JSON. A line tells when the last statement of
main is done; what comes then takes a few milliseconds at each step, so that a
signal has something to hit.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from gracefulexit import GracefulKiller, TerminateProtected, Worker

LIMIT = 20.0  # seconds for any wait
STEP = 0.003  # seconds for each step of the end


def busy(seconds: float = STEP, clock: Callable[[], float] = time.monotonic) -> None:
    """In bytecode, where Python handlers run."""
    end = clock() + seconds
    while clock() < end:
        pass


class Global:
    """Deleted when no thread but main runs any more."""

    def __init__(self, killer: GracefulKiller | None, protected: bool) -> None:
        self.killer = killer
        self.protected = protected

    def __del__(
        self,
        busy: Callable[[], None] = busy,
        section: type[TerminateProtected] = TerminateProtected,
    ) -> None:
        if self.killer is not None:
            _ = self.killer.kill_now, self.killer.reason
        if self.protected:
            with section():
                busy()
        busy()


class Good(Worker):
    def run(self) -> None:
        self.wait(LIMIT)
        busy()


def for_ever(*, protected: bool) -> None:
    """A daemon thread: it is cut off wherever it is."""
    while True:
        if protected:
            with TerminateProtected():
                pass
        sum(range(50))


def outlive() -> None:
    """A thread that the interpreter waits for."""
    time.sleep(STEP)
    busy()


def start_threads(plan: dict[str, Any], killer: GracefulKiller | None) -> None:
    kinds = plan["threads"]
    if "worker" in kinds and killer is not None:
        killer.start(Good(), Good())
    if "outlive" in kinds:
        threading.Thread(target=outlive).start()
    for _ in range(kinds.count("daemon")):
        protected = plan["sections"]
        target = threading.Thread(
            target=for_ever, kwargs={"protected": protected}, daemon=True
        )
        target.start()


def make_killer(plan: dict[str, Any]) -> GracefulKiller | None:
    if plan["end"] == "no killer":
        return None
    arguments = {"backend": plan["backend"], "exit_status": plan["exit_status"]}
    return GracefulKiller(grace=plan["grace"], **arguments)


def main(plan: dict[str, Any]) -> None:
    for _ in range(2):
        atexit.register(busy)
    killer = make_killer(plan)
    kept.extend(Global(killer, plan["sections"]) for _ in range(3))
    kept.append(kept)  # a cycle: found by the last collection
    if "daemon" in plan["threads"]:
        # They keep what is global here for ever, but not what sys has. (That goes
        # last, when Python code finds its own globals gone: no program has that.)
        sys.last_of_all = Global(killer, plan["sections"])  # type: ignore[attr-defined]
    if killer is not None:
        atexit.register(lambda: killer.kill_now)
        killer.on_exit(busy)
    atexit.register(busy)
    start_threads(plan, killer)
    if plan["end"] == "stopped":
        os.kill(os.getpid(), signal.SIGTERM)
        assert killer.wait(LIMIT)
    os.write(1, b"ending\n")
    if plan["end"] == "closed":
        killer.close()
    elif plan["end"] == "block":
        with killer:
            busy()
    elif plan["end"] in ("exit", "stopped"):
        killer.exit()
    elif plan["end"] == "raises":
        raise ValueError("mine")


kept: list[Any] = []
main(json.loads(sys.argv[1]))
