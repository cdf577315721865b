"""A stop in sigwait mode: states, sections, asyncio, the end, as with a handler."""

from __future__ import annotations

import signal

import pytest


@pytest.mark.slow
def test_second_interrupt_hurries(program) -> None:
    """A second Ctrl-C ends the process, by SIGINT, as soon as no section is open."""
    child = program(
        """
        from gracefulexit import lowlevel
        logging.basicConfig(level=logging.INFO)
        killer = GracefulKiller(backend="sigwait")
        with TerminateProtected(name="write"):
            print("ready", flush=True)
            killer.wait()
            until(lambda: killer.report().stopping_for > 0.6, "time passes")
            print("stopping", flush=True)
            until(lambda: lowlevel.state() == "hurry", "hurry")
            print("inside", flush=True)
        while True:
            libc.poll(None, 0, 1000)
        """
    )
    child.wait_line("ready")
    child.signal(signal.SIGINT)
    child.wait_line("stopping")
    child.signal(signal.SIGINT)
    child.wait_line("inside")
    done = child.finish()

    assert done.status == -signal.SIGINT
    assert "write" in done.err


@pytest.mark.slow
@pytest.mark.parametrize("status", ["signal", "code"])
def test_deadline_in_a_system_call(program, status: str) -> None:
    """The grace ends the process while main is in a C call that nothing interrupts."""
    child = program(
        """
        killer = GracefulKiller(
            backend="sigwait", grace=0.2, exit_status=sys.argv[1])
        print("ready", flush=True)
        libc.poll(None, 0, -1)
        """,
        status,
    )
    child.wait_line("ready")
    child.signal(signal.SIGTERM)

    assert child.finish().status == {"signal": -15, "code": 143}[status]


@pytest.mark.race
def test_sections_are_never_torn(passes) -> None:
    """Sections that are open when a killer is made or closed hold the signal, which
    goes to its owner when the last one is left."""
    passes(
        """
        from sigwaits import *
        heard = []
        signal.signal(SIGTERM, lambda *_: heard.append(inside))
        inside = False
        for n in times(100):
            with TerminateProtected("TERM") as section:
                inside = True
                killer = GracefulKiller("TERM", backend="sigwait")
                equal({SIGTERM}, blocked())
                killer.close()
                equal(set(), blocked())
                send(SIGTERM)
                until(lambda: section.pending, "pending")
                equal([], heard)
                inside = False
            equal([False], heard)
            heard.clear()
            equal(False, killer.kill_now)
            killer = GracefulKiller("TERM", backend="sigwait")
            with TerminateProtected("TERM") as section:
                send(SIGTERM)
                equal(True, killer.wait(LIMIT))
                killer.close()
            equal([], heard)
        """
    )


def test_pending_in_a_section_becomes_the_stop(passes) -> None:
    """A killer that is made takes over what a section of before holds, whose watcher
    runs already."""
    passes(
        """
        from sigwaits import *
        with TerminateProtected("TERM", timeout=60) as section:
            send(SIGTERM)
            until(lambda: section.pending, "pending")
            killer = GracefulKiller("TERM", backend="sigwait")
            equal(True, killer.kill_now)
        equal(SIGTERM, killer.reason.signum)
        killer.close()
        equal(set(), blocked())
        GracefulKiller("TERM", backend="futex").close()
        """
    )


@pytest.mark.parametrize("send_it", ["outside", "inside"])
def test_wait_async(program, send_it: str) -> None:
    """wait_async() wakes the task at once, though the loop's own call is not
    interrupted."""
    child = program(
        """
        import asyncio
        async def main():
            with GracefulKiller(backend="sigwait") as killer:
                print("ready", flush=True)
                if sys.argv[1] == "inside":
                    asyncio.get_running_loop().call_later(0, send, SIGTERM)
                equal(True, await killer.wait_async(LIMIT))
                print(killer.reason.signal.name)
        asyncio.run(main())
        """,
        send_it,
    )
    child.wait_line("ready")
    if send_it == "outside":
        child.signal(signal.SIGTERM)
    done = child.finish()

    assert (done.status, done.err) == (0, "")
    assert done.out == "ready\nSIGTERM\n"


def test_others_and_the_report(program) -> None:
    """on(), take(), counts, the sender and the report are those of every back end."""
    child = program(
        """
        import os
        killer = GracefulKiller(backend="sigwait")
        called = []
        killer.on("HUP", called.append)
        killer.take("USR1")
        parent = os.getppid()
        print("ready", flush=True)
        until(lambda: called, "HUP")
        equal((SIGHUP, parent), (called[0].signum, called[0].si_pid))
        until(lambda: killer.take("USR1"), "USR1")
        equal(True, killer.wait(LIMIT))
        equal({SIGTERM: 1, SIGINT: 0, SIGHUP: 1, SIGUSR1: 1}, dict(killer.counts))
        equal(parent, killer.reason.si_pid)
        assert f"SIGTERM from pid {parent}" in str(killer.report())
        equal(True, killer.armed)
        killer.exit()
        """
    )
    child.wait_line("ready")
    for signum in (signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM):
        child.signal(signum)
    done = child.finish()

    assert done.status == -signal.SIGTERM, done.err


@pytest.mark.parametrize("made", ["before", "after"])
def test_queue_of_pending_calls_is_full(passes, made: str) -> None:
    """Where main cannot be asked to follow, the next change asks again."""
    passes(
        """
        from sigwaits import *
        from gracefulexit import _core
        there, full = _core.in_main, True
        _core.in_main = lambda func: False if full else there(func)
        def in_thread(func):
            thread = threading.Thread(target=func)
            thread.start()
            thread.join()
        def make():
            global killer
            killer = GracefulKiller("TERM", backend="sigwait")
        if sys.argv[1] == "before":
            make()
            equal({SIGTERM}, blocked())
            in_thread(killer.close)
            equal({SIGTERM}, blocked())
        else:
            in_thread(make)
            equal(set(), blocked())
        full = False
        second = GracefulKiller("HUP", backend="sigwait")
        until(lambda: SIGHUP in blocked(), "followed")
        equal({SIGHUP} | ({SIGTERM} if sys.argv[1] == "after" else set()), blocked())
        second.close()
        killer.close()
        equal(set(), blocked())
        """,
        made,
    )
