"""The demo's files, and its database, in which each has a row in two tables."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TypeVar

Self = TypeVar("Self", bound="Index")

OURS = 0x67724578  # "grEx", the application_id in the header of our databases

# Paths are bytes, as the kernel has them: not every name is text.
CREATE = f"""
    BEGIN IMMEDIATE;
    CREATE TABLE IF NOT EXISTS
        files (path BLOB PRIMARY KEY, size INTEGER, lines INTEGER);
    CREATE TABLE IF NOT EXISTS
        digests (path BLOB PRIMARY KEY, sha256 TEXT);
    PRAGMA application_id = {OURS};
    COMMIT;
"""


class UnusableError(Exception):
    """The database cannot be used; the message is for people."""


class Index:
    """One connection, for the thread that made it. Statements commit at once."""

    def __init__(self, file: Path) -> None:
        # The timeout: how long to wait while another connection writes.
        self._db = sqlite3.connect(file, timeout=30, isolation_level=None)
        # No fsync at each commit: that is for power cuts, not for signals.
        self._db.execute("PRAGMA synchronous = NORMAL")

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._db.close()

    def prepare(self) -> None:
        """Check that the database is ours and sound; create what is missing."""
        ours = self._number("PRAGMA application_id") == OURS
        if not ours:
            if self._number("SELECT count(*) FROM sqlite_master"):
                raise UnusableError("it is the database of another program")
            # Readers and one writer do not wait for each other.
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.executescript(CREATE)
        elif self._db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise UnusableError("it is damaged; remove it")

    def add_file(self, path: bytes, size: int, lines: int) -> None:
        row = (path, size, lines)
        self._db.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", row)

    def add_digest(self, path: bytes, sha256: str) -> None:
        row = (path, sha256)
        self._db.execute("INSERT OR REPLACE INTO digests VALUES (?, ?)", row)

    def done(self) -> set[bytes]:
        """The files that have both rows."""
        rows = self._db.execute("SELECT path FROM files JOIN digests USING (path)")
        return {path for (path,) in rows}

    def half_written(self) -> int:
        """How many files have one row and not the other."""
        return self._number(
            """
            SELECT (SELECT count(*) FROM files
                    WHERE path NOT IN (SELECT path FROM digests))
                 + (SELECT count(*) FROM digests
                    WHERE path NOT IN (SELECT path FROM files))
            """
        )

    def _number(self, query: str) -> int:
        (number,) = self._db.execute(query).fetchone()
        return int(number)


def prepare(file: Path) -> None:
    """Make `file` usable or raise UnusableError with one sentence."""
    try:
        with Index(file) as index:
            index.prepare()
            index.half_written()  # raises if there is no such table
    except (sqlite3.Error, UnusableError) as error:
        raise UnusableError(f"cannot use {file}: {error} (or pass --db)") from error


def default_db() -> Path:
    """In a folder of its own, which nobody else can write to."""
    folder = Path(tempfile.gettempdir(), f"gracefulexit-demo-{os.getuid()}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise UnusableError(f"{error}; pass --db") from error
    if folder.lstat().st_uid != os.getuid():
        raise UnusableError(f"{folder} belongs to somebody else; pass --db")
    return folder / "index.db"


def find_files(
    root: Path, db: Path, unreadable: Callable[[OSError], object]
) -> Iterator[bytes]:
    """The regular files below `root`, without the database's own."""
    # Not even to hash them: closing a file gives up this process's locks on it,
    # SQLite's among them.
    own = {os.fsencode(f"{db}{end}") for end in ("", "-wal", "-shm", "-journal")}
    for folder, _, names in os.walk(os.fsencode(root), onerror=unreadable):
        for path in (os.path.join(folder, name) for name in names):
            if path not in own and _is_regular(path):
                yield path


def _is_regular(path: bytes) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False  # it has vanished


def measure(path: bytes) -> tuple[int, int, str]:
    """Size, number of lines and SHA-256 of a file."""
    size = lines = 0
    sha256 = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            size += len(block)
            lines += block.count(b"\n")
            sha256.update(block)
    return size, lines, sha256.hexdigest()
