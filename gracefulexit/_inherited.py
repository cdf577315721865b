"""What is left of a killer in a forked child that it is not re-armed in."""

from __future__ import annotations

import types
from typing import Any, NoReturn


class Unusable:
    """Goes before the class of a killer that a child cannot use. kill_now is false
    there for ever and `event` not set, and who looks at them would be told nothing; a
    check in the member itself would cost every poll of every program."""

    __slots__ = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Not that of the user's class, which may want arguments."""

    def _refuse(self) -> NoReturn:
        self._check_open()  # type: ignore[attr-defined]
        raise AssertionError("an inherited killer is not open")

    kill_now = event = property(_refuse)


def make_unusable(killer: object) -> None:
    """Looking at it raises from now on. May be called again."""
    if not isinstance(killer, Unusable):
        cls = type(killer)
        killer.__class__ = types.new_class(cls.__name__, (Unusable, cls))
