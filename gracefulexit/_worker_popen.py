"""multiprocessing's hold on a child, safe for several threads, for every start
method; and what to say of a worker that cannot be pickled."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import threading
from collections.abc import Iterator
from importlib import import_module
from multiprocessing import context, reduction
from typing import TYPE_CHECKING, Any

from . import _core
from ._polling import pidfd_open, readable
from ._worker_shared import Flag

if TYPE_CHECKING:
    from multiprocessing.popen_fork import Popen as Base
else:
    Base = object

MODULES = {
    "fork": "multiprocessing.popen_fork",
    "spawn": "multiprocessing.popen_spawn_posix",
    "forkserver": "multiprocessing.popen_forkserver",
}
HELD_BACK = (signal.SIGINT, signal.SIGTERM)
# How a child ended that somebody else has waited for; a forkserver's says the same.
UNKNOWN = 255


class Shared(Base):
    """Several threads may wait for the child, ask about it and signal it.

    Without the lock one thread reaps the child and another one
      takes the error of its own waitpid() for "still running", or
      signals a number that is by now another process's.
    """

    def __init__(self, process: Any) -> None:
        # Protects the reaping; its holder waits for nothing. Re-entrant, for a
        # Python signal handler in main.
        self._reaping = threading.RLock()
        self._pidfd = -1
        #: Set when the child has ended and all has been done that follows.
        self.over = Flag()
        super().__init__(process)
        self._pidfd = pidfd_open(self.pid)

    @property
    def _end(self) -> int:
        """A descriptor that is readable when the child has ended. The sentinel is
        held open by whatever the child has forked, but for a fork server's."""
        if self._pidfd >= 0 and self.method != "forkserver":
            return self._pidfd
        return self.sentinel

    def await_end(self, timeout: float | None, poked: int) -> bool:
        """Wait for the end, for `poked`, or so long; has it ended? For one thread,
        which calls finished() at last."""
        end = self._end
        if end not in readable((end, poked), timeout):
            return False
        if end == self.sentinel and self.method != "forkserver":
            # The sentinel is closed a moment before the process is to be had.
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        if self.poll() is None:
            # Reaped by other code, which did not tell us the status.
            self.returncode = UNKNOWN
        return True

    def finished(self) -> None:
        with self._reaping:
            fd, self._pidfd = self._pidfd, -1
            if fd >= 0:
                os.close(fd)
        self.over.note()

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        if not flag & os.WNOHANG:
            return self.wait(None)
        with self._reaping:
            return super().poll(os.WNOHANG)

    def wait(self, timeout: float | None = None) -> int | None:
        return self.returncode if self.over.wait(timeout) else None

    def send(self, signum: int) -> None:
        """A signal to the child, and to nobody else."""
        with self._reaping:
            if self.poll() is not None:
                return
            with contextlib.suppress(ProcessLookupError):
                if self._pidfd >= 0:
                    signal.pidfd_send_signal(self._pidfd, signum)
                else:
                    os.kill(self.pid, signum)

    # What terminate() and kill() call.
    _send_signal = send


@functools.cache
def _shared(method: str) -> type[Shared]:
    base = import_module(MODULES[method]).Popen
    return type("Popen", (Shared, base), {})


def launch(process: Any, method: str) -> Shared:
    """Start the child. SIGINT and SIGTERM wait until it can hear them."""
    if method == "fork":
        _check_room()
        with _held_back():
            return _shared(method)(process)
    # These two are started on first use and would inherit the mask. The tracker's
    # own caller blocks what must not cut it while it starts.
    with _kept_blocked():
        import_module("multiprocessing.resource_tracker").ensure_running()
    if method == "spawn":
        with _held_back():
            return _shared(method)(process)
    # A child of the fork server has the mask of the server, so until it gets to
    # our code an interrupt cuts it, as any child of multiprocessing.
    return _shared(method)(process)


def _check_room() -> None:
    """Raise OSError unless two pipes can be made: multiprocessing leaks its first
    one where there is no room for the second."""
    with contextlib.ExitStack() as pipes:
        for _ in range(2):
            for fd in os.pipe():
                pipes.callback(os.close, fd)


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    # First what was, alone: the second call may raise, for a handler in Python.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
        with _kept_blocked():
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _kept_blocked() -> Iterator[None]:
    """In sigwait mode a child has none of our mask, but shall have these."""
    try:
        _core.keep_blocked(HELD_BACK)
        yield
    finally:
        _core.keep_blocked(())


class _Trial:
    """Looks like a child that is being started, for those who pickle only then."""

    class DupFd:
        def __init__(self, fd: int) -> None:
            self.fd = fd

    def duplicate_for_child(self, fd: int) -> int:
        return fd


def unpicklable(process: Any) -> str | None:
    """Which part of a worker cannot be pickled, and what to do; None: all can."""
    set_spawning: Any = context.set_spawning_popen
    set_spawning(_Trial())
    try:
        cls = type(process)
        if _fails(cls):
            return (
                f"the class {cls.__qualname__} cannot be found by a new process; "
                "define it at the top level of a module that can be imported"
            )
        for name, value in _state(process).items():
            if _fails(value):
                part, way_out = _part(name)
                return (
                    f"its {part} cannot be pickled; {way_out} in run(), which is "
                    "called in the child, or choose start_method='fork'"
                )
    finally:
        set_spawning(None)
    return None


def _state(process: Any) -> dict[str, Any]:
    state = process.__reduce_ex__(2)[2]
    return state if isinstance(state, dict) else vars(process)


def _part(name: str) -> tuple[str, str]:
    """What it is for the user, and what to do with it."""
    if name == "_side":
        return "on_stop() hooks", "register them"
    if name in ("_target", "_args", "_kwargs"):
        return f"argument {name[1:]}", "make it"
    return f"attribute {name}", "make it"


def _fails(value: Any) -> bool:
    try:
        reduction.ForkingPickler.dumps(value)
    except Exception:  # noqa: BLE001  # whatever a __reduce__ raises
        return True
    return False
