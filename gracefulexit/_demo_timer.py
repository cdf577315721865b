"""``demo --for SECONDS``: another process sends the demo a SIGTERM.

``python _demo_timer.py PID SECONDS`` is that process. Its stdin is a pipe that
the demo holds open: when that ends, the demo has ended or needs no signal any
more, and the pid may soon be another's.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def sigterm_after(seconds: float | None) -> Iterator[int | None]:
    """Start it; yields its pid. With None there is nothing to start."""
    if seconds is None:
        yield None
        return
    # As a file, which is found wherever the user is and however we were started.
    command = [sys.executable, "-I", __file__, str(os.getpid()), str(seconds)]
    # Leaving the block closes its stdin and waits for its end. In a session of
    # its own it does not get the terminal's Ctrl-C as well.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, start_new_session=True
    ) as timer:
        yield timer.pid


def main(pid: int, seconds: float) -> None:
    over, _, _ = select.select([sys.stdin], [], [], seconds)
    if not over:
        os.kill(pid, signal.SIGTERM)
        # Stay until the demo has looked up who sent it the signal.
        sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
