"""A process worker in its parent: asking it, by schedule, and noticing its end."""

from __future__ import annotations

import logging
import signal
import threading
import time
from typing import Any

from ._budget import time_for_workers
from ._killer import current
from ._masks import Apart
from ._schedule import Schedule, Step
from ._worker_child import ChildSide, Hook, Terms
from ._worker_link import Link, LinkEnd, launching
from ._worker_popen import Shared, launch
from ._worker_shared import Flag

log = logging.getLogger("gracefulexit")


class ParentSide:
    """What the worker object has to do with in the parent."""

    def __init__(self) -> None:
        self.flag = Flag(self.shutdown)
        self.error: BaseException | None = None
        self.group: Any = None
        self._noticed_at: float | None = None
        self.ended_at: float | None = None
        self._hooks: list[Hook] = []
        self._link: Link | None = None
        self._schedule: Schedule | None = None
        self._terms: Terms | None = None

    # ---- the face of the worker ---------------------------------------------

    @property
    def asked(self) -> bool:
        return self.flag.is_set()

    @property
    def noticed_at(self) -> float | None:
        """When the child saw that it is asked, on the clock of time.monotonic()."""
        known, link = self._noticed_at, self._link
        return link.noticed() if known is None and link is not None else known

    def wait(self, timeout: float | None) -> bool:
        return self.flag.wait(timeout)

    def shutdown(self) -> None:
        """Also from a Python signal handler: takes no lock that main may hold."""
        self.flag.note()
        # In this order: start() sees the flag, or we see its link.
        link = self._link
        if link is not None:
            link.ask()

    def on_stop(self, hook: Hook) -> None:
        if self._link is not None:
            raise RuntimeError(
                "this process worker is started, and its hooks run in the child; "
                "call on_stop() before start(), or in run()"
            )
        self._hooks.append(hook)

    # ---- starting -----------------------------------------------------------

    def begin(self, schedule: Schedule, parent: int, method: str) -> None:
        """What the child gets is there now."""
        self._schedule = schedule
        patience = sum(seconds for seconds, _ in schedule.steps)
        self._terms = Terms(parent, method != "forkserver", patience)
        self._link = Link(forked=method == "fork")
        if self.asked:
            self._link.ask()

    def launch(self, worker: Any, method: str) -> Shared:
        """Called by multiprocessing."""
        me = threading.get_ident()
        assert self._link is not None
        launching[me] = self._link
        try:
            return launch(worker, method)
        finally:
            del launching[me]

    def keep(self, worker: Any) -> None:
        """Look after a started child, from a thread that ends with it.

        A thread for each: it waits for the end of the child and runs its
        schedule. As long as it is no daemon the interpreter waits for it, as for
        other workers, with the killer still hearing.
        """
        assert self._link is not None
        self._link.launched()
        thread = Apart(
            target=self._keep,
            args=(worker, worker._popen),
            name=f"gracefulexit-{worker.name}",
            daemon=worker.daemon,
        )
        thread.start()

    def abandon(self, popen: Shared | None) -> None:
        """start() has failed. Nothing is left: no child, no descriptor."""
        if popen is not None:
            popen.kill()
            while not popen.await_end(None, popen.sentinel):
                pass
            popen.finished()
        if self._link is not None:
            self._link.close()
            self._link = None

    def __reduce__(self) -> Any:
        assert self._link is not None
        return _arrive, (self._link.for_child(), self._hooks, self._terms)

    def in_forked_child(self) -> ChildSide:
        assert self._link is not None
        assert self._terms is not None
        return ChildSide(self._link.in_forked_child(), self._hooks, self._terms)

    # ---- in the thread ------------------------------------------------------

    def _keep(self, worker: Any, popen: Shared) -> None:
        link, schedule = self._link, self._schedule
        assert link is not None
        assert schedule is not None

        def ended(timeout: float | None) -> bool:
            over = popen.await_end(timeout, link.poked)
            if not over:
                link.drain()
            return over

        def do(step: Step) -> None:
            self._step(step, worker.name, popen)

        try:
            while not ended(None):
                if self.asked:
                    schedule.run(do, ended, time_for_workers)
                    break
            self._settle(worker.name, popen.returncode or 0, link)
        finally:
            link.close()
            popen.finished()

    def _step(self, step: Step, name: str, popen: Shared) -> None:
        if not isinstance(step, int):
            return  # it was asked by shutdown()
        if step == signal.SIGKILL:
            log.warning("worker %s has not ended in time; killing it", name)
        popen.send(step)

    def _settle(self, name: str, status: int, link: Link) -> None:
        """The child has ended. Well?"""
        self._noticed_at = link.noticed()
        self.ended_at = time.monotonic()
        told = link.page.told()
        if told is None and status == 0:
            return
        if told is not None:
            self.error = RuntimeError(told)
        else:
            self.error = RuntimeError(_say(status))
        if told is None and self.asked:
            log.warning("worker %s was asked to stop and %s", name, _say(status))
            return
        killer = current()
        if killer is not None:
            killer._worker_failed(name, self.error)


def _arrive(end: tuple[Any, Any], hooks: list[Hook], terms: Terms) -> ChildSide:
    return ChildSide(LinkEnd.unpickled(*end), hooks, terms)


def _say(status: int) -> str:
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
