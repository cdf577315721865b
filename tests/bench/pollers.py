"""Loops that look at a flag. For polling.py: NAME NUMBER in, nanoseconds a look out."""

from __future__ import annotations

import sys
import threading
import time
from itertools import repeat
from typing import Any

from gracefulexit import GracefulKiller


class Plain:
    def __init__(self) -> None:
        self.flag = False


class Slot:
    __slots__ = ("flag",)

    def __init__(self) -> None:
        self.flag = False


class Property:
    def __init__(self) -> None:
        self._flag = False

    @property
    def flag(self) -> bool:
        return self._flag


TIMES = 20  # in a turn of the loop, so that the loop itself is not what is measured
LOOP = """
def loop(x, turns):
    for _ in repeat(None, turns):
        {}
"""


def loop(expression: str) -> Any:
    """Each has code of its own: the interpreter specialises it."""
    scope = {"repeat": repeat}
    exec(LOOP.format("; ".join([expression] * TIMES)), scope)
    return scope["loop"]


def main() -> None:
    killer = GracefulKiller()
    loops = {
        "kill_now": (loop("x.kill_now"), killer),
        "plain": (loop("x.flag"), Plain()),
        "slot": (loop("x.flag"), Slot()),
        "property": (loop("x.flag"), Property()),
        "event": (loop("x.is_set()"), threading.Event()),
    }
    for line in sys.stdin:
        name, number = line.split()
        func, flag = loops[name]
        turns = int(number) // TIMES
        start = time.perf_counter_ns()
        func(flag, turns)
        took = time.perf_counter_ns() - start
        print(took / (turns * TIMES), flush=True)
    killer.close()


if __name__ == "__main__":
    main()
