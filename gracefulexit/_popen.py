"""Popen: an external program that is told to stop when we are."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import IO, Any, AnyStr, Literal, overload

from . import _births, _checks
from ._budget import time_for_workers
from ._killer import GracefulKiller, current, stop_descriptor
from ._leader import Leader
from ._masks import Apart
from ._members import Grouped
from ._schedule import Course, Schedule, Step, Steps, describe

log = logging.getLogger("gracefulexit")


class Popen(subprocess.Popen[AnyStr], Grouped):
    """A ``subprocess.Popen`` that Ctrl-C does not cut, and that stops when we do.

    The program leads a process group of its own, so the Ctrl-C of the terminal
    reaches only us. It is registered with the oldest live killer, if there is
    one: at the stop it and all of its group are stopped by the schedule `stop`,
    and reaped. The waits are cut so that ``"KILL"`` comes before the killer's
    deadline. ``wait()``, ``communicate()``, ``poll()``, ``send_signal()``,
    ``terminate()``, ``kill()`` and ``with`` are those of ``subprocess``.

    Any thread may make one and call any method. A further signal changes
    nothing for the program; a second Ctrl-C ends us, wherever its stop is.

    Args:
        args: the program, as for ``subprocess.Popen``. Its other arguments are
            given by keyword.
        stdin: by default ``DEVNULL``: a program in the background that reads
            from the terminal is halted by the system.
        stop: signals, or ``"EOF"`` (close its stdin), and seconds in turn, with
            ``"KILL"`` as the last; a number in front is the time that it gets to
            end unasked.

    Raises:
        ValueError, TypeError: a schedule that cannot work or has no end,
            ``"EOF"`` without ``stdin=PIPE``, a `process_group`. Nothing was
            started then.
        OSError, subprocess.SubprocessError: as ``subprocess.Popen``.

    >>> with Popen(["echo", "hello"], stdout=subprocess.PIPE, text=True) as program:
    ...     program.communicate()[0]
    'hello\\n'
    """

    @overload
    def __init__(
        self: Popen[str],
        args: Any,
        *,
        stdin: int | IO[Any] | None = ...,
        stop: Steps = ...,
        text: Literal[True],
        **kwargs: Any,
    ) -> None: ...

    @overload
    def __init__(
        self: Popen[str],
        args: Any,
        *,
        stdin: int | IO[Any] | None = ...,
        stop: Steps = ...,
        encoding: str,
        **kwargs: Any,
    ) -> None: ...

    @overload
    def __init__(
        self: Popen[bytes],
        args: Any,
        *,
        stdin: int | IO[Any] | None = ...,
        stop: Steps = ...,
        text: Literal[False] | None = None,
        encoding: None = None,
        **kwargs: Any,
    ) -> None: ...

    def __init__(
        self,
        args: Any,
        *,
        stdin: int | IO[Any] | None = subprocess.DEVNULL,
        stop: Steps = ("TERM", 10, "KILL"),
        **kwargs: Any,
    ) -> None:
        self._schedule = Schedule(stop)
        if "EOF" in self._schedule and stdin != subprocess.PIPE:
            raise ValueError(
                f"stop={self._schedule!r} closes the program's stdin, which is not "
                "ours to close; pass stdin=subprocess.PIPE, or leave 'EOF' out"
            )
        _lead_a_group(kwargs)
        self._killer: GracefulKiller | None = None
        self._in_group: Any = None
        # Protects the next two; nothing blocks under it.
        self._lock = threading.RLock()
        self._communicating: set[object] = set()
        self._at_eof = False
        try:
            super().__init__(args, stdin=stdin, **kwargs)
            self._lead(args)
            self._register()
        except BaseException:
            # What a Python signal handler raised; nobody will know the program.
            if getattr(self, "pid", None) and self.returncode is None:
                if "_course" not in vars(self):
                    self._lead(args)
                self.shutdown()
            raise

    def _lead(self, args: Any) -> None:
        self.name = f"{_program(args)} (pid {self.pid})"
        self._leader = Leader(self.pid)
        self._course = Course()

    def _register(self) -> None:
        killer = current()
        if killer is not None:
            with suppress(RuntimeError):  # closed at this moment: nobody to tell us
                killer.add(self)
                self._killer = killer

    @property
    def _group(self) -> Any:
        return self._in_group

    @_group.setter
    def _group(self, group: Any) -> None:
        # The group asks it in its turn, and the killer asks the group.
        self._in_group = group
        self._leave_killer()

    # ---- as subprocess.Popen ------------------------------------------------

    def poll(self) -> int | None:
        if self._leader.look():
            self._note_end()
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        # The one way by which wait(), communicate() and `with` wait in subprocess;
        # it would reap what a stop needs. It is private, so a test compares.
        if self.returncode is None:
            if not self._leader.wait(timeout):
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            self._note_end()
        return self.returncode

    def _note_end(self) -> None:
        self.returncode = self._leader.status
        if not self._course.under_way:
            self._leave_killer()

    def _leave_killer(self) -> None:
        # It would keep our pipes open.
        killer, self._killer = self._killer, None
        if killer is not None:
            killer._forget(self)

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            self._leader.kill(sig)

    def communicate(
        self,
        input: Any = None,  # noqa: A002  # its name in subprocess
        timeout: float | None = None,
    ) -> Any:
        me = object()
        try:
            with self._lock:
                self._communicating.add(me)
                if self._at_eof:
                    self.stdin = None  # closed, which subprocess does not expect
            return super().communicate(input, timeout)
        finally:
            with self._lock:
                self._communicating.discard(me)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            # subprocess does not wait then: the program has had the Ctrl-C too.
            # Ours has not.
            self.shutdown()
            kind = error = trace = None
        super().__exit__(kind, error, trace)

    # ---- what killers and groups ask for ------------------------------------

    def shutdown(self) -> None:
        """Begin to stop it by the schedule; returns at once.

        From any thread, from a Python signal handler. Once more does nothing, and
        so does a program that has been waited for.
        """
        self._course.begin(self.name, self._run_schedule)

    def is_alive(self) -> bool:
        """Is it running, or a stop of its group under way?"""
        return self.poll() is None or self._course.under_way

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, and with it a stop that is under way, or for
        `timeout` seconds. ``is_alive()`` tells which."""
        timeout = _checks.timeout(timeout)
        until = None if timeout is None else time.monotonic() + timeout
        if self._leader.wait(timeout):
            left = None if until is None else max(0.0, until - time.monotonic())
            self._course.wait(left)
            self._note_end()

    # ---- the stop, on a thread of its own -----------------------------------

    def _run_schedule(self) -> None:
        if not self._leader.keep():
            return
        try:
            self._schedule.run(self._step, self._ended, time_for_workers)
        finally:
            self._leader.release()
            self.poll()
            self._leave_killer()

    def _step(self, step: Step) -> None:
        if step == signal.SIGKILL:
            log.warning("%s has not ended in time; sending SIGKILL", self.name)
        else:
            log.info("stopping %s: %s", self.name, describe(step))
        if isinstance(step, str):
            self._close_stdin()
            return
        self._leader.signal(step)
        if step != signal.SIGKILL:
            # One that was halted, perhaps by the terminal, could not act on it.
            self._leader.signal(signal.SIGCONT)

    def _close_stdin(self) -> None:
        with self._lock:
            # communicate() closes it, as soon as all of its input is through.
            if self._communicating or self._at_eof or self.stdin is None:
                return
            self._at_eof = True
        # It waits for who is writing, perhaps to a program that does not read.
        thread = Apart(
            target=_close, args=(self.stdin,), name="gracefulexit-stdin", daemon=True
        )
        with suppress(_births.MainHasEnded):  # it is closed with the process
            _births.start(thread)

    def _ended(self, timeout: float | None) -> bool:
        if timeout is None:  # all of the group have been sent SIGKILL
            return self._leader.wait(None)
        return self._leader.wait_group(timeout, stop_descriptor())


def _lead_a_group(kwargs: dict[str, Any]) -> None:
    """Have the program lead a group of its own."""
    group = kwargs.pop("process_group", None)
    if group not in (None, 0):
        raise ValueError(
            f"process_group={group!r}: the program leads a group of its own, so that "
            "all of it can be stopped; leave it out, or use subprocess.Popen"
        )
    if kwargs.get("start_new_session"):
        return
    if sys.version_info >= (3, 11):
        kwargs["process_group"] = 0
    else:
        # A preexec_fn would run Python between fork and exec, which may hang in a
        # program with threads. A session has no terminal of its own, though.
        kwargs["start_new_session"] = True


def _program(args: Any) -> str:
    """What it is called in the log."""
    alone = isinstance(args, (str, bytes, os.PathLike))
    words = os.fsdecode(args if alone else next(iter(args), "")).split()
    return os.path.basename(words[0]) if words else "program"


def _close(file: IO[Any]) -> None:
    with suppress(OSError, ValueError):
        file.close()
