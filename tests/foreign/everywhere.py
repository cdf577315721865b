"""A killer from the start of the interpreter on: called by a .pth file of a temporary
environment, and so in every process that runs the environment's Python."""

from __future__ import annotations

import signal
from typing import Any

# By kind; after each the program goes on, or ends, as it would have without us.
#
# The suites use none of these: the tests must not see a difference at all.
UNUSED = {"signals": ("PWR", "RTMIN")}
# Where nobody handles it, it ends the process at once.
TERM = {"signals": ("TERM",), "grace": 0}
# KeyboardInterrupt by the handler of before, again and again.
INTERRUPT = {"signals": ("INT",), "chain": True, "escalate": ()}
KINDS: dict[str, dict[str, Any]] = {
    "unused": UNUSED,
    "term": TERM,
    "interrupt": INTERRUPT,
}

keep: list[Any] = []


def is_possible(kind: str, backend: str) -> bool:
    """Sigwait mode has no chain=."""
    return not (KINDS[kind].get("chain") and backend == "sigwait")


def install(kind: str, backend: str) -> None:
    arguments = KINDS[kind]
    blocked = {s.name for s in signal.pthread_sigmask(signal.SIG_BLOCK, ())}
    if blocked & {f"SIG{name}" for name in arguments["signals"]}:
        # multiprocessing does so where it starts helpers of its own, in which no
        # program makes a killer; ours would unblock them.
        return
    try:
        from gracefulexit import GracefulKiller
    except ImportError as error:
        if "main interpreter only" not in str(error):
            raise
        return  # a sub-interpreter of a test
    keep.append(GracefulKiller(**arguments, backend=backend))
