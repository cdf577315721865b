"""A trio service: one task waits for the stop, and tells the others by an event."""

import trio

from gracefulexit import GracefulKiller


async def watch(killer, stopping):
    # The one task that waits for the descriptor: trio lets no second one.
    await trio.lowlevel.wait_readable(killer.fileno())
    stopping.set()


async def work(name, stopping):
    """Rounds that are finished, with a pause that the stop ends at once."""
    while not stopping.is_set():
        with trio.move_on_after(0.05):
            await stopping.wait()
    print(f"{name} ended after a whole round", flush=True)


async def serve(killer):
    stopping = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, killer, stopping)
        for name in ("first", "second"):
            nursery.start_soon(work, name, stopping)
        print("ready", flush=True)


def main():
    with GracefulKiller(grace=25) as killer:
        trio.run(serve, killer)
    killer.exit()


if __name__ == "__main__":
    main()
