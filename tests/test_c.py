"""The plain C tests: each CASE line of tests/c/test_*.c is a test here.

GRACEFULEXIT_C_SANITIZE builds core and tests with -fsanitize, for example
"address,undefined" or "thread". GRACEFULEXIT_C_VALGRIND runs each case under this
tool of valgrind: "memcheck" or "helgrind". GRACEFULEXIT_C_QEMU runs the
programs where CC compiles for another machine, for example "qemu-aarch64".
GRACEFULEXIT_C_QUICK=1 takes a fiftieth of each storm.
"""

from __future__ import annotations

import functools
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from ccompile import STRICT, compile_core, compiler, once, run

HERE = Path(__file__).resolve().parent / "c"
FUZZ = HERE.parent / "fuzz"
SANITIZE = os.environ.get("GRACEFULEXIT_C_SANITIZE", "")
VALGRIND = os.environ.get("GRACEFULEXIT_C_VALGRIND", "")
QEMU = os.environ.get("GRACEFULEXIT_C_QEMU", "")
QUICK = os.environ.get("GRACEFULEXIT_C_QUICK") == "1"
RUNNER = [QEMU] if QEMU else []
PATIENCE = 10  # times the limits of the cases
FOUND = 99  # the exit status of a case in which valgrind found something
TOOLS = {
    # Only what is lost for certain: threads that live on at the end keep their stacks.
    "memcheck": [
        *("--leak-check=full", "--show-leak-kinds=definite"),
        "--errors-for-leak-kinds=definite",
    ],
    "helgrind": [],
}
# What valgrind, which stands between the program and the kernel, does in another way.
NOT_UNDER_VALGRIND = {
    "what_may_be_handled_can_be_taken": "it keeps the last signal for itself",
    "every_signal_is_blocked_in_it_futex": "it keeps the last signal for itself",
    "every_signal_is_blocked_in_it_pipe": "it keeps the last signal for itself",
    "the_kernel_agrees_which_signals_end_a_process": "to it, SIGSTKFLT ends none",
    "without_a_descriptor_nothing_is_left": "its errno is EBADF, not EMFILE",
    "without_descriptors_the_start_fails_cleanly": "its errno is EBADF, not EMFILE",
}
# What qemu does in another way when it runs programs of another processor; each is
# a program of its own in c/qemu_lacks.c, which fails there and passes elsewhere.
NOT_UNDER_QEMU = {
    "the_program_hears_of_no_child_futex": "a_quiet_child",
    "the_program_hears_of_no_child_pipe": "a_quiet_child",
    "without_an_answer_it_reports_futex": "a_quiet_child",
    "without_an_answer_it_reports_pipe": "a_quiet_child",
    "repaired_it_is_a_normal_process_futex": "a_thread_after_fork",
    "repaired_it_is_a_normal_process_pipe": "a_thread_after_fork",
    "children_of_a_storm_are_normal_futex": "a_thread_after_fork",
    "children_of_a_storm_are_normal_pipe": "a_thread_after_fork",
    "one_byte_for_each_run_with_the_number_futex": "signal_63",
    "one_byte_for_each_run_with_the_number_pipe": "signal_63",
    "the_kernel_agrees_which_signals_end_a_process": "signal_63",
    "every_signal_is_blocked_in_it_futex": "signals_in_proc",
    "every_signal_is_blocked_in_it_pipe": "signals_in_proc",
}
# Above every CASE_WITHIN, whose alarm is the real limit and says more.
LIMIT = 300 * (PATIENCE if VALGRIND or QEMU else 1)


def cases_in(source: Path) -> list[str]:
    """Read from the source, so that collecting tests needs no compiler."""
    return re.findall(r"^\s*CASE(?:_WITHIN)?\((\w+)", source.read_text(), re.MULTILINE)


SOURCES = sorted(HERE.glob("test_*.c"))
CASES = [
    pytest.param(source, case, id=f"{source.stem}-{case}")
    for source in SOURCES
    for case in cases_in(source)
]


