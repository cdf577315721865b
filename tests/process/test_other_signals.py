"""on(), take() and counts: signals that do not stop."""

from __future__ import annotations

import signal

import pytest


def test_on(program) -> None:
    """on() calls func(SignalInfo) for each signal, off the main thread, and does not
    stop; close() gives the signal back."""
    child = program(
        """
        before = action(SIGHUP)
        killer = GracefulKiller()
        called = threading.Event()
        @killer.on("HUP")
        def reload(info):
            assert threading.current_thread() is not threading.main_thread()
            print(type(info).__name__, info.signal.name, info.si_pid, flush=True)
            called.set()
        assert callable(reload)
        print("ready", flush=True)
        assert called.wait(LIMIT)
        equal(False, killer.kill_now)
        equal(1, killer.counts[SIGHUP])
        killer.close()
        equal(before, action(SIGHUP))
        """
    )
    child.wait_line("ready")
    child.signal(signal.SIGHUP)
    child.wait_line("SignalInfo SIGHUP")
    done = child.finish()

    assert done.err == ""
    assert done.status == 0


def test_on_signals_that_do_not_end(passes) -> None:
    """on() takes signals that do not end a program: WINCH, CHLD, TSTP, CONT."""
    passes(
        """
        killer = GracefulKiller()
        for name in ("WINCH", "CHLD", "TSTP", "CONT", "URG"):
            called = threading.Event()
            killer.on(name, lambda info: called.set())
            send(getattr(signal, "SIG" + name))
            assert called.wait(LIMIT), name
        killer.close()
        """
    )


def test_on_several_functions_and_killers(passes) -> None:
    """Every function that is registered for a signal is called, in any killer."""
    passes(
        """
        first, second = GracefulKiller(), GracefulKiller("INT")
        called = []
        over = threading.Semaphore(0)
        def note(what):
            def func(info): called.append(what); over.release()
            return func
        first.on("HUP", note("a"))
        first.on("HUP", note("b"))
        second.on("HUP", note("c"))
        send(SIGHUP)
        for _ in range(3):
            assert over.acquire(timeout=LIMIT)
        equal(["a", "b", "c"], sorted(called))
        first.close()
        send(SIGHUP)
        assert over.acquire(timeout=LIMIT)
        equal(["a", "b", "c", "c"], sorted(called))
        second.close()
        """
    )


def test_on_that_fails(passes) -> None:
    """A callback that raises is logged and is called again next time."""
    done = passes(
        """
        killer = GracefulKiller()
        over = threading.Semaphore(0)
        @killer.on("HUP")
        def bad(info):
            over.release()
            raise ValueError("bad callback")
        for _ in range(2):
            send(SIGHUP)
            assert over.acquire(timeout=LIMIT)
        killer.close()
        """
    )

    assert "bad callback" in done.err


def test_signals_during_a_callback_share_the_next(passes) -> None:
    """A signal during a callback is a new event: one more call, and not a third one
    at some later signal."""
    passes(
        """
        killer = GracefulKiller()
        entered, release = threading.Semaphore(0), threading.Semaphore(0)
        calls = []
        def slow(info):
            calls.append(info)
            entered.release()
            assert release.acquire(timeout=LIMIT)
        marks = threading.Semaphore(0)
        killer.on("USR1", slow)
        killer.on("USR2", lambda info: marks.release())
        def mark():
            send(SIGUSR2)
            assert marks.acquire(timeout=LIMIT)
        send(SIGUSR1)
        assert entered.acquire(timeout=LIMIT)
        for _ in range(3):
            send(SIGUSR1)
            mark()
        equal(4, killer.counts[SIGUSR1])
        release.release()
        assert entered.acquire(timeout=LIMIT)
        release.release()
        for _ in range(10):
            release.release()
            mark()
        equal(2, len(calls))
        killer.close()
        """
    )


def test_slow_callback_delays_nobody(passes) -> None:
    """A callback that blocks does not delay the stop, its hooks or other signals."""
    passes(
        """
        killer = GracefulKiller()
        never, entered = threading.Event(), threading.Event()
        def slow(info): entered.set(); never.wait()
        killer.on("USR1", slow)
        other, hook = threading.Event(), threading.Event()
        killer.on("USR2", lambda info: other.set())
        killer.on_stop(hook.set)
        send(SIGUSR1)
        assert entered.wait(LIMIT)
        send(SIGUSR2)
        assert other.wait(LIMIT)
        send(SIGTERM)
        assert killer.event.wait(LIMIT)
        assert hook.wait(LIMIT)
        killer.close()
        never.set()
        """
    )


def test_take(passes) -> None:
    """take() is the number of handler runs since the last take; the first installs."""
    passes(
        """
        killer = GracefulKiller()
        equal(0, killer.take("USR1"))
        for _ in range(3):
            send(SIGUSR1)
        equal(3, killer.take("USR1"))
        equal(0, killer.take(SIGUSR1))
        send(SIGUSR1)
        equal(1, killer.take(int(SIGUSR1)))
        equal(4, killer.counts[SIGUSR1])
        send(SIGTERM)
        equal(1, killer.take("TERM"))
        equal(0, killer.take("TERM"))
        killer.close()
        with GracefulKiller() as second:
            equal(0, second.take("USR1"))
            equal(0, second.counts[SIGUSR1])
        """
    )


