"""Each program in docs/examples, run as a process and stopped by a real signal.

run_example.py gives the examples their back end. "At once" is the limit of a
wait below the example's own (an hour; or one more line that it would print), never
a measured time.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM, SIGUSR1

import pytest
from child_process import LIMIT, SCRIPTS, Child
from examples import EXAMPLES, LAUNCHER, Example, all_asleep, said, switches
from probe import libc, until

DAEMONS = ("daemon_worker.py", "daemon_thread.py", "daemon_rebased.py")
JOBS = ("jobs_worker.py", "jobs_thread.py", "jobs_rebased.py")
STOPS = pytest.mark.parametrize("signum", [SIGTERM, SIGINT], ids=lambda s: s.name)
PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture
def example(start_child: Callable[..., Child], handler_backend: str) -> Example:
    return Example(start_child, handler_backend)


def last_line(text: str) -> str:
    return text.splitlines()[-1]


def test_every_example_is_run() -> None:
    """No program in docs/examples is without a test."""
    tests = "".join(p.read_text() for p in Path(__file__).parent.glob("test_*.py"))

    # By its file name, or, as servers do, by its module's.
    missing = [
        p.name
        for p in EXAMPLES.rglob("*.py")
        if not re.search(rf"[\"']{p.stem}(\.py[\"']|:|[\"'])", tests)
    ]

    assert missing == []


def test_the_launcher_sets_the_back_end(start_child: Callable[..., Child]) -> None:
    """An example's killer takes the back end that the test asks for."""
    done = Example(start_child, "nonsense")("tick.py").finish()

    assert done.status == 1
    assert "unknown backend 'nonsense'" in done.err


# --- a daemon with workers


@pytest.mark.slow
def test_daemons_use_no_cpu_while_idle(example: Example) -> None:
    """No thread of an idle daemon runs even once in five seconds."""
    children = [example(name) for name in DAEMONS]
    for child in children:
        child.wait_line("ready")
    before: list[dict[int, tuple[str, int, int]]] = []

    def at_rest() -> bool:
        """main prints `ready` and then goes to sleep; that is not idle yet."""
        nonlocal before
        last, before = before, [switches(child.pid) for child in children]
        time.sleep(0.2)
        return last == before and all(map(all_asleep, before))

    until(at_rest, "the daemons are at rest")

    time.sleep(5)  # this is the measurement

    assert before == [switches(child.pid) for child in children]
    for child in children:
        child.signal(SIGTERM)
        assert child.finish().status == -SIGTERM


@STOPS
@pytest.mark.parametrize("name", DAEMONS)
def test_a_daemon_ends_at_once(example: Example, name: str, signum: int) -> None:
    """A signal ends a sleeping daemon; all workers are shut down and joined first."""
    child = example(name)
    child.wait_line("ready")
    child.signal(signum)
    done = child.finish()

    collectors = [f"collector-{i}" for i in range(3)]
    assert done.status == -signum, done.err
    assert said(done.out, "daemon") == [
        "all joined",
        *(f"{collector}: shut down" for collector in collectors),
    ]
    assert last_line(done.out) == "daemon: all joined"


# --- jobs with clean-up code, and an exception in main


@pytest.mark.slow
@STOPS
def test_jobs_clean_up(example: Example, signum: int) -> None:
    """Both jobs clean up and main gets ServiceExit once, however often one asks."""
    children = [example(name) for name in JOBS]
    for child in children:
        child.wait_line("ready")
    sent = time.monotonic()
    for child in children:
        child.signal(signum)
    for child in children:
        child.wait_line("jobs: job-")  # cleaning up, for a second from now
    # Past the 0.5 s after which a second Ctrl-C would count, and before the end.
    while time.monotonic() < sent + 0.8:
        for child in children:
            os.kill(child.pid, SIGINT)  # not yet waited for: nobody else's number
        time.sleep(0.1)

    for child in children:
        done = child.finish()
        assert done.status == -signum, done.err
        assert said(done.out, "jobs") == [
            "job-1: cleaned up",
            "job-1: cleaning up",
            "job-2: cleaned up",
            "job-2: cleaning up",
            "main: ServiceExit",
        ]
        assert "Traceback" not in done.err
        assert last_line(done.out) == "jobs: main: ServiceExit"


