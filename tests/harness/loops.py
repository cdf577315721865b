"""Event loops with one face, for children: what users write differs, what they get
from us must not."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

LIMIT = 100.0  # seconds, as probe's


class Loop(Protocol):
    """A framework. `main` gets it as its first argument."""

    # What is left for a signal that its own API has let go of.
    gives_back = False

    def run(self, main: Callable[..., Awaitable[Any]], *args: Any) -> Any: ...

    async def stopped(self, killer: Any) -> None:
        """Wait for the stop in the way that this framework's page teaches."""

    async def sleep(self, seconds: float) -> None: ...

    def receiver(self, signum: int) -> Any:
        """`async with` it takes the signal by the framework's own API; `await
        heard()` on what it gives waits for the signal once."""


class _Handler:
    """loop.add_signal_handler()."""

    def __init__(self, signum: int) -> None:
        self.signum = signum
        self.came = asyncio.Event()

    async def __aenter__(self) -> _Handler:
        asyncio.get_running_loop().add_signal_handler(self.signum, self.came.set)
        return self

    async def __aexit__(self, *error: object) -> None:
        asyncio.get_running_loop().remove_signal_handler(self.signum)

    async def heard(self) -> None:
        await asyncio.wait_for(self.came.wait(), LIMIT)
        self.came.clear()


class Asyncio:
    gives_back = False

    def run(self, main: Callable[..., Any], *args: Any) -> Any:
        return asyncio.run(main(self, *args))

    async def stopped(self, killer: Any) -> None:
        await asyncio.wait_for(killer.wait_async(), LIMIT)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def receiver(self, signum: int) -> _Handler:
        return _Handler(signum)


class Uvloop(Asyncio):
    def run(self, main: Callable[..., Any], *args: Any) -> Any:
        import uvloop

        return uvloop.run(main(self, *args))


class _Receiver:
    """open_signal_receiver() of trio and anyio."""

    def __init__(self, module: Any, signum: int) -> None:
        self._module = module
        self._block = module.open_signal_receiver(signal.Signals(signum))

    async def __aenter__(self) -> _Receiver:
        self._signals = self._block.__enter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        self._block.__exit__(*error)

    async def heard(self) -> None:
        with self._module.fail_after(LIMIT):
            async for _ in self._signals:
                return


class Trio:
    gives_back = True

    def run(self, main: Callable[..., Any], *args: Any) -> Any:
        import trio

        return trio.run(main, self, *args)

    async def stopped(self, killer: Any) -> None:
        import trio

        with trio.fail_after(LIMIT):
            await trio.lowlevel.wait_readable(killer.fileno())

    async def sleep(self, seconds: float) -> None:
        import trio

        await trio.sleep(seconds)

    def receiver(self, signum: int) -> _Receiver:
        import trio

        return _Receiver(trio, signum)


class Anyio:
    def __init__(self, name: str) -> None:
        self.name = name
        self.gives_back = name == "trio"

    def run(self, main: Callable[..., Any], *args: Any) -> Any:
        import anyio

        return anyio.run(main, self, *args, backend=self.name)

    async def stopped(self, killer: Any) -> None:
        import anyio

        with anyio.fail_after(LIMIT):
            await anyio.wait_readable(killer.fileno())

    async def sleep(self, seconds: float) -> None:
        import anyio

        await anyio.sleep(seconds)

    def receiver(self, signum: int) -> _Receiver:
        import anyio

        return _Receiver(anyio, signum)


LOOPS: dict[str, Callable[[], Any]] = {
    "asyncio": Asyncio,
    "uvloop": Uvloop,
    "trio": Trio,
    "anyio on asyncio": lambda: Anyio("asyncio"),
    "anyio on trio": lambda: Anyio("trio"),
}


async def works(loop: Any) -> None:
    """Its timers and its own way of hearing a signal do."""
    await loop.sleep(0.001)
    async with loop.receiver(signal.SIGUSR1) as receiver:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGUSR1)
            await receiver.heard()
