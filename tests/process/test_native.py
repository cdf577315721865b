"""Native code that polls the stop, or sleeps until it: harness/native_loops.c, by the C
interface of the package."""

from __future__ import annotations

import signal
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ccompile import extension_module
from child_process import Child, Finished

ROOT = Path(__file__).resolve().parents[2]
HARNESS = ROOT / "tests" / "harness"
EXAMPLE = "docs/examples/native/c/collatz.c"
IMPORTS = "import native_loops\nfrom sections import say, until_asleep\n"


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What lets a child import native_loops."""
    folder = tmp_path_factory.mktemp("native")
    extension_module(HARNESS / "native_loops.c", folder, "-Wall", "-Wextra", "-Werror")
    return {"env": {"PYTHONPATH": f"{folder}:{HARNESS}"}}


@pytest.fixture
def native_program(
    program: Callable[..., Child], native: dict[str, Any]
) -> Callable[..., Child]:
    return lambda source, *args: program(
        IMPORTS + textwrap.dedent(source), *args, **native
    )


@pytest.fixture
def native_passes(
    passes: Callable[..., Finished], native: dict[str, Any]
) -> Callable[..., Finished]:
    return lambda source, *args: passes(
        IMPORTS + textwrap.dedent(source), *args, **native
    )


@pytest.mark.parametrize("source", ["tests/harness/native_loops.c", EXAMPLE])
def test_no_lock_is_switched_on(
    tmp_path: Path, start_child: Callable[..., Child], source: str
) -> None:
    """A CPython without an interpreter lock goes on without, after the import of the
    package, of its native parts and of our example."""
    extension_module(ROOT / source, tmp_path, "-Wall", "-Wextra", "-Werror")
    done = start_child(
        """
        import sys, sysconfig
        is_on = getattr(sys, "_is_gil_enabled", lambda: True)
        def check():
            free = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
            assert is_on() is not free, "the lock is switched on"
        check()
        import gracefulexit, gracefulexit._core, gracefulexit.lowlevel
        check()
        __import__(sys.argv[1])
        check()
        """,
        Path(source).stem,
        cwd=tmp_path,
    ).finish()

    assert (done.status, done.err) == (0, "")


@pytest.mark.parametrize("function", ["spin", "spin_with_lock"])
def test_a_loop_ends_at_the_signal(native_program, backend: str, function: str) -> None:
    """A native loop in main sees the stop, also if nobody can get the interpreter lock
    meanwhile."""
    child = native_program(
        """
        killer = GracefulKiller(backend=sys.argv[1])
        until_asleep([t for t in threading.enumerate() if "disp" in t.name][0])
        say("ready")
        getattr(native_loops, sys.argv[2])()
        equal(True, killer.kill_now)
        killer.exit()
        """,
        backend,
        function,
    )
    child.wait_line("ready")
    child.signal(signal.SIGTERM)
    done = child.finish()

    assert (done.status, done.err) == (-signal.SIGTERM, "")


@pytest.mark.race
@pytest.mark.slow
def test_loops_end_at_random_moments(native_passes, backend: str) -> None:
    """Loops in four threads of Python, again and again: each sees each stop."""
    native_passes(
        """
        import random
        for n in times(150):
            with GracefulKiller(backend=sys.argv[1]) as killer:
                threads = [
                    threading.Thread(target=native_loops.spin) for _ in range(4)
                ]
                for thread in threads:
                    thread.start()
                time.sleep(random.random() / 1000)
                send(SIGTERM)
                for thread in threads:
                    thread.join()
                equal(True, killer.kill_now)
            equal(False, native_loops.stopping())
        """,
        backend,
    )


def test_the_flag_in_the_life_of_killers(native_passes) -> None:
    """Down before any killer, up from the stop until the last one is closed, and down
    for the next; a signal that does not stop leaves it down."""
    native_passes(
        """
        stopping = native_loops.stopping
        equal(False, stopping())
        for how in (lambda: send(SIGTERM), lambda: first.stop()):
            first, second = GracefulKiller(), GracefulKiller("HUP")
            first.take("USR1")
            send(SIGUSR1)
            equal(False, stopping())
            how()
            equal(True, stopping())
            first.close()
            equal(True, stopping())
            third = GracefulKiller()
            second.close()
            equal(True, stopping())
            third.close()
            equal(False, stopping())
        """
    )


def test_the_sleep(native_passes, backend: str) -> None:
    """It ends after its time, or at the stop, and never before; without a killer
    nothing can stop it, and it sleeps its time."""
    native_passes(
        """
        wait_ns = native_loops.wait_ns
        def check_time():
            start = time.monotonic_ns()
            equal(0, wait_ns(3_000_000))
            assert time.monotonic_ns() - start >= 3_000_000
            equal(0, wait_ns(0))
        check_time()
        for how in (lambda: send(SIGTERM), lambda: killer.stop()):
            killer = GracefulKiller(backend=sys.argv[1])
            check_time()
            results = []
            threads = [
                threading.Thread(target=lambda ns=ns: results.append(wait_ns(ns)))
                for ns in (-1, 10**12, -(2**63), 2**63 - 1)
            ]
            for thread in threads:
                thread.start()
                until_asleep(thread)
            how()
            for thread in threads:
                thread.join()
            equal([1] * 4, results)
            equal(1, wait_ns(10**12))
            killer.close()
            check_time()
        """,
        backend,
    )


def test_the_sleep_in_native_threads(native_program, backend: str) -> None:
    """Threads that Python never saw sleep and are told."""
    child = native_program(
        """
        killer = GracefulKiller(backend=sys.argv[1])
        say("ready")
        equal(16, native_loops.wait_in_threads())
        killer.exit()
        """,
        backend,
    )
    child.wait_line("ready")
    child.signal(signal.SIGTERM)
    done = child.finish()

    assert (done.status, done.err) == (-signal.SIGTERM, "")


def test_the_address(native_passes) -> None:
    """killer.flag_address is that of the flag that extensions look at, for all killers
    of the process, before, during and after their lives."""
    native_passes(
        """
        import ctypes
        first = GracefulKiller()
        address = first.flag_address
        equal(native_loops.flag_address(), address)
        flag = ctypes.c_int.from_address(address)
        for _ in range(100):
            second = GracefulKiller("HUP")
            equal(address, second.flag_address)
            equal(0, flag.value)
            send(SIGTERM)
            until(lambda: flag.value, "heard")  # perhaps by the dispatcher
            equal(1, flag.value)
            first.close()
            equal(1, flag.value)
            second.close()
            equal(0, flag.value)
            equal(address, first.flag_address)
            first = GracefulKiller()
        first.close()
        """
    )


def test_the_address_in_children(native_passes) -> None:
    """Memory of the child's own at the same address; a killer that a child cannot use
    says so."""
    native_passes(
        """
        import ctypes, multiprocessing
        from forks import fork_to, reap
        killer = GracefulKiller()
        flag = ctypes.c_int.from_address(killer.flag_address)
        def rearmed():
            equal(0, flag.value)
            send(SIGTERM)
            equal(1, flag.value)
            return 7
        equal(7, reap(fork_to(rearmed)))
        equal(0, flag.value)
        def reset():
            try:
                killer.flag_address
            except RuntimeError as error:
                assert "make a new GracefulKiller() here" in str(error), error
            else:
                raise AssertionError("no error")
        process = multiprocessing.get_context("fork").Process(target=reset)
        process.start()
        process.join()
        equal(0, process.exitcode)
        killer.close()
        """
    )


def test_a_sleep_outlasts_a_killer(native_passes) -> None:
    """A sleep that began with a killer that was closed ends by the next one's stop."""
    native_passes(
        """
        first = GracefulKiller()
        thread = threading.Thread(target=native_loops.wait_ns, args=(-1,))
        thread.start()
        until_asleep(thread)
        first.close()
        until_asleep(thread)
        with GracefulKiller():
            until_asleep(thread)
            send(SIGTERM)
            thread.join()
        """
    )


@pytest.mark.parametrize("stopped", [True, False])
def test_a_forked_child_has_a_flag_of_its_own(native_passes, stopped: bool) -> None:
    """It begins as down, its own signal raises it, and the parent's is not touched."""
    native_passes(
        """
        from forks import fork_to, reap
        stopped = sys.argv[1] == "True"
        killer = GracefulKiller()
        if stopped:
            killer.stop()
        def child():
            equal(False, native_loops.stopping())
            equal(0, native_loops.wait_ns(1000))
            send(SIGTERM)
            native_loops.spin()
            equal(True, gracefulexit.current().kill_now)
            return 7
        equal(7, reap(fork_to(child)))
        equal(stopped, native_loops.stopping())
        killer.close()
        """,
        stopped,
    )


def test_a_child_of_multiprocessing_sees_no_stop(native_passes) -> None:
    """There the handlers are those from before the killer, and the flag is down."""
    native_passes(
        """
        import multiprocessing
        killer = GracefulKiller()
        killer.stop()
        def child():
            equal(False, native_loops.stopping())
            equal(0, native_loops.wait_ns(1000))
        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        process.join()
        equal(0, process.exitcode)
        equal(True, native_loops.stopping())
        killer.close()
        """
    )
