"""Wakes many waiting threads for each line, and prints after how many nanoseconds the
last of them ran.

    python broadcaster.py ours|event|"ours event"|floor NUMBER LIBRARY

They end only when all are awake: the end of a thread needs the interpreter lock, too,
for longer than its waking.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from gracefulexit import GracefulKiller

STACK = 256 * 1024


def until_asleep(number: int, began: list[None]) -> None:
    """All threads but this one."""
    me = str(threading.get_native_id())

    def awake(task: Path) -> bool:
        if task.name == me:
            return False
        return (task / "stat").read_text().rpartition(")")[2].split()[0] != "S"

    while len(began) < number or any(
        awake(task)
        for task in Path("/proc/self/task").iterdir()
        if task.name != str(me)
    ):
        time.sleep(0.01)


def last_awake(
    number: int, wait: Callable[[], object], wake: Callable[[], object]
) -> int:
    began: list[None] = []
    awake: list[int] = []
    all_awake, over = threading.Lock(), threading.Lock()
    all_awake.acquire()
    over.acquire()

    def work() -> None:
        began.append(None)
        wait()
        awake.append(time.monotonic_ns())
        if len(awake) == number:
            all_awake.release()
        with over:
            pass

    threads = [threading.Thread(target=work) for _ in range(number)]
    for thread in threads:
        thread.start()
    until_asleep(number, began)
    start = time.monotonic_ns()
    wake()
    all_awake.acquire()
    over.release()
    for thread in threads:
        thread.join()
    return max(awake) - start


def main(way: str, number: str, library: str) -> None:
    threading.stack_size(STACK)
    for _ in sys.stdin:
        if way == "floor":
            native = ctypes.CDLL(library)  # its calls take the lock once, at their end
            native.sleepers_begin()
            took = last_awake(int(number), native.sleep_once, native.wake_sleepers)
        elif way == "event":
            event = threading.Event()
            took = last_awake(int(number), event.wait, event.set)
        else:
            killer = GracefulKiller()
            wait = killer.wait if way == "ours" else killer.event.wait
            took = last_awake(int(number), wait, killer.stop)
            killer.close()
        os.write(1, b"%d\n" % took)


if __name__ == "__main__":
    main(*sys.argv[1:])
