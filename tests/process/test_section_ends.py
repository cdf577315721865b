"""Ends of sections that are not the usual ones: in another thread or context, under
an exception of other code, at the end of main."""

from __future__ import annotations

import pytest


def test_opener_and_another_thread_leave_at_once(passes) -> None:
    """Who comes second finds nothing of his to leave, and closes no other entry."""
    passes(
        """
        from gracefulexit import _core
        class Slow(str):
            # The message of the other thread's error is made after it has left.
            def __format__(self, spec):
                asked.set()
                assert go_on.wait(LIMIT)
                return "slow"
        asked, go_on = threading.Event(), threading.Event()
        section = TerminateProtected(name=Slow("x"))
        errors = []
        def leave():
            try:
                section.__exit__(None, None, None)
            except RuntimeError as error:
                errors.append(str(error))
        section.__enter__()
        other = threading.Thread(target=leave)
        other.start()
        assert asked.wait(LIMIT)
        equal(0, _core.sections())
        try:
            section.__exit__(None, None, None)
        except RuntimeError as error:
            assert "not open" in str(error), error
        else:
            raise AssertionError("left twice")
        section.__enter__()
        go_on.set()
        other.join()
        assert "another thread" in errors[0], errors
        equal(1, _core.sections())
        section.__exit__(None, None, None)
        equal(0, _core.sections())
        """
    )


def test_async_section_closed_in_another_context(passes) -> None:
    """A fixture's second half, or an entry under a time limit, runs in a context
    that does not know the section; it is closed all the same."""
    passes(
        """
        import asyncio
        from gracefulexit import _core
        loop = asyncio.new_event_loop()
        async def fixture():
            async with TerminateProtected():
                yield
        generator = fixture()
        loop.run_until_complete(generator.__anext__())
        equal(1, _core.sections())
        try:
            loop.run_until_complete(generator.__anext__())
        except StopAsyncIteration:
            pass
        equal(0, _core.sections())
        async def limited():
            section = TerminateProtected()
            await asyncio.wait_for(section.__aenter__(), 10)
            await section.__aexit__(None, None, None)
        loop.run_until_complete(limited())
        equal(0, _core.sections())
        loop.close()
        """
    )


@pytest.mark.race
def test_async_section_left_under_exceptions(passes) -> None:
    """A handler that raises between the end of the block and the end of the section
    does not leave it open."""
    passes(
        """
        import random, warnings
        from gracefulexit import _core
        warnings.simplefilter("ignore")  # what is never awaited
        class TooLate(Exception): pass
        def late(*args): raise TooLate
        signal.signal(signal.SIGALRM, late)
        section = TerminateProtected("TERM")
        async def loop():
            while True:
                async with section:
                    pass
        left = 0
        for _ in times(2000):
            try:
                coroutine = loop()
                delay = random.uniform(1e-4, 8e-4)
                signal.setitimer(signal.ITIMER_REAL, delay)
                coroutine.send(None)
            except TooLate:
                pass
            left = max(left, _core.sections())
        # One may have been interrupted between its opening and its first line.
        assert left <= 20, left
        """
    )


def test_new_thread_is_not_told_of_the_end(passes) -> None:
    """SystemExit is for the threads that were alive at the delivery, and idents are
    used again."""
    passes(
        """
        ended = threading.Event()
        thread = threading.Thread(target=ended.wait)
        thread.start()
        ran = []
        def clean_up():
            with TerminateProtected():
                ran.append(1)
        try:
            with TerminateProtected():
                send(SIGTERM)
        except GracefulExit:
            ended.set()
            thread.join()
            for _ in range(3):
                thread = threading.Thread(target=clean_up)
                thread.start()
                thread.join()
        equal([1, 1, 1], ran)
        """
    )


def test_timeout_after_main_has_ended(program) -> None:
    """CPython 3.12 starts no thread then: the section opens all the same."""
    done = program(
        """
        import atexit
        def use(what):
            with TerminateProtected(timeout=5):
                print(what, flush=True)
        def work():
            until(lambda: not threading.main_thread().is_alive(), "main has ended")
            use("worker")
        atexit.register(use, "atexit")
        threading.Thread(target=work).start()
        """
    ).finish()

    assert (done.status, done.out) == (0, "worker\natexit\n"), done.err


@pytest.mark.parametrize("daemon", [True, False])
def test_end_without_a_stop_signal_waits_as_python_does(program, daemon: bool) -> None:
    """A signal whose handler only works (a reload) does not make the end of the
    program wait for a daemon's section; a thread that is none is waited for."""
    done = program(
        """
        daemon = sys.argv[1] == "True"
        signal.signal(SIGUSR1, lambda *_: None)
        with TerminateProtected("USR1"):
            send(SIGUSR1)
        inside = threading.Event()
        def work():
            with TerminateProtected("USR1"):
                inside.set()
                time.sleep(1000 if daemon else 0.2)
                print("whole", flush=True)
        threading.Thread(target=work, daemon=daemon).start()
        inside.wait()
        """,
        daemon,
    ).finish()

    assert (done.status, done.out) == (0, "" if daemon else "whole\n"), done.err


def test_timed_sections_leave_nothing_behind(passes) -> None:
    """Their threads end with them."""
    passes(
        """
        from gracefulexit._process import process
        for _ in range(50):
            with TerminateProtected(timeout=20):
                pass
        until(lambda: threading.active_count() == 1, "no thread of ours is left")
        with TerminateProtected(timeout=20):
            pass
        assert len(process._retired) <= 2, process._retired
        """
    )


@pytest.mark.parametrize("caught", [True, False])
def test_end_by_ctrl_c_tears_no_section(program, caught: bool) -> None:
    """An uncaught KeyboardInterrupt that was held waits for a daemon's section; one
    that was caught, and forgotten, does not hold up the end."""
    done = program(
        """
        inside = threading.Event()
        def work():
            with TerminateProtected("TERM"):
                inside.set()
                time.sleep(1000 if sys.argv[1] == "True" else 0.3)
                print("whole", flush=True)
        try:
            with TerminateProtected():
                send(SIGINT)
        except KeyboardInterrupt:
            threading.Thread(target=work, daemon=True).start()
            inside.wait()
            if sys.argv[1] == "False":
                raise
        """,
        caught,
    ).finish()

    expected = (0, "") if caught else (-2, "whole\n")
    assert (done.status, done.out) == expected, done.err
