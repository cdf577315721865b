"""docs/examples as child processes, and what the kernel says about their threads."""

from __future__ import annotations

import ctypes
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from child_process import Child
from probe import until

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
LAUNCHER = Path("run_example.py")  # in tests/children


class Example:
    """How a test starts an example on one of the back ends."""

    def __init__(self, start_child: Callable[..., Child], backend: str) -> None:
        self._start_child = start_child
        self._backend = backend

    @staticmethod
    def path(name: str) -> Path:
        return EXAMPLES / name

    def __call__(self, name: str, *args: object, **kwargs: Any) -> Child:
        path = self.path(name)
        return self._start_child(LAUNCHER, self._backend, path, *args, **kwargs)


def said(text: str, who: str) -> list[str]:
    """What an example's own logger wrote, sorted: threads have no order."""
    head = f"{who}: "
    return sorted(
        line.removeprefix(head) for line in text.splitlines() if line.startswith(head)
    )


def thread_ids(pid: int) -> list[int]:
    return sorted(int(task.name) for task in Path(f"/proc/{pid}/task").iterdir())


def _status(pid: int, thread: int) -> dict[str, str]:
    text = Path(f"/proc/{pid}/task/{thread}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines())


def switches(pid: int) -> dict[int, tuple[str, int, int]]:
    """Each thread's state, how often it has gone to sleep, and was interrupted."""
    found = {}
    for thread in thread_ids(pid):
        try:
            status = _status(pid, thread)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
        found[thread] = (
            status["State"][0],
            int(status["voluntary_ctxt_switches"]),
            int(status["nonvoluntary_ctxt_switches"]),
        )
    return found


def all_asleep(seen: dict[int, tuple[str, int, int]]) -> bool:
    return all(state == "S" for state, _, _ in seen.values())


def until_asleep(pid: int, threads: Iterable[int]) -> None:
    """Wait until these threads are blocked in the kernel, and stay there.

    Twice in a row no thread of the process may be found running, or about to: it
    could hold the GIL, which is then what these sleep for.
    """
    before: dict[int, tuple[str, int, int]] = {}
    wanted = set(threads)

    def settled() -> bool:
        nonlocal before
        last, before = before, switches(pid)
        return (
            wanted <= last.keys() & before.keys()
            and all(last[thread] == before[thread] for thread in wanted)
            and all_asleep(last)
            and all_asleep(before)
        )

    until(settled, f"threads {sorted(wanted)} of {pid} sleep")


def until_busy(pid: int) -> None:
    """Wait until the process has used the processor for a while from now on."""

    def used() -> int:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11])  # in user mode, in ticks of the kernel

    before = used()
    until(lambda: used() >= before + 5, f"{pid} is at work")


def signal_thread(pid: int, thread: int, signum: int) -> None:
    """A signal from outside to this one thread, and its handler has returned."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.tgkill(pid, thread, int(signum)) != 0:
        raise OSError(ctypes.get_errno(), f"tgkill {thread} of {pid}")

    def handled() -> bool:
        try:
            status = _status(pid, thread)
        except (FileNotFoundError, ProcessLookupError):
            return True  # and the thread has ended
        bit = 1 << signum - 1
        # A handler of ours runs with everything blocked.
        return not bit & (int(status["SigPnd"], 16) | int(status["SigBlk"], 16))

    until(handled, f"{signal.Signals(signum).name} handled in thread {thread}")
