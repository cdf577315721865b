"""What the log is told of a stop, each thing once."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterable, Mapping

from . import _births, _core
from ._early import flush, last_words
from ._info import SignalInfo
from ._layers import layers, on_python_signal
from ._owners import describe
from ._sections import names
from ._signals import name_of

log = logging.getLogger("gracefulexit")

# Parts of the grace that are left when the stragglers are told of.
LOOKS = (1 / 5, 1 / 20)
# Seconds before the deadline for what an early end still does; in a short grace a
# twentieth of it. A pool or manager needs most of a second on a busy machine.
LAST_WORDS = 1.0


class Teller:
    """Called by the dispatcher, or by who closes before the dispatcher could."""

    def __init__(self) -> None:
        self._told: dict[str, object] = {}

    def once(self, what: str) -> bool:
        """True for the one caller that shall do it."""
        me = object()
        return self._told.setdefault(what, me) is me

    def again(self, what: str) -> None:
        """It may be due once more."""
        self._told.pop(what, None)

    def forget(self) -> None:
        self._told.clear()

    def stop(
        self, reason: SignalInfo, left: float | None, escalates: bool, sections: str
    ) -> None:
        limit = "no time limit" if left is None else f"{left:.1f} s left"
        again = ""
        if reason.signum == signal.SIGINT and not reason.si_pid and escalates:
            again = "; press Ctrl-C again to end without waiting for workers"
        log.info("stopping: %s; %s%s", reason, limit, again)
        if sections:
            log.info("finishing %s first", sections)

    def hurry(self) -> None:
        """Ends the process once nothing holds it up any more."""
        if _core.ending():
            if self.once("ending"):
                log.warning("ending now: asked again while stopping")
                last_words()
                if _core.ending():  # the log took its time, and all may be over
                    _core.end()
            return
        open_now = names()
        if open_now and self.once("hurry"):
            log.warning("ending as soon as %s is left; Ctrl+\\ abandons it", open_now)

    def stragglers(
        self,
        now: float,
        reason: SignalInfo,
        describe: Callable[[float], Mapping[tuple[str, int | None], str]],
    ) -> float | None:
        """In the last fifth of the grace: who is still running, and where. Later once
        more, for hooks that have begun since; and anew where extend() has led out of
        it. Seconds until the next look."""
        deadline = _core.deadline()
        if deadline is None:
            return None
        for part in LOOKS:
            at = deadline - (deadline - reason.when) * part
            if now < at:
                self._forget_stragglers(part)
                return at - now
            if self.once(f"straggler look {part}"):
                flushing = flush_beside()
                self._say_stragglers(deadline, describe(now))
                _core.told()  # not before: a log handler may hang
                if not flushing:
                    flush()
        return None

    def _forget_stragglers(self, before: float) -> None:
        """`before` which look it is: the first one, or the last."""
        what = "straggler " if before == LOOKS[0] else f"straggler look {before}"
        for known in [k for k in list(self._told) if k.startswith(what)]:
            self.again(known)

    def _say_stragglers(
        self, deadline: float, found: Mapping[tuple[str, int | None], str]
    ) -> None:
        fresh = [text for who, text in found.items() if self.once(f"straggler {who}")]
        if fresh:
            log.warning(
                "%.1f s left until the end; still waiting for\n%s",
                max(0.0, deadline - time.monotonic()),
                "\n".join(fresh),
            )

    def last_words(self, when: float) -> float | None:
        """Shortly before the deadline, which waits for nothing; seconds until then."""
        deadline = _core.deadline()
        if deadline is None:
            return None
        now = time.monotonic()
        at = deadline - min(LAST_WORDS, (deadline - when) / 20)
        if now < at:
            self.again("last words")  # extend() may have moved it
            return at - now
        if self.once("last words"):
            last_words(0.8 * (deadline - now))  # its own last step, too, is before
        return None

    def taken_over(self, signums: Iterable[int]) -> None:
        """One line for all: who takes one mostly takes several at once."""
        taken: dict[tuple[str, str], list[str]] = {}
        for signum in sorted(signums):
            if self.once(f"taken over {signum}"):
                there = signal.getsignal(signum)
                if there is not on_python_signal:
                    there = layers.owner(signum)  # of C code, the table is wrong
                owner = describe(signum, there, on_python_signal)
                taken.setdefault(owner, []).append(name_of(signum))
        if taken:
            log.warning(
                "taken over: %s; not heard until given back; %s",
                ", ".join(f"{', '.join(s)} by {who}" for (who, _), s in taken.items()),
                "; ".join({hint: None for _, hint in taken}),
            )

    def taken_back(self, signum: int) -> None:
        """By rearm(): who takes it again is told of again."""
        self.again(f"taken over {signum}")

    def lost_descriptors(self) -> None:
        while (lost := _core.fd_lost()) is not None:
            fd, at_stop = lost
            if at_stop:
                log.warning(
                    "descriptor %d of killer.fileno() was closed or replaced by "
                    "other code: who waits for it does not hear of the stop; call "
                    "killer.fileno() after that code has run",
                    fd,
                )
            else:
                log.warning(
                    "descriptor %d was closed or made blocking since "
                    "add_wakeup_fd(%d), and is fed no more; call "
                    "remove_wakeup_fd() before you close it",
                    fd,
                    fd,
                )

    def unarmed(self) -> list[int]:
        """Signals of ours that others have now."""
        return [
            s
            for s in list(layers.wanted)
            if not layers.armed(s) and not _perhaps_by_system(s)
        ]


def _perhaps_by_system(signum: int) -> bool:
    """os.system() has these two ignored while its child runs, and then puts us back.
    Python's table does not know of it."""
    return (
        signum in (signal.SIGINT, signal.SIGQUIT)
        and signal.getsignal(signum) is on_python_signal
        and not _core.foreign(signum)
    )


def flush_beside() -> bool:
    """On a thread of its own: a full pipe blocks it, and what comes next may take
    longer than there is time. False: none is to be had any more."""
    try:
        _births.start_bare(flush)
    except RuntimeError:
        return False
    return True
