"""A killer from the start of the interpreter on: called by a .pth file of a temporary
environment, and so in every process that runs the environment's Python."""

from __future__ import annotations

import signal
from typing import Any

# Signals that none of the suites uses: the tests must not see a difference at all.
UNUSED = (signal.SIGPWR, signal.SIGRTMIN + 9)
STOP = (signal.SIGTERM, signal.SIGINT)

keep: list[Any] = []


def arguments(signals: str, backend: str) -> dict[str, Any]:
    """What the killer is made with."""
    if signals == "unused":
        return {"signals": UNUSED, "backend": backend}
    if backend == "sigwait":
        # chain= is refused there. SIGTERM ends a process as without us; SIGINT
        # would, too, where the tests want KeyboardInterrupt.
        return {"signals": ("TERM",), "grace": 0, "backend": backend}
    # The program goes on as it would have: the tests see what the handlers of
    # before do, through ours. More than one signal may come: none hurries us.
    return {"signals": STOP, "chain": True, "escalate": (), "backend": backend}


def install(signals: str, backend: str) -> None:
    try:
        from gracefulexit import GracefulKiller
    except ImportError as error:
        if "main interpreter only" not in str(error):
            raise
        return  # a sub-interpreter of a test
    keep.append(GracefulKiller(**arguments(signals, backend)))
