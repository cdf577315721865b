"""Importing the package has no side effect."""

from __future__ import annotations

import pytest

IMPORT_AND_COMPARE = """
    import os
    import signal
    import threading

    # Modules that the package needs may do what they like: import them first.
    import asyncio, concurrent.futures, contextlib, logging, subprocess

    def state():
        result = {
            **{f"handler of {s}": signal.getsignal(s) for s in signal.valid_signals()},
            "wakeup fd": signal.set_wakeup_fd(-1),
            "mask": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
            "threads": threading.enumerate(),
        }
        if os.path.exists("/proc/self/status"):
            with open("/proc/self/status") as f:
                lines = [l.split() for l in f if l.startswith(("Sig", "Shd"))]
            result["kernel"] = [l for l in lines if l[0] != "SigQ:"]
            result["native threads"] = os.listdir("/proc/self/task")
            result["descriptors"] = {
                fd: os.readlink(f"/proc/self/fd/{fd}")
                for fd in os.listdir("/proc/self/fd")
                if os.path.exists(f"/proc/self/fd/{fd}")
            }
        return result

    before = state()
    import gracefulexit
    import gracefulexit.lowlevel
    after = state()

    for name in before:
        if before[name] != after[name]:
            print(name, "was", before[name], "and is", after[name])
    print("compared", len(before))
"""


def test_import_is_cheap(start_child) -> None:
    """What only some programs use is imported when they ask for it, and then is
    there as if it always had been."""
    done = start_child(
        """
        import sys, gracefulexit
        dear = {"multiprocessing", "subprocess", "mmap"}
        print(sorted(dear & sys.modules.keys()))
        assert {"Popen", "ProcessWorker"} <= set(dir(gracefulexit))
        from gracefulexit import Popen, ProcessWorker
        assert gracefulexit.ProcessWorker is ProcessWorker
        print(sorted(dear - sys.modules.keys()))
        try:
            gracefulexit.Nothing
        except AttributeError as error:
            print(error)
        """
    ).finish()

    assert done.err == ""
    assert done.out.splitlines() == [
        *("[]", "[]", "module 'gracefulexit' has no attribute 'Nothing'"),
    ]


@pytest.mark.parametrize("names", ["*", "Popen", "ProcessWorker"])
def test_import_loads_little(start_child, names: str) -> None:
    """What is large in the standard library stays away: each of its modules is also
    taken down at the end of the process, which is a part of every stop."""
    done = start_child(
        f"""
        import logging, sys  # from CPython 3.14 on, logging loads dataclasses itself
        before = set(sys.modules)
        if {names!r} == "*":
            import gracefulexit, gracefulexit.lowlevel
            large = {{"multiprocessing", "subprocess"}}
        else:
            from gracefulexit import {names}
            large = set()
        large |= {{"dataclasses", "asyncio"}}
        loaded = sys.modules.keys() - before
        print(sorted(large & loaded), "gracefulexit" in loaded)
        """,
        options=["-I"],
    ).finish()

    assert (done.status, done.out, done.err) == (0, "[] True\n", "")


def test_a_stop_loads_nothing(start_child) -> None:
    """From the constructor of the killer on, the signal, the log, the report and the
    end need no module that was not there: there may be no descriptor to load it."""
    done = start_child(
        """
        import logging, os, signal, sys
        logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
        from gracefulexit import GracefulKiller, TerminateProtected, Worker

        with GracefulKiller(grace=600) as killer:
            section = TerminateProtected()
            loaded = set(sys.modules)
            killer.start(Worker(target=killer.wait), Worker(target=killer.event.wait))
            with section:
                os.kill(os.getpid(), signal.SIGTERM)
                killer.wait()
                print(killer.report())
            print(killer.report().to_dict())
        print(repr(killer.reason), killer.reason)
        print("loaded", sorted(sys.modules.keys() - loaded))
        """,
        options=["-I"],
    ).finish()

    assert done.err == ""
    assert done.out.splitlines()[-1] == "loaded []"
    assert done.status == 0


def test_import_has_no_side_effect(start_child) -> None:
    """Importing changes no signal, starts no thread and opens no descriptor."""
    done = start_child(IMPORT_AND_COMPARE).finish()

    assert done.err == ""
    assert done.out.startswith("compared "), done.out
    assert done.status == 0


def test_import_leaves_the_lock_off(start_child) -> None:
    """On a free-threaded CPython the import does not switch the interpreter lock on."""
    done = start_child(
        """
        import sys
        enabled = getattr(sys, "_is_gil_enabled", lambda: True)
        before = enabled()
        import gracefulexit
        print(before == enabled())
        """,
        options=["-W", "error"],
    ).finish()

    assert (done.status, done.out, done.err) == (0, "True\n", "")