# --- loops in main


@STOPS
def test_ticks_end_at_once(example: Example, signum: int) -> None:
    """`while not killer.wait(60)` does not wait for the rest of the minute."""
    child = example("tick.py")
    child.wait_line("ready")
    child.signal(signum)
    done = child.finish()

    assert done.status == -signum, done.err
    assert done.out == f"tick\nready\nstopped by {signum.name}\n"


@STOPS
def test_a_busy_loop_ends(example: Example, signum: int) -> None:
    """`while not killer.kill_now` finishes its round and ends."""
    child = example("busy_loop.py")
    child.wait_line("ready")
    child.signal(signum)
    done = child.finish()

    assert done.status == -signum, done.err
    assert done.out == "ready\nwhole rounds: True\n"


# --- SIGTERM as an exception


@STOPS
@pytest.mark.parametrize("exit_status", ["signal", "code", 7, 0])
def test_an_exception_unwinds(
    example: Example, exit_status: str | int, signum: int
) -> None:
    """`finally`, `with` and `atexit` run in order; then the chosen exit status."""
    child = example("exception.py", exit_status)
    folder = Path(child.wait_line("folder").split()[1])
    child.wait_line("ready")
    child.signal(signum)
    done = child.finish()

    chosen = {"signal": -signum, "code": 128 + signum}.get(exit_status, exit_status)
    assert done.status == chosen, done.err
    assert done.out.splitlines()[2:] == [
        "finally",
        f"terminated by {signum.name}",
        "atexit",
    ]
    assert not folder.exists()
    assert done.err == ""


# --- signals that do not stop


def lines_of(*paths: Path) -> list[int]:
    return [int(line) for path in paths for line in path.read_text().splitlines()]


@pytest.mark.parametrize(
    ("name", "reopened"),
    [
        ("reopen_log_on.py", "reopened for SIGUSR1"),
        ("reopen_log_take.py", "opened"),
    ],
)
def test_sigusr1_reopens_the_log(
    example: Example, tmp_path: Path, name: str, reopened: str
) -> None:
    """After a rename and SIGUSR1 the new file is written; no line is lost."""
    log, old, older = (tmp_path / n for n in ("log", "log.1", "log.2"))
    child = example(name, log)
    child.wait_line("ready")
    if name == "reopen_log_take.py":
        child.wait_line("opened")
    for rotated in (older, old):
        until(lambda: log.exists() and log.stat().st_size > 0, "something is written")
        log.rename(rotated)
        child.signal(SIGUSR1)
        child.wait_line(reopened)
    until(lambda: log.stat().st_size > 0, "the new file is written")
    child.signal(SIGTERM)
    done = child.finish()

    written = int(last_line(done.out).removeprefix("written "))
    assert done.status == -SIGTERM, done.err
    assert lines_of(older, old, log) == list(range(1, written + 1))
    assert done.err == ""


