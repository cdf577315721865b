"""What a suite says of its tests, and where two runs of it differ."""

from __future__ import annotations

import fnmatch
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

# From the mildest to the gravest: subtests are reported one by one.
OUTCOMES = ("passed", "skipped", "failed", "error", "hung", "crashed")
ABSENT = "absent"  # the other run has such a test


@dataclass(frozen=True)
class Difference:
    test: str
    without: str
    with_us: str

    def __str__(self) -> str:
        return f"{self.test}: {self.without} without us, {self.with_us} with us"


@dataclass(frozen=True)
class Expected:
    """A test that cannot have the same outcome with us. The patterns are those of
    fnmatch, matched with the name of the test and of the environment."""

    test: str
    reason: str
    environment: str = "*"

    def covers(self, environment: str, difference: Difference) -> bool:
        return fnmatch.fnmatchcase(environment, self.environment) and (
            fnmatch.fnmatchcase(difference.test, self.test)
        )


def outcomes(report: Path) -> dict[str, str]:
    """Test -> outcome, from a report in the form of JUnit."""
    found: dict[str, str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        test = _name(case)
        outcome = _outcome(case)
        found[test] = max(found.get(test, "passed"), outcome, key=OUTCOMES.index)
    return found


def _name(case: ElementTree.Element) -> str:
    name = case.attrib["name"]
    if "classname" in case.attrib:  # pytest's form
        return f"{case.attrib['classname']}.{name}"
    fixture = re.fullmatch(r"(setUp|tearDown)(Class|Module) \((.*)\)", name)
    if fixture:
        return f"{fixture[3]}.{fixture[1]}{fixture[2]}"
    return re.split(r"[ \[]", name)[0]  # without the parameters of a subtest


def selector(test: str) -> str:
    """The pattern that has CPython's runner run it: fixtures come with their tests."""
    return re.sub(r"\.(setUp|tearDown)(Class|Module)$", ".*", test)


def _outcome(case: ElementTree.Element) -> str:
    tags = {"skipped": "skipped", "failure": "failed", "error": "error"}
    return next((tags[part.tag] for part in case if part.tag in tags), "passed")


def differences(
    without: Mapping[str, str], with_us: Mapping[str, str]
) -> list[Difference]:
    """By name. A test that only one of the two has is a difference, too."""
    pairs = (
        Difference(test, without.get(test, ABSENT), with_us.get(test, ABSENT))
        for test in sorted(without.keys() | with_us.keys())
    )
    return [pair for pair in pairs if pair.without != pair.with_us]


def explanation(
    environment: str, difference: Difference, table: Iterable[Expected]
) -> str | None:
    """The reason of the first entry that covers it."""
    entries = (e for e in table if e.covers(environment, difference))
    return next((entry.reason for entry in entries), None)


def last_started(log: str) -> str | None:
    """The test that unittest was in the middle of when its output ended."""
    started = re.findall(r"^(\w+) \(([\w.]+)\)", log, re.MULTILINE)
    if not started:
        return None
    test, place = started[-1]
    # Before 3.11 the class alone is in the brackets.
    return place if place.endswith(f".{test}") else f"{place}.{test}"
