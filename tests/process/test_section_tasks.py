"""Sections under asyncio: `async with` belongs to the task, and nothing of ours ever
freezes the loop."""

from __future__ import annotations

import signal

import pytest
from sections import checked

TERM = signal.SIGTERM


@pytest.fixture
def program(program):
    return checked(program)


# `ticks` grows while the loop is not frozen.
SETUP = """
    import asyncio
    from gracefulexit import _core
    told = Warnings()
    heard = []
    signal.signal(SIGTERM, lambda *_: heard.append(_core.sections()))
    ticks = 0
    async def tick():
        global ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1
    async def ticked(n=10):
        end = ticks + n
        async with asyncio_timeout():
            while ticks < end:
                await asyncio.sleep(0)
    async def become(fact, what):
        end = time.monotonic() + LIMIT
        while not fact():
            assert time.monotonic() < end, f"not within {LIMIT} s: {what}"
            await asyncio.sleep(0.001)
    class asyncio_timeout:  # asyncio.timeout() is younger than our oldest Python
        async def __aenter__(self):
            task = asyncio.current_task()
            self.handle = asyncio.get_running_loop().call_later(LIMIT, task.cancel)
        async def __aexit__(self, *error):
            self.handle.cancel()
    async def with_ticker(main):
        ticker = asyncio.create_task(tick())
        try:
            return await main
        finally:
            ticker.cancel()
    def run(main):
        return asyncio.run(with_ticker(main))
    section = TerminateProtected()
    def hold_signal():
        send(SIGTERM)
        until(lambda: _core.held(SIGTERM), "it is held")
"""


def test_tasks_wait_at_the_gate(passes) -> None:
    """31 tasks wait at the shut gate while the loop goes on; all open after the
    delivery."""
    passes(
        SETUP
        + """
    started, opened = [], []
    async def task(i, go):
        await go.wait()
        started.append(i)
        async with section:
            equal([0], heard)
            opened.append(i)
            await asyncio.sleep(0)
    async def main():
        go = asyncio.Event()
        tasks = [asyncio.create_task(task(i, go)) for i in range(31)]
        async with section:
            hold_signal()
            go.set()
            await become(lambda: len(started) == 31, "all have started")
            await ticked()
            equal(([], [], 1), (opened, heard, _core.sections()))
        await become(lambda: heard, "delivered")
        await asyncio.gather(*tasks)
        equal(list(range(31)), sorted(opened))
    run(main())
    equal([0], heard)
    equal([], told.texts)
        """
    )


@pytest.mark.parametrize("objects", ["one object", "many objects"])
def test_overlapping_tasks_drain(passes, objects: str) -> None:
    """32 tasks that loop over overlapping sections do not starve the delivery, nor
    does the delivery freeze the loop."""
    passes(
        SETUP
        + """
    over = False
    async def task(i):
        mine = section if sys.argv[1] == "one object" else TerminateProtected()
        while not over:
            async with mine:
                await asyncio.sleep(0.001 + i % 5 * 0.0004)
    async def main():
        global over
        tasks = [asyncio.create_task(task(i)) for i in range(32)]
        for n in range(3):
            await become(lambda: _core.sections() > 1, "they overlap")
            send(SIGTERM)
            await become(lambda: len(heard) > n, f"delivery {n}")
            await ticked()
        over = True
        await asyncio.gather(*tasks)
    run(main())
    equal(3, len(heard))
    equal([], told.texts)
        """,
        objects,
    )


def test_worker_holds_while_tasks_wait(passes) -> None:
    """The section is a worker thread's: tasks wait without freezing the loop, and are
    woken when it is left."""
    passes(
        SETUP
        + """
    opened, leave = threading.Event(), threading.Event()
    def work():
        with TerminateProtected():
            opened.set()
            leave.wait()
    async def task(entered):
        async with section:
            entered.append(1)
    async def main():
        thread = threading.Thread(target=work)
        thread.start()
        opened.wait()
        hold_signal()
        entered = []
        tasks = [asyncio.create_task(task(entered)) for _ in range(4)]
        await ticked()
        equal(([], []), (entered, heard))
        leave.set()
        await asyncio.gather(*tasks)
        equal([1] * 4, entered)
        thread.join()
        await become(lambda: heard, "delivered")
    run(main())
    equal(1, len(heard))
    equal([], told.texts)
        """
    )


