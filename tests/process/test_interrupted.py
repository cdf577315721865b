"""Exceptions of other handlers that land in our own bookkeeping, and what else can
come in the middle of it."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow

# Runs `attempt(i)` in a fork each: what it returns is the status that is counted.
IN_FORKS = """
import collections, random
def in_forks(rounds, attempt):
    found = collections.Counter()
    for i in range(rounds):
        pid = os.fork()
        if pid == 0:
            random.seed(i)
            try:
                os._exit(attempt(i))
            except BaseException:
                sys.excepthook(*sys.exc_info())
        found[os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])] += 1
    return dict(found)
def kill_soon(signum, most):
    # The caller calls go() inside its `try`: what is sent may land at once.
    held = threading.Lock()
    held.acquire()
    delay = random.random() * most
    def kill():
        held.acquire()
        end = time.perf_counter() + delay
        while time.perf_counter() < end:
            pass
        send(signum)
    thread = threading.Thread(target=kill)
    thread.start()
    thread.go = held.release
    return thread
from gracefulexit import _core
"""

CASES = {
    # Its own Ctrl-C, delivered at the end of a section, with default arguments.
    "ctrl-c": """
    def attempt(i):
        thread = kill_soon(SIGINT, 0.002)
        try:
            thread.go()
            while True:
                with TerminateProtected():
                    pass
        except KeyboardInterrupt:
            thread.join()
        return _core.ours(SIGTERM) + 2 * _core.sections()
    """,
    # The usual idiom for a time limit.
    "alarm": """
    class TooLate(Exception): pass
    def late(*args): raise TooLate
    def attempt(i):
        signal.signal(signal.SIGALRM, late)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0005 + random.random() * 0.002)
            while True:
                with TerminateProtected():
                    pass
        except TooLate:
            pass
        return _core.ours(SIGTERM) + 2 * _core.sections()
    """,
    "one signal held, the other raises": """
    def attempt(i):
        thread = kill_soon(SIGINT, 0.002)
        try:
            thread.go()
            while True:
                with TerminateProtected("TERM"):
                    pass
        except KeyboardInterrupt:
            thread.join()
        return _core.ours(SIGTERM) + 2 * _core.sections()
    """,
    "with a killer": """
    def attempt(i):
        with GracefulKiller("TERM"):
            thread = kill_soon(SIGINT, 0.002)
            try:
                thread.go()
                while True:
                    with TerminateProtected():
                        pass
            except KeyboardInterrupt:
                thread.join()
            return 2 * _core.sections()
    """,
    "raises": """
    def attempt(i):
        killer = GracefulKiller(raises=KeyboardInterrupt)
        thread = kill_soon(SIGTERM, 0.002)
        try:
            thread.go()
            while True:
                with TerminateProtected():
                    pass
        except KeyboardInterrupt:
            thread.join()
        return 2 * _core.sections()
    """,
}


@pytest.mark.parametrize("case", CASES)
def test_section_is_never_left_open(passes, case: str) -> None:
    """Wherever an exception of a signal handler lands while sections are entered
    and left, nothing stays held, and no section stays counted."""
    passes(
        IN_FORKS
        + CASES[case].replace("\n    ", "\n")
        + "equal({0: 200}, in_forks(200, attempt))"
    )


def test_interrupted_close_is_finished(passes) -> None:
    """Ctrl-C in the last close(): the next killer is neither born stopped nor deaf."""
    passes(
        IN_FORKS
        + """
def attempt(i):
    killer = GracefulKiller("TERM")
    killer.stop()
    thread = kill_soon(SIGINT, 0.0005)
    try:
        thread.go()
        killer.close()
        thread.join()
    except KeyboardInterrupt:
        thread.join()
        killer.close()
    after = GracefulKiller("TERM")
    return after.kill_now + 2 * (not _core.ours(SIGTERM))
equal({0: 200}, in_forks(200, attempt))
"""
    )


def test_event_is_not_set_in_main(passes) -> None:
    """An exception in Event.set() leaves its lock taken; close() sets the event where
    no handler of a signal can raise."""
    passes(
        """
        class Interrupted(threading.Condition):
            def __enter__(self):
                entered = super().__enter__()
                if threading.current_thread() is threading.main_thread():
                    raise KeyboardInterrupt
                return entered
        for _ in range(20):
            killer = GracefulKiller("TERM")
            killer.event._cond = Interrupted(threading.Lock())
            killer.stop()
            killer.close()
            assert killer.event.is_set()
        """
    )


def test_interrupted_constructor_installs_nothing(passes) -> None:
    """An exception in the constructor leaves the signals as they were."""
    passes(
        IN_FORKS
        + """
