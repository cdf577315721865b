"""The benchmarks run. What they measure is not looked at here: times are no test."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from child_process import Child

BENCH = Path(__file__).parents[1] / "bench"
LIMIT = 300.0  # seconds for one: many processes, one after the other


def benchmarks() -> list[str]:
    """The names that run.py knows."""
    for node in ast.parse((BENCH / "run.py").read_text()).body:
        if (
            isinstance(node, ast.Assign)
            and ast.unparse(node.targets[0]) == "BENCHMARKS"
        ):
            return list(ast.literal_eval(node.value))
    raise AssertionError("run.py has no BENCHMARKS")


def test_all_are_known() -> None:
    """The runner has every benchmark that there is, once."""
    found = {p.stem for p in BENCH.glob("*.py") if "\ndef bench(" in p.read_text()}

    assert sorted(found) == sorted(benchmarks())


QUICK = ("sections", "start", "wake")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.long)
        for name in benchmarks()
    ],
)
def test_smallest_run(
    name: str, start_child: Callable[..., Child], tmp_path: Path
) -> None:
    """Each benchmark goes through everything in its smallest run, and says for us,
    and for at least one other, what it has found."""
    wanted = ("--quick", "--json", "figures.json")
    done = start_child(BENCH / "run.py", name, *wanted).finish(LIMIT)

    assert (done.status, done.err) == (0, "")
    (result,) = json.loads((tmp_path / "figures.json").read_text())
    kinds = {row["kind"] for row in result["rows"]}
    assert result["name"] == name
    assert "ours" in kinds
    assert kinds - {"ours"}
    assert all(row["number"] > 0 for row in result["rows"])


PAGE = """\
before
<!-- wake: begin -->
what was there
<!-- wake: end -->
after
"""


@pytest.mark.slow
def test_page(start_child: Callable[..., Child], tmp_path: Path) -> None:
    """The figures replace what is between the marks of a page, and nothing else."""
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    program = f"""
        import sys
        sys.path.insert(0, {str(BENCH)!r})
        import machine, page
        from harness import OURS, Who, rows
        from pathlib import Path
        from run import Result
        found = rows("idle", "us", {{Who("we", OURS): [1, 2, 3], Who("they"): [4, 5]}})
        result = Result("wake", "title", False, found, [], machine.describe())
        for _ in range(2):
            page.write(Path("page.md"), result, Path("pictures/wake.svg"))
    """
    done = start_child(program).finish()

    assert (done.status, done.err) == (0, "")
    first, begin, where, *rest = [s for s in page.read_text().splitlines() if s]
    assert (first, begin) == ("before", "<!-- wake: begin -->")
    assert where.startswith("Measured with gracefulexit ")
    assert rest == [
        "| idle, us | median | 90 % | 99 % | ratio |",
        "|---|--:|--:|--:|--:|",
        "| we | 2 | 3 | 3 | 1.00 |",
        "| they | 4.5 | 5 | 5 | 2.25 |",
        "![title](pictures/wake.svg)",
        "<!-- wake: end -->",
        "after",
    ]
