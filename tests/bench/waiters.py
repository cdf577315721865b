"""A program with workers that wait for its stop, in each of the ways of a program.

    python waiters.py WAY NUMBER      (ours: "ours BACKEND")

Prints "ready" when all have been started. Ends with status 0 after SIGTERM, when all
have ended. For idle.py and stop.py.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable

SLEEP = 1.0  # seconds, of the sleep-loop idiom
STACK = 256 * 1024


def ready() -> None:
    os.write(1, b"ready\n")


def ours(backend: str, number: int) -> None:
    from gracefulexit import GracefulKiller, Worker

    with GracefulKiller(backend=backend) as killer:
        killer.start(*(Worker(target=killer.wait) for _ in range(number)))
        ready()
        killer.wait()


def run_threads(wait: Callable[[], object], number: int) -> None:
    workers = [threading.Thread(target=wait) for _ in range(number)]
    for worker in workers:
        worker.start()
    ready()
    wait()
    for worker in workers:
        worker.join()


def by_event(number: int) -> None:
    event = threading.Event()
    signal.signal(signal.SIGTERM, lambda signum, frame: event.set())
    run_threads(event.wait, number)


def by_event_beside_us(number: int) -> None:
    """What ours costs a program that does not use it."""
    import gracefulexit  # noqa: F401

    by_event(number)


def by_pipe(number: int) -> None:
    event = threading.Event()
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.signal(signal.SIGTERM, lambda signum, frame: None)
    signal.set_wakeup_fd(write)

    def forward() -> None:
        os.read(read, 1)
        event.set()

    threading.Thread(target=forward).start()
    run_threads(event.wait, number)


def by_sigwait(number: int) -> None:
    event = threading.Event()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def forward() -> None:
        signal.sigwait({signal.SIGTERM})
        event.set()

    threading.Thread(target=forward).start()
    run_threads(event.wait, number)


def by_sleep(number: int) -> None:
    event = threading.Event()
    signal.signal(signal.SIGTERM, lambda signum, frame: event.set())

    def wait() -> None:
        while not event.is_set():
            time.sleep(SLEEP)

    run_threads(wait, number)


def by_pypi(number: int) -> None:
    from GracefulKiller import GracefulKiller

    run_threads(GracefulKiller().kill_now.wait, number)


def by_asyncio(number: int) -> None:
    import asyncio

    async def main() -> None:
        event = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, event.set)
        tasks = [asyncio.create_task(event.wait()) for _ in range(number)]
        await asyncio.sleep(0)
        ready()
        await asyncio.gather(*tasks)

    asyncio.run(main())


def by_trio(number: int) -> None:
    import trio

    async def main() -> None:
        event = trio.Event()
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:
                for _ in range(number):
                    nursery.start_soon(event.wait)
                await trio.lowlevel.checkpoint()
                ready()
                await signals.__anext__()
                event.set()

    trio.run(main)


WAYS = {
    "event": by_event,
    "event, gracefulexit imported": by_event_beside_us,
    "pipe": by_pipe,
    "sigwait": by_sigwait,
    "sleep": by_sleep,
    "pypi": by_pypi,
    "asyncio": by_asyncio,
    "trio": by_trio,
}


def main(way: str, number: str) -> None:
    threading.stack_size(STACK)
    if way.startswith("ours "):
        ours(way.removeprefix("ours "), int(number))
    else:
        WAYS[way](int(number))


if __name__ == "__main__":
    main(*sys.argv[1:])
