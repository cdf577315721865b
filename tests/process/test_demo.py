"""`python -m gracefulexit demo`: stopped at any moment, it tears nothing."""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import re
import selectors
import signal
import sqlite3
import subprocess
import sys
import termios
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from child_process import LIMIT, Child, Finished

import gracefulexit

# As `python -m gracefulexit ...`, for start_child, which runs programs with -c.
MODULE = """
    import runpy
    runpy.run_module("gracefulexit", run_name="__main__", alter_sys=True)
"""
START = re.compile(r"([\d,]+) files to do, ([\d,]+) were done before")
PROGRESS = re.compile(r"indexed ([\d,]+) of ([\d,]+) files, [\d,]+ a second")
RESULT = re.compile(
    r"^([\d,]+) files done, ([\d,]+) in this run\n"
    r"([\d,]+) files left\n"
    r"([\d,]+) files half written\n"
    r"(?:unreadable: ([\d,]+) files, ([\d,]+) folders\n)?",
    re.MULTILINE,
)


def numbers(found: re.Match[str] | None) -> list[int]:
    assert found is not None
    return [int(n.replace(",", "")) for n in found.groups("0")]


def result(out: str) -> dict[str, int]:
    """The numbers of the report."""
    names = ("done", "new", "left", "half written", "unreadable", "folders")
    return dict(zip(names, numbers(RESULT.search(out)), strict=True))


def rows(db: Path) -> tuple[set[bytes], set[bytes]]:
    """The paths in each of the two tables."""
    with closing(sqlite3.connect(db)) as connection:
        files = connection.execute("SELECT path FROM files").fetchall()
        digests = connection.execute("SELECT path FROM digests").fetchall()
    return {path for (path,) in files}, {path for (path,) in digests}


def make_tree(root: Path, count: int) -> Path:
    for n in range(count):
        path = root / f"folder{n % 7}" / f"file{n}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{n}\n" * n)
    return root


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """300 files: at 0.02 s each, 4 workers take 1.5 s for them."""
    return make_tree(tmp_path / "tree", 300)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "index.db"


@pytest.fixture
def start(start_child: Callable[..., Child], tmp_path: Path) -> Callable[..., Child]:
    """python -m gracefulexit ARGS"""
    temporary = tmp_path / "temporary"
    temporary.mkdir()

    def start(*args: object) -> Child:
        return start_child(MODULE, *args, env={"TMPDIR": str(temporary)})

    return start


@pytest.fixture
def start_demo(
    start: Callable[..., Child], tree: Path, db: Path
) -> Callable[..., Child]:
    def start_demo(*args: object) -> Child:
        return start("demo", "--path", tree, "--db", db, *args)

    return start_demo


def check_stopped(done: Finished, db: Path, sender: str, total: int) -> dict[str, int]:
    """The report of a stopped demo is whole and says what is in the database."""
    files, digests = rows(db)
    assert files == digests  # before all else: this is what it is about

    report = result(done.out)
    stopped = re.findall(r"^stopped by (.*)$", done.out, re.MULTILINE)
    ended = r"^  indexer-(\d) ended after (\d+\.\d+) s$"
    times = re.findall(ended, done.out, re.MULTILINE)

    assert done.err == ""
    assert report["half written"] == 0
    assert report["done"] == len(files)
    assert report["left"] == total - len(files)
    assert [re.match(sender, line) is not None for line in stopped] == [True]
    assert [n for n, _ in times] == ["1", "2", "3", "4"]
    assert max(float(seconds) for _, seconds in times) < 5
    return report


# ---- to the end ---------------------------------------------------------------


def test_indexes_every_file_and_ends_with_status_0(start_demo, tree, db) -> None:
    """Left alone it indexes all files, each with both of its rows."""
    done = start_demo("--pause", 0).finish()
    with closing(sqlite3.connect(db)) as connection:
        found = connection.execute(
            "SELECT path, size, lines, sha256 FROM files JOIN digests USING (path)"
        ).fetchall()
    contents = {p: p.read_bytes() for p in tree.rglob("*") if p.is_file()}
    expected = {
        (os.fsencode(p), len(b), b.count(b"\n"), hashlib.sha256(b).hexdigest())
        for p, b in contents.items()
    }

    assert (done.status, done.err) == (0, "")
    assert set(found) == expected
    assert result(done.out)["done"] == 300
    assert result(done.out)["left"] == 0
    assert "finished\n" in done.out


