"""What a killer takes when it is made, and that close() gives back exactly that."""

from __future__ import annotations

import signal

import pytest

# Each makes a state before us, in main, with `signum` in scope.
BEFORE = {
    "default": "signal.signal(signum, SIG_DFL)",
    "default, asked for again": "pass",
    "Python handler": "signal.signal(signum, lambda *_: None)",
    "Python handler, interrupting": (
        "signal.signal(signum, lambda *_: None); signal.siginterrupt(signum, True)"
    ),
    "Python handler, restarting": (
        "signal.signal(signum, lambda *_: None); signal.siginterrupt(signum, False)"
    ),
    "C handler over the default": (
        "set_action(signum, function, SA_RESTART | SA_NODEFER, (SIGUSR2, SIGHUP))"
    ),
    "C handler over a Python handler": (
        "signal.signal(signum, lambda *_: None); set_action(signum, function, 0)"
    ),
    "C default over a Python handler": (
        "signal.signal(signum, lambda *_: None); set_action(signum, 0)"
    ),
}
MAKE_BEFORE = """
        import ctypes
        from probe import libc
        SA_RESTART, SA_NODEFER = 0x10000000, 0x40000000
        function = ctypes.cast(libc.getpid, ctypes.c_void_p).value  # does no harm
        signum = int(sys.argv[1])
        exec(sys.argv[2])
        GracefulKiller(()).close()  # what is made once for the life of the process
        before = calm()
"""


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_close_restores_exactly(passes, before: str, signum: int) -> None:
    """close() restores handler, flags and mask of what was there, in both tables."""
    passes(
        MAKE_BEFORE
        + """
        killer = GracefulKiller()
        assert killer.armed
        assert action(signum) != before["actions"][signum]
        killer.close()

        equal({}, changes(before))
        """,
        int(signum),
        BEFORE[before],
    )


@pytest.mark.parametrize("before", BEFORE)
def test_close_elsewhere_restores_exactly(passes, before: str) -> None:
    """close() in another thread restores the same as in main."""
    passes(
        MAKE_BEFORE
        + """
        killer = GracefulKiller()
        closer = threading.Thread(target=killer.close)
        closer.start()
        closer.join()

        equal({}, changes(before))
        """,
        int(signal.SIGTERM),
        BEFORE[before],
    )


def test_nothing_remains(passes, backend: str) -> None:
    """After the last close() no handler, thread or descriptor is left, used or not."""
    passes(
        """
        import asyncio
        from gracefulexit import lowlevel
        asyncio.run(asyncio.sleep(0))
        GracefulKiller().close()
        before = calm()
        for i in range(20):
            killer = GracefulKiller(backend=sys.argv[1], grace=60)
            called = threading.Event()
            killer.on("HUP", lambda info: called.set())
            killer.take("USR1")
            killer.on_stop(lambda: None)
            killer.on_exit(lambda: None)
            killer.fileno()
            worker = Worker(target=lambda: None)
            killer.start(worker)
            send(SIGHUP)
            assert called.wait(LIMIT)
            if i % 2:
                send(SIGTERM)
                assert killer.wait(LIMIT)
                assert asyncio.run(killer.wait_async(LIMIT))
            killer.join()
            killer.close()
            killer.close()

        equal({}, changes(before))
        equal("running", lowlevel.state())
        """,
        backend,
    )


def test_any_thread_installs(passes) -> None:
    """A killer made in any thread hears at once, and Python's table follows when main
    has run a bytecode."""
    passes(
        """
        made = []
        def make():
            killer = GracefulKiller()
            made.append(killer)
        maker = threading.Thread(target=make)
        maker.start()
        maker.join()
        killer, = made
        until(lambda: killer.armed, "armed")
        from gracefulexit._layers import on_python_signal
        equal(on_python_signal, signal.getsignal(SIGTERM))
        send(SIGTERM)
        assert killer.kill_now
        killer.close()
        equal(SIG_DFL, signal.getsignal(SIGTERM))
        equal(signal.default_int_handler, signal.getsignal(SIGINT))
        """
    )


def test_installed_while_main_is_busy(program) -> None:
    """A killer made in another thread hears while main is in a C call."""
    child = program(
        """
        def make():
            killer = GracefulKiller(exit_status=7)
            print("ready", flush=True)
            killer.wait()
            os._exit(33)
        threading.Thread(target=make).start()
        import ctypes
        ctypes.CDLL(None).pause()
        while True:
            ctypes.CDLL(None).sleep(1000)
        """
    )
    child.wait_line("ready")
    child.signal(signal.SIGTERM)

    assert child.finish().status == 33


def test_close_elsewhere_while_main_is_busy(program) -> None:
    """close() in another thread gives the kernel's table back though main is in C."""
    child = program(
        """
        import ctypes
        before = action(SIGTERM)
        def work():
            GracefulKiller().close()
            equal(before, action(SIGTERM))
            print("ready", flush=True)
        threading.Thread(target=work).start()
        ctypes.PyDLL(None)  # loaded
        while True:
            ctypes.CDLL(None).sleep(1000)
        """
    )
    child.wait_line("ready")
    child.signal(signal.SIGTERM)

    assert child.finish().status == -signal.SIGTERM


