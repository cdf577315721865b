"""Who may use whom. The two tables are the rule; the tests only compare."""

from __future__ import annotations

import ast
import graphlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "gracefulexit"
CSRC = ROOT / "csrc"

# --- Python: module -> modules of the package that it may import, at its top,
# inside a function or for typing alone. "__init__" is the package itself.
MAY_IMPORT: dict[str, set[str]] = {
    # Pure: no state, no threads.
    "_version": set(),
    "_errors": set(),
    "_include": set(),
    "_checks": set(),
    "_signals": {"_core"},
    "_info": {"_core", "_signals"},
    "_report": {"_info"},
    "_stacks": set(),
    "_notice": set(),
    "_timeline": {"_report"},
    # One part of a killer each; none knows the killer or the process.
    "_masks": {"_core"},
    "_births": {"_masks"},
    "_runners": {"_births", "_checks", "_masks"},
    "_dispatcher": {"_core", "_masks"},
    "_dump": {"_core"},
    "_forks": {"_core", "_dispatcher", "_masks"},
    "_exit": {"_core", "_errors", "_forks", "_info", "_layers"},
    "_layers": {"_core", "_masks"},
    "_stopfd": {"_core"},
    "_owners": set(),
    "_early": {"_masks"},
    "_hooks": {"_core", "_checks", "_report", "_runners", "_stragglers"},
    "_members": {
        *("_births", "_checks", "_masks", "_report", "_runners", "_stacks"),
        "_stragglers",
    },
    "_schedule": {"_births", "_checks", "_runners", "_signals"},
    "_polling": set(),
    "_leader": {"_polling"},
    "_interrupt": set(),
    "_worker_shared": set(),
    "_worker_link": {"_polling", "_worker_shared"},
    "_worker_popen": {"_core", "_polling", "_worker_shared"},
    "_channels": {"_checks", "_core", "_info", "_runners", "_signals"},
    "_callbacks": {
        *("_channels", "_checks", "_core", "_info", "_runners", "_signals"),
    },
    # One of it in a process.
    "_sections": {"_core", "_report", "_stacks"},
    "_stragglers": {"_sections", "_stacks"},
    "_teller": {
        *("_births", "_core", "_early", "_info", "_layers", "_owners"),
        *("_sections", "_signals"),
    },
    "_sigwait": {"_core", "_layers", "_masks", "_runners"},
    "_roles": {"_core", "_layers", "_sigwait"},
    "_delivery": {
        *("_core", "_early", "_exit", "_info", "_layers", "_masks", "_sections"),
        "_signals",
    },
    "_process": {
        *("_core", "_delivery", "_dispatcher", "_dump", "_early", "_errors"),
        *("_exit", "_forks", "_info", "_layers", "_roles", "_sections", "_signals"),
        *("_sigwait", "_stragglers", "_teller"),
    },
    # A killer, from its parts up.
    "_events": {"_layers", "_masks"},
    "_inherited": set(),
    "_budget": {"_core", "_info", "_process"},
    "_lifecycle": {
        *("_core", "_budget", "_callbacks", "_events", "_exit", "_hooks", "_info"),
        *("_inherited", "_layers", "_members", "_process", "_sections", "_stopfd"),
        *("_stragglers", "_timeline"),
    },
    # What users see.
    "_killer": {
        *("_core", "_checks", "_exit", "_info", "_layers", "_lifecycle", "_members"),
        *("_process", "_report", "_runners", "_signals"),
    },
    "_workers": {"_budget", "_checks", "_killer", "_members", "_notice"},
    "_popen": {
        *("_births", "_budget", "_checks", "_killer", "_leader", "_masks"),
        *("_members", "_schedule"),
    },
    "_worker_child": {
        *("_checks", "_errors", "_interrupt", "_killer", "_masks", "_process"),
        "_worker_link",
    },
    "_worker_parent": {
        *("_budget", "_killer", "_masks", "_schedule", "_worker_child"),
        *("_worker_link", "_worker_popen", "_worker_shared"),
    },
    "_processes": {
        *("_checks", "_killer", "_members", "_schedule", "_worker_child"),
        *("_worker_parent", "_worker_popen", "_workers"),
    },
    "_protect": {
        *("_core", "_checks", "_delivery", "_info", "_process"),
        *("_sections", "_signals"),
    },
    "lowlevel": {"_core", "_info", "_signals"},
    # _core: to turn a missing one into one clear sentence.
    "__init__": {
        *("_core", "_version", "_errors", "_include", "_info", "_report"),
        *("_interrupt", "_killer", "_workers", "_protect", "_popen", "_processes"),
    },
    "_demo_index": set(),
    "_demo_timer": set(),
    "_demo": {"__init__", "_demo_index", "_demo_timer"},
    "__main__": {"_demo"},
}

