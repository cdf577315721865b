"""What the shared library shows to the dynamic linker."""

from __future__ import annotations

import sys

import pytest
from ccompile import run

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="reads ELF files with nm and readelf"
)

# Section borders that some linkers export from every library.
LINKERS_OWN = {"_init", "_fini", "_edata", "_end", "__bss_start"}


def test_exports_nothing_but_the_module(library: str) -> None:
    """No function of ours can be taken for another library's of that name."""
    lines = run(["nm", "-D", "--defined-only", library]).splitlines()
    exported = {line.split()[-1] for line in lines}

    assert exported - LINKERS_OWN == {"PyInit__core"}


def test_all_functions_are_bound_at_load_time(library: str) -> None:
    """The dynamic linker never has to look up a function inside a handler."""
    dynamic = run(["readelf", "-dW", library])

    assert "BIND_NOW" in dynamic
