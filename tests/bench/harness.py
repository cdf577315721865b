"""What the benchmarks share: figures, child processes, the sender of signals."""

from __future__ import annotations

import math
import os
import select
import shlex
import shutil
import signal
import statistics
import subprocess
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TypeVar

HERE = Path(__file__).resolve().parent
LIMIT = 120.0  # seconds for any one answer of a child

OURS, FLOOR, OTHER = "ours", "floor", "other"
T = TypeVar("T")


# ---- figures -----------------------------------------------------------------


@dataclass(frozen=True)
class Who:
    """Who is measured: us, plain C (the floor), or what a user would take instead."""

    name: str
    kind: str = OTHER


@dataclass(frozen=True)
class Row:
    """One line of the result. `ratio`: the median to that of our first one."""

    case: str
    who: str
    kind: str
    unit: str
    median: float
    p90: float
    p99: float
    most: float
    number: int  # of samples
    ratio: float | None = None


@dataclass(frozen=True)
class Aim:
    """In `case`, the median of `mine` is at most `most` times that of `of`, of the
    best of the others (BEST), or `most` itself (ITSELF)."""

    case: str
    mine: str
    most: float
    of: str
    of_case: str = ""  # where it is not the same

    def judge(self, found: Iterable[Row]) -> Verdict | None:
        """None: not measured in this run."""
        table = {(row.case, row.who): row for row in found}
        mine = table.get((self.case, self.mine))
        if mine is None:
            return None
        if self.of == ITSELF:
            return Verdict(self, mine.median, mine.median <= self.most)
        case = self.of_case or self.case
        if self.of == BEST:
            rivals = [r for r in table.values() if (r.case, r.kind) == (case, OTHER)]
        else:
            rivals = [r for (c, who), r in table.items() if (c, who) == (case, self.of)]
        if not rivals:
            return None
        rival = min(rivals, key=lambda row: row.median)
        ratio = mine.median / rival.median if rival.median else math.inf
        if mine.case == rival.case and mine.ratio and rival.ratio:
            ratio = mine.ratio / rival.ratio  # of neighbours, where a row says more
        return Verdict(self, ratio, ratio <= self.most, rival.who)


@dataclass(frozen=True)
class Verdict:
    aim: Aim
    found: float
    met: bool
    rival: str = ""

    def __str__(self) -> str:
        aim = self.aim
        where = f" ({aim.of_case})" if aim.of_case else ""
        than = f" times {self.rival}{where}" if self.rival else ""
        return (
            f"{'met' if self.met else 'MISSED'}: {aim.case}: {aim.mine}: "
            f"{self.found:.3g}{than}, the aim is at most {aim.most:g}"
        )


BEST, ITSELF = "the best other", "itself"