def test_sighup_reloads(example: Example, tmp_path: Path) -> None:
    """SIGHUP reads the file again, as often as it comes; the program goes on."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"level": 1}))
    child = example("reload_config.py", config)
    child.wait_line("ready")
    for level in (2, 3):
        config.write_text(json.dumps({"level": level}))
        child.signal(SIGHUP)
        child.wait_line(f"level {level}")
    config.write_text("{")
    child.signal(SIGHUP)
    child.wait_line("kept the old configuration: JSONDecodeError")
    child.signal(SIGTERM)
    done = child.finish()

    assert done.status == -SIGTERM, done.err
    assert last_line(done.out) == "last level 3"


# --- main loops of others


@STOPS
def test_serve_forever_ends(example: Example, signum: int) -> None:
    """A server that has just answered leaves serve_forever() and closes."""
    child = example("http_service.py")
    port = int(child.wait_line("ready").split()[1])
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/", timeout=LIMIT) as answer:
        assert answer.read() == b"hello"
    child.signal(signum)
    done = child.finish()

    assert done.status == -signum, done.err
    assert last_line(done.out) == "server closed"
    assert "Traceback" not in done.err


@STOPS
def test_a_foreign_loop_ends(example: Example, signum: int) -> None:
    """A main loop that knows only KeyboardInterrupt ends on SIGTERM too."""
    child = example("foreign_loop.py")
    child.wait_line("ready")
    child.signal(signum)
    done = child.finish()

    assert done.status == -signum, done.err
    assert done.out.splitlines()[1:] == [
        "the app has cleaned up",
        f"stopped by {signum.name}",
    ]
    assert done.err == ""


@STOPS
def test_an_asyncio_service_ends(example: Example, signum: int) -> None:
    """All waiting tasks wake up, though another one was cancelled meanwhile."""
    child = example("asyncio_service.py", options=["-X", "dev"])
    child.wait_line("ready")
    child.signal(signum)
    done = child.finish()

    assert done.status == -signum, done.err
    assert done.out.splitlines()[1:] == [
        "ticker ended",
        "first ended",
        "second ended",
        "CancelledError",
    ]
    # Asyncio's debug mode also names a step of over 0.1 s; that is the machine.
    told = [s for s in done.err.splitlines() if not s.startswith("Executing <")]
    assert told == []


# --- Debian's init scripts


def start_stop_daemon() -> str:
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    found = shutil.which("start-stop-daemon", path=path)
    if found is None:
        pytest.skip("start-stop-daemon is not installed (Debian: package dpkg)")
    return found


def wait_status(pid: int) -> int:
    """The status of an adopted child, within the limit; it is killed if it hangs."""
    status: int | None = None

    def ended() -> bool:
        nonlocal status
        found, raw = os.waitpid(pid, os.WNOHANG)
        if found:
            status = os.waitstatus_to_exitcode(raw)
        return found != 0

    try:
        until(ended, f"process {pid} ends", LIMIT)
    except AssertionError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    assert status is not None
    return status


def test_start_stop_daemon(backend: str, tmp_path: Path) -> None:
    """Started in the background, the service ends in the TERM stage of a stop."""
    tool = start_stop_daemon()
    pidfile, state = tmp_path / "service.pid", tmp_path / "service.state"
    command = [
        *(tool, "--start", "--background", "--make-pidfile", "--no-close"),
        *("--pidfile", pidfile, "--exec", sys.executable, "--"),
        *(SCRIPTS / LAUNCHER, backend, EXAMPLES / "init_script.py", state),
    ]
    reader, writer = os.pipe()
    # The daemon's parent ends; it shall become our child and not init's, so that
    # its exact status can be seen.
    assert libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    try:
        subprocess.run(
            command,
            cwd=tmp_path,  # the source tree would hide the installed package
            stdin=subprocess.DEVNULL,
            stdout=writer,
            check=True,
            timeout=LIMIT,
        )
        os.close(writer)
        with open(reader) as out:
            ready = out.readline()
        pid = int(pidfile.read_text())
        retry = ("--retry", "TERM/20/KILL/5")
        with subprocess.Popen(
            [tool, "--stop", "--verbose", "--pidfile", pidfile, *retry],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as stopper:
            status = wait_status(pid)
            said_by_tool = stopper.communicate(timeout=LIMIT)[0]
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)

    assert ready == "ready\n"
    assert status == -SIGTERM
    assert state.read_text() == "SIGTERM worker alive: False\n"
    assert stopper.returncode == 0, said_by_tool
