"""TerminateProtected: never torn, and delivered when the last section is left."""

from __future__ import annotations

import signal

import pytest

TERM, INT = signal.SIGTERM, signal.SIGINT


def test_handler_runs_after_the_block(passes) -> None:
    """Inside nobody sees the signal; the Python handler runs when the block is left."""
    passes(
        """
        steps = []
        signal.signal(SIGTERM, lambda signum, frame: steps.append(signum))
        before = calm()
        section = TerminateProtected()
        for _ in range(3):
            with section as p:
                assert p is section
                equal((False, None), (p.pending, p.reason))
                send(SIGTERM)
                send(SIGTERM)
                time.sleep(0.001)
                equal(True, p.pending)
                equal(SIGTERM, p.reason.signum)
                steps.append("inside")
            equal(["inside", SIGTERM], steps)
            equal((False, None), (section.pending, section.reason))
            steps.clear()
        equal({}, changes(before))
        """
    )


@pytest.mark.parametrize(
    ("signum", "status", "name"),
    [(TERM, -TERM, "GracefulExit"), (INT, -INT, "KeyboardInterrupt")],
)
def test_default_disposition(program, signum: int, status: int, name: str) -> None:
    """A default disposition raises in main when the block is left: finally and atexit
    run, and the status is by signal."""
    child = program(
        """
        import atexit
        atexit.register(print, "atexit")
        try:
            with TerminateProtected():
                print("ready", flush=True)
                sys.stdin.read(1)
                print("whole")
            print("not reached")
        except BaseException as error:
            print(type(error).__name__)
            raise
        """,
        stdin=-1,
    )
    child.wait_line("ready")
    child.signal(signum)
    child.stdin.write(b"x")
    child.stdin.flush()
    done = child.finish()

    assert done.out == f"ready\nwhole\n{name}\natexit\n"
    assert done.status == status


def test_ignored_stays_ignored(passes) -> None:
    """An ignored signal stays ignored."""
    passes(
        """
        signal.signal(SIGTERM, SIG_IGN)
        with TerminateProtected() as p:
            send(SIGTERM)
        equal(SIG_IGN, signal.getsignal(SIGTERM))
        """
    )


def test_nested(passes) -> None:
    """Only the outermost block delivers, whatever objects are nested."""
    passes(
        """
        steps = []
        signal.signal(SIGTERM, lambda *_: steps.append("handler"))
        same = TerminateProtected()
        with same, TerminateProtected("TERM"), same:
            with TerminateProtected("HUP"):
                send(SIGTERM)
            steps.append("inner left")
        equal(["inner left", "handler"], steps)
        """
    )


def test_union_of_signals(passes) -> None:
    """The signals of all open sections are held until the last is left."""
    passes(
        """
        steps = []
        for s in (SIGTERM, SIGHUP):
            signal.signal(s, lambda signum, frame: steps.append(signum))
        with TerminateProtected("TERM"):
            with TerminateProtected("HUP"):
                send(SIGHUP)
            steps.append("one left")
            send(SIGHUP)
            send(SIGTERM)
            time.sleep(0.001)
        equal("one left", steps[0])
        equal([SIGHUP, SIGTERM], sorted(steps[1:]))
        """
    )


def test_exception_of_the_block(passes) -> None:
    """The block's exception goes on; if the delivery raises it is its __context__."""
    passes(
        """
        signal.signal(SIGTERM, lambda *_: None)
        try:
            with TerminateProtected():
                send(SIGTERM)
                raise OSError("own")
        except OSError as error:
            equal("own", str(error))
        for signum, kind in ((SIGINT, KeyboardInterrupt), (SIGUSR1, GracefulExit)):
            try:
                with TerminateProtected(("INT", "USR1")):
                    send(signum)
                    raise OSError("own")
            except kind as error:
                equal("own", str(error.__context__))
            else:
                raise AssertionError("nothing raised")
        """
    )


def test_main_is_delivered_to_from_another_thread(program) -> None:
    """A section of another thread that closes last: main is told where it waits."""
    child = program(
        """
        class Mine(Exception): pass
        def handler(*_): raise Mine
        signal.signal(SIGTERM, handler)
        go = threading.Event()
        inside = threading.Event()
        def work():
            with TerminateProtected():
                inside.set()
                go.wait()
                print("whole", flush=True)
        thread = threading.Thread(target=work)
        thread.start()
        inside.wait()
        threading.Thread(target=lambda: (sys.stdin.read(1), go.set())).start()
        try:
            print("ready", flush=True)
            time.sleep(1000)
        except Mine:
            print("raised in main")
        """,
        stdin=-1,
    )
    child.wait_line("ready")
    child.signal(TERM)
    child.stdin.write(b"x")
    child.stdin.flush()
    done = child.finish()

    assert (done.status, done.out) == (0, "ready\nwhole\nraised in main\n")


