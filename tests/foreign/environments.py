"""Temporary environments: one Python, with a killer of some kind in every process."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NEIGHBOURS = ("trio", "anyio", "pytest", "pytest-mock")


@dataclass(frozen=True)
class Environment:
    name: str
    python: Path
    package: Path
    logs: Path


# Which suites a Python can run depends on what is here.
ANYIO_TESTS = "anyio-tests"


def build(python: str, folder: Path, neighbours: bool) -> Path:
    """The package, as this Python installs it: a folder for sys.path."""
    source, target = folder / "source", folder / "package"
    ignored = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "*.so")
    shutil.copytree(ROOT, source, ignore=ignored)
    subprocess.run([python, "-m", "venv", folder / "builder"], check=True)
    pip = [folder / "builder/bin/python", "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--target", target, source], check=True)
    shutil.copy(Path(__file__).with_name("everywhere.py"), target)
    if neighbours:
        add_neighbours([*pip, "--target", target, *NEIGHBOURS], folder, target)
    return target


def add_neighbours(install: list[str | Path], folder: Path, target: Path) -> None:
    subprocess.run(install, check=True)
    # Trio installs its tests; anyio's are in its source distribution alone.
    version = next(target.glob("anyio-*.dist-info")).name.split("-")[1]
    version = version.removesuffix(".dist")
    source = ["--no-deps", "--no-binary", "anyio", f"anyio=={version}"]
    pip = install[: install.index("install")]
    load = [*pip, "download", "--quiet", "--dest", folder, *source]
    if subprocess.run(load, check=False).returncode == 0:
        (archive,) = folder.glob("anyio-*.tar.gz")
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        (unpacked,) = (p for p in folder.glob("anyio-*") if p.is_dir())
        (unpacked / "tests").rename(target / ANYIO_TESTS)


def environment(
    python: str, folder: Path, name: str, package: Path, start: str
) -> Environment:
    """One whose interpreters run `start`, a line of a .pth file, first of all."""
    place = folder / name
    subprocess.run([python, "-m", "venv", "--without-pip", place], check=True)
    (site,) = place.glob("lib/python*/site-packages")
    (site / "foreign.pth").write_text(f"{package}\n{start}\n")
    made = Environment(name, place / "bin/python", package, place / "logs")
    made.logs.mkdir()
    return made


def ask(env: Environment, program: str) -> subprocess.CompletedProcess[str]:
    # Not in the source tree, whose package is not compiled.
    command = [env.python, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, cwd=env.logs)


def check(env: Environment, has_killer: bool) -> None:
    """What a .pth file raises is printed and forgotten: look whether it worked."""
    program = "import gracefulexit as g; k = g.current(); print(bool(k) and k.armed)"
    done = ask(env, program)
    if (done.stdout, done.stderr) != (f"{has_killer}\n", ""):
        raise SystemExit(f"{env.name}: {done.stdout}{done.stderr}")


def environments(
    python: str, folder: Path, kinds: list[tuple[str, str]], neighbours: bool
) -> Iterator[Environment]:
    """The one without us comes first. neighbours: trio and anyio are in all."""
    version = folder.name
    package = build(python, folder, neighbours)
    plain = environment(python, folder, f"{version}-without", package, "")
    check(plain, has_killer=False)
    yield plain
    for kind, backend in kinds:
        start = f"import everywhere; everywhere.install({kind!r}, {backend!r})"
        name = f"{version}-{kind}-{backend}"
        made = environment(python, folder, name, package, start)
        check(made, has_killer=True)
        yield made
