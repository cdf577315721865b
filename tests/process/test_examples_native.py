"""The examples of native code: built as their readers do, and stopped in the middle of
their loops."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from signal import SIGINT, SIGTERM

import pytest
from ccompile import compiler, run
from child_process import LIMIT, Child
from examples import EXAMPLES, until_busy

NATIVE = EXAMPLES / "native"
LAUNCHER = Path("run_example.py")


def build(kind: str, folder: Path) -> Path:
    """A copy of the example, built; returns its program."""
    shutil.copytree(NATIVE / kind, folder)
    if (folder / "setup.py").exists():
        command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
    elif (folder / "collatz.c").exists():
        library = folder / "libcollatz.so"
        flags = ["-O2", "-shared", "-fPIC"]
        run([*compiler(), *flags, folder / "collatz.c", "-o", library])
    return folder / "main.py"


@pytest.fixture(scope="module")
def program_of(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], Path]:
    built: dict[str, Path] = {}

    def find(kind: str) -> Path:
        if kind not in built:
            built[kind] = build(kind, tmp_path_factory.mktemp("native") / kind)
        return built[kind]

    return find


def check(child: Child, signum: int) -> None:
    child.wait_line("searching", 4 * LIMIT)  # Numba compiles first
    until_busy(child.pid)
    child.signal(signum)
    line = child.wait_line("checked").split()
    done = child.finish()

    assert int(line[1]) > 1000
    assert int(line[5]) > 100
    assert done.status == -signum, done.err


def start(start_child: Callable[..., Child], backend: str, path: Path) -> Child:
    env = {"PYTHONPATH": str(path.parent)}
    return start_child(LAUNCHER, backend, path, env=env)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["c", "cython", "numba"])
def test_a_native_loop_stops(program_of, start_child, kind: str) -> None:
    """The loop ends at the signal, and the program by it."""
    for signum in (SIGTERM, SIGINT):
        check(start(start_child, "auto", program_of(kind)), signum)


def test_the_library_stops(program_of, start_child, backend: str) -> None:
    """The same of the one that takes no time to build, on every interpreter."""
    check(start(start_child, backend, program_of("ctypes")), SIGTERM)