def attempt(i):
    killer = None
    thread = kill_soon(SIGINT, 0.001)
    try:
        thread.go()
        killer = GracefulKiller("TERM")
        thread.join()
    except KeyboardInterrupt:
        thread.join()
    alive = gracefulexit.current() is not None
    return alive != _core.ours(SIGTERM)
equal({0: 200}, in_forks(200, attempt))
"""
    )


def test_killer_closed_inside_leaves_the_hold(program) -> None:
    """A section whose killer is closed inside it holds the signals by itself."""
    child = program(
        """
        killer = GracefulKiller()
        with TerminateProtected() as section:
            killer.close()
            send(SIGTERM)
            print("whole", section.pending, flush=True)
        print("never")
        """
    )
    done = child.finish()

    assert (done.status, done.out) == (-15, "whole True\n")


def test_other_killer_closed_inside_forgets_nothing(program) -> None:
    """What is held survives the life of a killer that has nothing to do with it."""
    done = program(
        """
        with TerminateProtected() as section:
            send(SIGTERM)
            with GracefulKiller(signals=()):
                pass
            print(section.pending, flush=True)
        print("never")
        """
    ).finish()

    assert (done.status, done.out) == (-15, "True\n")


def test_two_held_signals_are_both_delivered(program) -> None:
    """The first delivery may raise; the other is not lost."""
    done = program(
        """
        try:
            with TerminateProtected():
                send(SIGTERM)
                send(SIGINT)
        except GracefulExit as error:
            context = type(error.__context__).__name__
            print(error.reason.signal.name, context, flush=True)
            raise
        """
    ).finish()

    assert (done.status, done.out) == (-15, "SIGTERM KeyboardInterrupt\n")


def test_chain_waits_for_the_section(passes) -> None:
    """A previous handler that raises does not cut the section of the main thread."""
    passes(
        """
        done = []
        with GracefulKiller(chain=True) as killer:
            try:
                with TerminateProtected():
                    send(SIGINT)
                    killer.event.wait(LIMIT)
                    done.append("whole")
            except KeyboardInterrupt:
                done.append("cut")
        equal(["whole", "cut"], done)
        """
    )


def test_expiry_beside_the_end_counts_once(passes) -> None:
    """A section that is left while the dispatcher finds it over its timeout is
    counted out once."""
    passes(
        """
        from gracefulexit import _core
        class Slow(logging.Handler):
            def emit(self, record):
                time.sleep(0.05)
        logging.getLogger().addHandler(Slow())
        killer = GracefulKiller("TERM")
        with TerminateProtected(timeout=0.05, name="outer"):
            with TerminateProtected(timeout=0.05, name="inner"):
                time.sleep(0.1)
                send(SIGTERM)
                time.sleep(0.02)
            time.sleep(0.3)
        equal(0, _core.sections())
        with TerminateProtected():
            equal(1, _core.sections())
        """
    )


def test_hook_registered_in_a_handler(passes) -> None:
    """A Python handler may register hooks while main is doing so: no deadlock."""
    passes(
        """
        killer = GracefulKiller("TERM")
        killer.stop()
        killer.event.wait(LIMIT)
        signal.signal(SIGUSR1, lambda *_: killer.on_stop(int))
        over = time.monotonic() + 1
        def fire():
            while time.monotonic() < over:
                send(SIGUSR1)
                time.sleep(0.0003)
        thread = threading.Thread(target=fire)
        thread.start()
        while time.monotonic() < over:
            killer.on_stop(int)
        thread.join()
        killer.close()
        """
    )


def test_told_before_the_log(passes) -> None:
    """A log that blocks holds up neither event nor the asking of workers."""
    passes(
        """
        go = threading.Event()
        class Stuck(logging.Handler):
            def emit(self, record):
                go.wait(LIMIT)
        logging.getLogger("gracefulexit").addHandler(Stuck())
        logging.getLogger("gracefulexit").setLevel("INFO")
        killer = GracefulKiller()
        worker = Worker(target=lambda: worker.wait())
        killer.start(worker)
        send(SIGTERM)
        assert killer.event.wait(LIMIT / 2), "event waits for the log"
        worker.join(LIMIT / 2)
        assert not worker.is_alive(), "the worker waits for the log"
        go.set()
        killer.close()
        """
    )


def test_raises_does_not_run_a_strangers_handler(program) -> None:
    """stop() with `raises` while asyncio has the signal: main gets the exception,
    and asyncio's callback does not run."""
    done = program(
        """
        import asyncio
        with GracefulKiller(raises=KeyboardInterrupt) as killer:
            async def main():
                loop = asyncio.get_running_loop()
                for s in (SIGTERM, SIGINT):
                    loop.add_signal_handler(s, print, "a stranger's")
                killer.stop()
                await asyncio.sleep(LIMIT)
            try:
                asyncio.run(main())
            except KeyboardInterrupt:
                print("raised")
        """
    ).finish()

    assert (done.status, done.out) == (0, "raised\n")


