"""Forked children that go on in Python, and tell by their exit status what they heard.
For programs of tests/process, which have this folder on their path."""

from __future__ import annotations

import itertools
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from probe import LIMIT, equal, until

HEARD = 7  # the exit status of a child that stopped gracefully

Result = TypeVar("Result")
_names = itertools.count()


def stay(ready: str) -> NoReturn:
    """Say so by a folder, and be there until a signal comes."""
    # Not imported here: a program without us has none of ours.
    package = sys.modules.get("gracefulexit")
    killer = package.current() if package else None
    os.mkdir(ready)  # opens nothing
    if killer is None:
        select.select([], [], [], LIMIT)
        os._exit(98)
    heard = killer.wait(LIMIT) and killer.reason.signum == signal.SIGTERM
    os._exit(HEARD if heard else 99)


def new_name() -> str:
    """Of a folder in the working directory, which is the test's own."""
    return f"ready-{os.getpid()}-{next(_names)}"


def until_ready(name: str) -> None:
    until(Path(name).exists, f"the child says {name}")


def fork_to(child: Callable[[], object]) -> int:
    """Fork; the child ends by the status that this returns."""
    pid = os.fork()
    if pid:
        return pid
    status = 97
    try:
        result = child()
        status = result if isinstance(result, int) else 0
    except:  # noqa: E722  sys.exit() too: it must not return into the parent's code
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def hearing_child(killer: Any) -> int:
    """Fork a child that ends by the number of the signal that it was stopped by."""
    name = new_name()

    def child() -> int:
        os.mkdir(name)
        assert killer.wait(LIMIT), "it was never stopped"
        return int(killer.reason.signum)

    pid = fork_to(child)
    until_ready(name)
    return pid


def hears(killer: Any, signum: int) -> None:
    """A child that is forked here hears this signal, and no other."""
    pid = hearing_child(killer)
    os.kill(pid, signum)
    equal(int(signum), reap(pid))


def reap(pid: int) -> int:
    ended = [(0, 0)]

    def look() -> int:
        ended[0] = os.waitpid(pid, os.WNOHANG)
        return ended[0][0]

    until(look, f"the end of child {pid}")
    return os.waitstatus_to_exitcode(ended[0][1])


def in_thread(func: Callable[[], Result]) -> Result:
    """Call it in a thread that is started now."""
    results: list[Result] = []
    thread = threading.Thread(target=lambda: results.append(func()))
    thread.start()
    thread.join()
    assert results, "it raised"
    return results[0]
