"""Who is still running when the grace is nearly over, and where: for the log."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ._sections import OpenSection, open_sections, threads
from ._stacks import stack_of, whose

OURS = "gracefulexit"


class Straggler(NamedTuple):
    """Something that a stop waits for. It is the same one at the next look if its
    `what` and `ident` are."""

    what: str
    ident: int | None = None  # of the thread that it runs on
    state: str = ""  # since when


def describe(
    found: Iterable[Straggler], known: set[int], now: float
) -> dict[tuple[str, int | None], str]:
    """Text for each, with open sections and stacks; also for what nobody has
    registered. `known`: the threads that are registered, running or not."""
    stragglers = list(found)
    seen = {s.ident for s in stragglers if s.ident is not None}
    stragglers += _unregistered(seen | known)
    seen |= {s.ident for s in stragglers if s.ident is not None}
    sections = open_sections()
    stragglers += [
        Straggler(f"thread {s.thread}", s.ident)
        for s in {s.ident: s for s in sections if s.holds}.values()
        if s.ident not in seen
    ]
    return {(s.what, s.ident): _text(s, sections, now) for s in stragglers}


def _unregistered(known: set[int]) -> Iterator[Straggler]:
    """What else keeps the interpreter alive: threads that are no daemons, and main
    unless it waits in a function of ours."""
    for ident, thread in threads().items():
        main = thread is threading.main_thread()
        ours = thread.name.startswith(f"{OURS}-")
        if ident in known or ours:
            continue
        # In atexit hooks main counts as ended. Where it waits for other threads at
        # its end, there is the standard library alone.
        if main and whose(ident) not in (OURS, ""):
            yield Straggler("the main thread", ident)
        elif not main and not thread.daemon and thread.is_alive():
            yield Straggler(f"thread {thread.name}", ident, "not registered")


def _text(straggler: Straggler, sections: list[OpenSection], now: float) -> str:
    parts = [straggler.what, straggler.state]
    if straggler.ident is not None:
        parts += [
            f"in section {s.name}, open for {now - s.since:.1f} s"
            for s in sections
            if s.ident == straggler.ident
        ]
    text = ", ".join(filter(None, parts))
    stack = stack_of(straggler.ident)
    return f"{text}, at\n{stack}" if stack else text  # a process has none to be seen