# --- C: file -> what it may name in #include "...", besides PLATFORM. The keys
# are relative to csrc/, the names are as written.
PLATFORM = {"ge_platform.h", "../ge_platform.h"}
MAY_INCLUDE: dict[str, set[str]] = {
    "core/ge_platform.h": set(),
    "core/ge_own.h": set(),
    "core/ge_own.c": {"compat/socketpair.h", "ge_own.h"},
    "core/ge_own_read.c": {"ge_own.h"},
    "core/ge.h": {"ge_own.h"},
    "core/compat/socketpair.h": set(),
    "core/compat/socketpair.c": {"socketpair.h"},
    "core/ge_sig.c": {"ge.h"},
    "core/ge_record.h": {"ge.h"},
    "core/ge_record.c": {"ge_record.h"},
    "core/ge_futex.h": set(),
    "core/ge_ring.h": {"ge.h"},
    "core/ge_ring.c": {"ge_handler.h", "ge_ring.h"},
    "core/ge_wake.h": {"ge.h"},
    "core/ge_wake_futex.c": {"ge_futex.h", "ge_wake.h"},
    "core/ge_wake_pipe.c": {"ge_own.h", "ge_wake.h"},
    # What runs in a handler: nothing of the watcher, of forks, of traps.
    "core/ge_handler.h": {"ge.h", "ge_record.h", "ge_ring.h"},
    "core/ge_handler.c": {
        *("ge_handler.h", "ge_latch.h", "ge_nudge.h", "ge_pass.h", "ge_section.h"),
        "ge_wake.h",
    },
    "core/ge_nudge.h": {"ge.h"},
    "core/ge_nudge.c": {"ge_handler.h", "ge_nudge.h"},
    "core/ge_pass.h": {"ge.h"},
    "core/ge_pass.c": {"ge_handler.h", "ge_pass.h"},
    # What runs in ordinary threads.
    "core/ge_native.h": {"ge.h"},
    "core/ge_native.c": {"ge_handler.h", "ge_native.h"},
    "core/ge_mailbox.c": {
        *("ge_end.h", "ge_handler.h", "ge_report.h", "ge_section.h"),
    },
    "core/ge_fork.h": set(),
    "core/ge_fork.c": {"ge_fork.h", "ge_handler.h", "ge_sigwait.h", "ge_wake.h"},
    "core/ge_settle.c": {"ge_handler.h", "ge_nudge.h", "ge_pass.h"},
    "core/ge_table.h": {"ge.h"},
    "core/ge_table.c": {"ge_handler.h", "ge_table.h"},
    "core/ge_trap.c": {"ge_fork.h", "ge_handler.h", "ge_nudge.h", "ge_table.h"},
    "core/ge_solo.c": {"ge_fork.h", "ge_handler.h", "ge_section.h", "ge_table.h"},
    "core/ge_section.h": {"ge.h"},
    "core/ge_gate.h": {"ge.h"},
    "core/ge_gate.c": {"ge_gate.h", "ge_section.h"},
    "core/ge_section.c": {"ge_fork.h", "ge_gate.h", "ge_latch.h", "ge_section.h"},
    "core/ge_latch.h": {"ge.h"},
    "core/ge_latch_cond.c": {"ge_fork.h", "ge_latch.h"},
    "core/ge_latch_futex.c": {"ge_fork.h", "ge_futex.h", "ge_latch.h"},
    "core/ge_end.h": {"ge.h"},
    "core/ge_end.c": {"ge_end.h"},
    "core/ge_fds.h": set(),
    "core/ge_fds.c": {"ge_fds.h", "ge_fork.h", "ge_handler.h"},
    "core/ge_thread.h": set(),
    "core/ge_thread.c": {"ge_thread.h"},
    "core/ge_sigwait.h": {"ge.h"},
    "core/ge_sigwait_masks.c": {
        *("ge_handler.h", "ge_nudge.h", "ge_sigwait.h", "ge_thread.h"),
    },
    "core/ge_sigwait.c": {
        *("ge_fork.h", "ge_handler.h", "ge_sigwait.h", "ge_thread.h"),
    },
    "core/ge_report.h": {"ge.h", "ge_own.h"},
    "core/ge_report.c": {"ge_fork.h", "ge_latch.h", "ge_report.h", "ge_thread.h"},
    "core/ge_report_dump.c": {"ge_report.h"},
    "core/ge_report_text.c": {"ge_own.h", "ge_report.h", "ge_section.h"},
    "core/ge_watcher.c": {
        *("ge_end.h", "ge_fds.h", "ge_fork.h", "ge_handler.h", "ge_latch.h"),
        *("ge_nudge.h", "ge_report.h", "ge_section.h", "ge_thread.h", "ge_wake.h"),
    },
    # The binding sees the core through its public headers.
    "python/gepy.h": {"../core/ge.h", "../core/ge_section.h"},
    "python/capi.c": {
        *("../../gracefulexit/include/gracefulexit.h", "../core/ge_native.h"),
        "gepy.h",
    },
    "python/called.c": {"../core/ge_pass.h", "../core/ge_sigwait.h", "gepy.h"},
    "python/convert.c": {"gepy.h"},
    "python/end.c": {"gepy.h"},
    "python/fds.c": {"gepy.h"},
    "python/flag.c": {"gepy.h"},
    "python/module.c": {"gepy.h"},
    "python/gate.c": {"gepy.h"},
    "python/insist.c": {"gepy.h"},
    "python/mains.c": {"gepy.h"},
    "python/opened.c": {"gepy.h"},
    "python/opened_list.c": {"gepy.h"},
    "python/report.c": {"../core/ge_report.h", "gepy.h"},
    "python/ring.c": {"../core/ge_ring.h", "gepy.h"},
    "python/room.c": {"gepy.h"},
    "python/section.h": {"gepy.h"},
    "python/section.c": {"section.h"},
    "python/entry.c": {"section.h"},
    "python/table.c": {"gepy.h"},
    "python/solo.h": {"section.h"},
    "python/solo.c": {"../core/ge_pass.h", "solo.h"},
    "python/solo_take.c": {"solo.h"},
    "python/tasks.c": {"section.h"},
    "python/signals.c": {"../core/ge_pass.h", "gepy.h"},
    "python/sigwait.c": {
        *("../core/ge_sigwait.h", "../core/ge_thread.h", "gepy.h"),
    },
    "python/watch.c": {"gepy.h"},
}

