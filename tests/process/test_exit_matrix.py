"""Every way to end, times every exit_status, signal and form of program: one table."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from programs import PRELUDE

TERM, INT, HUP, USR1 = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
)
# What the parent sees by exit_status.
STATUSES = {
    "signal": lambda signum: -signum,
    "code": lambda signum: 128 + signum,
    7: lambda signum: 7,
}
START = """
import atexit
atexit.register(print, "atexit")
signals = ("TERM", "INT", "HUP", "USR1")
exit_status, grace = eval(os.environ["PLAN"])
killer = GracefulKiller(signals, exit_status=exit_status, escalate=signals, grace=grace)
never = threading.Event()
"""
READY = "print('ready', flush=True)\nprint('buffered')\n"
# The worker's part of READY comes when main has returned.
LATE = """
class Late(Worker):
    def run(self):
        until(lambda: not threading.main_thread().is_alive(), "main has returned")
        print("ready", flush=True)
        print("buffered")
        self.wait()
"""
# Says when a second signal counts.
TELL = """
def tell():
    killer.wait()
    until(lambda: killer.report().stopping_for > 0.6, "0.6 s")
    os.write(1, b"later\\n")
threading.Thread(target=tell).start()
"""
SWALLOW = """
killer.wait(LIMIT)
try:
    killer.exit()
except SystemExit:
    pass
"""
# What main does, and of the end: does it run atexit; the status, None: exit_status
# decides.
WAYS: dict[str, tuple[str, bool, int | None]] = {
    "exit": (READY + "killer.wait(LIMIT); killer.exit()", True, None),
    "checkpoint": (READY + "while True: killer.checkpoint()", True, None),
    "swallowed": (READY + SWALLOW + "sys.exit(3)", True, 3),
    "returns": (READY + "killer.wait(LIMIT)", True, 0),
    "has returned": (LATE + "killer.start(Late())", True, None),
    "deadline": (READY + "never.wait()", False, None),
    "hurry": (TELL + READY + "never.wait()", False, None),
}
# Its last fifth is for what the log and the flush need.
GRACE = 10.0
FORMS = ("-c", "-m", "script")
QUICK = ("exit", "has returned")


def cases() -> Iterator[Any]:
    """Every way with every status and signal, and the forms in turn, so that each form
    meets each way, each status and each signal."""
    forms = itertools.cycle(FORMS)
    for signum, how, way in itertools.product((TERM, INT, HUP, USR1), STATUSES, WAYS):
        marks = [] if way in QUICK else [pytest.mark.slow]
        yield pytest.param(next(forms), way, how, signum, marks=marks)


@pytest.mark.parametrize(("form", "way", "how", "signum"), list(cases()))
def test_exit_matrix(
    program, tmp_path, form: str, way: str, how: str | int, signum: int
) -> None:
    """The status is exact, atexit has run where the end is not forced, and nothing that
    was printed is lost."""
    code, runs_atexit, status = WAYS[way]
    path = tmp_path / "prog.py"
    path.write_text(PRELUDE + START + code + "\n")
    env = {"PLAN": repr((how, GRACE if way == "deadline" else None))}
    if form == "-c":
        child = program(START + code, env=env)
    else:
        what = ["-m", "prog"] if form == "-m" else [path]
        child = program("", options=map(str, what), env=env)
    child.wait_line("ready")
    child.signal(signum)
    if way == "hurry":
        child.wait_line("later")
        child.signal(signum)
    done = child.finish()

    expected = ["ready", "buffered"] + ["atexit"] * runs_atexit
    assert [s for s in done.out.splitlines() if s != "later"] == expected
    assert done.status == (STATUSES[how](signum) if status is None else status)


@pytest.mark.parametrize("how", STATUSES)
def test_exit_of_a_program_that_is_done(program, how: str | int) -> None:
    """exit() without a stop is a success, with atexit, whatever exit_status is."""
    done = program(
        START + "print('buffered')\nkiller.exit()", env={"PLAN": repr((how, None))}
    ).finish()

    assert (done.status, done.out, done.err) == (0, "buffered\natexit\n", "")


@pytest.mark.parametrize("kind", ["Thread", "Worker"])
def test_sys_exit_in_a_thread(program, kind: str) -> None:
    """sys.exit() ends its thread and has no say in the status, before the stop and
    after it."""
    child = program(
        """
        killer = GracefulKiller()
        def early():
            sys.exit(4)
        def late():
            killer.wait()
            sys.exit(5)
        kind = Worker if sys.argv[1] == "Worker" else threading.Thread
        threads = [kind(target=early), kind(target=late)]
        for thread in threads:
            thread.start()
        threads[0].join()
        equal(False, killer.kill_now)
        print("ready", flush=True)
        killer.wait(LIMIT)
        threads[1].join()
        killer.exit()
        """,
        kind,
    )
    child.wait_line("ready")
    child.signal(TERM)
    done = child.finish()

    assert (done.status, done.err) == (-TERM, "")
