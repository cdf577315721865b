"""The deadline holds wherever the process hangs, and whatever it has done to itself."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest
from outside import state_of
from probe import until

TERM = signal.SIGTERM

# Where it does not end. After `killer.exit()` the signal must have come before.
PLACES = {
    "main": "never()",
    "a worker": """
        class Stuck(Worker):
            def run(self):
                killer.wait()
                never()
        killer.start(Stuck())
        killer.wait()
        killer.exit()
    """,
    "on_stop hook": """
        killer.on_stop(never)
        killer.wait()
        killer.exit()
    """,
    "on_exit hook": """
        killer.on_exit(never)
        killer.wait()
        killer.exit()
    """,
    "Python signal handler": """
        signal.signal(SIGUSR1, lambda *_: never())
        killer.wait()
        send(SIGUSR1)
    """,
    "threading._shutdown": """
        def stuck():
            killer.wait()
            threading.main_thread().join()
            never()
        threading.Thread(target=stuck).start()
    """,
    "atexit hook of after": "killer.wait(); atexit.register(never)",
    "atexit hook of before": """
        early.append(never)
        killer.wait()
        killer.exit()
    """,
    "finalisation": """
        class Stuck:
            never = staticmethod(never)
            def __del__(self): self.never()
        stuck = Stuck()
        killer.wait()
        killer.exit()
    """,
    "flush at the end": """
        class Stuck:
            never = staticmethod(never)
            closed = False
            def write(self, text): pass
            def flush(self):
                if killer.kill_now: self.never()
        killer.wait()
        sys.stdout = Stuck()
        killer.exit()
    """,
}

HANG = """
    import atexit, textwrap
    never = hang_in({"held": holding, "free": releasing}[sys.argv[1]], 0)
    early = []
    @atexit.register
    def run_early():
        for func in early:
            func()
    killer = GracefulKiller(grace=GRACE, backend=sys.argv[3])
    print("ready", flush=True)
    exec(textwrap.dedent(sys.argv[2]))
"""


@pytest.fixture
def hangs(late, let_it_end) -> Callable[[str, str, str], None]:
    """It hangs there, until it ends at the deadline."""

    def check(lock: str, place: str, backend: str) -> None:
        child = late(HANG, lock, PLACES[place], backend)
        child.wait_line("ready")
        child.signal(TERM)
        child.wait_line("hangs")

        assert let_it_end(child).status == -TERM

    return check


@pytest.mark.slow
@pytest.mark.parametrize("lock", ["held", "free"])
@pytest.mark.parametrize("place", PLACES)
def test_everywhere(hangs, lock: str, place: str) -> None:
    """It ends by the signal, wherever it hangs and whether or not it holds the
    interpreter's lock."""
    hangs(lock, place, "auto")


@pytest.mark.slow
@pytest.mark.parametrize("place", ["atexit hook of before", "finalisation"])
def test_at_the_end_with_each_backend(hangs, backend: str, place: str) -> None:
    """The same with each back end, where little of the interpreter is left."""
    hangs("held", place, backend)


# Takes up to a second, and is not slow: each CPython ends in its own way.
@pytest.mark.parametrize("place", ["finalisation", "threading._shutdown"])
def test_at_the_end_on_every_python(hangs, place: str) -> None:
    """The same on every interpreter."""
    hangs("held", place, "auto")


# ---- what the program has done to itself -----------------------------------

# After "ready"; the signal comes at any moment.
DEEDS = {
    "closed streams": "sys.stdout.close(); sys.stderr.close(); time.sleep(1000)",
    "closed descriptors 1 and 2": """
        os.close(1)
        os.close(2)
        logging.warning("lost")
        time.sleep(1000)
    """,
    "no streams": "sys.stdout = sys.stderr = None; time.sleep(1000)",
    "no descriptor": "os.closerange(0, 70000); time.sleep(1000)",
    "no descriptor, GIL held": """
        import ctypes
        sleep = ctypes.PyDLL(None).sleep
        os.closerange(0, 70000)
        while True: sleep(1000)  # a signal ends it
    """,
    "full pipes": "fill_pipes(); print('lost', flush=True)",
    "full pipes, log": """
        fill_pipes()
        while True: logging.error("lost")
    """,
    "full pipes, stop logged": """
        fill_pipes()
        logging.basicConfig(level=0)
        killer.wait()
        killer.exit()
    """,
    "full pipes, flushed at the end": """
        fill_pipes()
        sys.stdout.write("lost")
        killer.wait()
        killer.exit()
    """,
    "busy threads": """
        for _ in range(8):
            threading.Thread(target=lambda: [0 for n in iter(int, 1)]).start()
    """,
    "signal ignored": """
        killer.wait()
        signal.signal(SIGTERM, SIG_IGN)
        time.sleep(1000)
    """,
    "no resources": """
        import resource
        killer.wait()
        resource.setrlimit(resource.RLIMIT_AS, (1, 1))
        resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
        while True: pass
    """,
    "main thread ended in C": """
        import ctypes
        ctypes.CDLL(None).pthread_exit(None)
    """,
}


