"""docs/howto/read-the-report.md shows what its program says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from signal import SIGKILL, SIGTERM

import pytest
from child_process import Child
from examples import EXAMPLES, Example

PAGE = EXAMPLES.parent / "howto" / "read-the-report.md"


def shape(text: str) -> list[str]:
    """Lines without what differs from run to run: numbers, and who sent the signal."""
    text = re.sub(r"from pid .*, uid \d+", "from SENDER", text)
    text = re.sub(r"\d+\.\d+", "N", text)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def is_shown(shown: list[str], said: list[str]) -> bool:
    """All lines that are shown have been said in this order; "..." stands for any."""
    rest = iter(said)
    return all(line in rest for line in shown if line != "...")


@pytest.fixture
def example(start_child: Callable[..., Child], handler_backend: str) -> Example:
    return Example(start_child, handler_backend)


@pytest.mark.slow
def test_the_page_shows_what_is_said(example: Example) -> None:
    """The log and the table are those of the page, line for line."""
    child = example("slow_stop.py")
    child.wait_line("ready")
    child.signal(SIGTERM)
    done = child.finish()

    assert done.status == -SIGTERM, done.err
    blocks = re.findall(
        r"^```text\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    log, table, last_fifth, last_line = map(shape, blocks)
    assert is_shown(table, shape(done.out)), done.out
    assert sorted(log) == sorted(shape(done.err)[:3])  # threads have no order
    assert is_shown(last_fifth + last_line, shape(done.err)), done.err


def test_the_report_as_json(example: Example) -> None:
    """The same is there as data."""
    child = example("slow_stop.py", "json")
    child.wait_line("ready")
    child.signal(SIGTERM)
    child.wait_line("}")
    child.signal(SIGKILL)
    report = json.loads(child.finish().out.removeprefix("ready\n"))

    assert [(w["name"], w["alive"]) for w in report["workers"]] == [
        ("reader", False),
        ("mailer", False),
        ("writer", True),
    ]
    assert [s["name"] for s in report["sections"]] == ["ledger"]
    assert report["reason"]["signum"] == SIGTERM
