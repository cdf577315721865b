"""The example of commands by real-time signals."""

from __future__ import annotations

import os
import signal

from examples import Example
from queued import sigqueue


def test_control_channel(start_child) -> None:
    """Each command is obeyed once, in the order of the sender."""
    child = Example(start_child, "auto")("control_channel.py")
    pid = int(child.wait_line("ready").split()[1])
    for number in (6, 5, 8, 8, 3):
        sigqueue(pid, signal.SIGRTMIN + 1, number)
    child.wait_line("3 workers")
    child.signal(signal.SIGTERM)
    done = child.finish()

    assert done.status == -signal.SIGTERM, done.err
    assert done.out.splitlines()[1:6] == [
        f"{n} workers, by pid {os.getpid()}" for n in (6, 5, 8, 8, 3)
    ]
    assert "SIGRTMIN+1 x 5" in done.out