@pytest.mark.slow
@pytest.mark.parametrize("deed", DEEDS)
def test_whatever_it_did(program, backend: str, deed: str) -> None:
    """It ends by its status, with streams that are gone or that nobody reads, without
    descriptors, with the signal ignored, without resources."""
    child = program(
        """
        import textwrap
        def fill_pipes():
            for fd in (1, 2):
                r, w = os.pipe()
                os.dup2(w, fd)
                os.set_blocking(fd, False)
                try:
                    while True:
                        os.write(fd, bytes(512))
                except BlockingIOError:
                    os.set_blocking(fd, True)
        killer = GracefulKiller(grace=0.3, exit_status="code", backend=sys.argv[2])
        os.write(1, b"ready\\n")
        exec(textwrap.dedent(sys.argv[1]))
        """,
        DEEDS[deed],
        backend,
    )
    child.wait_line("ready")
    child.signal(TERM)

    assert child.finish().status == 143


def test_all_signals_blocked(program, backend: str) -> None:
    """The signal that it dies of may be blocked in every thread and ignored."""
    child = program(
        """
        killer = GracefulKiller(grace=0.3, backend=sys.argv[1])
        print("ready", flush=True)
        killer.wait()
        signal.signal(SIGTERM, SIG_IGN)
        def block():
            signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
            time.sleep(1000)
        for _ in range(3):
            threading.Thread(target=block).start()
        block()
        """,
        backend,
    )
    child.wait_line("ready")
    child.signal(TERM)

    assert child.finish().status == -TERM


@pytest.mark.slow
@pytest.mark.parametrize("held", [False, True], ids=["GIL free", "GIL held"])
def test_stopped_by_job_control(program, backend: str, held: bool) -> None:
    """A deadline that passes while the process is stopped by SIGSTOP ends it when it
    goes on."""
    child = program(
        """
        import ctypes
        killer = GracefulKiller(grace=5, backend=sys.argv[1])
        print("ready", flush=True)
        killer.wait()
        print("stopping", flush=True)
        if sys.argv[2] == "True":
            ctypes.PyDLL(None).sleep(1000)
        time.sleep(1000)
        """,
        backend,
        held,
    )
    child.wait_line("ready")
    child.signal(TERM)
    child.wait_line("stopping")
    child.signal(signal.SIGSTOP)
    until(lambda: state_of(child.pid) in "TZ", "it is stopped")
    over = time.monotonic() + 5.1
    until(lambda: time.monotonic() > over, "the deadline is over")
    os.kill(child.pid, signal.SIGCONT)

    assert child.finish().status == -TERM


def test_stopped_again_and_again(program, backend: str) -> None:
    """SIGSTOP and SIGCONT all the time do not put the end off."""
    child = program(
        """
        killer = GracefulKiller(grace=0.2, backend=sys.argv[1])
        print("ready", flush=True)
        time.sleep(1000)
        """,
        backend,
    )
    child.wait_line("ready")
    child.signal(TERM)

    def ended() -> bool:
        os.kill(child.pid, signal.SIGSTOP)
        os.kill(child.pid, signal.SIGCONT)
        return state_of(child.pid) == "Z"

    until(ended, "the end")

    assert child.finish().status == -TERM


@pytest.mark.slow
def test_both_sides_of_a_fork(program, backend: str) -> None:
    """Parent and re-armed child keep their own deadlines, each with the lock held."""
    child = program(
        """
        import ctypes
        killer = GracefulKiller(grace=0.3, backend=sys.argv[1])
        ours, theirs = os.pipe()
        pid = os.fork()
        if pid:
            os.read(ours, 1)
            os.kill(pid, SIGTERM)
            equal((pid, SIGTERM), os.waitpid(pid, 0))
            equal(False, killer.kill_now)
            print("ready", flush=True)
        else:
            os.write(theirs, b"x")
        killer.wait()
        ctypes.PyDLL(None).sleep(1000)
        """,
        backend,
    )
    child.wait_line("ready")
    child.signal(TERM)

    assert child.finish().status == -TERM
