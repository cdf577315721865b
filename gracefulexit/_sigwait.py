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
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from . import _core
from ._layers import in_main_thread, layers
from ._masks import OF_ONE_THREAD, share
from ._runners import Runner

# What hands its thread's mask on to a child, or a signal to its thread alone, or may
# put us back into Python's table, but not into the kernel's: (module, function).
# subprocess has bound the first one by another name; os.fork() and its like are
# cleaned by pthread_atfork() in the core. signal.signal() calls the last one.
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
    ("_signal", "signal"),
)


# Handled, but not taken: another thread could not take them; or, as with the
# terminal's, they change what system calls do while they are blocked.
NOT_TAKEN = OF_ONE_THREAD | {signal.SIGTTIN, signal.SIGTTOU}
MOST_STATUS = 65536  # bytes: one line lists all groups of the user


class Sigwait:
    """A process has one of these. What changes something is called under
    `layers.lock`, and may be repeated after an exception."""

    def __init__(self) -> None:
        self.taken: frozenset[int] = frozenset()
        self.dirty = False  # a change of `taken` is not yet everywhere
        self._followed = self.taken  # by the dispatcher
        # By thread, what it blocks for our sake, and did not before us.
        self._fresh: dict[int, set[int]] = {}
        self._masked: set[int] = set()  # by any thread, since the last wrapping
        # Threads that have unblocked all, as they have told themselves: the kernel
        # shows what the C library blocks for a moment, too.
        self._clean: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
        self._wrappers: dict[Any, Any] = {}  # of each function that it stands for
        self._calls: dict[str, Callable[..., Any]] = {
            "pthread_kill": self._pthread_kill,
            "signal": _core.signal_and_lay,
        }

    def grow(self, signums: Iterable[int]) -> None:
        """Take these as well; our handler is in place for them."""
        wanted = self.taken.union(signums)
        if wanted != self.taken or self.dirty:
            # Dirty first: what is half wrapped is unwrapped by who undoes this.
            before, self.dirty = self.taken, True
            self._wrap()
            self.taken = wanted
            self._masked |= wanted
            self._clean.clear()
            _core.sigwait_set(wanted | self._blocked_in_main())
            self._here(before)
            self._follow_in_main()

    def shrink(self, signums: Iterable[int]) -> None:
        """Take no others any more; our handler is still in place for all."""
        wanted = self.taken.intersection(signums)
        if wanted != self.taken or self.dirty:
            before, self.dirty = self.taken, True
            self.taken = wanted
            # What is pending goes to the handler, in this thread, before the
            # handler goes.
            self._here(before)
            _core.sigwait_set(wanted | self._blocked_in_main())
            self._unwrap()
            self._follow_in_main()

    def _here(self, before: Iterable[int] = ()) -> None:
        """Make the mask of this thread what is taken now. `before`: what was, as a
        thread that was started meanwhile has inherited it."""
        me = threading.get_ident()
        inherited = () if in_main_thread() else before
        fresh = self._fresh.setdefault(me, set(inherited))
        _core.unblock(fresh - self.taken, fresh)
        _core.block(self.taken, fresh)
        if not self.taken:
            self._fresh.pop(me, None)
            self._clean.add(threading.current_thread())

    def _blocked_in_main(self) -> set[int]:
        """The thread takes what main blocks, and gives it to whom it belongs, even if
        that is no longer us: main may be in a system call, and until it follows, the
        kernel has nobody else to give it to."""
        return self._fresh.get(threading.main_thread().ident or 0, set())

    def _follow_in_main(self) -> None:
        self.dirty = not in_main_thread() and not _core.in_main(
            functools.partial(_core.insist, self._main_follows)
        )

    def _main_follows(self) -> None:
        with layers.lock:
            self._here()
            _core.sigwait_set(self.taken | self._blocked_in_main())
            self._unwrap()

    def follow(self) -> None:
        """The same for the dispatcher, whose runners inherit its mask. Without the
        lock."""
        if self._followed is not self.taken:
            with layers.lock:
                before, self._followed = self._followed, self.taken
                me = threading.get_ident()
                share(self._fresh.setdefault(me, set(before)), self.taken)
                self._here(before)

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
            call = self._calls.get(name, _core.unmasked)
            ours = self._wrappers.setdefault(
                there, functools.update_wrapper(functools.partial(call, there), there)
            )
            if there in os.supports_fd:  # os.execve
                os.supports_fd.add(ours)
        _replace(self._wrappers)

    def _unwrap(self) -> None:
        """Unless there are threads that block what we had blocked; they may still
        make children."""
        if not self.taken and not self._blocked_by_others():
            self._restore()
            _core.sigwait_forget()

    def _blocked_by_others(self) -> bool:
        here, threads = threading.current_thread(), _threads()
        return any(
            not threads or self._masked & threads.get(t.native_id or 0, ("", set()))[1]
            for t in threading.enumerate()
            if t is not here and t not in self._clean and _may_make_children(t)
        )

    def _restore(self) -> None:
        _replace({ours: there for there, ours in self._wrappers.items()})
        os.supports_fd.difference_update(self._wrappers.values())
        self._wrappers.clear()
        self._masked.clear()

    def forget_in_child(self) -> None:
        self.taken = self._followed = frozenset()
        self.dirty = False
        self._fresh.clear()
        self._restore()

    def older_threads(self) -> list[str]:
        """Those that do not block what is taken, and are not ours."""
        if not self.taken:
            return []
        main = threading.main_thread()
        names = {t.native_id: t.name for t in threading.enumerate()}
        older = []
        for tid, (native_name, blocked) in _threads().items():
            name = names.get(tid, native_name)
            follows = tid == main.native_id and not in_main_thread()
            if not (self.taken <= blocked or follows or _is_ours(name)):
                older.append(f"thread {name!r}")
        return older


def _may_make_children(thread: threading.Thread) -> bool:
    return thread.busy if isinstance(thread, Runner) else not _is_ours(thread.name)


def _is_ours(thread: str) -> bool:
    return thread.startswith(("gracefulexit-", "ge-"))  # of Python; native


def _replace(functions: dict[Any, Any]) -> None:
    for module, name in ENTRY_POINTS:
        owner = sys.modules.get(module)
        there = getattr(owner, name, None)
        if there in functions:
            setattr(owner, name, functions[there])


def _threads() -> dict[int, tuple[str, set[int]]]:
    """Native name and blocked signals of every thread; none without a /proc, or
    without a descriptor to look at it."""
    threads: dict[int, tuple[str, set[int]]] = {}
    folder = "/proc/self/task"
    try:
        tids = os.listdir(folder)
    except OSError:
        return threads
    for tid in tids:
        try:
            status = _core.read_file(f"{folder}/{tid}/status", MOST_STATUS)
        except OSError:
            continue  # it has ended
        text = status.decode("utf-8", "replace")
        lines = dict(line.partition(":\t")[::2] for line in text.split("\n"))
        if "SigBlk" in lines:
            bits = int(lines["SigBlk"], 16)
            blocked = {n for n in range(1, _core.NSIG) if bits >> (n - 1) & 1}
            threads[int(tid)] = lines.get("Name", tid), blocked
    return threads
