"""The page on protected sections and its program tell the same, and the truth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from child_process import Child
from examples import EXAMPLES

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "protected-sections.md"
LIMIT = 300.0  # seconds for all of it: more than sixty processes, a few at a time

FORMS = [
    "class that delays",
    "`SIG_IGN` pair",
    "flag pair",
    "mask pair",
    "`TerminateProtected`",
]
# One column for each form.
CELLS = {
    "main thread, Ctrl-C": "whole lost whole whole whole",
    "main thread, SIGTERM with its default action": "TypeError lost whole whole whole",
    "one block in the other": "whole lost whole whole whole",
    "`asyncio.run()` in the block": "whole lost whole whole whole",
    "worker thread, the signal to that thread": (
        "ValueError ValueError ValueError whole whole"
    ),
    "worker thread, the signal to the process": (
        "ValueError ValueError ValueError torn whole"
    ),
    "two worker threads, the first in is the first out": (
        "ValueError ValueError ValueError torn whole"
    ),
    "main thread, another thread takes the signal": "whole lost whole torn whole",
    "two tasks, the signal after the first has left": "torn torn torn torn whole",
    "two tasks, the signal after both have left": "lost lost lost lost whole",
    "the signal at any call while entering": "lost lost lost whole whole",
    "the signal at any call while leaving": "lost lost lost whole whole",
    "a process is started in the block": (
        "whole / deaf child / whole / deaf child / whole"
    ),
}


def expected() -> list[list[str]]:
    rows = [
        [situation, *cells.split(" / " if " / " in cells else None)]
        for situation, cells in CELLS.items()
    ]
    return [["", *FORMS], ["---"] * (1 + len(FORMS)), *rows]


def table(text: str) -> list[list[str]]:
    """The cells of the Markdown table in a text."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.slow
def test_each_form_in_each_situation(start_child: Callable[..., Child]) -> None:
    """What the other forms fail at, each in its way, ours does right."""
    done = start_child(EXAMPLES / "compare_sections.py").finish(LIMIT)

    assert table(done.out) == expected()
    assert (done.status, done.err) == (0, "")


def test_the_page_has_the_table() -> None:
    """The page shows what the program prints."""
    text = PAGE.read_text()
    begin = text.index("\n| | ")

    assert table(text[begin : text.index("\n\n", begin)]) == expected()