def test_two_loops_wait(passes) -> None:
    """Tasks of loops in several threads are woken, each in its own loop."""
    passes(
        SETUP
        + """
    entered = []
    async def task():
        async with section:
            entered.append(threading.get_ident())
    waiting = []
    async def in_thread():
        made = [asyncio.create_task(task()) for _ in range(3)]
        await asyncio.sleep(0.002)
        waiting.append(1)
        await asyncio.gather(*made)
    threads = [
        threading.Thread(target=lambda: asyncio.run(in_thread())) for _ in range(2)
    ]
    with TerminateProtected():
        hold_signal()
        for thread in threads:
            thread.start()
        until(lambda: len(waiting) == 2, "both loops go on while their tasks wait")
        equal([], entered)
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive()
    equal((6, 2), (len(entered), len(set(entered))))
    equal((1, []), (len(heard), told.texts))
        """
    )


@pytest.mark.parametrize("kind", ["with", "async with"])
def test_run_in_a_section(passes, kind: str) -> None:
    """Tasks of a loop that runs inside a section are inside it: they do not wait for
    their own loop to end."""
    passes(
        SETUP
        + f"""
    async def task(i):
        {kind} TerminateProtected():
            sum(range(100))
    async def main():
        hold_signal()
        await asyncio.gather(*map(task, range(8)))
        await ticked(3)
        equal([], heard)
    with section:
        run(main())
        equal([], heard)
    equal([0], heard)
    # Who had waited would have got through at the end of a phase only.
    equal([], told.texts)
        """
    )


@pytest.mark.parametrize("closer", ["task", "thread"])
def test_add_signal_handler(passes, closer: str) -> None:
    """Who uses loop.add_signal_handler() is called once at the delivery, and not
    before, although the loop has nothing else to do."""
    passes(
        SETUP
        + """
    steps = []
    leave = threading.Event()
    def work():
        with TerminateProtected():
            hold_signal()
            time.sleep(0.005)
            steps.append("whole")
    async def task():
        async with section:
            hold_signal()
            await asyncio.sleep(0.005)
            steps.append("whole")
    async def main():
        called = asyncio.Event()
        def callback():
            steps.append("called")
            called.set()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(SIGTERM, callback)
        if sys.argv[1] == "task":
            await task()
        else:
            threading.Thread(target=work).start()
        await asyncio.wait_for(called.wait(), LIMIT)
        await asyncio.sleep(0.02)  # a second call would come now
        loop.remove_signal_handler(SIGTERM)
    asyncio.run(main())
    equal(["whole", "called"], steps)
        """,
        closer,
    )


def test_add_signal_handler_inside(passes) -> None:
    """One that is added inside a section gets what comes from then on, also that."""
    passes(
        SETUP
        + """
    called = []
    async def main():
        loop = asyncio.get_running_loop()
        async with section:
            loop.add_signal_handler(SIGTERM, called.append, 1)
            send(SIGTERM)
        await become(lambda: called, "called")
        loop.remove_signal_handler(SIGTERM)
    asyncio.run(main())
    equal(([1], []), (called, heard))
        """
    )


def test_plain_with_never_waits(passes) -> None:
    """A plain `with` on the thread of a running loop passes a shut gate: waiting
    would freeze the loop."""
    passes(
        SETUP
        + """
    opened, leave = threading.Event(), threading.Event()
    def work():
        with TerminateProtected():
            opened.set()
            leave.wait()
    @TerminateProtected()
    def decorated():
        return _core.sections()
    async def main():
        thread = threading.Thread(target=work)
        thread.start()
        opened.wait()
        hold_signal()
        for _ in range(50):
            with section:
                equal(2, _core.sections())
            equal(2, decorated())
        equal([], heard)
        leave.set()
        thread.join()
        await become(lambda: heard, "delivered")
    run(main())
    # Who had waited would have been let through with a warning.
    equal(([0], []), (heard, told.texts))
        """
    )


