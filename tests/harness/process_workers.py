"""What the programs of the tests of process workers share."""

from __future__ import annotations

import multiprocessing
import os
import signal
from typing import Any

from probe import LIMIT, until

from gracefulexit import ProcessWorker


def say(line: object) -> None:
    """A whole line, whatever other processes and threads print."""
    os.write(1, f"{line}\n".encode())


class Talking(ProcessWorker):
    """Parent and child may tell each other something."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.to_child, self.to_parent = multiprocessing.Pipe()

    def hear(self) -> Any:
        """In the parent: what the child has told."""
        return _hear(self.to_child)

    def tell(self, what: Any) -> None:
        """In the child."""
        self.to_parent.send(what)

    def answer(self) -> Any:
        """In the child: what the parent has sent."""
        return _hear(self.to_parent)


def _hear(connection: Any) -> Any:
    assert connection.poll(LIMIT), "nothing was told"
    return connection.recv()


class Waiting(ProcessWorker):
    """Says when it is there, and waits until it is asked."""

    def run(self) -> None:
        say("ready")
        self.wait()
        say("ending")


class Deaf(Talking):
    """Does not end when it is asked; says what it hears."""

    stop = ("ASK", 0.05, "TERM", 0.05, "KILL")

    def run(self) -> None:
        signal.signal(signal.SIGTERM, lambda *args: say("TERM"))
        self.tell(os.getpid())
        self.shutdown_flag.wait()
        say("asked")
        while True:
            signal.pause()


def ended(worker: ProcessWorker) -> int | None:
    """Its exit status, when it has one."""
    worker.join(LIMIT)
    assert not worker.is_alive(), f"{worker} has not ended"
    return worker.exitcode


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def until_gone(pid: int) -> None:
    until(lambda: gone(pid), f"process {pid} has ended")
