"""The tests of others that cannot have the same outcome with us, and why.

An environment is named VERSION-KIND-BACKEND, such as "3.11-term-futex"; the kinds
are in everywhere.py.
"""

from __future__ import annotations

from compare import Expected

DUMPS = (
    "Compares a dump of all threads with the stack of the main thread alone; the "
    "dispatcher's stack is in it, too."
)
COUNTS = "Counts the threads of Python; the dispatcher is one of them."


def _each(
    place: str, tests: str, reason: str, environment: str = "*"
) -> list[Expected]:
    return [Expected(f"{place}.{t}", reason, environment) for t in tests.split()]


EXPECTED: tuple[Expected, ...] = (
    *_each(
        "*.test_faulthandler.FaultHandlerTests",
        """
        test_dump_traceback_later test_dump_traceback_later_fd
        test_dump_traceback_later_file test_dump_traceback_later_repeat
        test_dump_traceback_later_twice
        test_dump_traceback_threads test_dump_traceback_threads_file
        test_enable_fd test_enable_file test_fatal_error test_fatal_error_c_thread
        test_fatal_error_without_gil test_gc test_gil_released test_read_null
        test_register_threads test_sigabrt test_sigbus test_sigfpe test_sigill
        test_sigsegv test_stack_overflow
        """,
        DUMPS,
    ),
    *_each(
        "*.test_threading",
        """
        ThreadJoinOnShutdown.test_clear_threads_states_after_fork
        ThreadTests.test_dummy_thread_after_fork
        ThreadTests.test_main_thread_after_fork
        ThreadTests.test_main_thread_after_fork_from_dummy_thread
        ThreadTests.test_main_thread_after_fork_from_foreign_thread
        ThreadTests.test_main_thread_during_shutdown
        """,
        COUNTS,
    ),
    Expected(
        "*.test_subprocess.*.test_pass_fds_redirected",
        "Lists the descriptors of a child, which has a killer and a pipe of its own.",
        "*-pipe",
    ),
    Expected(
        "*.test_os.ForkTests.test_fork_warns_when_non_python_thread_exists",
        COUNTS,
    ),
    Expected(
        "*.test_shutdown.ProcessPool*.test_processes_terminate",
        "Hangs now and then without us, too (CPython issue 125451).",
    ),
    Expected(
        "*.TestResourceTracker.test_resource_tracker_sigterm",
        "Starts a child with SIGTERM blocked; in sigwait mode main blocks it anyway, "
        "and children have unblocked what the killer takes (choose-a-backend.md).",
        "*-term-sigwait",
    ),
    Expected(
        "*.test_threading.ThreadTests.test_import_from_another_thread",
        "Wants a process that has not imported threading.",
    ),
)
