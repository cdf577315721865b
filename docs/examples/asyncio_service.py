"""An asyncio service: any number of tasks wait for the stop."""

import asyncio

from gracefulexit import GracefulKiller


async def tick(killer):
    """Work, with a pause that the stop ends at once."""
    while not await killer.wait_async(60):
        print("tick", flush=True)
    return "ticker ended"


async def wait(killer, name):
    await killer.wait_async()
    return f"{name} ended"


async def serve(killer):
    tasks = [
        asyncio.create_task(tick(killer)),
        asyncio.create_task(wait(killer, "first")),
        asyncio.create_task(wait(killer, "second")),
    ]
    # A task that waits may be cancelled; the others go on waiting.
    too_long = asyncio.create_task(wait(killer, "cancelled"))
    await asyncio.sleep(0)
    too_long.cancel()
    print("ready", flush=True)
    for result in await asyncio.gather(*tasks, too_long, return_exceptions=True):
        print(result if isinstance(result, str) else type(result).__name__)


def main():
    with GracefulKiller() as killer:
        asyncio.run(serve(killer))
    killer.exit()


if __name__ == "__main__":
    main()
