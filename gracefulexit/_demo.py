"""``python -m gracefulexit demo``: a program of the kind this package is for.

Workers take files from a queue, hash them and write what they found into a
database, two writes for each file. A signal may come at any moment: each worker
finishes the file in hand, no file is left with half of its writes, and the next
run goes on from there.
"""

from __future__ import annotations

import argparse
import os
import queue
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from gracefulexit import GracefulKiller, TerminateProtected, Worker, __version__

from ._demo_index import (
    Index,
    UnusableError,
    default_db,
    find_files,
    measure,
    prepare,
)
from ._demo_timer import sigterm_after

GRACE = 10.0  # seconds; a worker that has not ended by then is cut off


class Indexer(Worker):
    """Takes files from the queue until it is asked to stop, or none is left."""

    def __init__(
        self,
        name: str,
        todo: queue.SimpleQueue[bytes],
        killer: GracefulKiller,
        args: argparse.Namespace,
    ) -> None:
        super().__init__(name=name)
        self.todo, self.killer = todo, killer
        self.db, self.pause = args.db, args.pause
        self.done = 0
        self.unreadable: set[bytes] = set()
        self.ended: float | None = None

    def run(self) -> None:
        with Index(self.db) as index:
            while not self.stopping:
                try:
                    path = self.todo.get_nowait()
                except queue.Empty:
                    # As at a signal, the others finish the file in hand.
                    self.killer.stop("all files are taken")
                    break
                self.index_file(index, path)
        self.ended = time.monotonic()

    def index_file(self, index: Index, path: bytes) -> None:
        try:
            size, lines, sha256 = measure(path)
        except OSError:
            self.unreadable.add(path)  # perhaps it has vanished
            return
        # Two commits on purpose: they stand for what no transaction spans, such
        # as two databases, or a row and a message.
        with TerminateProtected():
            index.add_file(path, size, lines)
            time.sleep(self.pause)
            index.add_digest(path, sha256)
        self.done += 1


@dataclass
class Found:
    """The files to index. Not `all` of them if a signal came meanwhile."""

    files: list[bytes] = field(default_factory=list)
    bad_folders: list[OSError] = field(default_factory=list)
    all: bool = True


def look(args: argparse.Namespace, killer: GracefulKiller) -> Found:
    found = Found()
    for path in find_files(args.path, args.db, found.bad_folders.append):
        if killer.kill_now:
            found.all = False
            break
        found.files.append(path)
    return found


def demo(args: argparse.Namespace) -> NoReturn:
    with GracefulKiller(grace=GRACE) as killer, sigterm_after(args.seconds) as timer:
        say(f"indexing files below {args.path}")
        say(f"stop it with Ctrl-C or `kill {os.getpid()}`")
        found = look(args, killer)
        with Index(args.db) as index:
            before = index.done()
            todo: queue.SimpleQueue[bytes] = queue.SimpleQueue()
            for path in found.files:
                if path not in before:
                    todo.put(path)
            new = todo.qsize()
            say(f"{new:,} files to do, {len(found.files) - new:,} were done before")
            if torn := index.half_written():
                say(f"half written by an earlier run that was killed: {torn:,}")

            names = [f"indexer-{n + 1}" for n in range(args.workers)]
            workers = [Indexer(name, todo, killer, args) for name in names]
            progress = Progress(new, workers)
            killer.start(*workers)
            while not killer.wait(progress.period):
                progress.show()
            progress.end()
            killer.join()
            report(killer, workers, found, index)

        say(f"the index is {args.db}; remove it to start from the beginning")
        reason = killer.reason
        all_ended = all(worker.ended is not None for worker in workers)
        if timer is not None and reason and reason.si_pid == timer and all_ended:
            say("exit status 0: --for had asked for this signal")
            sys.exit()
        killer.exit()


