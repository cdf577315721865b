"""The installed header gracefulexit.h: every C and C++ takes it, and an extension of
another version is refused."""

from __future__ import annotations

import re
import shutil
import sysconfig
from collections.abc import Callable
from importlib.metadata import files
from pathlib import Path

import pytest
from ccompile import compiler, extension_module, run

import gracefulexit
from gracefulexit import _core

HEADER = Path(gracefulexit.get_include(), "gracefulexit.h")
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]
# Python's own headers are not what is tested, and old ones do not pass as C++17.
INCLUDES = ["-isystem", sysconfig.get_path("include"), f"-I{HEADER.parent}"]
USE = """
int use(void);
int use(void)
{
    return gracefulexit_stopping() + gracefulexit_wait_ns(INT64_C(5));
}
"""
WITH_PYTHON = (
    "#include <gracefulexit.h>\nint find(void);\n"
    "int find(void) { return gracefulexit_import(); }\n" + USE
)
WITHOUT_PYTHON = "#define GRACEFULEXIT_NO_IMPORT\n#include <gracefulexit.h>\n" + USE


def compilers(own: str, *others: str) -> list[str]:
    """The one that this Python was built with, and what else is there."""
    return sorted({Path(name).name for name in (own, *others) if shutil.which(name)})


C = compilers(compiler()[0], "gcc", "clang")
CXX = compilers((sysconfig.get_config_var("CXX") or "c++").split()[0], "g++", "clang++")
LANGUAGES = [
    *[("c", c, f"-std={s}") for c in C for s in ("c99", "c11", "gnu17")],
    *[("c++", c, f"-std=c++{s}") for c in CXX for s in (11, 14, 17, 20)],
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "source", [WITH_PYTHON, WITHOUT_PYTHON], ids=["with Python.h", "without"]
)
@pytest.mark.parametrize(("kind", "command", "standard"), LANGUAGES)
def test_every_language_takes_it(
    tmp_path: Path, source: str, kind: str, command: str, standard: str
) -> None:
    """The header compiles alone, without a warning."""
    file = tmp_path / "use.c"
    file.write_text(source)

    run([command, "-x", kind, standard, *STRICT, *INCLUDES, "-fsyntax-only", file])


def test_plain_c_needs_no_python(tmp_path: Path) -> None:
    """Source files without Python.h can poll as well."""
    file = tmp_path / "use.c"
    file.write_text(WITHOUT_PYTHON)

    run([*compiler(), *STRICT, f"-I{HEADER.parent}", "-c", file, "-o", f"{file}.o"])


def test_a_poll_is_a_load(tmp_path: Path) -> None:
    """Two loads at most, the address and the flag: nothing is called, locked or waited
    for."""
    file = tmp_path / "use.c"
    file.write_text(
        "#define GRACEFULEXIT_NO_IMPORT\n#include <gracefulexit.h>\nint use(void);\n"
        "int use(void) { return gracefulexit_stopping(); }\n"
    )
    flags = ["-O2", "-fPIC", "-S", f"-I{HEADER.parent}"]
    assembly = run([*compiler(), *flags, file, "-o", "-"])
    body = re.search(r"^_?use:\n(.*?)^\s+ret", assembly, re.MULTILINE | re.DOTALL)

    assert body is not None, assembly
    code = re.findall(r"^\s+([a-z]\w*)", body[1], re.MULTILINE)
    assert 1 <= len(code) <= 4, body[1]
    slow = ("call", "bl", "lock", "dmb", "mfence")
    assert [instruction for instruction in code if instruction.startswith(slow)] == []


def test_the_wheel_has_the_header() -> None:
    """What pip has installed has it, as a file of the package."""
    installed = files("gracefulexit")
    assert installed is not None
    found = [file for file in installed if file.name == "gracefulexit.h"]

    assert [Path(str(file.locate())).resolve() for file in found] == [HEADER.resolve()]


def test_the_header_is_of_this_package() -> None:
    """It has the version that the compiled part serves."""
    version = re.search(r"define GRACEFULEXIT_ABI_VERSION (\d+)", HEADER.read_text())

    assert version is not None
    assert repr(_core._C_API).startswith('<capsule object "gracefulexit._core._C_API"')


