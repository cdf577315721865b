"""The extension is built with the guards that Debian builds its packages with."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from ccompile import ROOT, compiler, run

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="reads ELF files with nm and readelf"
)

# Stands for a compiler: says what it was called with and makes an empty file, but
# for the trials of setup.py, in which it knows all flags but those of UNKNOWN.
COMPILER = """#!/bin/sh
case "$*" in
*trial.[co]*)
    for flag in $UNKNOWN; do
        case " $* " in *" $flag "*) exit 1 ;; esac
    done
    exit ;;
esac
echo "$*" >>"$CALLS"
while [ "$1" != -o ]; do shift; done
: >"$2"
"""


# As `dpkg-buildflags` of Debian 13 has them, for all architectures together.
FORTIFY = "-D_FORTIFY_SOURCE=2"
COMPILERS = [
    "-fstack-protector-strong",
    "-fstack-clash-protection",
    "-fcf-protection",
    "-mbranch-protection=standard",
    "-Werror=format-security",
    FORTIFY,
]
LINKERS = ["-Wl,-z,relro", "-Wl,-z,noexecstack"]


def test_what_was_bound_at_load_time_is_read_only_then(library: str) -> None:
    """Addresses of functions cannot be overwritten: relocations are done, and shut."""
    assert "GNU_RELRO" in run(["readelf", "-lW", library])
    assert "BIND_NOW" in run(["readelf", "-dW", library])


def test_no_stack_and_no_code_can_be_written_and_run(library: str) -> None:
    """No segment is both, and the code needs no relocation in itself."""
    segments = [
        line.split()
        for line in run(["readelf", "-lW", library]).splitlines()
        if line.strip().startswith(("LOAD", "GNU_STACK"))
    ]
    flags = {words[0]: "".join(words[6:-1]) for words in segments}

    assert flags["GNU_STACK"] == "RW"
    assert not [f for f in flags.values() if "W" in f and "E" in f]
    assert "TEXTREL" not in run(["readelf", "-dW", library])


def test_stacks_are_guarded(library: str) -> None:
    """A function that has written over its end of the stack does not return."""
    needed = run(["nm", "-D", "--undefined-only", library])

    assert "__stack_chk_fail" in needed


def build(folder: Path, unknown: Iterable[str] = (), **env: str) -> tuple[Any, Any]:
    """The flags of each of the compiler's calls, and of the linker's, where these
    flags are not known."""
    calls = folder / "calls"
    fake = folder / "cc"
    fake.write_text(COMPILER)
    fake.chmod(0o755)
    clean = {k: v for k, v in os.environ.items() if "GRACEFULEXIT_" not in k}
    env |= {"CC": str(fake), "CALLS": str(calls), "UNKNOWN": " ".join(unknown)}
    command = [sys.executable, "-B", "setup.py", "-q", "build_ext"]
    command += [f"--build-{kind}={folder / kind}" for kind in ("lib", "temp")]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=clean | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    *compiled, linked = [set(call.split()) for call in calls.read_text().splitlines()]
    assert len(compiled) == len(list((ROOT / "csrc").rglob("*.c")))
    return compiled, linked


@pytest.mark.slow
def test_every_file_is_built_with_all_guards(tmp_path: Path) -> None:
    """A plain installation has them, whatever the flags of its Python are."""
    compiled, linked = build(tmp_path)

    for flags in compiled:
        assert set(COMPILERS) <= flags
    assert set(LINKERS) <= linked


@pytest.mark.slow
def test_a_compiler_without_a_guard_goes_without(tmp_path: Path) -> None:
    """It builds all the same, and with the others."""
    unknown = {COMPILERS[1], LINKERS[0]}
    compiled, linked = build(tmp_path, unknown)

    for flags in compiled:
        assert set(COMPILERS) - flags == unknown - set(LINKERS)
    assert set(LINKERS) - linked == unknown - set(COMPILERS)


@pytest.mark.slow
def test_sanitizers_replace_functions_themselves(tmp_path: Path) -> None:
    """Functions that glibc has put its own checks in would be out of their sight."""
    compiled, _ = build(tmp_path, GRACEFULEXIT_SANITIZE="address")

    assert not any(FORTIFY in flags for flags in compiled)


def test_the_compiler_of_this_machine_knows_its_guards(tmp_path: Path) -> None:
    """No guard is lost by a mistake in setup.py: gcc and clang have all that are for
    no processor in particular."""
    source = tmp_path / "empty.c"
    source.write_text("int empty(void);\nint empty(void) { return 0; }\n")
    everywhere = [flag for flag in COMPILERS if not flag.startswith(("-fcf", "-mbr"))]
    build = [*compiler(), "-O2", "-Wall", "-Werror", "-shared", "-fPIC"]

    run([*build, *everywhere, *LINKERS, source, "-o", tmp_path / "empty.so"])