def test_counts_of_real_time_signals(passes) -> None:
    """Real-time signals can be waited for; counts and take() know them all."""
    passes(
        """
        killer = GracefulKiller()
        first, last = signal.SIGRTMIN, signal.SIGRTMAX
        for name in (first, first + 3, "RTMIN+5", last):
            killer.take(name)
        for signum in (first, first + 3, first + 5, last):
            send(signum)
            equal(1, killer.counts[signum])
        killer.close()
        """
    )


@pytest.mark.slow
def test_storm_is_counted_exactly(program, backend: str) -> None:
    """Of real-time signals from eight processes at once every one is counted."""
    done = program(
        """
        import resource, subprocess
        each, senders = 1500, 8
        # Beyond its limit, which all processes of a user share, the kernel merges
        # real-time signals as well.
        limit = resource.getrlimit(resource.RLIMIT_SIGPENDING)[1]
        resource.setrlimit(resource.RLIMIT_SIGPENDING, (limit, limit))
        killer = GracefulKiller(backend=sys.argv[1])
        calls = []
        killer.on("RTMIN+1", calls.append)
        killer.take("RTMIN+2")
        code = '''if True:
            import os, sys, signal
            pid, signum, number = map(int, sys.argv[1:])
            sys.stdin.read()
            for _ in range(number):
                os.kill(pid, signum)
        '''
        children = [
            subprocess.Popen(
                [sys.executable, "-S", "-c", code, str(os.getpid()),
                 str(signal.SIGRTMIN + 1 + i % 2), str(each)],
                stdin=subprocess.PIPE,
            )
            for i in range(senders)
        ]
        for child in children:
            child.stdin.close()
        equal([0] * senders, [child.wait() for child in children])
        total = each * senders // 2
        until(lambda: killer.counts[signal.SIGRTMIN + 1] == total, "all of the first")
        until(lambda: killer.counts[signal.SIGRTMIN + 2] == total, "all of the second")
        equal(total, killer.take("RTMIN+2"))
        until(lambda: len(calls) == total, "on() was called for each")
        equal(False, killer.kill_now)
        killer.close()
        """,
        backend,
    ).finish()

    assert done.err == ""
    assert done.status == 0


def test_wakeup_fds(passes, backend: str) -> None:
    """Each descriptor gets one byte a signal, its number; a full one blocks nobody; a
    reused number is left alone."""
    passes(
        """
        import socket
        from gracefulexit import lowlevel
        killer = GracefulKiller(backend=sys.argv[1])
        killer.take("USR1")
        pairs = [socket.socketpair() for _ in range(3)]
        for reader, writer in pairs:
            writer.setblocking(False)
            reader.settimeout(LIMIT)
            lowlevel.add_wakeup_fd(writer)
        send(SIGUSR1)
        for reader, _ in pairs:
            equal(bytes([SIGUSR1]), reader.recv(10))
        lowlevel.remove_wakeup_fd(pairs[0][1])
        # Closed behind our back, its number taken by a file of the user's.
        gone = pairs[1][1].fileno()
        pairs[1][1].close()
        file = os.open("victim", os.O_CREAT | os.O_RDWR)
        os.dup2(file, gone)
        full = pairs[2][1]
        try:
            while True:
                full.send(b"x" * 1000)
        except BlockingIOError:
            pass
        send(SIGUSR1)
        send(SIGTERM)
        assert killer.event.wait(LIMIT)
        equal(0, os.path.getsize("victim"))
        pairs[0][0].setblocking(False)
        try:
            pairs[0][0].recv(1)
        except BlockingIOError:
            pass
        else:
            raise AssertionError("written after remove_wakeup_fd()")
        lowlevel.remove_wakeup_fd(full)
        killer.close()
        equal(0, os.path.getsize("victim"))
        """,
        backend,
    )


def test_state_and_counts_of_lowlevel(passes) -> None:
    """lowlevel.state() and counts() are the process's."""
    passes(
        """
        from gracefulexit import lowlevel
        equal("running", lowlevel.state())
        equal({}, lowlevel.counts())
        equal({"SIGTERM": 0}, lowlevel.counts("TERM"))
        killer = GracefulKiller()
        send(SIGTERM)
        send(SIGTERM)
        equal("stopping", lowlevel.state())
        equal({"SIGTERM": 2}, lowlevel.counts())
        equal({"SIGINT": 0, "SIGTERM": 2}, lowlevel.counts("INT", "TERM"))
        killer.close()
        equal("running", lowlevel.state())
        equal(["futex", "pipe", "sigwait"], lowlevel.backends())
        """
    )


def test_first_and_last_sender(passes) -> None:
    """lowlevel tells who sent a signal first, and who last."""
    passes(
        """
        import subprocess
        from gracefulexit import lowlevel
        with GracefulKiller() as killer:
            equal((None, None), (lowlevel.first("USR1"), lowlevel.last("USR1")))
            equal(0, killer.take("USR1"))
            send(SIGUSR1)
            other = subprocess.Popen(["/bin/sh", "-c", f"kill -USR1 {os.getpid()}"])
            equal(0, other.wait())
            until(lambda: lowlevel.counts("USR1") == {"SIGUSR1": 2}, "both")
            first, last = lowlevel.first("USR1"), lowlevel.last("USR1")
            equal([os.getpid(), other.pid], [first.si_pid, last.si_pid])
            assert first.when <= last.when
        """
    )
