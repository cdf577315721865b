"""What the signal handler can reach is async-signal-safe.

Looked at in the machine code: the object that defines the handler, the objects
that it needs, and so on, until only functions of the C library are left. A
whole object counts, whichever of its functions is called: what is not safe
belongs in another file.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from ccompile import compile_core, run

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="reads ELF objects with nm and readelf"
)

HANDLER = "ge__on_signal"

# From POSIX.1-2017, System Interfaces 2.4.3, and signal-safety(7).
POSIX_SAFE = {
    *("_exit", "getpid", "kill", "raise", "pthread_kill", "pthread_self"),
    *("write", "read", "close", "fstat", "poll", "fcntl"),
    *("send", "recv", "socketpair", "setsockopt"),
    *("sigaction", "sigfillset", "sigemptyset", "sigaddset", "sigdelset"),
    *("sigismember", "pthread_sigmask", "clock_gettime", "memset", "memcpy"),
}
OTHER_SAFE = {
    "__errno_location",  # errno is a macro around it (glibc, musl)
    "__error",  # the same on FreeBSD and macOS
    "syscall",  # only futex goes through it; FUTEX_WAKE takes no lock of ours
    "_GLOBAL_OFFSET_TABLE_",  # not a function: position-independent code
}
# 64-bit atomics on aarch64 are calls to small lock-free helpers of libgcc.
COMPILERS_OWN = re.compile(r"__aarch64_(?:cas|swp|ld(?:add|clr|eor|set))\d+_\w+")

# A guard's function is called when memory is overwritten already, and ends the process.
GUARD = "__stack_chk_fail"
# __read_chk() is read() with a look at the size first.
CHECKED = re.compile(r"__(\w+)_chk")

# As shipped: with the guards that appear as functions here.
FLAGS = ["-O2", "-fPIC", "-fstack-protector-strong"]
FLAGS += ["-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"]


@pytest.fixture(scope="module")
def closure(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, set[str]]:
    """The objects that the handler can reach, with the symbols each lacks."""
    objects = compile_core(tmp_path_factory.mktemp("safety"), FLAGS)
    defined_in = {
        symbol: path
        for path in objects
        for symbol in symbols(path, "--defined-only", "--extern-only")
    }
    assert HANDLER in defined_in
    reached: dict[Path, set[str]] = {}
    todo = [defined_in[HANDLER]]
    while todo:
        path = todo.pop()
        if path not in reached:
            reached[path] = symbols(path, "--undefined-only")
            todo += [defined_in[s] for s in reached[path] if s in defined_in]
    everything = set(defined_in)
    return {path: lacks - everything for path, lacks in reached.items()}


def symbols(path: Path, *options: str) -> set[str]:
    return {line.split()[-1] for line in run(["nm", *options, path]).splitlines()}


def test_handler_calls_only_safe_functions(closure: dict[Path, set[str]]) -> None:
    """No object that the handler needs calls anything that is not signal-safe."""
    unsafe = {
        f"{path.name}: {symbol}"
        for path, lacks in closure.items()
        for symbol in lacks - {GUARD}
        if CHECKED.sub(r"\1", symbol) not in POSIX_SAFE | OTHER_SAFE
        if not COMPILERS_OWN.fullmatch(symbol)
    }

    assert unsafe == set()


def test_handler_uses_no_thread_local_storage(closure: dict[Path, set[str]]) -> None:
    """In a shared library the first touch of a thread-local may allocate."""
    relocations = {
        f"{path.name}: {line.strip()}"
        for path in closure
        for line in run(["readelf", "-rW", path]).splitlines()
        if re.search(r"TLS|TPOFF|DTPMOD|DTPOFF|__tls_get_addr", line)
    }

    assert relocations == set()
