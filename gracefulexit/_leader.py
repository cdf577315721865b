"""A child process that leads a group: its end, the rest of its group, and signals
to them that never reach a stranger."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator

from ._polling import pidfd_open, readable

# Where the kernel offers no descriptor of a process (Linux before 5.3, a sandbox,
# other systems), or none is to be had: how often to look, in seconds, while
# somebody waits with a limit.
LOOK_EVERY = 0.05


class Leader:
    """A child of this process that leads a group of its own. Any thread may call
    any method; no method blocks under the lock.

    Whoever reaps it reaps it here, and nothing is signalled after that:

      leader:    ends; others of its group go on
      user:      wait() reaps it
      others:    end, and so does the group
      kernel:    gives the number to somebody's new process, which may lead a group
      stop:      killpg(number), which is a stranger's now

    A zombie keeps the number of its process and of its group. So a stop keeps the
    zombie until its last step; who waits meanwhile is told the status, which can
    be had without reaping.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        #: As subprocess.Popen.returncode.
        self.status: int | None = None
        # Protects what follows, and the time between a look and the signal.
        # Re-entrant, for a Python signal handler in main.
        self._lock = threading.RLock()
        self._reaped = False
        self._kept = False

    def look(self) -> bool:
        """Has it ended? Then `status` is known, and unless kept it is reaped."""
        with self._lock:
            if self._reaped:
                return True
            how = os.WEXITED | os.WNOHANG
            try:
                found = os.waitid(os.P_PID, self.pid, how | os.WNOWAIT)
                if found is None:
                    return False
                if self.status is None:
                    self.status = _status(found)
                if not self._kept:
                    self._reaped = True
                    os.waitid(os.P_PID, self.pid, how)
            except ChildProcessError:
                # SIGCHLD is ignored, somebody waits for any child, or we are a
                # fork of its parent: subprocess says 0 then.
                self._reaped = True
                if self.status is None:
                    self.status = 0
            return True

    def wait(self, timeout: float | None) -> bool:
        """Wait for its end; has it ended? In main Python signal handlers run."""
        if self.look():
            return True
        if timeout is None:
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            return self.look()
        until = time.monotonic() + timeout
        while not self.look():
            left = until - time.monotonic()
            if left <= 0:
                return False
            with self._descriptor() as pidfd:
                if pidfd < 0:
                    time.sleep(min(left, LOOK_EVERY))
                else:
                    readable([pidfd], left)
        return True

    def keep(self) -> bool:
        """Nobody reaps it until release(); False if it was reaped."""
        with self._lock:
            self._kept = not self._reaped
            return self._kept

    def release(self) -> None:
        with self._lock:
            self._kept = False
        self.look()

    def kill(self, signum: int) -> None:
        """To it alone; not once it has ended."""
        with self._lock:
            if not self.look():
                os.kill(self.pid, signum)

    def signal(self, signum: int) -> None:
        """To all of its group, and to it if it has left that; not once reaped."""
        with self._lock:
            self.look()
            if self._reaped:
                return
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signum)
            if os.getpgid(self.pid) != self.pid:
                os.kill(self.pid, signum)

    def wait_group(self, timeout: float, wake: int | None) -> bool:
        """Wait until it and all of its group have ended; have they?

        Comes back earlier when the descriptor `wake` is readable, and where those
        of processes are not to be had, after LOOK_EVERY.
        """
        until = time.monotonic() + timeout
        while True:
            with contextlib.ExitStack() as opened:
                watched, blind = self._watch(opened)
                if not watched and not blind:
                    return True
                left = max(0.0, until - time.monotonic())
                if blind:
                    left = min(left, LOOK_EVERY)
                ready = readable(watched if wake is None else [wake, *watched], left)
                if not ready or wake in ready:
                    return False

    def _watch(self, opened: contextlib.ExitStack) -> tuple[list[int], bool]:
        """Descriptors of those who have not ended; and is that not all of them?"""
        if not self.look():
            pidfd = opened.enter_context(self._descriptor())
            return ([], True) if pidfd < 0 else ([pidfd], False)
        watched, blind = [], False
        # With the leader reaped the group may be a stranger's.
        for pid in () if self._reaped else members(self.pid):
            pidfd = pidfd_open(pid)
            if pidfd < 0:
                blind = blind or group_of(pid) == self.pid  # or it has gone
                continue
            opened.callback(os.close, pidfd)
            # In this order: if the number had gone to another process before it
            # was opened, that is not in the group. One that has ended, and only
            # waits to be reaped, is readable.
            if group_of(pid) == self.pid and not readable([pidfd], 0):
                watched.append(pidfd)
        return watched, blind

    @contextlib.contextmanager
    def _descriptor(self) -> Iterator[int]:
        """Readable from its end on; -1 if there is none to be had."""
        with self._lock:  # not reaped, or the number may be somebody else's
            pidfd = -1 if self.look() else pidfd_open(self.pid)
        try:
            yield pidfd
        finally:
            if pidfd >= 0:
                os.close(pidfd)


def _status(found: os.waitid_result) -> int:
    exited = found.si_code == os.CLD_EXITED
    return found.si_status if exited else -found.si_status


def members(group: int) -> Iterator[int]:
    """Who is in that group, the leader not counted; nobody where there is no /proc."""
    try:
        numbers = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return
    for pid in numbers:
        if pid != group and group_of(pid) == group:
            yield pid


def group_of(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read()
    except OSError:
        return None
    # The name before it may have blanks and parentheses.
    return int(stat.rpartition(b")")[2].split()[2])
