"""A child process under test: started, waited for and signalled, never slept for."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest

LIMIT = 150.0  # seconds for any wait; a test machine may stand still for a while
if "RACE_ROUNDS" in os.environ:  # which probe.py explains
    LIMIT *= 24
DUMP_LIMIT = 2.0  # seconds for the stacks of a child that hangs
SCRIPTS = Path(__file__).resolve().parents[1] / "children"


@dataclass(frozen=True)
class Finished:
    status: int  # exit status; minus the signal's number if that ended it
    out: str
    err: str


class Child:
    """Made by the `start_child` fixture, which explains the arguments."""

    def __init__(
        self,
        program: str | Path,
        args: Iterable[object],
        *,
        options: Iterable[str] = (),
        env: Mapping[str, str] | None = None,
        preload: Path | None = None,
        ignored: Collection[int] = (),
        blocked: Collection[int] = (),
        **popen: Any,
    ) -> None:
        path = isinstance(program, Path)
        what = [SCRIPTS / program] if path else ["-c", textwrap.dedent(program)]
        # A developer's own settings must not change what children do.
        clean = {k: v for k, v in os.environ.items() if "GRACEFULEXIT_" not in k}
        clean.pop("PYTHONUNBUFFERED", None)
        if preload is not None:
            # Last: the runtime of a sanitizer, if there is one, must come first.
            others = os.environ.get("LD_PRELOAD", "")
            clean["LD_PRELOAD"] = f"{others} {preload}".lstrip()

        def normal_signals() -> None:
            # pytest may itself run with SIGINT ignored (a background job of a
            # script) or with signals blocked, and both survive exec.
            for sig in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
                signal.signal(sig, signal.SIG_IGN if sig in ignored else signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

        defaults = {"stdin": subprocess.DEVNULL, "start_new_session": True}
        with warnings.catch_warnings():
            # 3.12 warns of fork (which preexec_fn needs) if there are threads.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process = subprocess.Popen(
                [sys.executable, *options, *what, *map(str, args)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**clean, "PYTHONFAULTHANDLER": "1", **(env or {})},
                preexec_fn=normal_signals,
                **{**defaults, **popen},
            )
        self.pid = self._process.pid
        self.stdin = self._process.stdin  # a binary file with subprocess.PIPE
        self._bytes = {"out": b"", "err": b""}
        self._looked_at = {"out": 0, "err": 0}
        self._open = selectors.DefaultSelector()
        self._open.register(self._process.stdout, selectors.EVENT_READ, "out")
        self._open.register(self._process.stderr, selectors.EVENT_READ, "err")

    @property
    def out(self) -> str:
        """Standard output, as far as it has been read."""
        return self._bytes["out"].decode("utf-8", "backslashreplace")

    @property
    def err(self) -> str:
        return self._bytes["err"].decode("utf-8", "backslashreplace")

    def wait_line(
        self, text: str, timeout: float = LIMIT, *, stream: str = "out"
    ) -> str:
        """Read on until a line that is `text` or starts with it; returns the line.

        Each line is looked at once: the next call goes on behind this one's.
        """
        __tracebackhide__ = True
        deadline = time.monotonic() + timeout
        while True:
            unseen = self._bytes[stream][self._looked_at[stream] :]
            *whole_lines, _ = unseen.split(b"\n")
            for line in whole_lines:
                self._looked_at[stream] += len(line) + 1
                if line.startswith(text.encode()):
                    return line.decode("utf-8", "backslashreplace")
            if not self._open.get_map():
                self._fail(f"ended its output without printing {text!r}")
            if not self._take_in(deadline):
                self._fail(f"did not print {text!r} within {timeout} s")

    def signal(self, signum: int) -> None:
        """Send a signal; a child that has already ended is a failure."""
        __tracebackhide__ = True
        if self._process.poll() is not None:
            self._fail(f"ended before it could be sent {signal.Signals(signum).name}")
        os.kill(self.pid, signum)

    def finish(self, timeout: float = LIMIT) -> Finished:
        """Wait for the end of the process and of its output."""
        __tracebackhide__ = True
        deadline = time.monotonic() + timeout
        while self._open.get_map():
            if not self._take_in(deadline):
                # Ended all the same? Then a child of it holds the output open.
                self._fail(f"did not close its output within {timeout} s")
        try:
            status = self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._fail(f"closed its output but did not end within {timeout} s")
        return Finished(status, self.out, self.err)

    def kill_if_alive(self) -> bool:
        """For the fixture: free everything; returns whether it was still running."""
        alive = self._process.poll() is None
        if alive:
            self._kill()
        self._open.close()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        return alive

    def _kill(self) -> None:
        # By its group where it leads one, so that its own children end as well.
        # Until we have waited for it, its number cannot be anyone else's.
        leads = os.getpgid(self.pid) == self.pid
        (os.killpg if leads else os.kill)(self.pid, signal.SIGKILL)
        self._process.wait(LIMIT)

    def _take_in(self, deadline: float) -> bool:
        """Read what is there; False if nothing came until the deadline."""
        # One reader for both streams, so that a full one never blocks the child.
        ready = self._open.select(max(0.0, deadline - time.monotonic()))
        for key, _ in ready:
            data = os.read(key.fd, 65536)
            self._bytes[key.data] += data
            if not data:
                self._open.unregister(key.fileobj)
        return bool(ready)

    def _fail(self, what: str) -> NoReturn:
        __tracebackhide__ = True
        status = self._process.poll()
        state = "running" if status is None else f"ended with status {status}"
        if status is None:
            self._dump_stacks()
        pytest.fail(
            f"child {self.pid} ({state}) {what}\n"
            f"--- its stdout so far:\n{self.out}\n--- its stderr so far:\n{self.err}"
        )

    def _dump_stacks(self) -> None:
        """faulthandler writes where each thread is; that ends the child."""
        os.kill(self.pid, signal.SIGABRT)
        deadline = time.monotonic() + DUMP_LIMIT
        while self._open.get_map() and self._take_in(deadline):
            pass
        self._kill()
