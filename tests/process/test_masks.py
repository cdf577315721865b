"""What threads of ours block, so that the program can wait for a signal itself."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

import pytest
from child_process import Finished

SETUP = """
from sections import until_asleep
from sigwaits import *
def dispatcher():
    return next(
        t for t in threading.enumerate() if t.name == "gracefulexit-dispatcher")
def is_open(*signums):
    def fact():
        mask = blocked(dispatcher().native_id)
        return all((s in signums) == (s not in mask) for s in (
            SIGTERM, SIGINT, SIGUSR1, SIGUSR2, signal.SIGRTMIN))
    until(fact, f"{signums} open")
"""


@pytest.fixture
def checks(passes: Callable[..., Finished]) -> Callable[..., Finished]:
    return lambda source, *args: passes(SETUP + textwrap.dedent(source), *args)


@pytest.mark.race
def test_signal_stays_for_whom_blocks_it(checks, backend: str) -> None:
    """What main blocks, to take it by sigwait(), no thread of ours takes, from the
    constructor on, whatever that thread is doing."""
    checks(
        """
        def leave_pending(signum):
            signal.pthread_sigmask(signal.SIG_BLOCK, [signum])
            send(signum)
            equal(True, signum in signal.sigpending())
            equal(signum, signal.sigwait([signum]))
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signum])
        for _ in times(100):
            with GracefulKiller(backend=sys.argv[1], grace=LIMIT) as killer:
                leave_pending(SIGUSR1)
                killer.on("HUP", print)
                leave_pending(signal.SIGRTMIN)
                send(SIGTERM)
                leave_pending(SIGUSR1)
        """,
        backend,
    )


def test_each_thread_of_ours_leaves_it(checks, backend: str) -> None:
    """Those that look after children and wait for workers block it, too."""
    checks(
        """
        class Late(ProcessWorker):
            def run(self):
                self.wait()
        killer = GracefulKiller(backend=sys.argv[1], grace=LIMIT)
        worker = Late()
        worker.start()
        thread = threading.Thread(target=killer.join)
        thread.start()
        def ours():
            return [t for t in threading.enumerate()
                    if t.native_id and t.name.startswith("gracefulexit-")]
        until(lambda: len(ours()) == 3, "all are there")
        equal([], [t.name for t in ours() if SIGUSR1 not in blocked(t.native_id)])
        killer.stop()
        """,
        backend,
    )


def test_who_sets_the_event_leaves_it(checks, backend: str) -> None:
    """Main has a thread set killer.event, and goes on while that one still ends."""
    checks(
        """
        from gracefulexit._events import set_event
        seen = []
        event = threading.Event()
        event.set = lambda: seen.append((threading.get_ident(), blocked()))
        killer = GracefulKiller(backend=sys.argv[1])
        set_event(event)
        [(thread, mask)] = seen
        equal(False, thread == threading.get_ident())
        equal(True, SIGUSR1 in mask)
        equal(False, SIGUSR1 in blocked())
        """,
        backend,
    )


def test_who_ran_a_hook_leaves_it(checks) -> None:
    """Between two jobs, and when somebody is told that one is over."""
    checks(
        """
        from gracefulexit._runners import Job, Lane
        seen = []
        def look():
            seen.append(SIGUSR1 in blocked())
        job, other = Job("job", look), Job("other", look)
        tell = job.over.set
        job.over.set = lambda: (look(), tell())
        lane = Lane("hooks")
        lane.put(job, other)
        lane.go()
        assert other.over.wait(LIMIT)
        equal([False, True, False], seen)
        """
    )


def test_what_is_heard_is_open(checks, handler_backend: str) -> None:
    """The dispatcher has open what killers hear, no longer than they do."""
    checks(
        """
        first = GracefulKiller("TERM", backend=sys.argv[1])
        is_open(SIGTERM)
        second = GracefulKiller("INT", backend=sys.argv[1])
        is_open(SIGTERM, SIGINT)
        second.on("USR1", print)
        is_open(SIGTERM, SIGINT, SIGUSR1)
        second.close()
        is_open(SIGTERM)
        """,
        handler_backend,
    )


def test_heard_while_main_blocks_it(checks, backend: str) -> None:
    """A killer's signal is heard while main, the only thread of the program, blocks
    it."""
    checks(
        """
        with GracefulKiller(backend=sys.argv[1]) as killer:
            signal.pthread_sigmask(signal.SIG_BLOCK, [SIGTERM])
            until_asleep(dispatcher())
            send(SIGTERM)
            equal(True, killer.wait(LIMIT))
            equal(SIGTERM, killer.reason.signum)
        """,
        backend,
    )


@pytest.mark.parametrize("who", ["log", "hook", "callback"])
def test_user_code_has_the_mask_of_the_program(checks, backend: str, who: str) -> None:
    """Handlers of the log, which the dispatcher calls, hooks, callbacks, what they
    start: no child of theirs blocks what the program does not."""
    checks(
        """
        import logging, subprocess
        CHILD = "import signal; print(sorted(signal.pthread_sigmask(0, [])))"
        seen = []
        def look(*_):
            thread = threading.Thread(target=lambda: seen.append(of_a_child()))
            thread.start()
            thread.join()
            seen.append(of_a_child())
        def of_a_child():
            return subprocess.check_output([sys.executable, "-c", CHILD], text=True)
        class Handler(logging.Handler):
            def emit(self, record):
                if threading.current_thread() is told:
                    look()
        signal.pthread_sigmask(signal.SIG_BLOCK, [SIGUSR2])
        killer = GracefulKiller(backend=sys.argv[1], grace=LIMIT)
        told = dispatcher()
        if sys.argv[2] == "log":
            logging.getLogger("gracefulexit").addHandler(Handler())
            logging.getLogger("gracefulexit").setLevel("INFO")
        elif sys.argv[2] == "hook":
            killer.on_stop(look)
        else:
            killer.on("HUP", look)
        send(SIGHUP) if sys.argv[2] == "callback" else send(SIGTERM)
        until(lambda: len(seen) >= 2, "it was called")
        equal({of_a_child()}, set(seen))
        until(lambda: SIGUSR1 in blocked(told.native_id), "the thread has drawn back")
        """,
        backend,
        who,
    )


def test_let_out_of_a_thread_of_a_thread(checks) -> None:
    """A thread of ours that one of ours starts is let out as far as the program."""
    checks(
        """
        from gracefulexit._masks import Apart, let_out
        seen = []
        def inner():
            seen.append(blocked())
            let_out()
            seen.append(blocked())
        def outer():
            thread = Apart(target=inner)
            thread.start()
            thread.join()
        signal.pthread_sigmask(signal.SIG_BLOCK, [SIGUSR2])
        thread = Apart(target=outer)
        thread.start()
        thread.join()
        equal(True, {SIGUSR1, SIGUSR2} <= seen[0])
        equal({SIGUSR2}, seen[1])
        """
    )


def test_let_out_of_a_bare_thread_of_a_thread(checks) -> None:
    checks(
        """
        from gracefulexit._masks import Apart, let_out, start_bare
        seen, done = [], threading.Event()
        def inner():
            seen.append(blocked())
            let_out()
            seen.append(blocked())
            done.set()
        signal.pthread_sigmask(signal.SIG_BLOCK, [SIGUSR2])
        thread = Apart(target=start_bare, args=(inner,))
        thread.start()
        assert done.wait(LIMIT)
        equal(True, {SIGUSR1, SIGUSR2} <= seen[0])
        equal({SIGUSR2}, seen[1])
        """
    )


def test_heard_by_a_thread_of_a_thread(checks) -> None:
    """What the starter blocks for itself, and the new one is to hear."""
    checks(
        """
        from gracefulexit._masks import Apart
        seen = []
        def inner():
            seen.append(blocked())
        def outer():
            thread = Apart([SIGTERM], target=inner)
            thread.start()
            thread.join()
        thread = Apart(target=outer)
        thread.start()
        thread.join()
        equal(True, SIGUSR1 in seen[0])
        equal(False, SIGTERM in seen[0])
        """
    )


def test_hook_that_runs_hooks_keeps_the_mask_of_the_program(checks) -> None:
    """It closes the killer, whose on_exit hooks run in its thread."""
    checks(
        """
        seen = []
        killer = GracefulKiller()
        killer.on_exit(lambda: seen.append(blocked()))
        @killer.on_stop
        def close():
            killer.close()
            seen.append(blocked())
            over.set()
        over = threading.Event()
        killer.stop()
        assert over.wait(LIMIT)
        equal([blocked()] * 2, seen)
        """
    )


@pytest.mark.parametrize("what", ["killer", "hook"])
def test_main_starts_a_thread_in_a_handler_in_threading(checks, what: str) -> None:
    """Where it has the lock that Thread.start() takes, nobody waits for anybody."""
    checks(
        """
        def at_each_call(frame, event, arg):
            if (event == "c_call" and frame.f_code is threading.enumerate.__code__
                    and arg.__name__ == "values" and not sent):
                sent.append(None)
                os.kill(os.getpid(), SIGUSR1)
        def make(*_):
            made.append(killer or GracefulKiller())
            made[0].on_stop(over.set)
            made[0].stop()
        sent, made, over = [], [], threading.Event()
        killer = None
        if sys.argv[1] == "hook":
            killer = GracefulKiller()
            killer.on_stop(over.set)
            killer.stop()
            assert over.wait(LIMIT)
            over.clear()
            until(lambda: "on_stop" not in str(threading.enumerate()), "it has ended")
        signal.signal(SIGUSR1, make)
        sys.setprofile(at_each_call)
        threading.enumerate()
        sys.setprofile(None)
        equal(1, len(made))
        assert over.wait(LIMIT)
        """,
        what,
    )


def test_who_begins_a_schedule_leaves_it(checks) -> None:
    """Main has a thread begin it, and goes on while that one still ends."""
    checks(
        """
        from gracefulexit._runners import Lane
        from gracefulexit._schedule import Course
        submit, seen = Lane.submit, []
        def look():
            seen.append((threading.get_ident(), SIGUSR1 in blocked()))
        Lane.submit = lambda *args: (look(), submit(*args))
        course = Course()
        course.begin("it", look)
        equal(True, course.wait(LIMIT))
        equal([True, False], [mask for _, mask in seen])
        equal(False, threading.get_ident() in dict(seen))
        """
    )


def test_stream_of_the_program_has_its_mask(checks) -> None:
    """Where a thread of ours has another flush it; that ends blocked again."""
    checks(
        """
        from gracefulexit import _masks
        from gracefulexit._teller import flush_beside
        class Stream:
            def flush(self):
                seen.append(blocked())
        class Here(dict):
            def pop(self, *args):
                seen.append(blocked())
                super().pop(*args)
                over.set()
        seen, over = [], threading.Event()
        signal.pthread_sigmask(signal.SIG_BLOCK, [SIGUSR2])
        sys.stdout, out = Stream(), sys.stdout
        def outer():
            _masks._here = Here(_masks._here)
            flush_beside()
            assert over.wait(LIMIT)
            _masks._here = dict(_masks._here)
        thread = _masks.Apart(target=outer)
        thread.start()
        thread.join()
        sys.stdout = out
        equal([{SIGUSR2}, True], [seen[0], SIGUSR1 in seen[1]])
        """
    )