def test_ended_workers_are_forgotten(passes) -> None:
    """A program that starts a short-lived worker a request keeps no list of them."""
    passes(
        """
        with GracefulKiller() as killer:
            for _ in range(2000):
                worker = Worker(target=int)
                worker.start()
                worker.join()
            assert len(killer.report().workers) < 600
        """
    )


@pytest.mark.race
def test_sections_of_a_worker_leave_the_signals_alive(passes) -> None:
    """Main's pending calls and the sections of a worker do not get in each other's
    way: in the end the tables are as before, and SIGTERM is what it was."""
    passes(
        """
        before = calm()
        def work():
            for _ in times(3000):
                with TerminateProtected():
                    pass
        thread = threading.Thread(target=work)
        thread.start()
        while thread.is_alive():
            sum(range(100))
            time.sleep(0.0001)
        until(lambda: not changes(before, 0.0), "everything was given back", 5)
        """
    )


def test_exit_beside_another_killer(program) -> None:
    """The oldest killer's exit() keeps its status and its deadline, although another
    killer lives on."""
    done = program(
        """
        killer = GracefulKiller(grace=1, exit_status=7)
        library = GracefulKiller(signals=())
        stuck = threading.Thread(target=time.sleep, args=(1000,))
        killer.add(stuck, stop=int)
        stuck.start()
        send(SIGTERM)
        killer.wait()
        killer.exit()
        """
    ).finish()

    assert done.status == 7, done.err


def test_join_of_a_thread_whose_join_raises(passes) -> None:
    """Threads that re-raise in join() what ended them do not hold up killer.join()."""
    passes(
        """
        class Reraising(threading.Thread):
            def join(self, timeout=None):
                super().join(timeout)
                raise OSError("what ended it")
        with GracefulKiller() as killer:
            thread = Reraising(target=time.sleep, args=(0.05,))
            killer.add(thread, stop=int)
            thread.start()
            try:
                killer.join()
            except OSError as error:
                equal("what ended it", str(error))
            assert not thread.is_alive()
            thread.join = lambda timeout=None: None
        """
    )


def test_killer_over_a_stale_callable_can_be_closed(passes) -> None:
    """Somebody has put our own function on another signal: a killer for that one is
    made and closed like any other."""
    passes(
        """
        first = GracefulKiller("TERM")
        signal.signal(SIGHUP, signal.getsignal(SIGTERM))
        second = GracefulKiller("HUP")
        second.close()
        first.close()
        equal(SIG_DFL, signal.getsignal(SIGHUP))
        """
    )


@pytest.mark.race
def test_held_signal_survives_another_handler(passes) -> None:
    """A handler that raises while a held signal is being delivered does not replace
    the end of the program."""
    passes(
        """
        import random
        from gracefulexit import _core
        class TooLate(Exception): pass
        def late(*args): raise TooLate
        signal.signal(signal.SIGALRM, late)
        section = TerminateProtected("TERM")
        lost = 0
        for _ in times(500):
            told = False
            before = _core.count(SIGTERM)
            try:
                try:
                    with section:
                        delay = random.uniform(20e-6, 200e-6)
                        signal.setitimer(signal.ITIMER_REAL, delay)
                        send(SIGTERM)
                except BaseException as error:
                    while error is not None:
                        told = told or isinstance(error, GracefulExit)
                        error = error.__context__
                signal.setitimer(signal.ITIMER_REAL, 0)
            except TooLate:
                continue  # it came in our own lines above
            # The alarm may have come before the signal was sent.
            lost += not told and _core.count(SIGTERM) > before
        equal(0, lost)
        """
    )


def test_hand_over_of_the_short_way(passes) -> None:
    """A handler that raises right after the short way of a section was handed over to
    the long one loses neither the end of the program nor a handler of the user's."""
    passes(
        """
        from gracefulexit import _core
        class Late(Exception): pass
        real = _core.solo_take
        armed = False
        def solo_take(*args):
            global armed
            result = real(*args)
            if armed:
                armed = False
                raise Late
            return result
        _core.solo_take = solo_take
        calls = []
        def users(signum, frame): calls.append(signum)
        signal.signal(SIGHUP, users)
        for signum in SIGTERM, SIGHUP:
            with TerminateProtected(signum):
                pass  # the first one takes the long way
            try:
                with TerminateProtected(signum):
                    send(signum)
                    armed = True
            except BaseException as error:
                told = isinstance(error, GracefulExit)
                late = isinstance(error.__context__ if told else error, Late)
                equal((signum == SIGTERM, True), (told, late))
        equal([SIGHUP], calls)
        equal(users, signal.getsignal(SIGHUP))
        equal(SIG_DFL, signal.getsignal(SIGTERM))
        """
    )
