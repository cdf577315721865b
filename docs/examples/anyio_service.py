"""An anyio service on either of its back ends: anyio_service.py [asyncio|trio]."""

import sys

import anyio

from gracefulexit import GracefulKiller


async def cancel_at_stop(killer, scope):
    await anyio.wait_readable(killer.fileno())
    scope.cancel()


async def work():
    try:
        await anyio.sleep_forever()
    finally:
        print("the task has cleaned up")


async def serve(killer):
    async with anyio.create_task_group() as group:
        group.start_soon(cancel_at_stop, killer, group.cancel_scope)
        group.start_soon(work)
        await anyio.lowlevel.checkpoint()  # both have begun
        print("ready", flush=True)
    print("stopped by", killer.reason.signal.name)


def main():
    backend = sys.argv[1] if len(sys.argv) > 1 else "asyncio"
    with GracefulKiller(grace=25) as killer:
        anyio.run(serve, killer, backend=backend)
    killer.exit()


if __name__ == "__main__":
    main()
