"""How the runner of CPython's own tests compares two runs, and what it lets pass."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOREIGN = Path(__file__).parents[1] / "foreign"


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("compare", monkeypatch)


@pytest.fixture
def expected(monkeypatch: pytest.MonkeyPatch, compare: ModuleType) -> ModuleType:
    return load("expected", monkeypatch)


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOREIGN / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)  # dataclasses look there
    spec.loader.exec_module(module)
    return module


REPORT = """\
<testsuites><testsuite>
<testcase name="test.test_a.A.test_passes" status="run" />
<testcase name="test.test_a.A.test_skips"><skipped /></testcase>
<testcase name="test.test_a.A.test_fails"><failure>no</failure></testcase>
<testcase name="test.test_a.A.test_parts (i=1)"><failure>no</failure></testcase>
<testcase name="test.test_a.A.test_parts [x] (i=2)"><error>no</error></testcase>
<testcase name="test.test_a.A.test_parts" />
<testcase name="setUpClass (test.test_a.B)"><error>no</error></testcase>
<testcase classname="tests.test_b" name="test_of_pytest[a b]" />
</testsuite></testsuites>
"""


def test_outcomes(compare: ModuleType, tmp_path: Path) -> None:
    """Each test has one outcome, the gravest of its subtests."""
    report = tmp_path / "report.xml"
    report.write_text(REPORT)

    assert compare.outcomes(report) == {
        "test.test_a.A.test_passes": "passed",
        "test.test_a.A.test_skips": "skipped",
        "test.test_a.A.test_fails": "failed",
        "test.test_a.A.test_parts": "error",
        "test.test_a.B.setUpClass": "error",
        "tests.test_b.test_of_pytest[a b]": "passed",
    }


def test_differences(compare: ModuleType) -> None:
    """A test that fails, one that passes only with us, and one that is missing on one
    side are differences; what fails on both sides is none."""
    without = {
        "same": "failed",
        "worse": "passed",
        "better": "failed",
        "old": "passed",
    }
    with_us = {"same": "failed", "worse": "hung", "better": "passed", "new": "passed"}

    assert list(map(str, compare.differences(without, with_us))) == [
        "better: failed without us, passed with us",
        "new: absent without us, passed with us",
        "old: passed without us, absent with us",
        "worse: passed without us, hung with us",
    ]


def test_explanation(compare: ModuleType) -> None:
    """Only what the table names, in the environments that it names, is let pass."""
    table = [
        compare.Expected("*.test_a", "counts threads"),
        compare.Expected("*.test_b", "sends SIGINT", environment="3.1[12]-stop-*"),
    ]

    def explain(environment: str, test: str) -> str | None:
        difference = compare.Difference(f"module.{test}", "passed", "failed")
        found: str | None = compare.explanation(environment, difference, table)
        return found

    assert explain("3.13-unused-pipe", "test_a") == "counts threads"
    assert explain("3.12-stop-futex", "test_b") == "sends SIGINT"
    assert explain("3.13-stop-futex", "test_b") is None
    assert explain("3.12-unused-futex", "test_b") is None
    assert explain("3.12-stop-futex", "test_c") is None


@pytest.mark.parametrize(
    ("log", "test"),
    [
        ("", None),
        ("test_a (test.test_x.X.test_a) ... ok\n", "test.test_x.X.test_a"),
        ("test_a (test.test_x.X)\nIt does. ... ", "test.test_x.X.test_a"),
        (
            "test_a (t.X.test_a) ... ok\ntest_b (t.X.test_b) ... Fatal error\n",
            "t.X.test_b",
        ),
    ],
)
def test_last_started(compare: ModuleType, log: str, test: str | None) -> None:
    """Of a suite that hangs or crashes, the test that did it is left out, and noted."""
    assert compare.last_started(log) == test


def test_selector(compare: ModuleType) -> None:
    """What failed in a fixture is repeated by way of the tests that use it."""
    assert compare.selector("test.test_a.A.setUpClass") == "test.test_a.A.*"
    assert compare.selector("test.test_a.A.test_one") == "test.test_a.A.test_one"


def test_every_entry_gives_a_reason(compare: ModuleType, expected: ModuleType) -> None:
    """The table names tests, not whole suites, and says why of each."""
    for entry in expected.EXPECTED:
        assert entry.test.rpartition(".")[2].startswith("test_"), entry
        assert entry.reason.endswith("."), entry
