"""Who has taken a signal of ours, and what the program should do, for people."""

from __future__ import annotations

import signal
import sys
from typing import Any

REARM = "call killer.rearm() to take it back"
OTHERS = (
    f"{REARM}, or make the killer after that code has run, with chain=True if both "
    "shall hear"
)
LOOP = (
    f"await killer.wait_async() instead, or {REARM}, and once more when the loop has "
    "ended, which leaves the default action behind"
)
# By the package whose handler is in Python's table: how it takes signals, where the
# handler's name does not tell, and what to do.
CALLS = {
    "asyncio": "loop.add_signal_handler()",
    "uvloop": "loop.add_signal_handler()",
    "trio": "trio.open_signal_receiver()",
}
HINTS = {
    "asyncio": LOOP,
    "uvloop": LOOP,
    "trio": "wait for killer.fileno() instead; it is ours again at the end of that "
    f"block, or {REARM}",
    # Servers must hear it too, or they would not stop.
    "celery": "make the killer in worker_ready, with chain=True",
    "gunicorn": "make the killer in post_worker_init, or in when_ready for the master, "
    "with chain=True",
    "uvicorn": "it is ours again when the server has shut down; to hear at once, make "
    "the killer in the lifespan, with chain=True, or run the server in a Worker",
    "werkzeug": "run without the reloader, or stop when it leaves the killer's block",
}
# By a package that is loaded, where its handler does not show whose it is.
KERNEL = "ipykernel"
GEVENT = "gevent"


def describe(signum: int, owner: Any, ours: Any) -> tuple[str, str]:
    """What is in Python's table instead of `ours` alone: its name, and a hint."""
    if owner is ours or owner is None:
        return _c_code()
    if isinstance(owner, signal.Handlers) or owner is signal.default_int_handler:
        return _known(signum, owner)
    name = name_of_handler(owner)
    package = name.partition(".")[0]
    return CALLS.get(package, name), HINTS.get(package, OTHERS)


def name_of_handler(owner: Any) -> str:
    """`module.qualified.name`, without the address that says nothing to people."""
    function = getattr(owner, "func", owner)  # of functools.partial
    module = getattr(function, "__module__", None)
    if module is None:  # a bound method of a compiled class
        module = type(getattr(function, "__self__", None)).__module__
    name = getattr(function, "__qualname__", None)
    return f"{module}.{name}" if name else repr(owner)


def _c_code() -> tuple[str, str]:
    if GEVENT in sys.modules:
        return (
            "C code (gevent.signal_handler() is)",
            "wait for killer.fileno() in a greenlet instead, or call killer.rearm()",
        )
    return "C code", OTHERS


def _known(signum: int, owner: Any) -> tuple[str, str]:
    if signum == signal.SIGINT and KERNEL in sys.modules:
        return (
            "the Jupyter kernel, which does so around each cell",
            "make the killer in the cell that uses it, or with signals='TERM'",
        )
    if owner is signal.SIG_DFL:
        return "code that set its default action, which ends the process at once", REARM
    if owner is signal.SIG_IGN:
        return "code that made the process ignore it", REARM
    return "Python's own handler, which raises KeyboardInterrupt", REARM
