"""Code that handles signals itself: faulthandler, set_wakeup_fd() and libraries that
save and restore handlers. All from the standard library, so no stand-ins."""

from __future__ import annotations

import pytest

# Above every child. Its argument is the back end.
COMMON = """
backend = sys.argv[1]
STOPS = (SIGTERM, SIGINT)
def table():
    return {s: (signal.getsignal(s), action(s)) for s in STOPS}
"""


# ---- faulthandler --------------------------------------------------------------


def test_faulthandler_first(beside) -> None:
    """faulthandler.register() of our signals before us: the killer hears alone, and
    close() gives them back."""
    done = beside(
        """
        import faulthandler
        for signum in STOPS:
            faulthandler.register(signum)
        before = table()
        for signum in STOPS:
            with GracefulKiller(backend=backend) as killer:
                assert killer.armed
                send(signum)
                equal(True, killer.wait(LIMIT))
                equal(signum, killer.reason.signum)
            equal(before, table())
        print("closed", file=sys.stderr, flush=True)
        for signum in STOPS:
            send(signum)
        """
    )

    heard, closed = done.err.split("closed")
    assert [part.count("Current thread") for part in (heard, closed)] == [0, 2]


def test_faulthandler_chained(beside_in_main) -> None:
    """With `chain=True` the killer hears, and faulthandler dumps the stack. Of main
    alone: the dispatcher is at work, and a walk through the stack of a thread at work
    can crash CPython (python/cpython#128400)."""
    done = beside_in_main(
        """
        import faulthandler
        faulthandler.register(SIGTERM, all_threads=False)
        with GracefulKiller(backend=backend, chain=True) as killer:
            send(SIGTERM)
            equal(True, killer.wait(LIMIT))
            equal(SIGTERM, killer.reason.signum)
        """
    )

    assert done.err.count("most recent call first") == 1


def test_faulthandler_second(beside_in_main) -> None:
    """faulthandler.register() of our signals after us takes them, and we say so; with
    its `chain=True` we hear all the same. unregister() gives them back to us."""
    done = beside_in_main(
        """
        import faulthandler
        before = table()
        for chain in (True, False):
            for signum in STOPS:
                told = log_lines("taken over:")
                with GracefulKiller(backend=backend) as killer:
                    faulthandler.register(signum, chain=chain)
                    equal(False, killer.armed)
                    killer.wait(0.001)
                    until(lambda: told, "told")
                    assert "C code" in told[0] and "rearm()" in told[0], told
                    send(signum)
                    equal(chain, killer.wait(0.001))
                    faulthandler.unregister(signum)
                    assert killer.armed
                    send(signum)
                    equal(True, killer.wait(LIMIT))
                    equal(signum, killer.reason.signum)
                equal(1, len(told))
                equal(before, table())
        """
    )

    assert done.err.count("Current thread") == 4


def test_faulthandler_and_rearm(beside) -> None:
    """rearm() over faulthandler.register(): the killer hears; unregister() in the
    middle of it, or close() before it, leave nobody without a handler."""
    beside(
        """
        import faulthandler
        before = table()
        for signum in STOPS:
            with GracefulKiller(backend=backend) as killer:
                faulthandler.register(signum)
                killer.rearm()
                assert killer.armed
                faulthandler.unregister(signum)
                if not killer.armed:
                    killer.rearm()
                send(signum)
                equal(True, killer.wait(LIMIT))
                equal(signum, killer.reason.signum)
        """
    )


# ---- set_wakeup_fd -------------------------------------------------------------


def test_wakeup_fd(beside) -> None:
    """Set before us or after, signal.set_wakeup_fd() is fed with what is not ours; with
    lowlevel.add_wakeup_fd() the same descriptor gets ours too, until we are closed."""
    beside(
        """
        import socket
        from gracefulexit import lowlevel
        reader, writer = socket.socketpair()
        reader.settimeout(LIMIT)
        writer.setblocking(False)
        signal.signal(SIGUSR1, lambda *_: None)
        for first in (True, False):
            for signum in STOPS:
                if first:
                    signal.set_wakeup_fd(writer.fileno())
                with GracefulKiller(backend=backend) as killer:
                    if not first:
                        equal(-1, signal.set_wakeup_fd(writer.fileno()))
                    send(SIGUSR1)
                    equal(bytes([SIGUSR1]), reader.recv(10))
                    lowlevel.add_wakeup_fd(writer)
                    send(signum)
                    equal(bytes([signum]), reader.recv(10))
                    equal(signum, killer.reason.signum)
                    lowlevel.remove_wakeup_fd(writer)
                    send(signum)
                    send(SIGUSR1)
                    equal(bytes([SIGUSR1]), reader.recv(10))
                send(SIGUSR1)
                equal(bytes([SIGUSR1]), reader.recv(10))
                equal(writer.fileno(), signal.set_wakeup_fd(-1))
        """
    )