@pytest.mark.race
def test_main_never_sees_our_callable_after_close(passes) -> None:
    """Python's table is given back before main's next bytecodes after a close()
    elsewhere."""
    passes(
        """
        def mine(*_): pass
        signal.signal(SIGTERM, mine)
        go, gone = threading.Semaphore(0), threading.Semaphore(0)
        killers = []
        def close():
            for _ in times(200):
                go.acquire()
                killers.pop().close()
                gone.release()
        closer = threading.Thread(target=close)
        closer.start()
        for _ in times(200):
            killers.append(GracefulKiller("TERM"))
            go.release()
            gone.acquire()
            equal(mine, signal.getsignal(SIGTERM))
        closer.join()
        """
    )


def test_others_handler_is_not_overwritten(passes) -> None:
    """close() leaves a handler that other code has set meanwhile."""
    passes(
        """
        def other(*_): pass
        GracefulKiller(()).close()
        killer = GracefulKiller()
        signal.signal(SIGTERM, other)
        there = action(SIGTERM)
        killer.close()

        equal(other, signal.getsignal(SIGTERM))
        equal(there, action(SIGTERM))
        equal(signal.default_int_handler, signal.getsignal(SIGINT))
        """
    )


def test_others_c_handler_is_not_overwritten(passes) -> None:
    """close() leaves a C handler that other code has set over ours."""
    passes(
        """
        import ctypes
        from probe import libc
        function = ctypes.cast(libc.getpid, ctypes.c_void_p).value
        killer = GracefulKiller()
        set_action(SIGTERM, function, 0, (SIGUSR2,))
        there = action(SIGTERM)
        killer.close()

        equal(there, action(SIGTERM))
        """
    )


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_inherited_ignore_is_honoured(passes, signum: int) -> None:
    """A signal that was ignored when we came (nohup, `cmd &`) stays ignored."""
    passes(
        """
        signum = int(sys.argv[1])
        before = calm()
        with GracefulKiller(("TERM", "INT", "HUP")) as killer:
            equal(before["actions"][signum], action(signum))
            equal(SIG_IGN, signal.getsignal(signum))
            assert killer.armed
            send(signum)
            assert not killer.kill_now
            others = {SIGTERM, SIGINT, SIGHUP} - {signum}
            send(others.pop())
            assert killer.kill_now
        equal(before["actions"], state()["actions"])
        """,
        int(signum),
        ignored=[signum],
    )


def test_inherited_block_is_lifted(passes) -> None:
    """A signal that our parent has leaked blocked is unblocked, with one warning."""
    done = passes(
        """
        assert SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ())
        with GracefulKiller() as killer:
            assert SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
            GracefulKiller().close()
            send(SIGTERM)
            assert killer.kill_now
        """,
        blocked=[signal.SIGTERM],
    )

    assert done.err.count("SIGTERM was blocked") == 1


def test_block_of_another_signal_is_kept(passes) -> None:
    """Installing unblocks our signals only."""
    done = passes(
        """
        with GracefulKiller():
            equal({SIGUSR2}, signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        equal({SIGUSR2}, signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        """,
        blocked=[signal.SIGUSR2],
    )

    assert done.err == ""


def test_blocked_mask_is_given_back(passes) -> None:
    """close() gives back the mask of the thread that made the killer."""
    passes(
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, (SIGTERM,))
        killer = GracefulKiller()
        killer.close()

        equal({SIGTERM}, signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        """,
    )


def test_pending_signal_is_heard(passes) -> None:
    """A signal that was pending because it was blocked becomes the stop."""
    passes(
        """
        send(SIGTERM)
        with GracefulKiller() as killer:
            assert killer.kill_now
            equal(SIGTERM, killer.reason.signal)
        """,
        blocked=[signal.SIGTERM],
    )


def test_failed_install_changes_nothing(passes) -> None:
    """A constructor that the system refuses raises and leaves everything as it was."""
    passes(
        """
        import resource
        GracefulKiller().close()
        signal.signal(SIGTERM, lambda *_: None)
        before = calm()
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, 256))
        try:
            GracefulKiller(backend="pipe")
        except OSError:
            pass
        else:
            raise AssertionError("it should have failed")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))

        equal({}, changes(before))
        equal(None, current())
        with GracefulKiller() as killer:
            send(SIGTERM)
            assert killer.kill_now
        """
    )


@pytest.mark.parametrize("option", ["chain", "raises"])
def test_pending_signal_raises_out_of_the_constructor(passes, option: str) -> None:
    """A signal that was pending, because it was blocked, raises as soon as the killer
    unblocks it: then nothing is installed, and it is blocked as before."""
    passes(
        """
        import gracefulexit
        ARGUMENTS = {"chain": {"chain": True}, "raises": {"raises": KeyboardInterrupt}}
        for _ in range(20):
            before = calm()
            signal.pthread_sigmask(signal.SIG_BLOCK, [SIGINT])
            send(SIGINT)
            killer = None
            try:
                killer = GracefulKiller("INT", **ARGUMENTS[sys.argv[1]])
                for _ in range(1000):
                    pass
            except KeyboardInterrupt:
                pass
            else:
                raise AssertionError("nothing was raised")
            if killer is None:
                equal(None, gracefulexit.current())
                equal({SIGINT}, signal.pthread_sigmask(signal.SIG_UNBLOCK, [SIGINT]))
            else:
                killer.close()
                signal.pthread_sigmask(signal.SIG_UNBLOCK, [SIGINT])
            equal({}, changes(before))
        """,
        option,
    )