def flags() -> list[str]:
    if VALGRIND:
        told = ["-include", str(HERE / "helgrind.h")] if VALGRIND == "helgrind" else []
        return ["-O1", "-g", "-DCORE_VALGRIND", f"-DCHECK_PATIENCE={PATIENCE}", *told]
    if QEMU:
        return ["-O2", "-g", "-DCORE_QEMU", f"-DCHECK_PATIENCE={PATIENCE}"]
    if QUICK:  # compiling is most of the time
        return ["-O0", "-DCORE_QUICK"]
    if not SANITIZE:
        return ["-O2", "-g"]
    # -O1: the optimiser must not remove what the sanitizers would see.
    return [
        *("-O1", "-g", "-fno-omit-frame-pointer"),
        *(f"-fsanitize={SANITIZE}", "-fno-sanitize-recover=undefined"),
    ]


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> functools.partial[Path]:
    """Build a test program of these sources; the core is compiled once, each program
    once, whichever of pytest's processes comes first."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # the one that they share
    folder /= "plain-c"
    folder.mkdir(exist_ok=True)
    core = once(folder / "core", lambda new: compile_core(new, flags()))
    command = [*compiler(), *STRICT, *flags(), *core.glob("*.o")]

    @functools.cache
    def program(source: Path, *more: Path) -> Path:
        link = [*command, source, *more, "-o"]
        return once(folder / source.stem, lambda new: run([*link, new]))

    return program


def under_valgrind(program: Path, case: str) -> list[str | Path]:
    # One thread at a time, but each in its turn: one that spins must not keep the rest.
    common = ["-q", "--fair-sched=yes", f"--error-exitcode={FOUND}"]
    tool = [f"--tool={VALGRIND}", *TOOLS[VALGRIND]]
    return ["valgrind", *common, *tool, program, case]


def output_of(command: list[str | Path]) -> tuple[int, str]:
    """Exit status and output; ends all processes of a program that hangs."""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="backslashreplace",
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output = process.communicate()[0] + f"\nnothing within {LIMIT} s"
    return process.returncode, output


@pytest.mark.parametrize(("source", "case"), CASES)
def test_case(build, source: Path, case: str) -> None:
    """The case passes in a process of its own."""
    if QEMU and case in NOT_UNDER_QEMU:
        pytest.skip(f"not under qemu: {NOT_UNDER_QEMU[case]}")
    command = [*RUNNER, build(source), case]
    if VALGRIND:
        if case in NOT_UNDER_VALGRIND:
            pytest.skip(f"not under valgrind: {NOT_UNDER_VALGRIND[case]}")
        command = under_valgrind(build(source), case)
    status, output = output_of(command)

    assert status == 0, output
    assert f"ok 1 - {case}" in output, output
    if "# SKIP" in output:
        pytest.skip(output.partition("# skipped: ")[2].splitlines()[0])


@pytest.mark.skipif(VALGRIND != "", reason="it keeps the last signal for itself")
def test_what_fuzzing_found(build) -> None:
    """Every input at which the fuzz target has ever ended passes it."""
    inputs = sorted((FUZZ / "inputs").iterdir())
    program = build(FUZZ / "fuzz_signals.c", FUZZ / "replay.c")
    status, output = output_of([*RUNNER, program, *inputs])

    assert output == f"{len(inputs)} passed\n"
    assert (status, len(inputs) > 0) == (0, True)


@pytest.mark.skipif(SANITIZE != "", reason="ThreadSanitizer lacks one of these, too")
@pytest.mark.parametrize("lack", sorted(set(NOT_UNDER_QEMU.values())))
def test_qemu_lacks(build, lack: str) -> None:
    """What is left out under qemu fails there without our code, and only there."""
    status, output = output_of([*RUNNER, build(HERE / "qemu_lacks.c"), lack])

    assert (status != 0) == bool(QEMU), output


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_no_case_is_missed(build, source: Path) -> None:
    """The CASE lines that were read here are the table that was compiled."""
    status, output = output_of([*RUNNER, build(source), "--list"])

    assert cases_in(source) == output.split()
    assert status == 0


def test_there_are_cases() -> None:
    """An empty folder is not a success."""
    assert CASES != []