def percentile(samples: Sequence[float], share: float) -> float:
    """The smallest sample that at least this share of them does not exceed."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def rows(case: str, unit: str, series: Mapping[Who, Sequence[float]]) -> list[Row]:
    """One for each; who has no samples is left out."""
    series = {who: samples for who, samples in series.items() if samples}
    medians = {who: statistics.median(samples) for who, samples in series.items()}
    ours = next((medians[who] for who in series if who.kind == OURS), None)
    return [
        Row(
            *(case, who.name, who.kind, unit, medians[who]),
            *(percentile(samples, 0.9), percentile(samples, 0.99), max(samples)),
            *(len(samples), medians[who] / ours if ours else None),
        )
        for who, samples in series.items()
    ]


def turns(rounds: int, whos: Iterable[T]) -> Iterator[tuple[int, T]]:
    """A B C A B C ...: what disturbs the machine for a while disturbs all."""
    everyone = list(whos)
    for turn in range(rounds):
        for who in everyone:
            yield turn, who


# ---- how it is run -----------------------------------------------------------


def compiler() -> list[str]:
    for command in (os.environ.get("CC"), sysconfig.get_config_var("CC"), "cc"):
        words = shlex.split(command or "")
        if words and shutil.which(words[0]):
            return words
    raise SystemExit("no C compiler found; install gcc or clang, or set CC")


@dataclass(frozen=True)
class How:
    """A whole run, or the smallest one that goes through everything."""

    folder: Path
    quick: bool = False
    _built: dict[str, Path] = field(default_factory=dict, compare=False)

    def rounds(self, full: int, smallest: int = 2) -> int:
        return smallest if self.quick else full

    def compile(self, source: str, *flags: str) -> Path:
        """A program, or with "-shared" a library, of a file in this folder."""
        if source not in self._built:
            built = self.folder / Path(source).stem
            if "-shared" in flags:
                built = built.with_suffix(".so")
            command = [*compiler(), "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror"]
            command += ["-pthread", *flags, str(HERE / source), "-o", str(built)]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
            self._built[source] = built
        return self._built[source]

    @cached_property
    def library(self) -> Path:
        """What the measured Python programs call by ctypes."""
        return self.compile("native.c", "-shared", "-fPIC")


# ---- children ----------------------------------------------------------------


class Program:
    """A child process that is told lines and answers in lines.

    It ends when its stdin does. Its stderr is ours."""

    def __init__(self, *command: object) -> None:
        self._name = " ".join(map(str, command))
        self._process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self.pid = self._process.pid
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        self._unread = b""

    def tell(self, line: object) -> None:
        self._in.write(f"{line}\n".encode())

    def line(self, limit: float = LIMIT) -> str:
        found = self.line_within(limit)
        if found is None:
            self._process.kill()
            raise RuntimeError(f"{self._name}: no answer in {limit} s")
        return found

    def line_within(self, limit: float) -> str | None:
        """None: no whole line in that time."""
        # A select() and a read(): the reader must not disturb what is measured.
        while b"\n" not in self._unread:
            if not select.select([self._out], [], [], limit)[0]:
                return None
            data = self._out.read(65536)
            if not data:
                status = self._process.wait(LIMIT)
                raise RuntimeError(f"{self._name} ended with status {status}")
            self._unread += data
        line, self._unread = self._unread.split(b"\n", 1)
        return line.decode()

    def expect(self, text: str) -> None:
        found = self.line()
        if found != text:
            raise RuntimeError(f"{self._name}: {found!r} is not {text!r}")

    def ask(self, line: object) -> str:
        self.tell(line)
        return self.line()

    def wait(self) -> int:
        """Its status. The end of its stdin is what ends it, if nothing else has."""
        self._in.close()
        status = self._process.wait(LIMIT)
        self._out.close()
        return status

    def __enter__(self) -> Program:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._process.kill()
        status = self.wait()
        if error is None and status != 0:
            raise RuntimeError(f"{self._name} ended with status {status}")


@contextmanager
def programs(commands: Mapping[T, Sequence[object]]) -> Iterator[dict[T, Program]]:
    """All at once; those whose turn it is not sleep."""
    with ExitStack() as stack:
        yield {
            who: stack.enter_context(Program(*command))
            for who, command in commands.items()
        }


class Sender(Program):
    """The other process, in C: what sends a signal must not cost what is measured.

    It sends after so many seconds, and says when on being asked: until then nobody
    runs but who was signalled. Times are CLOCK_MONOTONIC in nanoseconds."""

    def kill(self, pid: int, delay: float, signum: int = signal.SIGTERM) -> None:
        self.tell(f"kill {pid} {int(signum)} {int(delay * 1e9)}")

    def end(self, pid: int, delay: float, signum: int = signal.SIGTERM) -> None:
        """The same, and wait until that process has ended."""
        self.tell(f"end {pid} {int(signum)} {int(delay * 1e9)}")

    def when(self) -> tuple[int, int]:
        """Right before the last signal, and when the process had ended, or 0."""
        sent, ended = map(int, self.ask("when").split())
        return sent, ended


def sender(how: How) -> Sender:
    return Sender(how.compile("sender.c"))
