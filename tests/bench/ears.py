"""The ways in which a Python program hears that it is to stop, ours and the others.

    python ears.py WAY MAIN LOAD LIBRARY

A program for wake.py, busy.py and blocked.py. At each line of stdin it prints
"ready" and waits for SIGTERM, then prints who heard it when, as NAME=NS of
CLOCK_MONOTONIC. Meanwhile the main thread does MAIN, and LOAD threads compute.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

TERM = signal.SIGTERM
CALL = 0.05  # seconds of one call in which main does not see a signal
SLEEP = 1.0  # seconds, of the sleep-loop idiom

clock = partial(time.clock_gettime_ns, time.CLOCK_MONOTONIC)
Stamps = dict[str, int]


def say(text: str) -> None:
    os.write(1, text.encode() + b"\n")


def told() -> bool:
    """A line has come; False: no more will."""
    return os.read(0, 1) != b""


def report(stamps: Stamps) -> None:
    say(" ".join(f"{name}={ns}" for name, ns in stamps.items()))


# ---- what the process does meanwhile -------------------------------------------


class Load:
    """Threads that compute, in a `with` block."""

    def __init__(self, number: int) -> None:
        self._on = True
        # Made in each round, after the killer, as in a program.
        self._threads = [threading.Thread(target=self._compute) for _ in range(number)]

    def _compute(self) -> None:
        n = 0
        while self._on:
            n += 1

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *error: object) -> None:
        self._on = False
        for thread in self._threads:
            thread.join()


def numbers_for(seconds: float) -> int:
    """How many sum() adds up in that time."""
    start = time.perf_counter()
    sum(range(1_000_000))
    return int(1_000_000 * seconds / (time.perf_counter() - start))


def in_main(what: str, library: str) -> Callable[[threading.Thread], None]:
    """What main does until that thread has ended."""
    if what == "join":
        return threading.Thread.join
    call: Callable[[], object]
    if what == "sum":
        call = partial(sum, range(numbers_for(CALL)))
    else:
        kind = {"C": ctypes.CDLL, "GIL": ctypes.PyDLL}[what]
        call = partial(kind(library).compute, ctypes.c_int64(int(CALL * 1e9)))

    def go_on(worker: threading.Thread) -> None:
        while worker.is_alive():
            call()

    return go_on


# ---- the ways of threads -------------------------------------------------------


class SignalEvent:
    """signal.signal() and an Event."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.install()

    def install(self) -> None:
        signal.signal(TERM, lambda signum, frame: self.event.set())

    def begin(self) -> None:
        self.event.clear()

    def hear(self) -> Stamps:
        self.event.wait()
        return {"woken": clock()}

    def end(self) -> None:
        pass


class WakeupPipe(SignalEvent):
    """The classic recipe: signal.set_wakeup_fd() and a thread that reads the pipe."""

    def install(self) -> None:
        self._read, write = os.pipe()
        os.set_blocking(write, False)
        signal.signal(TERM, lambda signum, frame: None)
        signal.set_wakeup_fd(write)
        threading.Thread(target=self._forward, daemon=True).start()

    def _forward(self) -> None:
        while os.read(self._read, 1):
            self.event.set()


class SigwaitThread(SignalEvent):
    """A thread in signal.sigwait(), the signal blocked in all."""

    def install(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {TERM})
        threading.Thread(target=self._forward, daemon=True).start()

    def _forward(self) -> None:
        while signal.sigwait({TERM}):
            self.event.set()


class SleepLoop(SignalEvent):
    """The idiom: while not kill_now: sleep(1)."""

    def hear(self) -> Stamps:
        while not self.event.is_set():
            time.sleep(SLEEP)
        return {"woken": clock()}


class PyPI(SignalEvent):
    """The package GracefulKiller, without its own loop, which sleeps."""

    def install(self) -> None:
        from GracefulKiller import GracefulKiller

        self.event = GracefulKiller().kill_now


class Ours:
    """killer.wait()"""

    def __init__(self, backend: str, library: str) -> None:
        self._backend = backend
        self._native = ctypes.CDLL(library)
        self._native.poller_start.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
        self._native.poller_join.restype = ctypes.c_int64

    def begin(self) -> None:
        from gracefulexit import GracefulKiller

        self._killer = GracefulKiller(backend=self._backend)

    def hear(self) -> Stamps:
        self._killer.wait()
        return {"woken": clock()}

    def end(self) -> None:
        self._killer.close()


class OursWatched(Ours):
    """Three that wait for the same stop: native code, wait(), event."""

    def begin(self) -> None:
        super().begin()
        killer = self._killer
        # kill_now is the first thing after what every object has.
        cell = id(killer) + object.__basicsize__
        assert ctypes.c_void_p.from_address(cell).value == id(False)
        self._native.poller_start(cell, id(True))
        self._event_at = 0
        self._waiter = threading.Thread(target=self._wait_for_event)
        self._waiter.start()

    def _wait_for_event(self) -> None:
        self._killer.event.wait()
        self._event_at = clock()

    def hear(self) -> Stamps:
        stamps = super().hear()
        self._waiter.join()
        return {
            **stamps,
            "event": self._event_at,
            "flag": self._native.poller_join(),
        }


WAYS: dict[str, Callable[[], Any]] = {
    "event": SignalEvent,
    "pipe": WakeupPipe,
    "sigwait": SigwaitThread,
    "sleep": SleepLoop,
    "pypi": PyPI,
}


def run_threads(ear: Any, load: int, go_on: Callable[[threading.Thread], None]) -> None:
    while told():
        stamps: Stamps = {}

        def work(stamps: Stamps = stamps) -> None:
            say("ready")
            stamps.update(ear.hear())

        ear.begin()
        with Load(load):
            worker = threading.Thread(target=work)
            worker.start()
            go_on(worker)
            worker.join()
        ear.end()
        report(stamps)


# ---- the ways of event loops, in main ------------------------------------------


def run_asyncio(load: int) -> None:
    import asyncio

    async def main() -> None:
        loop = asyncio.get_running_loop()
        event = asyncio.Event()
        lines = asyncio.StreamReader()
        await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
        )
        loop.add_signal_handler(TERM, event.set)
        while await lines.readline():
            event.clear()
            with Load(load):
                say("ready")
                await event.wait()
                stamps = {"woken": clock()}
            report(stamps)

    asyncio.run(main())


def run_trio(load: int) -> None:
    import trio

    async def main() -> None:
        with trio.open_signal_receiver(TERM) as signals:
            while True:
                await trio.lowlevel.wait_readable(0)
                if not told():
                    return
                with Load(load):
                    say("ready")
                    await signals.__anext__()
                    stamps = {"woken": clock()}
                report(stamps)

    trio.run(main)


def main(way: str, main_does: str, load: str, library: str) -> None:
    if way == "asyncio":
        run_asyncio(int(load))
    elif way == "trio":
        run_trio(int(load))
    else:
        kind, _, backend = way.partition(" ")
        if kind in WAYS:
            ear = WAYS[kind]()
        else:
            ear = {"ours": Ours, "watched": OursWatched}[kind](backend, library)
        run_threads(ear, int(load), in_main(main_does, library))
    os._exit(0)  # a thread may be in a wait that nothing ends


if __name__ == "__main__":
    main(*sys.argv[1:])