def test_default_delivered_from_another_thread(program) -> None:
    """The same over a default disposition: the process ends by the signal."""
    child = program(
        """
        go, inside = threading.Event(), threading.Event()
        def work():
            with TerminateProtected():
                inside.set()
                go.wait()
                print("whole", flush=True)
        thread = threading.Thread(target=work)
        thread.start()
        inside.wait()
        threading.Thread(target=lambda: (sys.stdin.read(1), go.set())).start()
        print("ready", flush=True)
        time.sleep(1000)
        """,
        stdin=-1,
    )
    child.wait_line("ready")
    child.signal(TERM)
    child.stdin.write(b"x")
    child.stdin.flush()
    done = child.finish()

    assert (done.status, done.out) == (-TERM, "ready\nwhole\n")


def test_decorators(passes) -> None:
    """Functions and async functions can be decorated, and keep name and result."""
    passes(
        """
        import asyncio
        steps = []
        signal.signal(SIGTERM, lambda *_: steps.append("handler"))
        @TerminateProtected()
        def save(a, *, b):
            "doc"
            send(SIGTERM)
            time.sleep(0)
            steps.append("saved")
            return a + b
        equal(("save", "doc", 3), (save.__name__, save.__doc__, save(1, b=2)))
        equal(["saved", "handler"], steps)
        steps.clear()
        @TerminateProtected(timeout=100, name="x")
        async def save_async(a):
            async with TerminateProtected():
                send(SIGTERM)
            await asyncio.sleep(0.001)
            steps.append("saved")
            return a
        import inspect
        assert inspect.iscoroutinefunction(save_async)
        equal(4, asyncio.run(save_async(4)))
        equal(["saved", "handler"], steps)
        """
    )


def test_sections_of_tasks(passes) -> None:
    """async with belongs to the task: two tasks of a loop share one object."""
    passes(
        """
        import asyncio
        signal.signal(SIGTERM, lambda *_: None)
        section = TerminateProtected()
        async def task(first, second):
            async with section:
                first.set()
                await second.wait()
        async def main():
            a, b = asyncio.Event(), asyncio.Event()
            await asyncio.gather(task(a, b), task(b, a))
        asyncio.run(main())
        equal(False, section.pending)
        """
    )


def test_with_a_killer(passes) -> None:
    """With a killer alive its flag is set at once inside, and nothing is held."""
    passes(
        """
        with GracefulKiller() as killer:
            before = state()["actions"]
            with TerminateProtected(name="ledger") as p:
                equal(before, state()["actions"])
                send(SIGTERM)
                equal(True, killer.kill_now)
                equal(True, p.pending)
                equal(SIGTERM, p.reason.signum)
                equal(["ledger"], [s.name for s in killer.report().sections])
        """
    )


def test_new_killer_takes_the_pending_signal(passes) -> None:
    """A killer made inside a section takes the pending signal as its stop."""
    passes(
        """
        called = []
        signal.signal(SIGTERM, lambda *_: called.append(1))
        with TerminateProtected():
            send(SIGTERM)
            killer = GracefulKiller()
            equal(True, killer.kill_now)
            equal(SIGTERM, killer.reason.signum)
        equal([], called)
        killer.close()
        equal([], called)
        """
    )


def test_killer_closed_inside(passes) -> None:
    """A killer that is closed inside a section leaves the hold to the section."""
    passes(
        """
        steps = []
        def handler(*_): steps.append("handler")
        signal.signal(SIGTERM, handler)
        killer = GracefulKiller()
        with TerminateProtected():
            killer.close()
            send(SIGTERM)
            time.sleep(0.001)
            steps.append("inside")
        equal(["inside", "handler"], steps)
        equal(handler, signal.getsignal(SIGTERM))
        """
    )


def test_signals_of_another_owner_pass(passes) -> None:
    """Signals that no section asked for are delivered at once inside one."""
    passes(
        """
        called = []
        signal.signal(SIGUSR1, lambda *_: called.append(1))
        with TerminateProtected():
            send(SIGUSR1)
            equal([1], called)
        """
    )


