"""What docs/explanation/security.md says of files, sockets and the environment."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys

import pytest
from ccompile import ROOT, run

PACKAGE = ROOT / "gracefulexit"
# Without the demo, which is a program.
SOURCES = [p for p in sorted(PACKAGE.glob("*.py")) if not p.stem.startswith("_demo")]
DOCUMENTED = ROOT / "docs" / "reference" / "environment.md"
READS = re.compile(r"\b(?:environb?|getenvb?)\b")
# They open nothing but /proc's, and no socket that has a name.
OPENS = {"open", "openat", "openat2", "open64", "fopen", "fopen64", "creat", "creat64"}
NAMED = {"socket", "connect", "bind", "listen", "accept", "accept4", "sendto"}
STARTS = {"execve", "execv", "execvp", "system", "popen", "posix_spawn", "dlopen"}


def uses(name: str) -> dict[str, str]:
    """Where this is spoken of in Python code, and the line."""
    return {
        f"{path.name}:{number}": line.strip()
        for path in SOURCES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(name, line)
    }


def called() -> set[str]:
    """The plain names that Python code calls, and the modules that it imports."""
    found = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                found.add(node.func.id)
            elif isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(str(node.module))
    return found


@pytest.fixture(scope="module")
def needed() -> set[str]:
    """The functions that the compiled part takes from elsewhere."""
    if sys.platform != "linux":
        pytest.skip("reads an ELF file with nm")
    spec = importlib.util.find_spec("gracefulexit._core")
    assert spec is not None
    assert spec.origin is not None
    lines = run(["nm", "-D", "--undefined-only", spec.origin]).splitlines()
    return {line.split()[-1].partition("@")[0] for line in lines}


def test_only_documented_variables_are_read(needed: set[str]) -> None:
    """One variable of the environment, at one place."""
    (line,) = uses(READS.pattern).values()
    (name,) = re.findall(r'environ\.get\("(\w+)"', line)

    assert f"## `{name}`" in DOCUMENTED.read_text()
    assert not needed & {"getenv", "secure_getenv", "environ", "__environ"}


def test_no_file_is_opened_but_of_proc(needed: set[str]) -> None:
    """What is read tells about processes; the one file that is written has no name."""
    lines = uses(
        r"(?<!def )(?<![\w.])open\(|read_file\(|\.read_(bytes|text)\(|TemporaryFile\("
    )
    lines = {where.partition(":")[0]: line for where, line in lines.items()}

    assert lines == {
        "_info.py": 'cmdline = _core.read_file(f"/proc/{info.si_pid}/cmdline", 200)',
        "_leader.py": 'with open(f"/proc/{pid}/stat", "rb") as file:',
        "_sigwait.py": (
            'status = _core.read_file(f"{folder}/{tid}/status", MOST_STATUS)'
        ),
        # On systems without memfd_create(): what a ProcessWorker shares.
        "_worker_shared.py": "with tempfile.TemporaryFile() as file:",
    }
    assert needed & OPENS == {"open"}
    for path in sorted((ROOT / "csrc").rglob("*.c")):
        for call in re.findall(r"\bopen\([^;]*;", path.read_text()):
            assert "O_RDONLY" in call, path
            assert "O_CLOEXEC" in call, path


def test_no_socket_has_a_name(needed: set[str]) -> None:
    """There are pairs of sockets, which nobody else can connect to."""
    assert not called() & {"socket", "socketserver", "http", "asyncio.streams"}
    assert not needed & NAMED


def test_no_program_is_started_by_c_code(needed: set[str]) -> None:
    """Nor a library loaded."""
    assert not needed & STARTS


def test_nothing_is_evaluated() -> None:
    """No text becomes code, and what comes from outside is not unpickled."""
    assert not called() & {"eval", "exec", "compile", "pickle", "marshal", "shelve"}