def test_second_run_does_nothing_again(start_demo) -> None:
    """What is in the database is not hashed again."""
    start_demo("--pause", 0).finish()

    done = start_demo("--pause", 0).finish()

    assert done.status == 0
    assert numbers(START.search(done.out)) == [0, 300]
    assert result(done.out)["new"] == 0
    assert result(done.out)["done"] == 300


def test_default_database_is_below_the_temporary_folder(start, tree, tmp_path) -> None:
    """Without --db nothing is written where the user works, and the next run
    goes on with the same database."""
    start("demo", "--path", tree, "--pause", 0).finish()
    before = set(tmp_path.iterdir())
    done = start("demo", "--path", tree, "--pause", 0).finish()
    db = tmp_path / "temporary" / f"gracefulexit-demo-{os.getuid()}" / "index.db"

    assert f"the index is {db.resolve()};" in done.out
    assert db.parent.stat().st_mode & 0o777 == 0o700
    assert result(done.out)["new"] == 0
    assert set(tmp_path.iterdir()) == before == {tree, tmp_path / "temporary"}


def test_database_below_the_path_is_not_indexed(start, tree) -> None:
    """The demo does not touch its own database files."""
    done = start("demo", "--path", tree, "--db", tree / "x.db", "--pause", 0).finish()
    files, _ = rows(tree / "x.db")

    assert done.status == 0
    assert len(files) == 300
    assert os.fsencode(tree / "x.db") not in files


def test_names_that_are_not_text_are_indexed(start, tmp_path, db) -> None:
    """A file name may hold any bytes but 0 and the slash."""
    tree = make_tree(tmp_path / "tree", 1)
    odd = os.path.join(os.fsencode(tree), b"\xff\xfe\n'name")
    with open(odd, "wb"):
        pass

    done = start("demo", "--path", tree, "--db", db).finish()

    assert done.status == 0
    assert odd in rows(db)[1]
    assert result(done.out)["done"] == 2


# ---- stopped ------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_signal_in_the_middle(start_demo, db, signum) -> None:
    """A signal stops it with a whole report, a consistent database and the right
    status; started again it does the rest and nothing twice."""
    child = start_demo("--pause", 0.1)  # 7.5 s, of which it gets one
    child.wait_line("indexed")
    child.signal(signum)
    done = child.finish()
    sender = f"{signum.name} from pid {os.getpid()}[ ,]"
    report = check_stopped(done, db, sender, 300)

    again = start_demo("--pause", 0).finish()

    assert done.status == -signum
    assert 0 < report["done"] < 300
    assert again.status == 0
    assert numbers(START.search(again.out)) == [report["left"], report["done"]]
    assert result(again.out)["new"] == report["left"]
    assert result(again.out)["done"] == 300


@pytest.mark.slow
def test_second_ctrl_c_waits_for_the_open_sections(start_demo, db) -> None:
    """Ctrl-C twice ends it as soon as no file is half written, and says so."""
    child = start_demo("--pause", 5)
    child.wait_line("indexed")  # after 1 s: each worker is between its two writes
    child.signal(signal.SIGINT)
    time.sleep(1)  # one that comes within 0.5 s would not count as asked again
    child.signal(signal.SIGINT)
    done = child.finish()
    files, digests = rows(db)

    assert done.status == -signal.SIGINT
    assert done.err.startswith("ending as soon as section index_file ")
    assert len(files) == 4
    assert files == digests


@pytest.mark.slow
def test_for_stops_by_a_signal_of_another_process(start_child, root, tree, db) -> None:
    """--for SECONDS: a real SIGTERM from a process of its own, a full report, and
    status 0, because the user has asked for it. As in the README, in the source
    tree, whose uncompiled package -I hides."""
    args = ["demo", "--for", 1, "--path", tree, "--db", db, "--pause", 0.1]
    child = start_child(MODULE, *args, options=["-I"], cwd=root)
    done = child.finish()
    sender = rf"SIGTERM from pid \d+ \(.*/_demo_timer\.py {child.pid} 1\.0\)"
    report = check_stopped(done, db, sender, 300)

    assert done.status == 0
    assert report["done"] > 0
    assert report["left"] > 0
    assert "exit status 0: --for had asked for this signal\n" in done.out


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_another_signal_than_that_of_for_is_the_end(start_demo, signum) -> None:
    """With --for, only its own signal gives status 0. And finish(), which waits for
    the end of all output, shows that the other process does not stay behind."""
    child = start_demo("--for", 1000, "--pause", 0.02)
    child.wait_line("300 files to do")
    child.signal(signum)

    done = child.finish()

    assert done.status == -signum


