"""docs/explanation/reliability.md: each row has its tests, and they are there."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
PAGE = ROOT / "docs" / "explanation" / "reliability.md"
# What others try, and what we reproduced.
NUMBERS = [*map(str, range(1, 35)), *(f"H{n}" for n in range(1, 19))]
NO_TEST = "no test: "
# Other Pythons are not asked for them.
MAIN_ALONE = {"test_c.py", "contract/test_signal_safety.py"}


@dataclass
class Line:
    number: str
    scenario: str
    test: str
    where: str
    since: str

    @property
    def node(self) -> tuple[str, str]:
        path, _, name = self.test.strip("`").partition("::")
        return path, name


def table_lines() -> list[Line]:
    """Of both tables; a line without a number goes on with the row above it."""
    lines = []
    for text in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in text.strip("|").split("|")]
        if len(cells) == 5 and cells[0] != "row" and set(cells[0]) != {"-"}:
            line = Line(*cells)
            line.number = line.number or lines[-1].number
            lines.append(line)
    return lines


def named() -> list[Line]:
    return [line for line in table_lines() if not line.test.startswith(NO_TEST)]


def function(path: str, name: str) -> ast.FunctionDef | None:
    if not (TESTS / path).exists():
        return None
    for node in ast.parse((TESTS / path).read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node
    return None


def is_case(path: str, name: str) -> bool:
    source = TESTS / path
    case = rf"^\s*CASE(?:_WITHIN)?\({name}\b"
    return source.exists() and bool(re.search(case, source.read_text(), re.MULTILINE))


def test_no_row_is_missing() -> None:
    """Every row is there once, in order, with what it is about and a test or a reason
    why there is none."""
    first = [line for line in table_lines() if line.scenario]

    assert [line.number for line in first] == NUMBERS
    assert {line.number for line in table_lines()} == set(NUMBERS)
    assert [line for line in table_lines() if not line.test] == []


def test_the_tests_are_there() -> None:
    """A test that is named can be run by that name."""
    gone = [
        line.test
        for line in named()
        if not (is_case if line.test.startswith("`c/") else function)(*line.node)
    ]

    assert gone == []


def where(line: Line) -> list[str]:
    """By the test's markers; what comes behind it on the page are further targets."""
    path, name = line.node
    if path.startswith("c/"):
        return ["c", "san"]
    node = function(path, name)
    assert node is not None, line
    marks = {d.attr for d in node.decorator_list if isinstance(d, ast.Attribute)}
    if path == "test_c.py":
        runs = "c"
    elif "long" in marks:
        runs = "long"
    else:
        runs = "main" if "slow" in marks or path in MAIN_ALONE else "all"
    return [runs, "races"] if "race" in marks else [runs]


def test_they_run_where_the_page_says() -> None:
    """The column agrees with the markers, and with the targets of CI."""
    ci = (ROOT / ".ci" / "run").read_text()
    targets = set(re.findall(r"^target_(\w+)\(", ci, re.MULTILINE))
    told = [(line.test, line.where.split(", ")) for line in named()]
    expected = [where(line) for line in named()]

    assert [
        test
        for (test, words), start in zip(told, expected, strict=True)
        if words[: len(start)] != start or set(words) - {"all", "main"} - targets
    ] == []


def test_since_is_a_version() -> None:
    """Each test has been there since a version that the changelog knows."""
    changelog = (ROOT / "CHANGELOG.md").read_text()
    versions = set(re.findall(r"^## (\S+)", changelog, re.MULTILINE))

    assert {line.since for line in named()} <= versions
