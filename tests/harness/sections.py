"""Helpers of the tests of protected sections: of their children, and of the tests."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import textwrap
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from probe import CATCHABLE, action, until

# Only in a child: a test module of pytest imports this file for checked() alone.
CHECKED = "from sections import *\nlook_at_the_end()\n"
_look = [True]


def checked(program: Callable[..., Any]) -> Callable[..., Any]:
    """The fixture `program`, whose children look at their end whether anything of
    ours is left. One with a killer alive, or that ends without atexit, cannot."""

    def start(source: str, *args: object, **kwargs: Any) -> Any:
        return program(CHECKED + textwrap.dedent(source), *args, **kwargs)

    return start


def nothing_of_ours() -> None:
    """No section is counted, and both tables are as they would be without us."""
    from gracefulexit import _core
    from gracefulexit._layers import on_python_signal

    assert _core.sections() == 0, f"{_core.sections()} sections are counted"
    for signum in CATCHABLE:
        python, kernel = signal.getsignal(signum), action(signum)[0]
        assert python is not on_python_signal, f"{signum} is ours in Python's table"
        assert not _core.ours(signum), f"{signum} is ours in the kernel's table"
        if isinstance(python, signal.Handlers):
            assert kernel == python, f"{signum}: {python!r}, in the kernel {kernel:#x}"
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert not blocked, f"blocked: {blocked}"


def look_at_the_end() -> None:
    """nothing_of_ours() as the last atexit function; a failure ends with status 97.

    A check that fails in a thread ends the process with status 98: who waits for
    that thread would do so until its parent gives up."""
    maker = os.getpid()
    usual = threading.excepthook

    def in_thread(failed: threading.ExceptHookArgs) -> None:
        usual(failed)
        if issubclass(failed.exc_type, AssertionError):
            sys.stderr.flush()
            os._exit(98)

    threading.excepthook = in_thread

    def look() -> None:
        import gracefulexit

        alive = gracefulexit.current() is not None
        if os.getpid() != maker or alive or not _look:
            return
        try:
            nothing_of_ours()
        except AssertionError:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(97)

    atexit.register(look)


def do_not_look() -> None:
    """For a program that ends beside threads which use sections."""
    _look.clear()


def say(text: str) -> None:
    """A line at once, past the buffer of stdout, which shows a missing flush."""
    os.write(1, text.encode() + b"\n")


def _sleep_state(thread: int) -> tuple[str, str]:
    status = Path(f"/proc/self/task/{thread}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    return fields["State"][0], fields["voluntary_ctxt_switches"]


def until_asleep(thread: threading.Thread | None = None) -> None:
    """Until that thread (main) is blocked in the kernel, and stays there."""
    native = (thread or threading.main_thread()).native_id
    assert native is not None
    seen = [("", "")] * 3

    def settled() -> bool:
        seen.append(_sleep_state(native))
        del seen[0]
        return seen[0][0] == "S" and len(set(seen)) == 1

    until(settled, f"thread {native} sleeps")


class Warnings(logging.Handler):
    """What our logger was told at WARNING and above; stderr is not."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []
        logger = logging.getLogger("gracefulexit")
        logger.addHandler(self)
        logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())