def test_for_ends_with_the_work(start_demo) -> None:
    """Finished before the time is over, nobody is left who would send a signal."""
    done = start_demo("--for", 1000, "--pause", 0).finish()

    assert (done.status, done.err) == (0, "")
    assert result(done.out)["left"] == 0


def test_half_written_file_is_told_and_done_again(start_demo, tree, db) -> None:
    """SIGKILL can tear; the next run says so and mends it."""
    start_demo("--pause", 0).finish()
    with closing(sqlite3.connect(db)) as connection, connection:
        connection.execute(
            "DELETE FROM digests WHERE path = ?", [os.fsencode(tree / "folder0/file0")]
        )

    done = start_demo("--pause", 0).finish()

    assert "half written by an earlier run that was killed: 1\n" in done.out
    assert result(done.out)["new"] == 1
    assert result(done.out)["half written"] == 0


def test_vanished_files_are_counted(start_demo, tree) -> None:
    """A file that cannot be read is counted and stops nothing."""
    child = start_demo("--pause", 0.05)
    child.wait_line("300 files to do")
    for path in tree.rglob("file*"):
        path.unlink()
    done = child.finish()
    report = result(done.out)

    assert (done.status, done.err) == (0, "")
    assert report["unreadable"] > 0
    assert report["done"] + report["unreadable"] == 300
    assert report["left"] == 0


# ---- what is shown ------------------------------------------------------------


@pytest.mark.slow
def test_a_pipe_gets_a_line_every_second(start_demo) -> None:
    """Not on a terminal, progress is plain lines."""
    child = start_demo("--pause", 0.02)
    first, second = numbers(PROGRESS.fullmatch(child.wait_line("indexed")))
    child.signal(signal.SIGTERM)
    done = child.finish()

    assert 0 < first < second == 300
    assert "\r" not in done.out


@pytest.fixture
def on_terminal(tree: Path, db: Path) -> Iterator[Callable[..., tuple[int, str]]]:
    """Run the demo on a terminal and type a key after the first progress."""
    master, slave = os.openpty()

    def own_terminal() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    command = [sys.executable, "-m", "gracefulexit", "demo"]
    process: subprocess.Popen[bytes] | None = None

    def run(*args: object, key: bytes) -> tuple[int, str]:
        nonlocal process, slave
        with warnings.catch_warnings():
            # 3.12 warns of fork (which preexec_fn needs) if there are threads.
            warnings.simplefilter("ignore", DeprecationWarning)
            process = subprocess.Popen(
                [*command, "--path", tree, "--db", db, *map(str, args)],
                stdin=slave,
                stdout=slave,
                stderr=slave,
                cwd=db.parent,
                start_new_session=True,
                preexec_fn=own_terminal,
            )
        os.close(slave)
        slave = -1
        out, typed = b"", False
        deadline = time.monotonic() + LIMIT
        with selectors.DefaultSelector() as ready:
            ready.register(master, selectors.EVENT_READ)
            while ready.select(max(0.0, deadline - time.monotonic())):
                try:
                    out += os.read(master, 65536)
                except OSError:  # Linux's way to say that nobody has it open
                    break
                if not typed and re.search(rb"\rindexed [1-9]", out):
                    os.write(master, key)
                    typed = True
        return process.wait(max(0.0, deadline - time.monotonic())), out.decode()

    yield run

    if process is not None and process.poll() is None:
        process.kill()
        process.wait(LIMIT)
    os.close(master)
    if slave != -1:
        os.close(slave)


@pytest.mark.slow
def test_a_terminal_shows_one_line_that_changes(on_terminal, db) -> None:
    """On a terminal progress is one line, and Ctrl-C is told as coming from there."""
    status, shown = on_terminal("--pause", 0.02, key=b"\x03")
    out = shown.replace("\r\n", "\n")
    lines = [line for line in out.split("\n") if "\rindexed" in line]
    files, digests = rows(db)

    assert status == -signal.SIGINT
    assert len(lines) == 1
    assert all(PROGRESS.match(part) for part in re.findall(r"indexed.*?second", out))
    assert "stopped by SIGINT from the terminal\n" in out
    assert result(out)["done"] == len(files) > 0
    assert files == digests


