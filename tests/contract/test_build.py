"""Where the package is not to be built, the build says so and what to do."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

SETUP = Path(__file__).resolve().parents[2] / "setup.py"
WANTED = ("UNSUPPORTED_PLATFORMS", "refuse_unsupported")


def refuse(platform: str, implementation: str) -> None:
    """setup.py's own check, on another system. The rest of it would build."""
    told = SimpleNamespace(
        platform=platform,
        implementation=SimpleNamespace(name=implementation),
        exit=sys.exit,
    )
    parts = [
        node
        for node in ast.parse(SETUP.read_text()).body
        if getattr(node, "name", None) in WANTED
        or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in WANTED)
    ]
    assert len(parts) == len(WANTED)
    names = {"sys": told}
    exec(compile(ast.Module(parts, []), str(SETUP), "exec"), names)
    names["refuse_unsupported"]()


def test_pypy_is_refused() -> None:
    """On PyPy the build ends with a sentence that names it and the next step."""
    with pytest.raises(SystemExit, match=r"not support pypy: .*; use CPython 3\.10 or"):
        refuse("linux", "pypy")


@pytest.mark.parametrize("platform", ["win32", "cygwin", "emscripten", "wasi"])
def test_systems_without_posix_signals_are_refused(platform: str) -> None:
    """The build names the system that it refuses, and those that it is for."""
    with pytest.raises(SystemExit, match=f"not support {platform}: .*; use it on Li"):
        refuse(platform, "cpython")


@pytest.mark.parametrize("platform", ["linux", "darwin", "freebsd14"])
def test_what_is_supported_is_not_refused(platform: str) -> None:
    """CPython on Linux, macOS and FreeBSD goes on to the build."""
    refuse(platform, "cpython")