class Progress:
    """One line that changes on a terminal; elsewhere a line every second."""

    def __init__(self, new: int, workers: list[Indexer]) -> None:
        self.new, self.workers = new, workers
        self.live = sys.stdout.isatty()
        self.period = 0.1 if self.live else 1.0
        self.start = time.monotonic()

    def show(self) -> None:
        done = sum(worker.done for worker in self.workers)
        rate = done / max(0.001, time.monotonic() - self.start)
        line = f"indexed {done:,} of {self.new:,} files, {rate:,.0f} a second"
        # Padded, to cover a longer line of before.
        say(f"\r{line:<60}" if self.live else line, end="" if self.live else "\n")

    def end(self) -> None:
        if self.live:
            self.show()
            say()


def report(
    killer: GracefulKiller, workers: list[Indexer], found: Found, index: Index
) -> None:
    """What came of it. What became of the files, the database tells."""
    unreadable = {path for worker in workers for path in worker.unreadable}
    done = index.done().intersection(found.files)
    left = len(found.files) - len(done | unreadable)

    reason = killer.reason
    if reason is not None and (reason.signum or left):
        say(f"stopped by {reason}")
        for worker in workers:
            if worker.ended is not None:
                say(f"  {worker.name} ended after {worker.ended - reason.when:.3f} s")
            else:
                say(f"  {worker.name} {'failed' if worker.error else 'has not ended'}")
    else:
        say("finished")
    say(f"{len(done):,} files done, {sum(w.done for w in workers):,} in this run")
    say(f"{left:,} files left" + ("" if found.all else ", and those not yet found"))
    say(f"{index.half_written():,} files half written")
    if unreadable or found.bad_folders:
        say(
            f"unreadable: {len(unreadable):,} files, {len(found.bad_folders):,} folders"
        )


def say(text: str = "", end: str = "\n") -> None:
    print(text, end=end, flush=True)


# ---- the command line -------------------------------------------------------


def main(argv: list[str] | None = None) -> NoReturn:
    parser = argparse.ArgumentParser(
        prog="python -m gracefulexit",
        description="Graceful, exact process stop for Python.",
    )
    parser.add_argument(
        "--version", action="version", version=f"gracefulexit {__version__}"
    )
    demo_parser = parser.add_subparsers(dest="command", metavar="demo").add_parser(
        "demo",
        help="index files with several threads until a signal stops it",
        description="Index the files below DIR: hash each and write what was found "
        "into an SQLite database, in two writes. Stop it with Ctrl-C or `kill`, and "
        "start it again: it goes on where it was, and no file is half written.",
    )
    add_options(demo_parser)
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help()
        sys.exit()
    try:
        args.path = folder(args.path)
        args.db = (args.db or default_db()).resolve()
        prepare(args.db)
    except UnusableError as error:
        demo_parser.error(str(error))
    try:
        demo(args)
    except BrokenPipeError:  # nobody reads on, as with `| head`
        # Python flushes once more at its end, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--path",
        type=Path,
        metavar="DIR",
        default=sysconfig.get_path("stdlib"),
        help="what to index; default: this Python's standard library, %(default)s",
    )
    parser.add_argument(
        "--db",
        type=Path,
        metavar="FILE",
        help="the database; default: one in a folder of its own below "
        f"{tempfile.gettempdir()}",
    )
    parser.add_argument(
        "--workers", type=workers, metavar="N", default=4, help="threads; 4"
    )
    parser.add_argument(
        "--for",
        type=seconds,
        metavar="SECONDS",
        dest="seconds",
        help="have another process send SIGTERM after so long; then the exit status "
        "after a clean stop is 0",
    )
    parser.add_argument(
        "--pause",
        type=seconds,
        metavar="SECONDS",
        default=0.01,
        help="between the two writes of a file, as if the disk were slow, so that "
        "a signal nearly always comes there; %(default)s",
    )


def workers(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 64:
        raise argparse.ArgumentTypeError(f"1 to 64 workers are possible, not {number}")
    return number


def seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 1e6:
        raise argparse.ArgumentTypeError(f"0 to 1000000 seconds, not {text}")
    return number


def folder(path: Path) -> Path:
    if not path.is_dir():
        raise UnusableError(f"--path {path} is not a folder that can be read")
    return path.resolve()
