"""Every way in which a Python program makes a child, and what such a child shows.

For programs of tests/process, which have this folder on their path: a child that
multiprocessing spawns imports its function from here."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import multiprocessing
import os
import pty
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import forkserver, resource_tracker, shared_memory
from pathlib import Path
from typing import Any

from forks import new_name, reap, stay, until_ready
from probe import masks, until

SLEEP = ["/bin/sleep", "60"]
LOWEST = 64  # where the descriptors of a killer begin

# It is called with the number of a child that is there, looks at it and sends
# SIGTERM. Every way below calls it once and returns the child's exit status.
Found = Callable[[int], None]
WAYS: dict[str, Callable[[Found], int | None]] = {}


# ---- what a child shows ------------------------------------------------------


def look(pid: int, not_shared: set[str]) -> dict[str, Any]:
    """Masks and descriptors of the child, and how many of them are `not_shared`."""
    folder = Path(f"/proc/{pid}/fd")
    found = {int(fd.name): os.readlink(fd) for fd in folder.iterdir()}
    # A forkserver makes one for each wait; we never have any.
    found = {n: s for n, s in found.items() if s != "anon_inode:[eventpoll]"}
    return {
        **masks(pid),
        # Pipes and sockets have other numbers in each run.
        "low": sorted(re.sub(r"\d+", "N", s) for n, s in found.items() if n < LOWEST),
        "high": sorted(s for n, s in found.items() if n >= LOWEST),
        "shared": sum(what in not_shared for what in found.values()),
    }


def bits(pid: int, mask: str) -> int:
    return int(masks(pid)[mask], 16)


def sleeping(folder: Path, parent: int | None = None) -> bool:
    """Has this process become SLEEP, and is its loader done with opening files?"""
    try:
        words = (folder / "cmdline").read_bytes().split(b"\0")
        state, its_parent, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended
        return False
    ours = parent is None or int(its_parent) == parent
    return words[0].endswith(b"sleep") and state == "S" and ours


def sleeping_children() -> list[int]:
    processes = [f for f in Path("/proc").iterdir() if f.name.isdigit()]
    return [int(f.name) for f in processes if sleeping(f, os.getpid())]


def found_sleeping(found: Found, pid: int) -> None:
    until(lambda: sleeping(Path(f"/proc/{pid}")), f"{pid} sleeps")
    found(pid)


@contextlib.contextmanager
def found_meanwhile(found: Found) -> Iterator[None]:
    """For calls that return when the child has ended."""

    def find() -> None:
        until(sleeping_children, "a child that sleeps")
        found(*sleeping_children())

    thread = threading.Thread(target=find)
    thread.start()
    yield
    thread.join()


# ---- the ways ----------------------------------------------------------------


def way(title: str, **kwargs: Any) -> Callable[..., Any]:
    """Register this function, with these arguments."""

    def register(func: Callable[..., int | None]) -> Callable[..., int | None]:
        WAYS[title] = lambda found: func(found, **kwargs)
        return func

    return register


@way("Popen")
@way("Popen, name only", args=["sleep", "60"])
@way("Popen, close_fds=False", close_fds=False)
@way("Popen, shell=True", args="exec sleep 60", shell=True)
@way("Popen, cwd", cwd="/")
@way("Popen, start_new_session", start_new_session=True)
@way("Popen, preexec_fn", preexec_fn=lambda: None)
@way("Popen, user", user="nobody" if os.getuid() == 0 else os.getuid())
@way("Popen, pipes", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
def by_popen(found: Found, args: Any = SLEEP, **kwargs: Any) -> int:
    with subprocess.Popen(args, **kwargs) as process:
        found_sleeping(found, process.pid)
        return process.wait()


@way("asyncio.create_subprocess_exec")
def by_asyncio(found: Found) -> int:
    async def main() -> int:
        process = await asyncio.create_subprocess_exec(*SLEEP)
        found_sleeping(found, process.pid)
        return await process.wait()

    return asyncio.run(main())


@way("os.system")
def by_system(found: Found) -> int:
    with found_meanwhile(found):
        return os.waitstatus_to_exitcode(os.system("exec sleep 60"))


@way("os.popen")
def by_os_popen(found: Found) -> int:
    with found_meanwhile(found):
        status = os.popen("exec sleep 60").close()
    assert status is not None
    return status >> 8


@way("os.posix_spawn", name="posix_spawn", path="/bin/sleep")
@way("os.posix_spawnp", name="posix_spawnp", path="sleep")
def by_posix_spawn(found: Found, name: str, path: str) -> int:
    pid = getattr(os, name)(path, SLEEP, os.environ)
    found_sleeping(found, pid)
    return reap(pid)


@way("os.spawnv", call=os.spawnv, path="/bin/sleep")
@way("os.spawnvp", call=os.spawnvp, path="sleep")
def by_spawnv(found: Found, call: Callable[..., int], path: str) -> int:
    pid = call(os.P_NOWAIT, path, SLEEP)
    found_sleeping(found, pid)
    return reap(pid)


@way("os.spawnlp, P_WAIT")
def by_spawnlp(found: Found) -> int:
    with found_meanwhile(found):
        return os.spawnlp(os.P_WAIT, "sleep", *SLEEP)


@way("os.fork")
def by_fork(found: Found) -> int:
    name = new_name()
    pid = os.fork()
    if not pid:
        stay(name)
    until_ready(name)
    found(pid)
    return reap(pid)


@way("os.fork, os.execv")
def by_fork_and_exec(found: Found) -> int:
    pid = os.fork()
    if not pid:
        os.execv(SLEEP[0], SLEEP)
    found_sleeping(found, pid)
    return reap(pid)


@way("pty.fork")
def by_pty_fork(found: Found) -> int:
    name = new_name()
    pid, master = pty.fork()
    if not pid:
        stay(name)
    until_ready(name)
    found(pid)
    status = reap(pid)
    os.close(master)
    return status


@way("pty.spawn")
def by_pty_spawn(found: Found) -> int:
    with found_meanwhile(found):
        return os.waitstatus_to_exitcode(pty.spawn(SLEEP))


@way("double fork")
def by_double_fork(found: Found) -> int:
    """The usual daemon; we wait for it in the place of process 1."""
    pr_set_child_subreaper = 36
    assert ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0) == 0
    name = new_name()
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.setsid()
        grandchild = os.fork()
        if grandchild:
            os.write(writer, str(grandchild).encode())
            os._exit(0)
        stay(name)
    assert reap(pid) == 0
    daemon = int(os.read(reader, 20))
    os.close(reader)
    os.close(writer)
    until_ready(name)
    found(daemon)
    return reap(daemon)


@way("fork from C")
def by_fork_from_c(found: Found) -> int:
    """By harness/forks.c, which the test has compiled."""
    name = new_name()
    pid = int(ctypes.CDLL(os.environ["FORKS_IN_C"]).fork_and_stay(name.encode()))
    until_ready(name)
    found(pid)
    return reap(pid)


@way("system() from C")
def by_system_from_c(found: Found) -> int:
    with found_meanwhile(found):
        status = ctypes.CDLL(None).system(b"exec sleep 60")
    return os.waitstatus_to_exitcode(status)


@way("multiprocessing fork", method="fork")
@way("multiprocessing spawn", method="spawn")
@way("multiprocessing forkserver", method="forkserver")
def by_multiprocessing(found: Found, method: str) -> int | None:
    context: Any = multiprocessing.get_context(method)
    name = new_name()
    process = context.Process(target=stay, args=(name,))
    process.start()
    until_ready(name)
    found(process.pid)
    process.join()
    if method == "forkserver":
        forkserver._forkserver._stop()  # type: ignore[attr-defined]
    return process.exitcode


def _ended(process: Any) -> int | None:
    """Others wait for it as well, and one of us gets the status."""
    until(lambda: process.exitcode is not None, "the worker's end")
    return process.exitcode


@way("Pool, fork", method="fork")
@way("Pool, spawn", method="spawn")
def by_pool(found: Found, method: str) -> int | None:
    context: Any = multiprocessing.get_context(method)
    name = new_name()
    with context.Pool(1) as pool:
        worker = pool._pool[0]
        # At work: an idle one has the lock of the queue, and would keep it.
        pool.apply_async(stay, (name,))
        until_ready(name)
        found(worker.pid)
        status = _ended(worker)
    pool.join()
    return status


@way("ProcessPoolExecutor, fork", method="fork")
@way("ProcessPoolExecutor, spawn", method="spawn")
def by_executor(found: Found, method: str) -> int | None:
    context: Any = multiprocessing.get_context(method)
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        pid = executor.submit(os.getpid).result()
        worker: Any = executor._processes[pid]
        found(pid)
        return _ended(worker)


@way("forkserver itself")
def by_forkserver(found: Found) -> int:
    server: Any = forkserver._forkserver  # type: ignore[attr-defined]
    server.ensure_running()
    until(lambda: 2 & bits(server._forkserver_pid, "SigIgn:"), "it is up")
    pid = server._forkserver_pid
    found(pid)
    end = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert end is not None
    server._stop()
    return -end.si_status


@way("resource tracker")
def by_shared_memory(found: Found) -> None:
    """It ignores SIGTERM, with us or without, and ends when we let it go."""
    memory = shared_memory.SharedMemory(create=True, size=1)
    memory.close()
    memory.unlink()
    tracker: Any = resource_tracker._resource_tracker
    # It ignores SIGINT, then SIGTERM, and then unblocks them.
    both = 1 << 2 - 1 | 1 << 15 - 1
    until(lambda: both & ~bits(tracker._pid, "SigIgn:") == 0, "it ignores them")
    until(lambda: both & bits(tracker._pid, "SigBlk:") == 0, "it is up")
    found(tracker._pid)
    tracker._stop()
