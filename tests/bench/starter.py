"""Begins and ends to hear SIGTERM and SIGINT in one of the ways, once, and prints
what that took: microseconds, and what there was more of while it heard.

python starter.py WAY
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)
Way = Callable[[], Iterator[Any]]


# Each imports up to the first yield, installs up to the second, then closes.


def by_event() -> Iterator[None]:
    yield
    event = threading.Event()
    before = [signal.signal(s, lambda signum, frame: event.set()) for s in SIGNALS]
    yield
    for signum, handler in zip(SIGNALS, before, strict=True):
        signal.signal(signum, handler)


def by_pypi() -> Iterator[None]:
    from GracefulKiller import GracefulKiller

    yield
    GracefulKiller()
    yield


def by_asyncio() -> Iterator[None]:
    import asyncio

    yield
    loop = asyncio.new_event_loop()
    for signum in SIGNALS:
        loop.add_signal_handler(signum, loop.stop)
    yield
    for signum in SIGNALS:
        loop.remove_signal_handler(signum)
    loop.close()


def by_trio() -> Iterator[None]:
    import trio

    # A loop begins and ends with its call, so both are in `install`.
    async def main() -> None:
        with trio.open_signal_receiver(*SIGNALS):
            pass

    yield
    trio.run(main)
    yield


def ours(backend: str) -> Iterator[None]:
    from gracefulexit import GracefulKiller

    yield
    killer = GracefulKiller(backend=backend)
    yield
    killer.close()


WAYS = {
    "event": by_event,
    "pypi": by_pypi,
    "asyncio": by_asyncio,
    "trio": by_trio,
}


def there_is() -> dict[str, float]:
    """Private memory that is in use, in KiB; descriptors; threads, native ones too."""
    with open("/proc/self/smaps_rollup") as file:
        private = sum(int(s.split()[1]) for s in file if s.startswith("Private_"))
    return {
        "memory": private,
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
    }


@contextmanager
def timed(found: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter_ns()
    yield
    found[name] = (time.perf_counter_ns() - start) / 1000


def main(way: str) -> None:
    found: dict[str, float] = {}
    there_is()  # what it needs itself
    before = there_is()
    steps = WAYS[way]() if way in WAYS else ours(way)
    for name in ("import", "install", "close"):
        with timed(found, name):
            next(steps, None)
        if name == "install":
            now = there_is()
    found |= {what: number - before[what] for what, number in now.items()}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
