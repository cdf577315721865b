"""The figures as Markdown, between two marks of a page of docs/."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from run import Result

HEADS = ("", "median", "90 %", "99 %", "ratio")


def figure(number: float) -> str:
    """Three digits are more than any of them is sure of."""
    if number == 0 or abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.3g}"


def says_where(machine: dict[str, str]) -> str:
    return (
        f"gracefulexit {machine['version']}, {machine['python']}, {machine['system']}, "
        f"{machine['processor']}, {machine['date']}, load {machine['load']}"
    )


def table(result: Result) -> str:
    lines: list[str] = []
    case = None
    for row in result.rows:
        if row.case != case:
            case = row.case
            head = f"{case}" + f", {row.unit}" * bool(row.unit)
            lines += ["", "| " + " | ".join((head, *HEADS[1:])) + " |"]
            lines.append("|---" + "|--:" * (len(HEADS) - 1) + "|")
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        cells = (row.who, figure(row.median), figure(row.p90), figure(row.p99), ratio)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write(page: Path, result: Result, picture: Path | None) -> None:
    begin, end = (f"<!-- {result.name}: {mark} -->" for mark in ("begin", "end"))
    text = page.read_text()
    if begin not in text or end not in text:
        raise SystemExit(f"{page} has no lines {begin!r} and {end!r}; add them")
    parts = [f"Measured with {says_where(result.machine)}.", table(result)]
    if picture is not None:
        where = os.path.relpath(picture, page.parent)
        parts += ["", f"![{result.title}]({where})"]
    if result.verdicts:
        parts += ["", *(f"- {verdict}" for verdict in result.verdicts)]
    head, rest = text.split(begin, 1)
    tail = rest.split(end, 1)[1]
    page.write_text("\n".join((head + begin, "", *parts, "", end + tail)))
