"""Event loops beside a killer that was made before them, or inside them.

The loops of tests/harness/loops.py have one face, so that each test is about all.
Each child does SIGINT and SIGTERM, one killer after the other.
"""

from __future__ import annotations

import pytest

LOOPS = ["asyncio", "uvloop", "trio", "anyio on asyncio", "anyio on trio"]
EACH = pytest.mark.parametrize("loop", LOOPS)

# Above every child. Its arguments are the back end and the loop.
COMMON = """
from loops import *
backend, name = sys.argv[1:]
loop = LOOPS[name]()
trio_is_below = "trio" in name
STOPS = (SIGTERM, SIGINT)
def table():
    return {s: (signal.getsignal(s), action(s)) for s in STOPS}
"""


@EACH
def test_killer_around_the_loop(beside, loop: str) -> None:
    """A task hears the stop, the loop works before and after it, and what was there
    is there again, when the loop has ended and when the killer is closed."""
    beside(
        loop,
        """
        async def main(loop, killer, signum):
            await works(loop)
            assert killer.armed
            send(signum)
            await loop.stopped(killer)
            assert killer.kill_now
            await works(loop)
            await loop.stopped(killer)  # and again
            assert killer.armed
            return "the result"
        loop.run(lambda loop: works(loop))  # what it makes once is made
        before = calm()
        for signum in STOPS:
            with GracefulKiller(backend=backend) as killer:
                ours = table()
                equal("the result", loop.run(main, killer, signum))
                equal(signum, killer.reason.signum)
                assert killer.armed
                equal(ours, table())
                # A loop that starts when the program is stopping already.
                loop.run(lambda loop: loop.stopped(killer))
            with GracefulKiller(backend=backend) as killer:
                loop.run(lambda loop: works(loop))
                assert killer.armed
                equal(ours, table())
                send(signum)
                equal(True, killer.wait(LIMIT))
                equal(signum, killer.reason.signum)
        equal({}, changes(before))
        """,
    )


@pytest.mark.slow
@EACH
def test_killer_inside_the_loop(beside, loop: str) -> None:
    """A killer that comes and goes while the loop runs hears, and gives the loop its
    handlers back: Ctrl-C ends the loop as without us."""
    beside(
        loop,
        """
        async def use_killer(loop, signum):
            there = table()
            with GracefulKiller(backend=backend) as killer:
                await works(loop)
                send(signum)
                await loop.stopped(killer)
                equal(signum, killer.reason.signum)
                await works(loop)
            equal(there, table())
        async def main(loop, signums):
            await works(loop)
            for signum in signums:
                await use_killer(loop, signum)
            await works(loop)
            send(SIGINT)
            await loop.sleep(LIMIT)
        def end(signums):
            try:
                loop.run(main, signums)
            except AssertionError:
                raise
            except BaseException as error:  # KeyboardInterrupt nearly everywhere
                return type(error)
            raise AssertionError("Ctrl-C did not end the loop")
        alone = end([])
        before = calm()
        equal(alone, end(STOPS))
        equal({}, changes(before))
        """,
    )


@pytest.mark.slow
@EACH
def test_the_loop_takes_the_signal(beside, loop: str) -> None:
    """By its own API the loop takes a signal of ours: the log says so once, with what
    to do. When the loop has ended we hear again: trio restores who was there before
    it; others leave the default, and rearm() helps."""
    beside(
        loop,
        """
        told = log_lines("taken over:")
        api = "trio.open_signal_receiver()" if trio_is_below else "add_signal_handler()"
        def notice():
            for _ in range(3):
                killer.wait(0.001)
        async def main(loop, killer, signum):
            async with loop.receiver(signum) as receiver:
                equal(False, killer.armed)
                notice()
                until(lambda: told, "told")
                notice()
                send(signum)
                await receiver.heard()
                equal(False, killer.kill_now)
            equal(loop.gives_back, killer.armed)
        def handlers():  # flags of a default action are Python's business
            return {s: (signal.getsignal(s), action(s)[0]) for s in STOPS}
        before = handlers()
        for signum in STOPS:
            told.clear()
            with GracefulKiller(backend=backend) as killer:
                loop.run(main, killer, signum)
                equal(loop.gives_back, killer.armed)
                killer.rearm()
                assert killer.armed
                send(signum)
                equal(True, killer.wait(LIMIT))
                equal(signum, killer.reason.signum)
            equal(1, len(told))
            assert api in told[0] and "killer.rearm()" in told[0], told
            equal(before, handlers())
        """,
    )


