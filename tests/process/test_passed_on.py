"""A signal that is passed on to CPython's handler counts once, also where two handlers
run at the same time."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from ccompile import shared_library
from child_process import Finished

HARNESS = Path(__file__).resolve().parents[1] / "harness"


# A handler in a thread has marked the signal, and tells CPython when `go` is written
# to; main has taken that mark, and its own.
BETWEEN = """
import ctypes
main = threading.main_thread()
slow, go = os.pipe()
library = ctypes.CDLL(sys.argv[1])
equal(0, library.slow_handler(int(SIGTERM), slow))
told = []
class Mine(Exception):
    def __init__(self):
        told.append(self)
killer = GracefulKiller(raises=Mine, chain=True)

kill = ctypes.CDLL(None).pthread_kill  # Python's own keeps the lock
kill.argtypes = (ctypes.c_ulong, ctypes.c_int)
def shoot_myself():
    kill(threading.get_ident(), SIGTERM)
shooter = threading.Thread(target=shoot_myself)
try:
    shooter.start()
    until(lambda: killer.counts[SIGTERM] == 1, "the handler in the thread")
    send(SIGTERM)
    until(lambda: False, "raised")
except Mine:
    pass
equal(2, killer.counts[SIGTERM])
"""


@pytest.fixture
def between(passes: Callable[..., Finished], tmp_path: Path) -> Callable[[str], None]:
    library = shared_library(HARNESS / "slow_handler.c", tmp_path)

    def run(source: str) -> None:
        passes(BETWEEN + textwrap.dedent(source), library)

    return run


def test_one_handler_between_its_mark_and_cpython(
    between: Callable[[str], None],
) -> None:
    """Main has been told of both signals when the slower handler calls CPython's."""
    between(
        """
        os.write(go, b"1")
        shooter.join()
        equal(2, killer.counts[SIGTERM])

        # What comes past the C handler still counts.
        import _thread
        _thread.interrupt_main(SIGTERM)
        until(lambda: killer.counts[SIGTERM] == 3, "the one from CPython")
        equal(1, len(told))
        killer.close()
        """
    )


def test_that_one_while_the_killer_closes(between: Callable[[str], None]) -> None:
    """It is no second signal, for the owner before."""
    between(
        """
        from gracefulexit._layers import layers
        leave = layers.leave
        def late(signum):
            if signum == SIGTERM:
                os.write(go, b"1")
                shooter.join()
            leave(signum)
        layers.leave = late
        killer.close()
        equal(False, shooter.is_alive())
        equal(1, len(told))
        """
    )


# The first signal comes where main calls nothing, as CPython profiles nothing of what
# it runs inside a profile function; the second one as that is told of a call.
PROFILED = """
armed, sent = [], []
def loop():
    while not sent:
        pass
def shoot():
    main = threading.main_thread().ident
    until(lambda: sys._current_frames()[main].f_code is loop.__code__, "the loop")
    armed.append(None)
    send(number)
def at_each_call(frame, event, arg):
    if armed and not sent and wanted(event, arg):
        sent.append(None)
        send(number)
def run():
    shooter = threading.Thread(target=shoot)
    shooter.start()
    sys.setprofile(at_each_call)
    try:
        loop()
    finally:
        sys.setprofile(None)
        shooter.join()
"""


@pytest.mark.parametrize("how", ["raises", "chain"])
def test_signal_at_the_first_step_of_layer_1(
    passes: Callable[..., Finished], how: str
) -> None:
    """What comes before a call of CPython's has been looked at is taken with it, and
    would be counted again by its own. So it is looked at before any Python runs."""
    passes(
        PROFILED
        + textwrap.dedent(
            """
        class Mine(Exception): pass
        number, told = signal.SIGRTMIN + 3, []
        wanted = lambda event, arg: event == "call"
        if sys.argv[1] == "chain":
            signal.signal(number, lambda *_: told.append(None))
            killer = GracefulKiller((number,), escalate=(), chain=True)
            run()
            until(lambda: len(told) == 2, "both")
        else:
            killer = GracefulKiller((number,), escalate=(), raises=Mine)
            try:
                run()
            except Mine:
                told.append(None)
            equal(1, len(told))
        equal(2, killer.counts[number])
        """
        ),
        how,
    )


def test_owner_that_is_called_while_he_is_just_called(
    passes: Callable[..., Finished],
) -> None:
    """A handler that interrupts main there tells him of what is due; that is then due
    no more, and no error of the program."""
    passes(
        PROFILED
        + textwrap.dedent(
            """
        from gracefulexit import _core
        number, told = SIGTERM, []
        wanted = lambda event, arg: event == "c_call" and arg is _core.pop_call
        signal.signal(SIGTERM, lambda *_: told.append(None))
        killer = GracefulKiller(chain=True, escalate=())
        run()
        until(lambda: told, "he is called")
        equal(2, killer.counts[SIGTERM])
        """
        )
    )


ROUNDS = 150


@pytest.mark.parametrize("busy", [0, 2])
def test_signals_one_after_the_other(
    passes: Callable[..., Finished], busy: int
) -> None:
    """Each is sent when the one before has been counted, to a main thread that is
    just being told of that."""
    passes(
        """
        rounds, busy = map(int, sys.argv[1:])
        class Mine(Exception): pass
        done = False
        def spin():
            while not done:
                pass
        def shoot(killer):
            started.wait(LIMIT)
            for n in range(1, 11):
                send(SIGTERM)
                until(lambda: killer.counts[SIGTERM] >= n, "the next")
                equal(n, killer.counts[SIGTERM])
            counted.set()
        for _ in range(busy):
            threading.Thread(target=spin, daemon=True).start()
        for n in range(rounds):
            started, counted = threading.Event(), threading.Event()
            killer = GracefulKiller(raises=Mine, escalate=())
            shooter = threading.Thread(target=shoot, args=(killer,))
            raised = 0
            try:
                # Without a GIL the first shot would often hit main in start(), from
                # which CPython 3.13 then raises a KeyError of its own.
                shooter.start()
                try:
                    started.set()
                    counted.wait(LIMIT)
                except Mine:
                    raised += 1
                # Not join(): before 3.13 one that was interrupted returns at once.
                counted.wait(LIMIT)
            except Mine:
                raised += 1
            equal(True, counted.is_set())
            equal(10, killer.counts[SIGTERM])
            killer.close()
            equal(1, raised)
        done = True
        """,
        ROUNDS,
        busy,
    )
