"""How the process ends: statuses, what is flushed, and what other exits do."""

from __future__ import annotations

import signal

import pytest
from programs import PRELUDE

TERM, INT = signal.SIGTERM, signal.SIGINT


@pytest.mark.parametrize(
    ("how", "signum", "status"),
    [
        ("signal", TERM, -TERM),
        ("signal", INT, -INT),
        ("code", TERM, 143),
        ("code", INT, 130),
        (0, TERM, 0),
        (3, INT, 3),
        (255, TERM, 255),
    ],
)
def test_exit_after_a_signal(program, how, signum: int, status: int) -> None:
    """exit() ends by exit_status, after atexit, with everything printed."""
    child = program(
        """
        import atexit
        atexit.register(print, "atexit")
        killer = GracefulKiller(exit_status=eval(sys.argv[1]))
        print("ready", flush=True)
        killer.wait()
        print("buffered")
        try:
            killer.exit()
        finally:
            print("finally")
        """,
        repr(how),
    )
    child.wait_line("ready")
    child.signal(signum)
    done = child.finish()

    assert done.err == ""
    assert done.out == "ready\nbuffered\nfinally\natexit\n"
    assert done.status == status


# What main does after a SIGTERM, and the status.
ENDS = {
    "checkpoint": ("killer.checkpoint()", -TERM),
    "exit twice": (
        "try:\n    killer.exit()\nexcept SystemExit:\n    killer.exit()",
        -TERM,
    ),
    "exit in the block": ("with killer:\n    killer.exit()", -TERM),
    "exit after close": ("killer.close(); killer.exit()", -TERM),
    "return": ("pass", 0),
    "return from the block": ("with killer: pass", 0),
    "close and return": ("killer.close()", 0),
    "sys.exit(3)": ("sys.exit(3)", 3),
    "sys.exit(None)": ("sys.exit()", 0),
    "swallowed, then sys.exit(3)": (
        "try:\n    killer.exit()\nexcept SystemExit:\n    pass\nsys.exit(3)",
        3,
    ),
    "swallowed and looked at, then return": (
        "try:\n    killer.exit()\nexcept SystemExit as e:\n    equal(143, e.code)",
        0,
    ),
    "swallowed, then an exception": (
        "try:\n    killer.exit()\nexcept SystemExit:\n    pass\nraise ValueError",
        1,
    ),
    "from SystemExit to code": (
        "try:\n    killer.exit()\nexcept SystemExit as e:\n    sys.exit(e.code)",
        143,
    ),
    "raised again": (
        "try:\n    killer.exit()\nexcept SystemExit as e:\n    e.code; raise",
        -TERM,
    ),
    "os._exit": ("os._exit(4)", 4),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("form", ["-c", "-m"])
def test_exit_status(program, start_child, tmp_path, end: str, form: str) -> None:
    """The status is the one that the program's last word asks for."""
    code, status = ENDS[end]
    text = (
        f"killer = GracefulKiller()\nsend(SIGTERM)\nassert killer.wait(LIMIT)\n{code}\n"
    )
    if form == "-m":
        # `python -m prog` ends inside runpy, as `python -m pytest` would.
        (tmp_path / "prog.py").write_text(PRELUDE + text)
        child = program("", options=["-m", "prog"])
    else:
        child = program(text)
    done = child.finish()

    assert done.status == status, done.err


def test_exit_without_a_stop(program) -> None:
    """exit() while running joins workers, runs hooks and gives 0."""
    done = program(
        """
        killer = GracefulKiller()
        def work():
            killer.wait()
            print("worker")
        killer.start(Worker(target=work))
        killer.on_exit(print, "on_exit")
        killer.exit()
        """
    ).finish()

    assert (done.status, done.out, done.err) == (0, "worker\non_exit\n", "")


def test_exit_after_stop_from_code(program) -> None:
    """exit() after stop() is a success by signal and by code, or the given number."""
    for how, status in (("'signal'", 0), ("'code'", 0), ("5", 5)):
        done = program(
            """
            killer = GracefulKiller(exit_status=eval(sys.argv[1]))
            killer.stop("enough")
            killer.exit()
            """,
            how,
        ).finish()

        assert (done.status, done.err) == (status, ""), how


def test_exit_in_a_thread(program) -> None:
    """exit() in a plain thread ends that thread, silently."""
    done = program(
        """
        killer = GracefulKiller()
        thread = threading.Thread(target=killer.exit)
        thread.start()
        thread.join()
        equal("closed", killer.report().state)
        sys.exit(6)
        """
    ).finish()

    assert (done.status, done.out, done.err) == (6, "", "")


def test_graceful_exit_is_a_system_exit(program) -> None:
    """GracefulExit passes `except Exception` and is caught by `except SystemExit`."""
    done = program(
        """
        killer = GracefulKiller()
        send(SIGTERM)
        try:
            try:
                killer.exit()
            except Exception:
                print("wrong")
        except SystemExit as error:
            print(type(error).__name__, error.code, error.reason.signal.name)
        """
    ).finish()

    assert (done.status, done.out) == (0, "GracefulExit 143 SIGTERM\n")


@pytest.mark.parametrize(
    ("how", "signum", "status"),
    [
        ("signal", TERM, -TERM),
        ("signal", INT, -INT),
        ("code", TERM, 143),
        (9, TERM, 9),
        (0, INT, 0),
    ],
)
def test_stop_after_main_returned(program, how, signum: int, status: int) -> None:
    """Main has returned and workers still run; the stop ends them, and exit_status is
    the status."""
    child = program(
        """
        import atexit
        atexit.register(print, "atexit")
        killer = GracefulKiller(exit_status=eval(sys.argv[1]))
        class Good(Worker):
            def run(self):
                until(lambda: not threading.main_thread().is_alive(), "main returned")
                print("ready", flush=True)
                self.wait()
                print("worker")
        killer.on_exit(print, "on_exit")
        killer.start(Good())
        """,
        repr(how),
    )
    child.wait_line("ready")
    child.signal(signum)
    done = child.finish()

    assert done.err == ""
    assert sorted(done.out.split()) == ["atexit", "on_exit", "ready", "worker"]
    assert done.status == status


def test_stop_from_code_after_main_returned(program) -> None:
    """stop() after main has returned ends the workers, with status 0."""
    done = program(
        """
        killer = GracefulKiller()
        class Good(Worker):
            def run(self):
                until(lambda: not threading.main_thread().is_alive(), "main returned")
                killer.stop()
                self.wait()
        killer.start(Good())
        """
    ).finish()

    assert (done.status, done.err) == (0, "")


def test_main_returns_just_after_the_stop(program) -> None:
    """A main that returns after the stop has chosen its status: 0, each time."""
    statuses = []
    for _ in range(10):
        child = program(
            """
            killer = GracefulKiller()
            print("ready", flush=True)
            killer.wait()
            """
        )
        child.wait_line("ready")
        child.signal(TERM)
        statuses.append(child.finish().status)

    assert statuses == [0] * 10


def test_workers_outlive_main_that_stops(program) -> None:
    """Main returns during the stop; its status stands while workers still end."""
    done = program(
        """
        killer = GracefulKiller()
        class Good(Worker):
            def run(self):
                until(lambda: not threading.main_thread().is_alive(), "main returned")
                print("worker")
        killer.start(Good())
        send(SIGTERM)
        killer.event.wait(LIMIT)
        """
    ).finish()

    assert (done.status, done.out) == (0, "worker\n")


def test_uncaught_exception_after_the_stop(program) -> None:
    """An exception after the stop is status 1, not the signal's."""
    done = program(
        """
        killer = GracefulKiller()
        send(SIGTERM)
        killer.wait(LIMIT)
        raise ValueError("mine")
        """
    ).finish()

    assert done.status == 1
    assert done.err.endswith("ValueError: mine\n")


def test_unclosed_killer_lets_go_at_exit(program) -> None:
    """A killer that is never closed runs on_exit hooks at interpreter exit and gives
    everything back: what is registered before it finds no trace."""
    done = program(
        """
        import atexit
        atexit.register(lambda: print(current(), signal.getsignal(SIGTERM) is SIG_DFL))
        killer = GracefulKiller()
        killer.on_exit(print, "on_exit")
        """
    ).finish()

    assert (done.status, done.err) == (0, "")
    assert done.out == "on_exit\nNone True\n"


@pytest.mark.parametrize(
    "method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)]
)
def test_exit_in_a_child_of_multiprocessing(works, method: str) -> None:
    """Such a child ends by a number, whatever the killer that it made was told."""
    works(
        """
def work(connection):
    killer = GracefulKiller()
    connection.send("ready")
    killer.wait()
    killer.exit()

def main(method):
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs,))
    process.start()
    ours.recv()
    process.terminate()
    process.join()
    equal(143, process.exitcode)

import multiprocessing
""",
        method,
    )
