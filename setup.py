"""Build the extension. All that can be said without code is in pyproject.toml.

Environment switches, all off by default:

GRACEFULEXIT_DEBUG=1       no optimisation, debug symbols, asserts on
GRACEFULEXIT_SANITIZE=LIST -fsanitize=LIST, for example "address,undefined"
GRACEFULEXIT_WERROR=1      warnings are errors. For CI only: a user's newer
                           compiler must not fail over a new warning.
"""

import os
import sys
import tempfile
from glob import glob
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError

UNSUPPORTED_PLATFORMS = ("win32", "cygwin", "emscripten", "wasi")

# Tests compile the core with a stricter list, see tests/harness/ccompile.py.
# -Wpedantic and -Wmissing-prototypes are not here: Python's own slot tables
# and PyMODINIT_FUNC do not pass them. Tables such as PyMethodDef end in { NULL }.
WARNINGS = [
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Wshadow",
    "-Wstrict-prototypes",
    "-Wno-missing-field-initializers",
]

# What Debian builds its packages with, on each architecture. A compiler or linker
# that does not know one of them, or warns of it, goes without.
COMPILER_GUARDS = [
    "-fstack-protector-strong",
    "-fstack-clash-protection",
    "-fcf-protection",  # x86
    "-mbranch-protection=standard",  # arm64
    "-Werror=format-security",
]
LINKER_GUARDS = ["-Wl,-z,relro", "-Wl,-z,noexecstack"]
# Needs optimisation; a Python that brings a higher level of its own keeps it, as
# the second definition is a warning.
FORTIFY = "-D_FORTIFY_SOURCE=2"
TRIAL = "#include <string.h>\nint trial(void);\nint trial(void) { return 0; }\n"


def refuse_unsupported() -> None:
    if sys.platform in UNSUPPORTED_PLATFORMS:
        sys.exit(
            f"gracefulexit does not support {sys.platform}: it is about POSIX "
            "signals; use it on Linux, macOS or FreeBSD."
        )
    if sys.implementation.name != "cpython":
        sys.exit(
            f"gracefulexit does not support {sys.implementation.name}: its signal "
            "handling is written against CPython's C API; use CPython 3.10 or newer."
        )


def switch(name: str) -> bool:
    return os.environ.get(name, "") not in ("", "0")


def extension() -> Extension:
    # -fvisibility=hidden: nothing but PyInit__core may be seen from outside, or
    # our ge_* functions could be taken for another library's.
    compile_args = ["-std=c11", "-pthread", "-fvisibility=hidden", *WARNINGS]
    link_args = ["-pthread"]
    if sys.platform != "darwin":
        # Lazy binding runs the dynamic linker at the first call of a function,
        # and ours may be called first inside a signal handler. Apple's linker
        # does not know -z and binds at load time anyway.
        link_args.append("-Wl,-z,now")
    if switch("GRACEFULEXIT_WERROR"):
        compile_args.append("-Werror")
    if switch("GRACEFULEXIT_DEBUG"):
        # _FORTIFY_SOURCE warns when there is no optimisation.
        compile_args += ["-O0", "-g", "-UNDEBUG", "-U_FORTIFY_SOURCE"]
    sanitizers = os.environ.get("GRACEFULEXIT_SANITIZE", "")
    if sanitizers:
        compile_args += [f"-fsanitize={sanitizers}", "-fno-omit-frame-pointer", "-g"]
        link_args.append(f"-fsanitize={sanitizers}")
    return Extension(
        "gracefulexit._core",
        sources=[
            *sorted(glob("csrc/core/*.c")),
            *sorted(glob("csrc/core/compat/*.c")),
            *sorted(glob("csrc/python/*.c")),
        ],
        depends=sorted(
            [*glob("csrc/**/*.h", recursive=True), *glob("gracefulexit/include/*.h")]
        ),
        extra_compile_args=compile_args,
        extra_link_args=link_args,
    )


class BuildWithGuards(build_ext):
    """Builds with all guards that this compiler and linker accept."""

    def build_extensions(self) -> None:
        guards = list(COMPILER_GUARDS)
        if not os.environ.get("GRACEFULEXIT_SANITIZE"):
            # Sanitizers know the functions that it would replace, not its own.
            guards.append(FORTIFY)
        for built in self.extensions:
            built.extra_compile_args += [
                guard for guard in guards if self.accepts(built, [guard], [])
            ]
            built.extra_link_args += [
                guard for guard in LINKER_GUARDS if self.accepts(built, [], [guard])
            ]
        super().build_extensions()

    def accepts(self, built: Extension, compiler: list[str], linker: list[str]) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "trial.c")
            source.write_text(TRIAL)
            try:
                objects = self.compiler.compile(
                    [str(source)],
                    output_dir=folder,
                    extra_postargs=[*built.extra_compile_args, "-Werror", *compiler],
                )
                if linker:
                    self.compiler.link_shared_object(
                        objects,
                        str(Path(folder, "trial.so")),
                        extra_postargs=[*built.extra_link_args, *linker],
                    )
            except (CompileError, LinkError):
                return False
        return True


refuse_unsupported()
setup(ext_modules=[extension()], cmdclass={"build_ext": BuildWithGuards})