CORE_MAY_NOT_INCLUDE = {
    "Python.h": "the core is plain C, and is tested so",
    "stdio.h": "the core never prints",
}
MAX_LINES = 300
# The questions "which system is this"; asked in one place only.
SYSTEM_MACRO = re.compile(
    r"\b(?:__linux(?:__)?|__gnu_linux__|__ANDROID__|__APPLE__|__MACH__|__FreeBSD__"
    r"|__NetBSD__|__OpenBSD__|__DragonFly__|__sun|__CYGWIN__|_WIN32)\b"
)


def python_modules() -> dict[str, Path]:
    return {path.stem: path for path in sorted(PACKAGE.glob("*.py"))}


def imports_of(path: Path) -> set[str]:
    """Modules of the package that a file imports, wherever in it."""
    siblings = {"_core", *python_modules()}
    found = set()
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = "gracefulexit" if node.level else ""
            base = ".".join(filter(None, (base, node.module)))
            # `from . import x`: x is a module or a name in __init__.
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            first, *rest = name.split(".")
            if first == "gracefulexit":
                inside = len(rest) > 1 or (rest and rest[0] in siblings)
                found.add(rest[0] if inside else "__init__")
    return found


def without_comments(text: str) -> str:
    # Strings are matched first, and kept: a // in one is no comment.
    pattern = r'("(?:\\.|[^"\\\n])*")|/\*.*?\*/|//[^\n]*'
    return re.sub(pattern, lambda m: m[1] or " ", text, flags=re.DOTALL)


