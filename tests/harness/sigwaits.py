"""What sigwait mode changes in a process: masks, threads, Python's functions. For
children."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from probe import CATCHABLE, libc, until
from sections import until_asleep

from gracefulexit._sigwait import ENTRY_POINTS


def blocked(task: int | None = None) -> set[int]:
    """What a thread blocks: this one, or by its native id."""
    where = "thread-self" if task is None else f"self/task/{task}"
    lines = Path(f"/proc/{where}/status").read_text().splitlines()
    bits = next(int(line.split()[1], 16) for line in lines if line.startswith("SigBlk"))
    return {int(s) for s in CATCHABLE if bits >> s - 1 & 1}


def functions() -> list[Any]:
    """Those of Python that are replaced."""
    import subprocess  # noqa: F401 it has bound one of them

    return [
        getattr(sys.modules.get(module), name, None) for module, name in ENTRY_POINTS
    ]


def sleep_in_c(then: Callable[[], object]) -> None:
    """In main: a system call that Python does not interrupt, for ever. `then` is
    called in a thread once main is there."""

    def wait() -> None:
        until(lambda: begun, "main sleeps")
        until_asleep(threading.main_thread())
        then()

    begun = False
    threading.Thread(target=wait, daemon=True).start()
    begun = True
    libc.poll(None, 0, -1)


def native_names() -> list[str]:
    """Of every thread, as the kernel knows it."""
    names = []
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError):  # it has ended
            names.append(Path(f"/proc/self/task/{task}/comm").read_text().strip())
    return sorted(names)
