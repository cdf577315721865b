"""4. What a poll of kill_now costs, beside what else a loop could look at."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from harness import HERE, OURS, Aim, How, Program, Row, Who, rows, turns

TITLE = "One look at the flag, in a loop of Python"
ROOT = HERE.parents[1]
PLAIN = "a plain attribute"
# In pollers.py.
WHOS = {
    Who("kill_now", OURS): "kill_now",
    Who(PLAIN): "plain",
    Who("an attribute in __slots__"): "slot",
    Who("a property"): "property",
    Who("Event.is_set()"): "event",
}
# The names of the cases are found on the machine.
VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.13t", "3.14", "3.14t", "3.15", "3.15t")
AIMS = tuple(Aim(f"CPython {v}", "kill_now", 1.1, PLAIN) for v in VERSIONS)
LOOKS = 200_000
ASK = (
    "import sys, sysconfig, venv, ensurepip; "
    "assert sys.implementation.name == 'cpython' and sys.version_info >= (3, 10); "
    "t = 't' * bool(sysconfig.get_config_var('Py_GIL_DISABLED')); "
    "print('%d.%d' % sys.version_info[:2] + t)"
)


def version(python: Path | str) -> str | None:
    """None: not a CPython that can be measured."""
    done = subprocess.run(
        [python, "-c", ASK], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else None


def pythons() -> dict[str, Path]:
    """This one first, then one of each other version on PATH and of pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    folders = [*pyenv.glob("versions/*/bin"), *map(Path, os.get_exec_path())]
    found: dict[str, Path] = {}
    names = [f"python{v}" for v in VERSIONS]
    for python in (f / name for name in names for f in folders):
        if python.exists() and (name := version(python)):
            found.setdefault(name, python)
    mine = version(sys.executable)
    found.pop(mine or "", None)
    return {mine or "?": Path(sys.executable), **found}


def environment(python: Path, folder: Path) -> Path:
    """An interpreter of this kind that has the package of this source tree."""
    source = folder / "source"
    keep_out = shutil.ignore_patterns(".git", ".venv", "build", "*.egg-info", "tests")
    shutil.copytree(ROOT, source, ignore=keep_out)
    subprocess.run([python, "-m", "venv", folder / "venv"], check=True)
    made = folder / "venv" / "bin" / "python"
    quiet = ["-q", "--disable-pip-version-check"]
    subprocess.run([made, "-m", "pip", "install", *quiet, source], check=True)
    return made


def bench(how: How) -> Iterator[Row]:
    found = pythons()
    here = Path(sys.executable)
    for name, python in found.items():
        if how.quick and python != here:
            continue
        if python != here:
            python = environment(python, how.folder / name)
        series: dict[Who, list[float]] = {who: [] for who in WHOS}
        with Program(python, "-I", HERE / "pollers.py") as program:
            for turn, who in turns(how.rounds(201, 3), WHOS):
                ns = float(program.ask(f"{WHOS[who]} {how.rounds(LOOKS, 1000)}"))
                if turn:  # the first is for the specialising interpreter
                    series[who].append(ns)
        yield from rows(f"CPython {name}", "ns", series)