OTHER = """
#include <Python.h>
#include "gracefulexit.h"
static PyModuleDef_Slot slots[] = {
#ifdef Py_GIL_DISABLED
    { Py_mod_gil, Py_MOD_GIL_NOT_USED },
#endif
    { 0, NULL },
};
static struct PyModuleDef definition = { PyModuleDef_HEAD_INIT, "other", NULL, 0,
                                         NULL, slots, NULL, NULL, NULL };
PyMODINIT_FUNC PyInit_other(void)
{
    if (gracefulexit_stopping() != 0 || gracefulexit_wait_ns(-1) != -1) {
        PyErr_SetString(PyExc_AssertionError, "before the import");
        return NULL;
    }
    return gracefulexit_import() < 0 ? NULL : PyModuleDef_Init(&definition);
}
"""


@pytest.fixture
def import_other(
    tmp_path: Path, start_child: Callable[..., object]
) -> Callable[[str], tuple[int, str]]:
    """Compile an extension with a header of that version and import it: status and
    last line."""

    def build(version: str, before: str = "") -> tuple[int, str]:
        text, n = re.subn(
            r"(?<=GRACEFULEXIT_ABI_VERSION )\d+", version, HEADER.read_text(), count=1
        )
        assert n == 1
        (tmp_path / "gracefulexit.h").write_text(text)
        source = tmp_path / "other.c"
        source.write_text(OTHER)
        extension_module(source, tmp_path)
        done = start_child(f"{before}\nimport other", cwd=tmp_path).finish()
        return done.status, (done.err.splitlines() or [""])[-1]

    return build


def test_its_own_version_is_taken(import_other) -> None:
    """An extension of this version is imported; before that it sees no stop."""
    assert import_other("1") == (0, "")


@pytest.mark.parametrize("version", ["0", "2", "77"])
def test_another_version_is_refused(import_other, version: str) -> None:
    """The error names both versions, and what to do."""
    status, line = import_other(version)

    assert status == 1
    assert line == (
        f"ImportError: this extension was compiled for version {version} of "
        "gracefulexit's C interface, and the installed gracefulexit has versions 1 to "
        "1; rebuild the extension with the gracefulexit that is installed here"
    )


def test_a_package_without_the_interface(import_other) -> None:
    """An older gracefulexit is told from a missing one."""
    status, line = import_other(
        "1", "import gracefulexit._core; del gracefulexit._core._C_API"
    )

    assert status == 1
    assert line == (
        "ImportError: the installed gracefulexit has no C interface yet; upgrade it: "
        "python -m pip install -U gracefulexit"
    )


def test_a_missing_package(import_other) -> None:
    """Without gracefulexit the import fails as an import does."""
    status, line = import_other("1", "import sys; sys.modules['gracefulexit'] = None")

    assert status == 1
    assert line.startswith(("ImportError: ", "ModuleNotFoundError: "))
    assert "gracefulexit" in line


FIRST = """
#include <Python.h>
#include <gracefulexit.h>
int ask(void);
static PyObject *both(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return Py_BuildValue("(ii)", gracefulexit_stopping(), ask());
}
static PyMethodDef methods[] = { { "both", both, METH_NOARGS, NULL },
                                 { NULL, NULL, 0, NULL } };
static struct PyModuleDef definition = { PyModuleDef_HEAD_INIT, "NAME", NULL, -1,
                                         methods, NULL, NULL, NULL, NULL };
PyMODINIT_FUNC PyInit_NAME(void)
{
    return IMPORT < 0 ? NULL : PyModule_Create(&definition);
}
"""
SECOND = """
#define GRACEFULEXIT_NO_IMPORT
#include <gracefulexit.h>
int ask(void);
int ask(void) { return gracefulexit_stopping(); }
"""


def test_source_files_share_and_extensions_do_not(tmp_path: Path, start_child) -> None:
    """One import serves all source files of an extension, and no other extension."""
    second = tmp_path / "second.c"
    second.write_text(SECOND)
    for name, how in (("imports", "gracefulexit_import()"), ("forgets", "0")):
        source = tmp_path / f"{name}.c"
        source.write_text(FIRST.replace("NAME", name).replace("IMPORT", how))
        extension_module(source, tmp_path, str(second))

    done = start_child(
        """
        import imports, forgets
        from gracefulexit import GracefulKiller
        with GracefulKiller() as killer:
            killer.stop()
            print(imports.both(), forgets.both())
        """
    ).finish()

    assert (done.status, done.out) == (0, "(1, 1) (0, 0)\n"), done.err