def test_nested_in_a_task(passes) -> None:
    """A task that is in a section opens more of them at a shut gate."""
    passes(
        SETUP
        + """
    @TerminateProtected()
    async def decorated():
        await asyncio.sleep(0)
        return _core.sections()
    async def main():
        async with section:
            hold_signal()
            for _ in range(20):
                async with section, TerminateProtected("HUP"):
                    equal(4, await decorated())
                    with section:
                        await asyncio.sleep(0)
            equal([], heard)
        await become(lambda: heard, "delivered")
    run(main())
    equal(([0], []), (heard, told.texts))
        """
    )


def test_children_of_a_task(passes) -> None:
    """A task that waits in its section for tasks which it has started there, and
    which open sections, is no deadlock, at most a delay."""
    passes(
        SETUP
        + """
    async def child():
        async with section:
            await asyncio.sleep(0)
    async def main():
        async with section:
            hold_signal()
            await asyncio.gather(*[child() for _ in range(4)])
            equal([], heard)
        await become(lambda: heard, "delivered")
    run(main())
    equal([0], heard)
    assert len(told.texts) <= 1, told.texts
        """
    )


def test_task_started_in_a_section_that_is_over(passes) -> None:
    """A task started inside a section is not inside for ever: once that is left, it
    waits at the gate like any other."""
    passes(
        SETUP
        + """
    async def main():
        go, entered = asyncio.Event(), []
        async def child():
            await go.wait()
            async with section:
                entered.append(1)
        async with section:
            task = asyncio.create_task(child())
            await asyncio.sleep(0)
        # Another task's section; ours is closed.
        async def other():
            async with section:
                hold_signal()
                go.set()
                await ticked()
                equal([], entered)
        await asyncio.create_task(other())
        await task
        equal([1], entered)
        await become(lambda: heard, "delivered")
    run(main())
    equal((1, []), (len(heard), told.texts))
        """
    )


def test_one_object_of_many_tasks(passes) -> None:
    """Tasks leave in another order than they entered; each leaves its own section."""
    passes(
        SETUP
        + """
    async def task(name, entered, leave):
        async with section as p:
            entered.set()
            await leave.wait()
            p.renew()
    async def main():
        tasks, leaves = [], []
        for i in range(6):
            entered, leave = asyncio.Event(), asyncio.Event()
            leaves.append(leave)
            tasks.append(asyncio.create_task(task(i, entered, leave)))
            await entered.wait()
        hold_signal()
        for n, i in enumerate((0, 3, 5, 1, 4, 2)):
            equal((6 - n, []), (_core.sections(), heard))
            leaves[i].set()
            await tasks[i]
        await become(lambda: heard, "delivered")
    run(main())
    equal([0], heard)
        """
    )


@pytest.mark.parametrize("how", ["cancel", "wait_for", "loop ends"])
def test_cancelled_at_the_gate(passes, how: str) -> None:
    """A task that is cancelled at the gate has opened nothing, and leaves nothing
    behind that the end of the section would trip over."""
    passes(
        SETUP
        + """
    opened, leave = threading.Event(), threading.Event()
    def work():
        with TerminateProtected():
            opened.set()
            leave.wait()
    entered = []
    async def task():
        async with section:
            entered.append(1)
    async def main():
        waiting = asyncio.create_task(task())
        await ticked()
        if sys.argv[1] == "cancel":
            waiting.cancel()
            equal(1, len((await asyncio.wait([waiting], timeout=LIMIT))[0]))
            equal(True, waiting.cancelled())
        elif sys.argv[1] == "wait_for":
            try:
                await asyncio.wait_for(waiting, 0.001)
            except asyncio.TimeoutError:
                pass
            equal(True, waiting.cancelled())
        equal(1, _core.sections())
    thread = threading.Thread(target=work)
    thread.start()
    opened.wait()
    hold_signal()
    run(main())
    equal(([], [], 1), (entered, heard, _core.sections()))
    leave.set()
    thread.join()
    until(lambda: heard, "delivered")
    equal(([0], []), (heard, told.texts))
    async def after():
        async with section:
            equal(1, _core.sections())
    run(after())
        """,
        how,
    )


