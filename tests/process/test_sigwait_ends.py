"""sigwait mode changes masks and functions, and gives all of them back."""

from __future__ import annotations

import pytest

IMPORTS = """
        from sigwaits import *
        from gracefulexit import _core
        from gracefulexit._process import process
        BOTH = {SIGTERM, SIGINT}
        untouched = functions()
"""


@pytest.mark.slow
@pytest.mark.parametrize("where", ["main", "another thread"])
def test_close_gives_all_back(passes, where: str) -> None:
    """close() gives back the mask of main and Python's functions, wherever it is
    called, and ends its threads."""
    passes(
        IMPORTS
        + """
        for n in range(100):
            killer = GracefulKiller(backend="sigwait")
            equal(BOTH, blocked())
            equal([], [f for f in functions() if f in untouched and f])
            if sys.argv[1] == "main":
                killer.close()
            else:
                thread = threading.Thread(target=killer.close)
                thread.start()
                thread.join()
            equal(set(), blocked())
            until(lambda: functions() == untouched, f"functions, round {n}")
            until(lambda: native_threads() == 1, f"alone, round {n}")
        """,
        where,
    )


def test_hook_that_outlives_the_killer(passes) -> None:
    """A hook that was left behind still has our mask; its children have not."""
    passes(
        IMPORTS
        + """
        import subprocess
        closed, over, found = threading.Event(), threading.Event(), []
        def hook():
            closed.wait(LIMIT)
            look = ["grep", "SigBlk", "/proc/self/status"]
            found.extend(subprocess.check_output(look).split()[1:])
            over.set()
        with GracefulKiller(backend="sigwait", hook_timeout=0.02) as killer:
            killer.on_stop(hook)
        closed.set()
        assert over.wait(LIMIT), "the hook ends"
        equal([b"0" * 16], found)
        until(lambda: threading.active_count() == 1, "the hook's thread has ended")
        with GracefulKiller(backend="sigwait") as killer:
            killer.on_stop(lambda: None)
        equal(untouched, functions())
        """
    )


def test_closed_while_main_is_in_a_system_call(program) -> None:
    """Closed by another thread, the signal is its previous owner's at once, although
    main, in a C call that Python does not interrupt, still blocks it."""
    child = program(
        """
        from sigwaits import sleep_in_c
        killer = GracefulKiller("TERM", backend="sigwait")
        def close():
            killer.close()
            print("ready", flush=True)
        sleep_in_c(close)
        """
    )
    child.wait_line("ready")
    child.signal(15)

    assert child.finish().status == -15


def test_signals_to_the_thread_that_causes_them(passes, backend: str) -> None:
    """What the kernel sends to one thread, such as SIGPIPE to who writes into a broken
    pipe, is heard."""
    passes(
        """
        killer = GracefulKiller(backend=sys.argv[1])
        killer.take("PIPE")
        reader, writer = os.pipe()
        os.close(reader)
        for n in range(100):
            try:
                os.write(writer, b"x")
            except BrokenPipeError:
                pass
            else:
                assert False, "no error"
        until(lambda: killer.take("PIPE") or killer.counts[signal.SIGPIPE], "heard")
        equal(100, killer.counts[signal.SIGPIPE])
        killer.close()
        """,
        backend,
    )


@pytest.mark.parametrize("thread", ["ge-sigwait", "gracefulexit-dispatcher"])
def test_no_thread_to_be_had(passes, thread: str) -> None:
    """Without a thread the constructor raises, and nothing has changed."""
    passes(
        IMPORTS
        + """
        before = calm()
        if sys.argv[1] == "ge-sigwait":
            there = _core.sigwait_set
            def refuse(wanted):
                if wanted:
                    raise OSError(11, "Resource temporarily unavailable")
                there(wanted)
            _core.sigwait_set = refuse
        else:
            def refuse(self):
                raise RuntimeError("can't start new thread")
            there, threading.Thread.start = threading.Thread.start, refuse
        try:
            GracefulKiller(backend="sigwait")
        except (OSError, RuntimeError):
            pass
        else:
            assert False, "no error"
        if sys.argv[1] == "ge-sigwait":
            _core.sigwait_set = there
        else:
            threading.Thread.start = there
        equal(untouched, functions())
        equal(set(), blocked())
        equal({}, changes(before))
        killer = GracefulKiller(backend="sigwait")
        send(SIGTERM)
        equal(True, killer.wait(LIMIT))
        killer.close()
        equal({}, changes(before))
        """,
        thread,
    )


@pytest.mark.race
@pytest.mark.slow
def test_interrupted_constructor(passes) -> None:
    """An exception of another handler in the middle of the constructor or of close()
    leaves no mask, no function and no thread behind."""
    passes(
        IMPORTS
        + """
        import random, traceback
        class Late(Exception): pass
        def late(*args): raise Late
        signal.signal(signal.SIGALRM, late)
        GracefulKiller().close()
        before = calm()
        # Thread.start() of CPython, interrupted in the wait for its thread, may keep
        # the lock that the thread wants before it calls run(), for ever.
        del before["threads"], before["native threads"]
        def in_our_code():
            frames = sys._current_frames()
            del frames[threading.get_ident()]
            stacks = [[f for f, _ in traceback.walk_stack(f)] for f in frames.values()]
            ours = "/gracefulexit/_"
            return any(ours in f.f_code.co_filename for stack in stacks for f in stack)
        interrupted = 0
        for n in rounds(300, lambda: interrupted):
            killer = None
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-5 + random.random() * 0.002)
                killer = GracefulKiller(backend="sigwait")
                killer.close()
                signal.setitimer(signal.ITIMER_REAL, 0)
            except (Late, RuntimeError, KeyError):
                # The others, "release unlocked lock" and a thread that is not in
                # _limbo any more, are what Thread.start() of CPython makes of it.
                interrupted += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            for left in list(process.killers):
                left.close()
            equal(set(), blocked())
            equal(untouched, functions())
            until(lambda: "ge-sigwait" not in native_names(), f"ended, round {n}")
            until(lambda: not in_our_code(), f"no thread of ours, round {n}")
        until(lambda: "ge-watcher" not in native_names(), "the watcher has ended")
        equal({}, changes(before))
        """
    )
