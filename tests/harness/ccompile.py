"""Compile csrc/core as plain C, for the tests that look at it without Python."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "csrc" / "core"

# Python's include path is missing on purpose: the core must compile without it.
# ge_platform.h sets the feature macros, so none is given here.
STRICT = [
    "-std=c11",
    "-pthread",
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Wconversion",
    "-Wshadow",
    "-Wstrict-prototypes",
    "-Wmissing-prototypes",
    "-Werror",
    f"-I{CORE}",
]


def compiler() -> list[str]:
    """The compiler that this Python was built with, or else `cc`.

    Skips where GRACEFULEXIT_NO_COMPILER says that there shall be none.
    """
    if os.environ.get("GRACEFULEXIT_NO_COMPILER"):
        pytest.skip("needs a C compiler")
    for command in (os.environ.get("CC"), sysconfig.get_config_var("CC"), "cc"):
        words = shlex.split(command or "")
        if words and shutil.which(words[0]):
            return words
    raise AssertionError("no C compiler found; install gcc or clang, or set CC")


def run(command: list[str | Path], timeout: float = 600) -> str:
    """Run a tool and return its output; its messages are the failure's text."""
    __tracebackhide__ = True
    done = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"{shlex.join(done.args)}\n{done.stdout}")
    return done.stdout


def core_sources() -> list[Path]:
    return sorted([*CORE.glob("*.c"), *(CORE / "compat").glob("*.c")])


def once(wanted: Path, make: Callable[[Path], object]) -> Path:
    """Make this file or folder; pytest's other processes wait until it is whole."""
    with open(f"{wanted}.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not wanted.exists():
            unfinished = Path(f"{wanted}.unfinished")
            make(unfinished)
            unfinished.rename(wanted)
    return wanted


def compile_core(folder: Path, flags: list[str]) -> list[Path]:
    """Compile each core file alone into `folder`; returns the objects."""
    assert core_sources(), f"no C files in {CORE}"
    folder.mkdir(parents=True, exist_ok=True)
    objects = []
    for source in core_sources():
        # The folder's name is part of it: compat/ may have files of equal name.
        built = folder / f"{source.parent.name}-{source.stem}.o"
        run([*compiler(), *STRICT, *flags, "-c", source, "-o", built])
        objects.append(built)
    return objects


def extension_module(source: Path, folder: Path, *flags: str) -> Path:
    """An extension module with the C interface of the installed package, for this
    Python, in `folder`. Its name is the source's."""
    module = folder / (source.stem + sysconfig.get_config_var("EXT_SUFFIX"))
    includes = [f"-I{sysconfig.get_path('include')}", f"-I{installed_include()}"]
    build = [*compiler(), "-shared", "-fPIC", "-pthread", *includes, *flags]
    if sys.platform == "darwin":
        build += ["-undefined", "dynamic_lookup"]
    run([*build, source, "-o", module])
    return module


def installed_include() -> str:
    import gracefulexit

    return gracefulexit.get_include()


def shared_library(source: Path, folder: Path) -> Path:
    """For ctypes, in `folder`."""
    library = folder / f"lib{source.stem}.so"  # or Python imports it
    run([*compiler(), "-shared", "-fPIC", source, "-o", library])
    return library