def test_cancelled_while_the_gate_lifts(passes) -> None:
    """Cancellation beside the lifting: the task has entered and left, or neither."""
    done = passes(
        SETUP
        + """
    async def task(steps):
        async with section:
            steps.append("in")
            try:
                await asyncio.sleep(0)
            finally:
                steps.append("out")
    async def main():
        found = set()
        for n in range(60):
            steps = []
            async with section:
                hold_signal()
                waiting = asyncio.create_task(task(steps))
                await asyncio.sleep(0.001)
                if n % 3 == 0:
                    waiting.cancel()
            if n % 3 == 1:
                waiting.cancel()
            elif n % 3 == 2:
                await asyncio.sleep(0)
                waiting.cancel()
            await asyncio.wait([waiting])
            assert steps in ([], ["in", "out"]), steps
            assert waiting.cancelled() or steps, n
            equal(0, _core.sections())
            await become(lambda: len(heard) > n, f"delivery {n}")
    run(main())
    equal([0] * 60, heard)
    equal([], told.texts)
        """
    )

    assert done.err == ""


def test_default_disposition(program) -> None:
    """A default disposition ends the program out of the task: finally, atexit run."""
    done = program(
        """
        import asyncio, atexit
        atexit.register(print, "atexit")
        async def task():
            async with TerminateProtected() as section:
                send(SIGTERM)
                until(lambda: section.pending, "it is held")
                await asyncio.sleep(0.001)
                print("whole")
            print("never")
        async def main():
            try:
                await asyncio.gather(task(), asyncio.sleep(LIMIT))
            finally:
                print("finally")
        asyncio.run(main())
        """
    ).finish()

    assert done.out == "whole\nfinally\natexit\n", done.err
    assert done.status == -TERM


def test_default_disposition_from_a_thread(program) -> None:
    """The same when a worker thread leaves the last section: the loop is woken."""
    done = program(
        """
        import asyncio, atexit
        atexit.register(print, "atexit")
        opened = threading.Event()
        def work():
            with TerminateProtected() as section:
                opened.set()
                until_asleep()
                send(SIGTERM)
                until(lambda: section.pending, "it is held")
        async def main():
            threading.Thread(target=work).start()
            opened.wait()
            with TerminateProtected():
                pass  # lays layer 1, which wakes main out of select()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                print("finally")
        asyncio.run(main())
        """
    ).finish()

    assert done.out == "finally\natexit\n", done.err
    assert done.status == -TERM


def test_to_thread_in_a_section(passes) -> None:
    """A section of a thread that a task waits for in its own section is no deadlock."""
    passes(
        SETUP
        + """
    def work():
        with TerminateProtected():
            return 3
    async def main():
        async with section:
            hold_signal()
            equal(3, await asyncio.to_thread(work))
            equal([], heard)
        await become(lambda: heard, "delivered")
    run(main())
    equal([0], heard)
    # It may be inside (the context is copied) or wait until a phase ends.
    assert len(told.texts) <= 1, told.texts
        """
    )


def test_exception_in_a_task(passes) -> None:
    """The section's exception goes on; if the delivery raises, it is the context."""
    passes(
        """
        import asyncio
        class Mine(Exception): pass
        def handler(*_): raise Mine
        signal.signal(SIGTERM, handler)
        async def main(sending):
            async with TerminateProtected() as section:
                if sending:
                    send(SIGTERM)
                    until(lambda: section.pending, "it is held")
                raise OSError("own")
        try:
            asyncio.run(main(False))
        except OSError as error:
            equal(None, error.__context__)
        try:
            asyncio.run(main(True))
        except Mine as error:
            equal("own", str(error.__context__))
        """
    )
