"""Measure gracefulexit beside what a program would take instead, and plain C.

    python -m pip install '.[bench]' && python tests/bench/run.py [NAME ...]

Who is compared runs in turns: A B C A B C ... Ratios are to the first line of ours in
each case; compare ratios between machines, never the figures themselves.
"""

from __future__ import annotations

import argparse
import importlib
import json
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import machine
import page
from harness import How, Row, Verdict

# In the order of docs/explanation/performance.md. Each has TITLE, AIMS and bench().
BENCHMARKS = (
    "wake",
    "busy",
    "blocked",
    "polling",
    "sections",
    "idle",
    "broadcast",
    "storm",
    "start",
    "stop",
    "spawn",
    "poll_native",
    "deadline",
)
LINE = "{:52} {:>11} {:>11} {:>11} {:>7}  {:5} {:>7}"


@dataclass(frozen=True)
class Result:
    name: str
    title: str
    quick: bool
    rows: list[Row]
    verdicts: list[Verdict]
    machine: dict[str, str]


def printed(module: ModuleType, how: How) -> Iterator[Row]:
    """The rows, each printed as soon as it is there."""
    case = None
    print(f"\n== {module.TITLE}")
    for row in module.bench(how):
        if row.case != case:
            case = row.case
            print(f"\n{case}")
            heads = ("median", "90 %", "99 %", "n", "unit", "ratio")
            print(LINE.format("", *heads))
        figures = (page.figure(n) for n in (row.median, row.p90, row.p99))
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        print(
            LINE.format(row.who, *figures, row.number, row.unit, ratio),
            flush=True,
        )
        yield row


def run(name: str, quick: bool) -> Result:
    module = importlib.import_module(name)
    with tempfile.TemporaryDirectory(prefix="gracefulexit-bench-") as folder:
        rows = list(printed(module, How(Path(folder), quick)))
    verdicts = judge(module, rows)
    print("", *verdicts, sep="\n", flush=True)
    return Result(name, module.TITLE, quick, rows, verdicts, machine.describe())


def judge(module: ModuleType, rows: list[Row]) -> list[Verdict]:
    """Of the cases that were measured; an aim for nobody is a mistake."""
    measured = {row.case for row in rows}
    verdicts = []
    for aim in module.AIMS:
        if {aim.case, aim.of_case or aim.case} <= measured:
            verdict = aim.judge(rows)
            if verdict is None:
                raise SystemExit(
                    f"{module.__name__}: nobody has been measured for {aim}"
                )
            verdicts.append(verdict)
    return verdicts


def parse() -> Any:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}"
    )
    parser.add_argument("--quick", action="store_true", help="only see that it runs")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    parser.add_argument("--plot", metavar="DIR", help="draw a picture of each there")
    parser.add_argument(
        "--docs", metavar="FILE", help="write the tables between the marks of this page"
    )
    args = parser.parse_args()
    for name in args.names:
        if name not in BENCHMARKS:
            parser.error(f"no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
    if args.quick and args.docs:
        parser.error("figures of --quick mean nothing; leave out --quick or --docs")
    return args


def main() -> None:
    args = parse()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # In the background of a shell script. Children would inherit it, and then
        # neither they nor sections here are what they mostly are.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if args.plot:
        import plot  # needs matplotlib: say so before anything is measured
    print(page.says_where(machine.describe()))
    results = []
    for name in args.names or BENCHMARKS:
        result = run(name, args.quick)
        results.append(result)
        # After each, so that what was measured is not lost with the next.
        if args.json:
            Path(args.json).write_text(
                json.dumps([asdict(r) for r in results], indent=1) + "\n"
            )
        picture = plot.draw(result, Path(args.plot)) if args.plot else None
        if args.docs:
            page.write(Path(args.docs), result, picture)


if __name__ == "__main__":
    main()
