"""docs/examples/site_builder.py on a real terminal, with real requests in flight."""

from __future__ import annotations

import http.client
import os
import pty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT

import pytest
from child_process import LIMIT, Child
from examples import EXAMPLES
from outside import alive, python
from probe import until

SIZE = 40_000_000  # more than the sockets on the way hold
ON_THE_TERMINAL = """
    import fcntl, os, sys, termios
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
# What the build runs. A Ctrl-C that reached it would end it with a traceback.
COMMAND = """
import os, sys
print("first half", flush=True)
print("building", os.getpid(), os.getpgrp(), file=sys.stderr, flush=True)
with open(sys.argv[1]) as go:
    go.read()
print("second half", flush=True)
"""


@dataclass
class Site:
    child: Child
    terminal: int
    folder: Path
    go: Path

    def building(self) -> int:
        """Wait until the program of the build runs; its process number."""
        line = self.child.wait_line("building", stream="err")
        pid, group = map(int, line.split()[1:])
        assert group == pid != self.child.pid
        return pid

    def release(self) -> None:
        """Let that program finish."""

        def opened() -> bool:
            try:
                os.close(os.open(self.go, os.O_WRONLY | os.O_NONBLOCK))
            except OSError:  # nobody reads it yet
                return False
            return True

        until(opened, "the program of the build reads")

    def request(self, port: int) -> http.client.HTTPResponse:
        """One that is in flight: its head is here, its body does not fit in."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
        connection.request("GET", "/big")
        return connection.getresponse()

    def ctrl_c(self) -> None:
        os.write(self.terminal, b"\x03")
        self.child.wait_line("stopping: SIGINT from the terminal", stream="err")


@pytest.fixture
def start(start_child: Callable[..., Child], tmp_path: Path) -> Iterator[Start]:
    """Start the example on a terminal: start(command), where @ is the file to read."""
    folder, go = tmp_path / "site", tmp_path / "go"
    folder.mkdir()
    os.mkfifo(go)
    with open(folder / "big", "wb") as file:
        file.truncate(SIZE)
    with terminal() as (master, slave):

        def start(command: list[str]) -> Site:
            words = [go if word == "@" else word for word in command]
            path = EXAMPLES / "site_builder.py"
            child = start_child(ON_THE_TERMINAL, path, folder, *words, stdin=slave)
            return Site(child, master, folder, go)

        yield start


Start = Callable[[list[str]], Site]


@contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    master, slave = pty.openpty()
    try:
        yield master, slave
    finally:
        os.close(master)
        os.close(slave)


def of_session(session: int) -> list[int]:
    """Processes of it that have not ended."""
    found = []
    for name in os.listdir("/proc"):
        try:
            stat = Path(f"/proc/{name}/stat").read_bytes()
        except OSError:
            continue
        state, *fields = stat.rpartition(b")")[2].split()
        if int(fields[2]) == session and state != b"Z":
            found.append(int(name))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("first", ["build", "request"])
def test_ctrl_c(start: Start, first: str) -> None:
    """Ctrl-C to the whole group: the build in hand is complete, its program not cut,
    the open request is answered completely, nobody is left, and we die of SIGINT."""
    site = start([*python(COMMAND), "@"])
    port = int(site.child.wait_line("serving").split()[1])
    site.building()
    site.release()
    site.child.wait_line("built, status 0")
    program = site.building()
    response = site.request(port)
    assert response.status == 200
    others = of_session(site.child.pid)
    assert site.child.pid in others
    (site.folder / "index.html").write_text("the last build")
    site.ctrl_c()

    assert alive(program)
    assert (site.folder / "index.html").read_text() == "the last build"
    if first == "build":
        site.release()
        site.child.wait_line("built, status 0")
        body = response.read()
    else:
        body = response.read()
        site.release()
        site.child.wait_line("built, status 0")
    done = site.child.finish()

    assert len(body) == SIZE
    assert (site.folder / "index.html").read_text() == "first half\nsecond half\n"
    assert done.status == -SIGINT, done.err
    assert done.out.splitlines()[-1] == "all have ended"
    assert "Traceback" not in done.err
    assert "SIGKILL" not in done.err
    until(lambda: not of_session(site.child.pid), "the end of all processes")
    until(lambda: not alive(program), "the end of the program")


@pytest.mark.slow
def test_nothing_in_hand(start: Start) -> None:
    """Without a request or a long build it ends at once, and nobody is left."""
    site = start(["echo", "page"])
    site.child.wait_line("serving")
    site.child.wait_line("built, status 0")
    site.ctrl_c()
    done = site.child.finish()

    assert done.status == -SIGINT, done.err
    assert done.out.splitlines()[-1] == "all have ended"
    assert (site.folder / "index.html").read_text() == "page\n"
    until(lambda: not of_session(site.child.pid), "the end of all processes")