def c_files(folder: str = "") -> list[Path]:
    return sorted((CSRC / folder).rglob("*.[ch]"))


def may_ask(path: Path) -> bool:
    return path.name == "ge_platform.h" or path.parent.name == "compat"


def named(path: Path) -> str:
    return path.relative_to(CSRC).as_posix()


def includes_of(path: Path, opening: str) -> set[str]:
    """Names in #include, as they are written."""
    text = without_comments(path.read_text())
    return set(
        re.findall(rf'^\s*#\s*include\s*{opening}([^">]+)[">]', text, re.MULTILINE)
    )


def test_every_python_module_is_in_the_table() -> None:
    """A new module needs a decision; a module that is gone leaves no entry."""
    assert set(MAY_IMPORT) == set(python_modules())


def test_the_python_table_has_no_cycle() -> None:
    """There is an order in which the modules can be understood."""
    assert list(graphlib.TopologicalSorter(MAY_IMPORT).static_order())


@pytest.mark.parametrize("module", python_modules())
def test_python_arrows(module: str) -> None:
    """A module imports what the table allows."""
    forbidden = imports_of(python_modules()[module]) - MAY_IMPORT.get(module, set())

    assert forbidden == set()


def test_every_c_file_is_in_the_table() -> None:
    """A new file needs a decision; a file that is gone leaves no entry."""
    assert set(MAY_INCLUDE) == {named(path) for path in c_files()}


@pytest.mark.parametrize("path", c_files(), ids=named)
def test_c_arrows(path: Path) -> None:
    """A file includes what the table allows."""
    allowed = MAY_INCLUDE.get(named(path), set())
    if path.is_relative_to(CSRC / "core"):
        allowed = allowed | PLATFORM
    forbidden = includes_of(path, '"') - allowed

    assert forbidden == set()


@pytest.mark.parametrize("path", c_files("core"), ids=named)
def test_core_stands_alone(path: Path) -> None:
    """The core includes no Python, nothing of the binding, and no stdio."""
    names = includes_of(path, '["<]')
    forbidden = {name for name in names if Path(name).name in CORE_MAY_NOT_INCLUDE}
    forbidden |= {name for name in names if "python/" in name}

    assert forbidden == set(), CORE_MAY_NOT_INCLUDE


@pytest.mark.parametrize(
    "path", [p for p in c_files("core") if p.suffix == ".c"], ids=named
)
def test_platform_comes_first(path: Path) -> None:
    """ge_platform.h, which sets the feature macros, precedes every other header."""
    text = without_comments(path.read_text())
    included = re.findall(r'^\s*#\s*include\s*["<]([^">]+)', text, re.MULTILINE)

    assert Path(included[0]).name == "ge_platform.h"


@pytest.mark.parametrize("path", [p for p in c_files() if not may_ask(p)], ids=named)
def test_one_file_asks_which_system_this_is(path: Path) -> None:
    """Only ge_platform.h and compat/ name systems; others ask for features."""
    found = SYSTEM_MACRO.findall(without_comments(path.read_text()))

    assert found == []


@pytest.mark.parametrize("path", c_files(), ids=named)
def test_files_are_short(path: Path) -> None:
    """A file is one idea, or it is two files."""
    lines = len(path.read_text().splitlines())

    assert lines < MAX_LINES
