"""A service on uvloop, with a signal of its own that is left to the loop."""

import asyncio
import signal

import uvloop

from gracefulexit import GracefulKiller


async def serve(killer):
    # Another signal than the killer's: that one is the loop's.
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, lambda: print("status: well", flush=True))
    print("ready", flush=True)
    await killer.wait_async()
    print("finishing")


def main():
    with GracefulKiller(grace=25) as killer:
        uvloop.run(serve(killer))
    killer.exit()


if __name__ == "__main__":
    main()
