"""Does with the public names what it is told, line by line, and says what it sees.

Each line of stdin is a JSON list: what the process shall show in the end, a command of
COMMANDS, its arguments. The answer is a line "reply " and JSON: what the command has
returned or raised, and what the process shows, once it is what it shall be, or at last.
"fork" has a forked child go on in its place until that is told to "leave".
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from probe import LIMIT, calm, changes

from gracefulexit import GracefulKiller, TerminateProtected, _core, lowlevel

SIGNALS = ("TERM", "INT", "HUP", "USR1")
killers: list[GracefulKiller] = []
sections: list[TerminateProtected] = []
heard = dict.fromkeys(SIGNALS, 0)
before: dict[str, Any] = {}


def number(name: str) -> int:
    return getattr(signal, f"SIG{name}")


def handler(signum: int, _: object) -> None:
    heard[signal.Signals(signum).name[3:]] += 1


def in_thread(func: Callable[[], object], other: bool) -> None:
    """In main, or in another thread, whose exception is raised here."""
    met: list[BaseException] = []

    def run() -> None:
        try:
            func()
        except BaseException as error:  # noqa: BLE001  # it is raised again
            met.append(error)

    if not other:
        func()
        return
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    for error in met:
        raise error


# ---- what is seen


def killer_state(killer: GracefulKiller) -> dict[str, Any] | str:
    try:
        stopped = killer.wait(0)
    except RuntimeError as error:
        if "parent process" in str(error):
            return "the parent's"
        stopped = False
    reason = killer.reason
    return {
        "stopped": {stopped, killer.kill_now, killer.event.is_set()} == {True},
        "running": {stopped, killer.kill_now, killer.event.is_set()} == {False},
        "reason": reason and (reason.message or reason.signal.name[3:]),
        "counts": {s.name[3:]: n for s, n in killer.counts.items()},
        "armed": killer.armed,
        "limited": killer.remaining() is not None,
    }


def seen() -> dict[str, Any]:
    return {
        "state": lowlevel.state(),
        "killers": [killer_state(killer) for killer in killers],
        "pending": [section.pending for section in sections],
        "heard": dict(heard),
    }


def settled(expected: dict[str, Any] | None) -> dict[str, Any] | None:
    if expected is None:
        return None  # not asked for
    end = time.monotonic() + LIMIT
    while (now := seen()) != expected and time.monotonic() < end:
        time.sleep(0.0005)
    return now


# ---- commands


def install(names: list[str], other: bool, **kwargs: Any) -> None:
    in_thread(
        lambda: killers.append(GracefulKiller(names, escalate=(), **kwargs)), other
    )


def close(index: int, other: bool) -> None:
    in_thread(killers[index].close, other)


def stop(index: int, message: str, other: bool) -> None:
    in_thread(lambda: killers[index].stop(message), other)


def extend(index: int, seconds: float) -> None:
    deadline = _core.deadline()
    killers[index].extend(seconds)
    moved = _core.deadline()
    if deadline is not None:
        assert abs(moved - deadline - seconds) < 1e-6, (deadline, moved, seconds)


def take(index: int, name: str) -> int:
    return killers[index].take(name)


def send(name: str) -> None:
    os.kill(os.getpid(), number(name))


def protect(names: list[str]) -> None:
    section = TerminateProtected(names)
    section.__enter__()
    sections.append(section)


def unprotect() -> None:
    sections.pop().__exit__(None, None, None)


def fork() -> Any:
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return "child"


def begin() -> None:
    """In a process in which nothing has been done yet."""
    for name in SIGNALS:
        signal.signal(number(name), handler)
    GracefulKiller(()).close()  # what is there from the first one on
    before.update(calm())


def end() -> Any:
    """Everything is given back."""
    while sections:
        unprotect()
    for killer in killers:
        killer.close()
    return changes(before) if before else {}


def leave() -> None:
    os._exit(0)


def look() -> None:
    """Nothing but the answer."""


COMMANDS: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (
        *(install, close, stop, extend, take, send, protect, unprotect),
        *(fork, begin, end, leave, look),
    )
}


def read_line() -> bytes:
    """Without a buffer, which a fork would copy."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            sys.exit()
        line += byte
    return line


def answer(command: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    try:
        return {"result": COMMANDS[command](*args, **kwargs)}
    except Exception as error:  # noqa: BLE001  # who asked judges it
        return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    while True:
        expected, command, args, kwargs = json.loads(read_line())
        reply = answer(command, *args, **kwargs)
        reply["seen"] = settled(expected)
        os.write(1, f"reply {json.dumps(reply)}\n".encode())