@pytest.mark.slow
@EACH
def test_rearm_inside_the_loop(beside, loop: str) -> None:
    """rearm() takes the signal from the loop's API; what the loop leaves behind when it
    ends is told of anew, and rearm() takes it back again."""
    beside(
        loop,
        """
        told = log_lines("taken over:")
        async def main(loop, killer, signum):
            async with loop.receiver(signum):
                killer.wait(0.001)
                until(lambda: len(told) == 1, "told")
                killer.rearm()
                assert killer.armed
        for signum in STOPS:
            told.clear()
            with GracefulKiller(backend=backend) as killer:
                loop.run(main, killer, signum)
                equal(loop.gives_back, killer.armed)
                if not killer.armed:
                    killer.wait(0.001)
                    until(lambda: len(told) == 2, "told again")
                    killer.rearm()
                send(signum)
                equal(True, killer.wait(LIMIT))
                equal(signum, killer.reason.signum)
        """,
    )


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_raises_in_the_loop(beside_in_main, loop: str) -> None:
    """`raises=KeyboardInterrupt` ends run() as Ctrl-C does, on SIGTERM too, after the
    clean-up code of the tasks. (Not in trio, whose inside must not see exceptions.)"""
    beside_in_main(
        loop,
        """
        cleaned = []
        async def task():
            try:
                await asyncio.sleep(LIMIT)
            finally:
                cleaned.append("task")
        async def main(loop, signum):
            other = asyncio.create_task(task())
            await asyncio.sleep(0)
            asyncio.get_running_loop().call_later(0.001, send, signum)
            try:
                await other
            finally:
                cleaned.append("main")
        import asyncio
        for signum in STOPS:
            with GracefulKiller(backend=backend, raises=KeyboardInterrupt) as killer:
                try:
                    loop.run(main, signum)
                except KeyboardInterrupt:
                    equal(["main", "task"], sorted(cleaned))
                else:
                    raise AssertionError("not raised")
                equal(signum, killer.reason.signum)
            cleaned.clear()
        """,
    )


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["trio", "anyio on asyncio", "anyio on trio"])
def test_waiting_for_the_descriptor(beside, loop: str) -> None:
    """The wait for fileno() may be cancelled and begun again; a second task that waits
    for it gets an error at once."""
    beside(
        loop,
        """
        import anyio, trio
        def busy(error):
            names = {type(e).__name__ for e in error.exceptions}
            return names == {"BusyResourceError"}
        async def main(loop, killer, signum):
            fd = killer.fileno()
            for _ in range(3):
                with anyio.move_on_after(0.001) as scope:
                    await loop.stopped(killer)
                assert scope.cancelled_caught
                equal(fd, killer.fileno())
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(loop.stopped, killer)
                    group.start_soon(loop.stopped, killer)
            except BaseException as error:
                assert busy(error), error
            else:
                raise AssertionError("two waited")
            # One waits, and tells the others.
            told = anyio.Event()
            results = []
            async def wait(n):
                await told.wait()
                results.append(n)
            async with anyio.create_task_group() as group:
                for n in range(3):
                    group.start_soon(wait, n)
                await loop.sleep(0)
                send(signum)
                await loop.stopped(killer)
                told.set()
            equal([0, 1, 2], sorted(results))
        for signum in STOPS:
            with GracefulKiller(backend=backend) as killer:
                loop.run(main, killer, signum)
                equal(signum, killer.reason.signum)
        """,
    )


@pytest.mark.race
@pytest.mark.slow
@EACH
def test_signals_at_any_moment_of_the_loop(beside, loop: str) -> None:
    """Whenever it comes, while the loop starts, runs or ends: the killer hears the
    signal, nothing is raised, and the loop's result is there."""
    beside(
        loop,
        """
        import random
        async def main(loop):
            await loop.sleep(0.0005)
            return "the result"
        loop.run(main)
        begin = time.monotonic()
        loop.run(main)
        length = time.monotonic() - begin
        before = calm()
        early = 0
        def send_later(delay, signum):
            time.sleep(delay)
            send(signum)
        for n in times(100):
            signum = STOPS[n % 2]
            with GracefulKiller(backend=backend) as killer:
                delay = random.uniform(0, 1.5 * length)
                sender = threading.Thread(target=send_later, args=(delay, signum))
                sender.start()
                equal("the result", loop.run(main))
                early += killer.kill_now
                sender.join()
                equal(True, killer.wait(LIMIT))
                equal(signum, killer.reason.signum)
                assert killer.armed
        assert early, "no signal came while the loop ran"
        equal({}, changes(before))
        """,
    )