def test_sigquit_is_the_way_out(program) -> None:
    """Ctrl+\\ ends the process inside a section."""
    child = program(
        """
        import resource
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with TerminateProtected():
            print("ready", flush=True)
            while True:
                time.sleep(1000)
        """
    )
    child.wait_line("ready")
    child.signal(signal.SIGQUIT)

    assert child.finish().status == -signal.SIGQUIT


def test_timeout_with_a_killer(program) -> None:
    """A section over its timeout is logged, with its stack, and holds up no HURRY."""
    child = program(
        """
        killer = GracefulKiller()
        def stuck_here():
            while True:
                time.sleep(1000)
        def later():
            killer.wait()
            until(lambda: killer.report().stopping_for > 0.6, "0.6 s")
            os.write(1, b"later\\n")
        threading.Thread(target=later, daemon=True).start()
        with TerminateProtected(timeout=0.3, name="ledger"):
            print("ready", flush=True)
            stuck_here()
        """
    )
    child.wait_line("ready")
    child.signal(INT)
    child.wait_line("later")
    child.signal(INT)
    done = child.finish()

    assert "ledger" in done.err
    assert "stuck_here" in done.err
    assert done.status == -INT


def test_timeout_without_a_killer(program) -> None:
    """A section over its timeout no longer holds the signal."""
    child = program(
        """
        with TerminateProtected(timeout=0.3, name="ledger"):
            print("ready", flush=True)
            while True:
                time.sleep(1000)
        """
    )
    child.wait_line("ready")
    child.signal(TERM)
    done = child.finish()

    assert "ledger" in done.err
    assert done.status == -TERM


def test_renew(passes) -> None:
    """renew() lets the timeout count from now."""
    done = passes(
        """
        killer = GracefulKiller()
        killer.stop()
        with TerminateProtected(timeout=1.5) as p:
            for _ in range(3):
                start = time.monotonic()
                until(lambda: time.monotonic() > start + 0.6, "time")
                p.renew()
        killer.close()
        """
    )

    assert done.err == ""


def test_closed_by_another_thread(passes) -> None:
    """A section that another thread closes is closed, and a RuntimeError says so."""
    passes(
        """
        called = []
        signal.signal(SIGTERM, lambda *_: called.append(1))
        before = calm()
        section = TerminateProtected()
        opener = threading.Thread(target=section.__enter__)
        opener.start()
        opener.join()
        try:
            section.__exit__(None, None, None)
        except RuntimeError as error:
            assert "thread" in str(error)
        else:
            raise AssertionError("nothing raised")
        send(SIGTERM)
        equal([1], called)
        equal(before["actions"], state()["actions"])
        """
    )


def test_generator_closed_by_another_thread(passes) -> None:
    """The same inside a generator (fixtures, dependencies in a thread pool)."""
    passes(
        """
        signal.signal(SIGTERM, lambda *_: None)
        before = calm()
        def generator():
            with TerminateProtected():
                yield
        made = generator()
        opener = threading.Thread(target=lambda: next(made))
        opener.start()
        opener.join()
        try:
            next(made)
        except RuntimeError as error:
            assert "thread" in str(error)
        equal({}, changes(before))
        """
    )


def test_sections_from_other_threads_restore(passes) -> None:
    """Sections opened and closed in any threads leave both tables as they were."""
    passes(
        """
        def mine(*_): pass
        signal.signal(SIGTERM, mine)
        before = calm()
        def work():
            for _ in range(50):
                with TerminateProtected():
                    pass
        for _ in range(10):
            threads = [threading.Thread(target=work) for _ in range(3)]
            for thread in threads: thread.start()
            for _ in range(50):
                with TerminateProtected():
                    pass
            for thread in threads: thread.join()
            equal(mine, signal.getsignal(SIGTERM))
        equal({}, changes(before))
        """
    )


def test_asyncio_run_in_a_section(passes) -> None:
    """asyncio.run() inside a section does not lose the protection."""
    passes(
        """
        import asyncio
        steps = []
        signal.signal(SIGINT, lambda *_: steps.append("handler"))
        async def main():
            send(SIGINT)
            await asyncio.sleep(0.001)
            steps.append("inside")
        with TerminateProtected():
            asyncio.run(main())
            steps.append("still inside")
        equal(["inside", "still inside", "handler"], steps)
        """
    )
