"""sigwait mode: a native thread takes the signals, and no thread of the program sees
a system call interrupted by them.

For that they are blocked in the thread that installs, and so in every thread that
is started later. A blocked mask would leak into every child, whichever way it is
made, so the functions of Python that make one unblock them around the call. The C
handler stays in place for what comes in these moments, and for threads that are
older, or whose mask others change.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
import threading
from collections.abc import Iterable
from typing import Any

from . import _core
from ._layers import in_main_thread, layers

# What hands its thread's mask on to a child, or a signal to its thread alone:
# (module, function). subprocess has bound the first one by another name; os.fork()
# and its like are cleaned by pthread_atfork() in the core.
ENTRY_POINTS = (
    ("_posixsubprocess", "fork_exec"),
    ("subprocess", "_fork_exec"),
    ("os", "posix_spawn"),
    ("os", "posix_spawnp"),
    ("os", "system"),
    ("os", "execv"),
    ("os", "execve"),
    ("signal", "raise_signal"),
    ("signal", "pthread_kill"),
)


class Sigwait:
    """A process has one of these. What changes something is called under
    `layers.lock`, and may be repeated after an exception."""

    def __init__(self) -> None:
        self.taken: frozenset[int] = frozenset()
        self._followed = self.taken  # by the dispatcher
        # By thread, what was not blocked there before us.
        self._fresh: dict[int, set[int]] = {}
        self._wrappers: dict[Any, Any] = {}  # of each function that it stands for

    def grow(self, signums: Iterable[int]) -> None:
        """Take these as well; our handler is in place for them."""
        wanted = self.taken | frozenset(signums)
        if wanted != self.taken:
            self._wrap()
            _core.sigwait_set(wanted)
            self._change(wanted)

    def shrink(self, signums: Iterable[int]) -> None:
        """Take no others any more; our handler is still in place for all."""
        wanted = self.taken & frozenset(signums)
        if wanted != self.taken:
            gone = self.taken - wanted
            # What is pending goes to the handler, in this thread, before the
            # handler goes. A thread that was started later has inherited it all.
            _core.unblock(self._fresh.get(threading.get_ident(), gone) & gone)
            _core.sigwait_set(wanted)
            self._change(wanted)
            if not wanted:
                self._unwrap()

    def _change(self, taken: frozenset[int]) -> None:
        self.taken = taken
        self.here()
        if not in_main_thread():
            _core.in_main(functools.partial(_core.insist, self._here_in_main))

    def _here_in_main(self) -> None:
        with layers.lock:
            self.here()

    def here(self) -> None:
        """Make the mask of this thread what is taken now."""
        me = threading.get_ident()
        fresh = self._fresh.get(me, set())
        _core.unblock(fresh - self.taken)
        fresh = (fresh & self.taken).union(_core.block(self.taken))
        if self.taken:
            self._fresh[me] = fresh
        else:
            self._fresh.pop(me, None)

    def follow(self) -> None:
        """The same for the dispatcher, whose runners inherit its mask. Without the
        lock."""
        if self._followed is not self.taken:
            with layers.lock:
                self._followed = self.taken
                self.here()

    def _pthread_kill(self, original: Any, thread_id: int, signum: int, /) -> None:
        """A thread that blocks the signal would have it pending for ever."""
        if signum in self.taken:
            original(thread_id, 0)  # is there such a thread?
            os.kill(os.getpid(), signum)
        else:
            original(thread_id, signum)

    def _wrap(self) -> None:
        # Before subprocess is imported and binds what is in it.
        importlib.import_module("_posixsubprocess")
        for module, name in ENTRY_POINTS:
            there = getattr(sys.modules.get(module), name, None)
            if there is None or there in self._wrappers.values():
                continue
            sends = name == "pthread_kill"
            call = self._pthread_kill if sends else _core.unmasked
            self._wrappers.setdefault(
                there, functools.update_wrapper(functools.partial(call, there), there)
            )
        _replace(self._wrappers)

    def _unwrap(self) -> None:
        """Unless there are threads that have inherited what was blocked; they may
        still make children."""
        here = threading.current_thread()
        if all(t is here or _is_ours(t.name) for t in threading.enumerate()):
            _replace({ours: there for there, ours in self._wrappers.items()})
            self._wrappers.clear()
            _core.sigwait_forget()

    def forget_in_child(self) -> None:
        self.taken = self._followed = frozenset()
        self._fresh.clear()

    def older_threads(self) -> list[str]:
        """Those that do not block what is taken, and are not ours."""
        if not self.taken:
            return []
        names = {t.native_id: t.name for t in threading.enumerate()}
        older = []
        for tid, (native_name, blocked) in _threads().items():
            name = names.get(tid, native_name)
            if not self.taken <= blocked and not _is_ours(name):
                older.append(f"thread {name!r}")
        return older


def _is_ours(thread: str) -> bool:
    return thread.startswith(("gracefulexit-", "ge-"))  # of Python; native


def _replace(functions: dict[Any, Any]) -> None:
    for module, name in ENTRY_POINTS:
        owner = sys.modules.get(module)
        there = getattr(owner, name, None)
        if there in functions:
            setattr(owner, name, functions[there])


def _threads() -> dict[int, tuple[str, frozenset[int]]]:
    """Native name and blocked signals of every thread; none without a /proc, or
    without a descriptor to look at it."""
    threads: dict[int, tuple[str, frozenset[int]]] = {}
    folder = "/proc/self/task"
    try:
        tids = os.listdir(folder)
    except OSError:
        return threads
    for tid in tids:
        try:
            with open(
                f"{folder}/{tid}/status", encoding="utf-8", errors="replace"
            ) as f:
                lines = dict(line.rstrip("\n").split(":\t", 1) for line in f)
        except OSError:
            continue  # it has ended
        bits = int(lines["SigBlk"], 16)
        blocked = frozenset(n for n in range(1, _core.NSIG) if bits >> (n - 1) & 1)
        threads[int(tid)] = lines["Name"], blocked
    return threads
