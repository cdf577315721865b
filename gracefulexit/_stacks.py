"""Where a thread is now."""

from __future__ import annotations

import sys
import traceback
from types import FrameType


def stack_of(ident: int | None) -> str | None:
    """As a traceback prints it; None: it has ended, or runs no Python."""
    frame = _frame_of(ident)
    if frame is None:
        return None
    return "".join(traceback.format_stack(frame)).rstrip()


def runs_python(ident: int) -> bool:
    return _frame_of(ident) is not None


def whose(ident: int) -> str:
    """The package whose code it is in, or has called the standard library from."""
    frame = _frame_of(ident)
    while frame is not None:
        name = str(frame.f_globals.get("__name__")).partition(".")[0]
        if name not in sys.stdlib_module_names:
            return name
        frame = frame.f_back
    return ""


def _frame_of(ident: int | None) -> FrameType | None:
    return None if ident is None else sys._current_frames().get(ident)