def test_wakeup_fd_and_raises(beside_in_main) -> None:
    """What Python handles itself, as with `raises`, is in the user's slot as well."""
    beside_in_main(
        """
        import socket
        reader, writer = socket.socketpair()
        reader.settimeout(LIMIT)
        writer.setblocking(False)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        for signum in STOPS:
            raised = []
            try:
                with GracefulKiller(backend=backend, raises=ValueError) as killer:
                    try:
                        send(signum)
                        time.sleep(LIMIT)
                    except ValueError:
                        raised.append(signum)
                    equal(signum, killer.reason.signum)
                    assert signum in reader.recv(100)
            finally:
                equal([signum], raised)
        """
    )


# ---- libraries that save and restore -------------------------------------------


def test_unittest_installs_its_handler(beside_in_main) -> None:
    """unittest.installHandler() after us: its first Ctrl-C is its own, the second goes
    to who was there before it, which is us; removeHandler() gives us back."""
    beside_in_main(
        """
        import unittest
        before = table()
        with GracefulKiller(backend=backend) as killer:
            ours = table()
            result = unittest.TestResult()
            unittest.registerResult(result)
            unittest.installHandler()
            equal(False, killer.armed)
            send(SIGINT)
            equal((True, False), (result.shouldStop, killer.kill_now))
            send(SIGINT)
            until(lambda: killer.kill_now, "heard")
            unittest.removeHandler()
            assert killer.armed
            equal(ours, table())
        unittest.signals._interrupt_handler = None
        # Before us.
        unittest.installHandler()
        theirs = table()
        result.shouldStop = False
        unittest.registerResult(result)
        with GracefulKiller(backend=backend) as killer:
            send(SIGINT)
            equal(True, killer.wait(LIMIT))
            equal(False, result.shouldStop)
        equal(theirs, table())
        send(SIGINT)
        equal(True, result.shouldStop)
        unittest.removeHandler()
        equal(before, table())
        """
    )


def test_debugger(beside) -> None:
    """pdb takes SIGINT at `continue` and restores it at the next prompt: we are armed
    again there, and SIGTERM is ours all the time."""
    beside(
        """
        import io, pdb
        armed = []
        class Commands(io.StringIO):
            def readline(self):
                armed.append(killer.armed)
                return "continue\\n"
        with GracefulKiller(backend=backend) as killer:
            ours = table()
            debugger = pdb.Pdb(stdin=Commands(), stdout=io.StringIO())
            debugger.set_trace()
            x = 1  # the first prompt is here
            armed.append(killer.armed)
            equal(ours[SIGTERM], table()[SIGTERM])
            debugger.set_trace()
            x = 2  # and the second
            equal([True, False, True], armed)
            killer.rearm()
            send(SIGINT)
            equal(True, killer.wait(LIMIT))
            equal(SIGINT, killer.reason.signum)
        """
    )


def test_restored_while_we_are_there(beside) -> None:
    """A library that was there before us and restores its own predecessor while we are
    alive leaves us without the signal: the log says so once, rearm() takes it back, and
    close() gives it to whom the library left it."""
    beside(
        """
        told = log_lines("taken over:")
        before = {s: signal.getsignal(s) for s in STOPS}
        for signum in STOPS:
            saved = signal.signal(signum, lambda *_: None)
            with GracefulKiller(backend=backend) as killer:
                signal.signal(signum, saved)
                equal(False, killer.armed)
                for _ in range(3):
                    killer.wait(0.001)
                until(lambda: told, "told")
                equal(1, len(told))
                assert "rearm()" in told[0], told
                if signum == SIGTERM:
                    assert "default action" in told[0], told
                else:
                    assert "KeyboardInterrupt" in told[0], told
                killer.rearm()
                assert killer.armed
                send(signum)
                equal(True, killer.wait(LIMIT))
                equal(signum, killer.reason.signum)
            equal(before, {s: signal.getsignal(s) for s in STOPS})
            told.clear()
        """
    )


@pytest.mark.race
@pytest.mark.slow
def test_saved_and_restored_all_the_time(beside) -> None:
    """A signal that comes while a library saves, sets and restores handlers is heard by
    the one or the other, never lost, and never the end of the process."""
    beside(
        """
        import random
        theirs = []
        def run_library(signum):
            saved = signal.signal(signum, lambda *_: theirs.append(1))
            signal.signal(signum, saved)
        def send_later(delay, signum):
            time.sleep(delay)
            send(signum)
        ours = 0
        for n in times(150):
            signum = STOPS[n % 2]
            theirs.clear()
            with GracefulKiller(backend=backend) as killer:
                args = random.uniform(0, 0.0005), signum
                sender = threading.Thread(target=send_later, args=args)
                sender.start()
                while sender.is_alive():
                    run_library(signum)
                sender.join()
                until(lambda: killer.kill_now or theirs, "heard")
                ours += killer.kill_now
                assert killer.armed
        assert ours, "we heard none of them"
        """
    )
