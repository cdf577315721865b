"""A process worker in its own process: what asks it, and how it ends."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from . import _checks
from ._errors import GracefulExit
from ._interrupt import pass_by
from ._killer import GracefulKiller
from ._masks import Apart
from ._process import process
from ._worker_link import LinkEnd

log = logging.getLogger("gracefulexit")

#: One on_stop() hook: func, args, kwargs.
Hook = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class Terms(NamedTuple):
    """What the child knows of its parent."""

    parent: int  # process number
    direct: bool  # our parent in the kernel's eyes, too; else a fork server is
    patience: float  # seconds to end in when nobody is left to insist


class ChildKiller(GracefulKiller):
    """Hears SIGTERM in the child, which asks it to stop as its parent does. A second
    one does nothing: whoever insists has SIGKILL, as the parent does in the end."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._hurry_at: float | None = None
        super().__init__("TERM", escalate=())

    def _unblock(self, signums: tuple[int, ...]) -> None:
        # Held back on purpose since before the fork: nothing to say of it.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signums)

    def _stop_and_limit(self) -> tuple[float | None, float | None]:
        when, limit = super()._stop_and_limit()
        limits = [t for t in (limit, self._hurry_at) if t is not None]
        return when, min(limits, default=None)

    def end(self) -> None:
        """run() has ended: so do the threads of the child."""
        if self._closed:
            return  # by exit()
        if not self.kill_now:
            # Nobody has asked, so nobody will end us if a hook blocks for ever.
            self._hurry_at = time.monotonic() + self._patience
            process.stop("run() has ended", raising=False)
        self._finish(ending=True)


class ChildSide:
    """What the worker object has to do with in the child."""

    def __init__(self, end: LinkEnd, hooks: list[Hook], terms: Terms) -> None:
        self._end = end
        self._hooks = hooks
        self._terms = terms
        self._killer: ChildKiller | None = None
        self._flag: threading.Event | None = None  # the user's own
        self.error: BaseException | None = None
        self.group: Any = None

    # ---- the face of the worker ---------------------------------------------

    @property
    def flag(self) -> threading.Event:
        if self._flag is None:
            return self._armed().event
        return self._flag

    @flag.setter
    def flag(self, flag: threading.Event) -> None:
        before, self._flag = self.flag, flag
        self._armed().on_stop(flag.set)
        if before.is_set():
            flag.set()

    @property
    def asked(self) -> bool:
        killer = self._armed()
        by_parent = self._end.page.asked
        if by_parent and not killer.kill_now:
            self._stop(asked=True)  # who sees it before _listen() finds a reason too
        if by_parent or killer.kill_now or self.flag.is_set():
            self._end.page.notice()
            return True
        return False

    def wait(self, timeout: float | None) -> bool:
        return self.asked or (self.flag.wait(timeout) and self.asked)

    def shutdown(self) -> None:
        self._armed().stop("shutdown()")

    def on_stop(self, hook: Hook) -> None:
        func, args, kwargs = hook
        if self._killer is None:
            self._hooks.append(hook)
        else:
            self._killer.on_stop(func, *args, **kwargs)

    def _armed(self) -> ChildKiller:
        if self._killer is None:
            raise RuntimeError(
                "the child of this process worker is not ready yet; use it in run()"
            )
        return self._killer

    # ---- the life of the child ----------------------------------------------

    def run(self, body: Callable[[], Any]) -> None:
        """Call `body` where the worker hears; ends as multiprocessing wants it."""
        killer = self._hear()
        try:
            body()
        except SystemExit as error:
            if not (isinstance(error, GracefulExit) and killer.kill_now):
                raise
        except BaseException as error:
            self.error = error
            self._end.page.tell(f"ended by {_checks.shown(error)}")
            raise
        finally:
            killer.end()
        if killer._failed and killer.reason is not None:
            self._end.page.tell(f"its {killer.reason.message}")
            raise SystemExit(1)

    def _hear(self) -> ChildKiller:
        # Those of the parent, re-armed here with on_fork="rearm". Their hooks are
        # the parent's business.
        for inherited in list(process.killers):
            assert isinstance(inherited, GracefulKiller)
            inherited._hooks = type(inherited._hooks)(None)
            inherited.close()
        # Below the killer, for the time after it: from run()'s end to the process's.
        for signum in (signal.SIGINT, signal.SIGTERM):
            pass_by(signum)
        atexit.register(_deaf)
        self._killer = killer = ChildKiller(self._terms.patience)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))
        for func, args, kwargs in self._hooks:
            killer.on_stop(func, *args, **kwargs)
        if self._terms.direct:
            self._end.follow(self._terms.parent)
        if self._end.page.asked:
            self._stop(asked=True)
        Apart(target=self._listen, name="gracefulexit-parent", daemon=True).start()
        return killer

    def _listen(self) -> None:
        self._stop(asked=self._end.wait())
        self._end.wait_for_orphanage()
        # What the parent would have done.
        patience = self._terms.patience
        time.sleep(patience)
        log.error("the parent has ended, and so do I: %g s are over", patience)
        os.kill(os.getpid(), signal.SIGKILL)

    def _stop(self, *, asked: bool) -> None:
        what = "asked by" if asked else "has lost"
        with contextlib.suppress(RuntimeError):  # run() has ended
            self._armed().stop(f"{what} its parent, pid {self._terms.parent}")


def _deaf() -> None:
    """From here to the end of the process, in which Python puts the default in place
    of handlers in Python: a second signal would make a good end a bad one."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)
