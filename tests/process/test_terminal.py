"""Terminals and shells: a loop in bash, a terminal that goes away, background jobs."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator

import pytest
from child_process import Child
from programs import PRELUDE

TERM, INT, HUP = signal.SIGTERM, signal.SIGINT, signal.SIGHUP

# Becomes another program, such as a shell, that has the terminal on stdin and is in
# its foreground.
ON_TERMINAL = """
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
"""


class Terminal:
    def __init__(self) -> None:
        self.master, self.slave = os.openpty()

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def hang_up(self) -> None:
        """Once the child has it, its end is the last one but ours."""
        for fd in (self.slave, self.master):
            if fd >= 0:
                os.close(fd)
        self.master = self.slave = -1


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    it = Terminal()
    yield it
    it.hang_up()


@pytest.fixture
def on_terminal(
    program: Callable[..., Child], terminal: Terminal
) -> Callable[..., Child]:
    """Start a program in the foreground of the terminal."""

    def start(source: str, *args: object) -> Child:
        return program(ON_TERMINAL + source, *args, stdin=terminal.slave)

    return start


def command(source: str) -> list[str]:
    return [sys.executable, "-c", PRELUDE + source]


LOOP = """
for number in 1 2; do
    "$@"
    echo "status $?"
done
"""
STOPS = """
killer = GracefulKiller(exit_status=sys.argv[1])
print("ready", flush=True)
killer.wait()
killer.exit()
"""


@pytest.mark.parametrize(
    ("how", "after", "status"),
    [("signal", [], -INT), ("code", ["status 130", "ready", "status 130"], 0)],
)
def test_loop_in_bash(on_terminal, terminal, how: str, after: list, status: int):
    """Ctrl-C ends the loop, as the program has died of it; one that exits with 130 is
    started again."""
    shell = ["bash", "-c", LOOP, "bash", *command(STOPS), how]
    child = on_terminal(f"os.execvp('bash', {shell!r})")
    for _ in range(1 + after.count("ready")):
        child.wait_line("ready")
        terminal.type(b"\x03")
    done = child.finish()

    assert done.out.splitlines() == ["ready", *after]
    assert done.status == status


# With nothing to write to but the terminal, which is gone, and a file as witness.
HUNG_UP = """
import atexit
witness = open("witness", "w")
said = os.dup(1)
if sys.argv[2] == "all":
    os.dup2(0, 1)
    os.dup2(0, 2)
logging.basicConfig(level="INFO")
killer = GracefulKiller(sys.argv[1].split(), grace=LIMIT)
killer.on_exit(lambda: witness.write("on_exit\\n"))
atexit.register(lambda: (witness.write("atexit\\n"), witness.flush()))
os.write(said, b"ready\\n")
os.close(said)
killer.wait()
witness.write(f"{killer.reason}\\n")
print("to nobody", flush=sys.argv[2] != "all")
killer.exit()
"""


@pytest.mark.parametrize("streams", ["stdin", "all"])
def test_terminal_goes_away(on_terminal, terminal, tmp_path, streams: str) -> None:
    """The hang-up is heard where SIGHUP is among the signals, also if nothing can be
    printed any more."""
    child = on_terminal(HUNG_UP, "TERM INT HUP", streams)
    child.wait_line("ready")
    terminal.hang_up()
    done = child.finish()

    lines = (tmp_path / "witness").read_text().splitlines()
    assert lines[0].startswith("SIGHUP from ")
    assert lines[1:] == ["on_exit", "atexit"]
    assert done.status == -HUP


def test_terminal_goes_away_unheard(on_terminal, terminal, tmp_path) -> None:
    """Where it is not among them, SIGHUP has its default action, as without us."""
    child = on_terminal(HUNG_UP, "TERM INT", "stdin")
    child.wait_line("ready")
    terminal.hang_up()

    assert child.finish().status == -HUP
    assert (tmp_path / "witness").read_text() == ""


UNDER_NOHUP = """
killer = GracefulKiller(["TERM", "HUP"])
print("ready", flush=True)
killer.wait()
print(killer.reason.signal.name, [n for s, n in killer.counts.items() if s == SIGHUP])
killer.exit()
"""


def test_nohup(on_terminal, terminal) -> None:
    """Under nohup the killer leaves SIGHUP ignored, and hears the rest."""
    child = on_terminal(f"os.execvp('nohup', {['nohup', *command(UNDER_NOHUP)]!r})")
    child.wait_line("ready")
    terminal.hang_up()
    child.signal(HUP)
    child.signal(TERM)
    done = child.finish()

    assert done.out == "ready\nSIGTERM [0]\n"
    assert done.status == -TERM


BACKGROUND = """
killer = GracefulKiller()
print("pid", os.getpid(), flush=True)
killer.wait()
print(killer.reason.signal.name, killer.counts[SIGINT], flush=True)
killer.exit()
"""


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_background_job(program, shell: str) -> None:
    """A job that a script puts into the background has SIGINT ignored, and still has it
    under a killer."""
    script = '"$@" & wait $!; echo "status $?"'
    words = [shell, "-c", script, shell, *command(BACKGROUND)]
    child = program(f"os.execvp({shell!r}, {words!r})")
    job = int(child.wait_line("pid ").split()[1])
    os.kill(job, INT)
    os.kill(job, TERM)
    done = child.finish()

    assert done.out == f"pid {job}\nSIGTERM 0\nstatus 143\n"
    assert done.status == 0


SETSID = """
killer = GracefulKiller()
print("pid", os.getpid(), os.getpid() == os.getsid(0), flush=True)
killer.wait()
print(killer.reason.signal.name, killer.counts[SIGINT], flush=True)
killer.exit()
"""


def test_setsid(on_terminal, terminal) -> None:
    """What setsid has started hears nothing of the terminal, neither Ctrl-C nor its
    end, and stops at SIGTERM."""
    child = on_terminal(
        f"""
import subprocess
job = subprocess.Popen({["setsid", *command(SETSID)]!r})
try:
    job.wait()
except KeyboardInterrupt:
    print("Ctrl-C", flush=True)
signal.signal(SIGHUP, SIG_IGN)
print("hang up", flush=True)
equal(-SIGTERM, job.wait())
"""
    )
    line = child.wait_line("pid ").split()
    terminal.type(b"\x03")
    child.wait_line("hang up")
    terminal.hang_up()
    os.kill(int(line[1]), TERM)
    done = child.finish()

    assert line[2] == "True"
    assert done.out.splitlines()[1:] == ["Ctrl-C", "hang up", "SIGTERM 0"]
    assert (done.status, done.err) == (0, "")
