"""Delivery: what is said of it."""

from __future__ import annotations

from typing import Any

from gracefulexit._delivery import Delivery


class TakenMeanwhile(list[Any]):
    """Has something at the look, and nothing any more when it is taken."""

    def __len__(self) -> int:
        return 1


def test_notes_that_a_handler_has_taken() -> None:
    """A Python signal handler may say them between the look and the taking."""
    process: Any = None
    delivery = Delivery(process)
    delivery._notes = TakenMeanwhile()
    delivery._notes_of_clock = TakenMeanwhile()

    delivery.say_left()