def test_nobody_reads_on(start_child, tree, db) -> None:
    """With `| head -1` it ends without a traceback."""
    program = f"""
        import subprocess, sys
        command = [sys.executable, "-m", "gracefulexit", "demo", "--pause", "0.02"]
        command += ["--path", {str(tree)!r}, "--db", {str(db)!r}]
        demo = subprocess.Popen(command, stdout=subprocess.PIPE)
        demo.stdout.readline()
        demo.stdout.close()
        print(demo.wait())
    """
    done = start_child(program).finish()
    files, digests = rows(db)

    assert (done.out, done.err) == ("1\n", "")
    assert files == digests


# ---- the command line ---------------------------------------------------------


def test_without_arguments_it_prints_help(start) -> None:
    """`python -m gracefulexit` says what there is."""
    done = start().finish()

    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("usage: python -m gracefulexit ")
    assert "demo" in done.out


def test_version(start) -> None:
    """--version is that of the package."""
    done = start("--version").finish()

    assert (done.status, done.out) == (0, f"gracefulexit {gracefulexit.__version__}\n")


def test_help_of_demo(start) -> None:
    """Every option is explained."""
    done = start("demo", "--help").finish()

    assert (done.status, done.err) == (0, "")
    for option in ("--path", "--db", "--workers", "--for", "--pause"):
        assert f"\n  {option} " in done.out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--workers", "0"], "1 to 64 workers are possible, not 0"),
        (["--workers", "-3"], "1 to 64 workers are possible, not -3"),
        (["--workers", "65"], "1 to 64 workers are possible, not 65"),
        (["--workers", "many"], "invalid workers value: 'many'"),
        (["--for", "-1"], "0 to 1000000 seconds, not -1"),
        (["--for", "nan"], "0 to 1000000 seconds, not nan"),
        (["--pause", "-0.5"], "0 to 1000000 seconds, not -0.5"),
        (["--path", "nowhere"], "--path nowhere is not a folder"),
        (["--path", "text"], "--path text is not a folder"),
        (["--db", "nowhere/index.db"], "unable to open database file"),
        (["--db", "text"], "file is not a database"),
        (["--db", "other.db"], "it is the database of another program"),
        (["--db", "torn.db"], "/torn.db: "),  # the rest is SQLite's
        (["--db", "bare.db"], "no such table"),
        (["--frob"], "unrecognized arguments: --frob"),
    ],
)
def test_bad_arguments(start, tmp_path, args, message) -> None:
    """What cannot work is one clear sentence and status 2, before anything starts."""
    (tmp_path / "text").write_text("no database\n" * 100)
    ours = 0x67724578  # in the header: the database of a demo
    for name, number in (("other.db", 0), ("torn.db", ours), ("bare.db", ours)):
        with closing(sqlite3.connect(tmp_path / name)) as connection:
            connection.execute("CREATE TABLE theirs (x)")
            connection.execute(f"PRAGMA application_id = {number}")
            connection.commit()
    with open(tmp_path / "torn.db", "r+b") as torn:
        torn.seek(4096)
        torn.write(b"\xff" * 4096)
    other = (tmp_path / "other.db").read_bytes()

    done = start("demo", *args).finish()
    last_line = done.err.splitlines()[-1]

    assert (done.status, done.out) == (2, "")
    assert last_line.startswith("python -m gracefulexit")
    assert message in last_line
    assert (tmp_path / "other.db").read_bytes() == other


# ---- at any moment ------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "part", [0, 1, *(pytest.param(n, marks=pytest.mark.long) for n in range(2, 10))]
)
def test_stopped_at_100_random_moments(start, tmp_path, part) -> None:
    """No moment leaves a half-written file, and each restart does the rest.

    10 moments in each of ten parts, so that one part stays far below the time
    after which pytest shows all stacks.
    """
    # 100 files at 0.04 s with 4 workers are 1 s of work: it is stopped before.
    count = 100
    tree = make_tree(tmp_path / "tree", count)
    moments = random.Random(part)
    for n in range(10):
        db = tmp_path / f"{n}.db"
        options = ["demo", "--path", tree, "--db", db]
        child = start(*options, "--pause", 0.04)
        child.wait_line(f"{count} files to do")
        time.sleep(moments.uniform(0, 0.3))  # the moment itself; nothing is awaited
        child.signal(signal.SIGTERM)
        stopped = child.finish()
        sender = f"SIGTERM from pid {os.getpid()}[ ,]"
        report = check_stopped(stopped, db, sender, count)
        again = start(*options, "--pause", 0).finish()
        files, digests = rows(db)

        assert stopped.status == -signal.SIGTERM
        assert again.status == 0
        assert result(again.out)["new"] == report["left"]
        assert len(files) == count
        assert files == digests
