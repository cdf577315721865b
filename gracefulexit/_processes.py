"""Processes that stop when they are asked to."""

from __future__ import annotations

import functools
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from . import _checks
from ._killer import current
from ._members import Grouped
from ._schedule import Schedule, Steps
from ._worker_child import ChildSide
from ._worker_parent import ParentSide
from ._worker_popen import MODULES, unpicklable
from ._workers import check_interval, run_steps

Func = TypeVar("Func", bound=Callable[..., Any])


class ProcessWorker(multiprocessing.Process, Grouped):
    """A ``multiprocessing.Process`` with a flag that asks it to stop.

    The face of `Worker`, in the parent and in the child: override ``step()``,
    called every ``interval`` seconds in the child, or ``run()`` with
    ``while not self.stopping:`` in it. ``on_stop()`` hooks run in the child.

    ``shutdown()`` asks; then SIGTERM and SIGKILL follow by the schedule `stop`,
    cut short to fit into the grace of the killer that asks. In the child SIGTERM
    asks, too, a second one does nothing, and Ctrl-C on the terminal does
    nothing. A child whose parent has ended stops. After a graceful stop the exit
    status is 0.

    ``start()`` registers it with the oldest live killer, if there is one and no
    killer or group has it yet. An exception that ends it, and an exit status
    other than 0 for which nobody has asked, is in ``error``, and by default
    stops the program.

    Args:
        stop: seconds and steps (``"ASK"``, signals) in turn, up to ``"KILL"``;
            by default the class attribute.
        start_method: ``"fork"``, ``"spawn"``, ``"forkserver"``; None: that of
            multiprocessing. By default the class attribute.

    >>> worker = ProcessWorker(target=print, start_method="fork")
    >>> worker.shutdown(); worker.stopping
    True
    """

    #: Seconds from one begin of ``step()`` to the next; 0.0: no pause.
    interval: float = 0.0
    #: What ``shutdown()`` does: ask, wait 10 s, SIGTERM, wait 5 s, SIGKILL.
    stop: Steps = ("ASK", 10, "TERM", 5, "KILL")
    #: How the child is made; None: as multiprocessing does.
    start_method: str | None = None

    _side: ParentSide | ChildSide
    _popen: Any
    _closed: bool
    _last_ident: int | None = None
    _parent_pid: int

    def __new__(cls, *args: Any, **kwargs: Any) -> ProcessWorker:
        # Here and not in __init__, so that a subclass may call
        # multiprocessing.Process.__init__(self) and never ours.
        self = super().__new__(cls)
        self._side = ParentSide()
        return self

    def __init__(
        self,
        group: None = None,
        target: Callable[..., Any] | None = None,
        name: str | None = None,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        daemon: bool | None = None,
        stop: Steps | None = None,
        start_method: str | None = None,
    ) -> None:
        super().__init__(group, target, name, args, kwargs or {}, daemon=daemon)
        if stop is not None:
            self.stop = _parse(stop).given
        if start_method is not None:
            self.start_method = _checks.one_of(start_method, "start_method", _methods())

    # ---- in the parent and in the child -------------------------------------

    @property
    def stopping(self) -> bool:
        """True from the moment that this worker is asked to stop."""
        return self._side.asked

    @property
    def shutdown_flag(self) -> threading.Event:
        """The event that is set when this worker is asked to stop. In the child a
        ``threading.Event``, assignable; in the parent it looks like one, and to
        set it is to ask."""
        return self._side.flag  # type: ignore[return-value]

    @shutdown_flag.setter
    def shutdown_flag(self, flag: threading.Event) -> None:
        if isinstance(self._side, ParentSide):
            raise AttributeError(
                "shutdown_flag can be replaced in the child only: an event of the "
                "parent is never set there; assign it in run(), or use the one that "
                "is there"
            )
        self._side.flag = flag

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep until asked to stop, or for `timeout` seconds; True once asked."""
        timeout = _checks.timeout(timeout)
        return self._side.wait(timeout)

    def shutdown(self) -> None:
        """Ask this worker to stop; returns at once.

        In the parent also from a Python signal handler and before ``start()``:
        the child then starts stopped. After the end, or again, it does nothing.
        """
        if isinstance(self._side, ParentSide) and os.getpid() != self._parent_pid:
            raise RuntimeError(
                f"this worker belongs to process {self._parent_pid}; only that can "
                "ask it to stop"
            )
        self._side.shutdown()

    def on_stop(self, func: Func, /, *args: Any, **kwargs: Any) -> Func:
        """Call ``func(*args, **kwargs)`` in the child as soon as it is asked, on a
        thread of its own.

        For waking what blocks: ``self.on_stop(httpd.shutdown)``. Also a
        decorator. Call it in ``run()``, or before ``start()`` with what the start
        method can carry over. Last registered first, each exactly once, at the
        latest when ``run()`` has ended; one that fails is logged and the rest go
        on. Registered while stopping, it runs at once. Returns func.
        """
        _checks.callback(func, "on_stop hook", args, kwargs)
        self._side.on_stop((func, args, kwargs))
        return func

    @property
    def _noticed_at(self) -> float | None:
        side = self._side
        return side.noticed_at if isinstance(side, ParentSide) else None

    @property
    def _ended_at(self) -> float | None:
        side = self._side
        return side.ended_at if isinstance(side, ParentSide) else None

    @property
    def error(self) -> BaseException | None:
        """What ended it other than well, or None. In the child the exception
        itself, in the parent a ``RuntimeError`` that tells what is known."""
        return self._side.error

    # ---- in the child -------------------------------------------------------

    def step(self) -> None:
        """One piece of work; called again and again until asked to stop."""

    def run(self) -> None:
        """Call ``step()`` until asked; with a `target`, call that instead."""
        if type(self).step is ProcessWorker.step:
            super().run()
        else:
            run_steps(self)

    def _bootstrap(self, parent_sentinel: Any = None) -> int:
        # Private, and for every start method the first of the worker in the child.
        # run() is replaced, not called here: what multiprocessing does first, such
        # as giving back the signals of a killer in the parent, must not undo ours.
        if isinstance(self._side, ParentSide):
            self._side = self._side.in_forked_child()
        body = self.run
        self.run = functools.partial(  # type: ignore[method-assign]
            self._side.run, body
        )
        bootstrap = super()._bootstrap  # type: ignore[misc]
        status: int = bootstrap(parent_sentinel)
        return status

    # ---- in the parent ------------------------------------------------------

    def start(self) -> None:
        """As ``multiprocessing.Process.start()``; also registers with the killer.

        Raises ValueError for an `interval`, `stop` or `start_method` that cannot
        work, TypeError if the worker cannot be pickled and the start method needs
        that. Nothing is started then.
        """
        if "_config" not in self.__dict__:
            raise RuntimeError(
                "__init__() of the worker was not called; call super().__init__() "
                "in the one of your class"
            )
        side = self._side
        if self._popen is not None or not isinstance(side, ParentSide):
            super().start()  # raises
            return
        check_interval(self.interval)
        schedule = _parse(self.stop)
        method = self._method()
        killer = current() if self._group is None else None
        if killer is not None:
            killer.add(self)
        try:
            side.begin(schedule, os.getpid(), method)
            try:
                super().start()
            except Exception as error:
                what = unpicklable(self) if method != "fork" else None
                if what is None:
                    raise
                raise TypeError(
                    f"worker {self.name} cannot be started by {method!r}: {what}"
                ) from error
            side.keep(self)
        except BaseException:
            self._take_back(side)
            if killer is not None:
                killer._members.discard(self)
            raise

    def _take_back(self, side: ParentSide) -> None:
        side.abandon(self._popen)
        if self._popen is not None:
            self.close()  # multiprocessing would remember it

    def _method(self) -> str:
        chosen = self.start_method
        if chosen is None:
            return multiprocessing.get_start_method()
        return _checks.one_of(chosen, "start_method", _methods())

    @staticmethod
    def _Popen(worker: Any) -> Any:  # noqa: N802  # as multiprocessing calls it
        return worker._side.launch(worker, worker._method())

    def is_alive(self) -> bool:
        """Is the child alive? False, too, for one that is closed."""
        # A killer may still have it, and ask.
        return not self._closed and super().is_alive()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the child has ended, or for `timeout` seconds."""
        timeout = _checks.timeout(timeout)
        if not self._closed:
            super().join(timeout)

    @property
    def ident(self) -> int | None:
        """The child's process number, or None before ``start()``. One that is
        closed keeps it, as a killer may still have it."""
        return self._last_ident if self._closed else super().ident

    pid = ident

    def close(self) -> None:
        """As ``multiprocessing.Process.close()``."""
        popen = self._popen
        if popen is not None and popen.poll() is not None:
            popen.wait()  # until its thread no longer needs what is closed
            self._last_ident = popen.pid
        super().close()

    # What Worker has as an attribute must not be pickled here.
    @property
    def _group(self) -> Any:
        return self._side.group

    @_group.setter
    def _group(self, group: Any) -> None:
        self._side.group = group


def _methods() -> tuple[str, ...]:
    return tuple(m for m in multiprocessing.get_all_start_methods() if m in MODULES)


def _parse(steps: Steps) -> Schedule:
    schedule = Schedule(steps, allowed=("ASK",))
    if schedule.steps[0][0] > 0:
        raise ValueError(
            f"the schedule {steps!r} begins with a wait, but shutdown() asks at once; "
            "begin it with 'ASK'"
        )
    return schedule
