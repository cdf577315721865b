"""External programs for the tests of Popen, and what became of them. For children."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO

from probe import until

# Each says when it is there, on its stdout.
SLEEPS = ["sh", "-c", "echo ready; exec sleep 1000"]
STUBBORN = ["sh", "-c", "trap '' TERM; echo ready; exec sleep 1000"]
# Its first line is the number of a child, which SIGTERM does not end.
LEAVES_ONE = [
    *("sh", "-c"),
    "(trap '' TERM; echo hears; exec sleep 1000) & read x; echo $!; wait",
]


def python(source: str) -> list[str]:
    return [sys.executable, "-S", "-E", "-u", "-c", source]


def state_of(pid: int) -> str:
    """The letter that the kernel has for it; Z also where there is none any more."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return "Z"
    return stat.rpartition(b")")[2].split()[0].decode()


def alive(pid: int) -> bool:
    return state_of(pid) != "Z"


def until_ended(pid: int) -> None:
    until(lambda: not alive(pid), f"the end of process {pid}")


def said(stream: IO[str] | None, line: str = "ready") -> None:
    """The next line is this one."""
    assert stream is not None
    found = stream.readline()
    assert found == line + "\n", f"{found!r} is not {line!r}"
