"""The thread between the native watcher and the user's Python code."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable

from . import _core
from ._masks import Apart, draw_back

log = logging.getLogger("gracefulexit")


class Dispatcher(Apart):
    """Calls `turn` whenever the watcher has news, or after the seconds that the
    last turn asked for. What is `heard` it does not block, as main may.

    An ordinary daemon thread, so that debuggers and threading.enumerate() see
    it. Runs no user code: what blocks here delays everybody's `event`.

    Rejected: a native thread that takes the GIL with PyGILState_Ensure. During
    finalisation that call ends the thread, hangs or crashes.
    """

    def __init__(
        self,
        turn: Callable[[], float | None],
        heard: Callable[[], frozenset[int]],
    ) -> None:
        if threads_are_greenlets():
            raise RuntimeError(
                "gevent has patched the threading module, so a thread of ours would "
                "be a greenlet whose first wait stops the whole program; call "
                "gevent.monkey.patch_all(thread=False) instead"
            )
        super().__init__(heard(), name="gracefulexit-dispatcher", daemon=True)
        self._turn = turn
        self._to_hear = heard
        self._quit = False

    def work(self) -> None:
        while not self._quit:
            # The number first, then the facts: news in between is not missed.
            seen = _core.news()
            try:
                timeout = self._turn()
            except Exception:
                log.exception("the dispatcher goes on after")
                timeout = 1.0
            draw_back(self._to_hear())
            if not self._quit:
                _core.wait_news(seen, timeout)

    def quit(self) -> None:
        """Stop after the turn that is under way; returns at once."""
        self._quit = True
        _core.wake_news()

    def join_from_outside(self, timeout: float) -> None:
        if self is not threading.current_thread() and self.ident is not None:
            self.join(timeout)


def threads_are_greenlets() -> bool:
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))
