"""An early end runs no atexit, and yet leaves nothing of multiprocessing behind.

A process that is left over has the output open, so finish() would fail.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

TERM, INT = signal.SIGTERM, signal.SIGINT

# Main never ends by itself; says when a second signal counts.
STUCK = """
import multiprocessing, subprocess
import multiprocessing.connection
from multiprocessing import util

never = threading.Event()

def stuck(killer):
    def tell():
        killer.wait()
        until(lambda: killer.report().stopping_for > 0.6, "0.6 s")
        say("later")
    threading.Thread(target=tell, daemon=True).start()
    say("ready")
    never.wait()

def sleep():
    say("child")
    time.sleep(60)

def at_the_end(func, *args, priority=0):
    util.Finalize(None, func, args, exitpriority=priority)
"""


def hurry(child) -> None:
    child.signal(INT)
    child.wait_line("later")
    child.signal(INT)


def test_finalizers_run_before_an_early_end(script) -> None:
    """HURRY runs multiprocessing's finalizers in their order, each once, and ends the
    daemons in between."""
    child = script(
        STUCK
        + """
def main():
    killer = GracefulKiller(exit_status="code")
    process = multiprocessing.get_context("fork").Process(target=sleep, daemon=True)
    process.start()
    def exitcode():
        until(lambda: process.exitcode is not None, "its end")
        say(process.exitcode)
    at_the_end(say, "of a pool", priority=15)
    at_the_end(lambda: 1 / 0, priority=1)
    at_the_end(say, "of a manager", priority=0)
    at_the_end(exitcode, priority=-5)
    at_the_end(say, "of a folder", priority=-100)
    at_the_end(sys.exit, priority=-101)
    print("buffered")
    stuck(killer)
"""
    )
    child.wait_line("child")
    hurry(child)
    done = child.finish()
    lines = done.out.replace("buffered\n", "").splitlines()

    assert sorted(lines[:2]) == ["child", "ready"]
    assert lines[2:] == ["later", "of a pool", "of a manager", "-15", "of a folder"]
    assert "buffered\n" in done.out
    assert "ZeroDivisionError" in done.err
    assert done.status == 130


def test_an_early_end_waits_for_no_finalizer(script) -> None:
    """One that hangs does not keep the process, nor its daemons."""
    child = script(
        STUCK
        + """
def main():
    killer = GracefulKiller()
    multiprocessing.get_context("fork").Process(target=sleep, daemon=True).start()
    at_the_end(never.wait)
    print("buffered")
    stuck(killer)
"""
    )
    child.wait_line("child")
    hurry(child)
    done = child.finish()

    assert done.status == -INT
    assert "buffered\n" in done.out


def test_an_early_end_waits_for_no_pipe(script) -> None:
    """Standard output that nobody reads keeps neither the process nor its daemons."""
    child = script(
        STUCK
        + """
def main():
    killer = GracefulKiller()
    multiprocessing.get_context("fork").Process(target=sleep, daemon=True).start()
    at_the_end(say, "finalizer")
    sys.stdout = full_pipe()
    print("buffered")
    stuck(killer)

def full_pipe():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, bytes(4096))
    except BlockingIOError:
        os.set_blocking(writer, True)
    return open(writer, "w")
"""
    )
    child.wait_line("child")
    hurry(child)
    done = child.finish()

    assert done.status == -INT
    assert "finalizer\n" in done.out


def test_early_end_of_a_forked_child(script) -> None:
    """Daemons and finalizers of the parent are left alone."""
    child = script(
        STUCK
        + """
def echo(connection):
    connection.send(connection.recv())

def main():
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    daemon = context.Process(target=echo, args=(theirs,), daemon=True)
    daemon.start()
    at_the_end(say, "finalizer")
    killer = GracefulKiller()
    pid = os.fork()
    if not pid:
        say(f"pid {os.getpid()}")
        stuck(killer)
    equal(-2, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    ours.send("alive")
    equal("alive", ours.recv())
    daemon.join()
    killer.close()
    say("no finalizer yet")
"""
    )
    pid = int(child.wait_line("pid ").split()[1])
    child.wait_line("ready")
    os.kill(pid, INT)
    child.wait_line("later")
    os.kill(pid, INT)
    done = child.finish()

    assert done.status == 0, done.err
    last = ["no finalizer yet", "main has returned", "finalizer"]
    assert done.out.splitlines()[-3:] == last
    assert done.out.count("finalizer") == 2


@pytest.mark.slow
@pytest.mark.parametrize("where", ["atexit", "thread"])
def test_nothing_printed_is_lost_after_exit(program, where: str) -> None:
    """The last words come before the deadline of an end that hangs, too."""
    child = program(
        """
        import atexit
        never = threading.Event()
        if sys.argv[1] == "atexit":
            atexit.register(never.wait)
        else:
            threading.Thread(target=never.wait).start()
        killer = GracefulKiller(grace=LIMIT / 10)
        print("ready", flush=True)
        killer.wait()
        print("buffered")
        try:
            killer.exit()
        finally:
            print("finally")
        """,
        where,
    )
    child.wait_line("ready")
    child.signal(TERM)
    done = child.finish()

    assert done.out == "ready\nbuffered\nfinally\n"
    assert done.status == -TERM


# What a program may have of multiprocessing, each with a process or a file that
# would be left.
OWNED = """
from multiprocessing import shared_memory
from sections import until_asleep

def pool(context):
    busy = context.Pool(2)
    for _ in range(2):
        busy.apply_async(sleep)
    return busy

def manager(context):
    return context.Manager()

def files(context):
    shared = shared_memory.SharedMemory(create=True, size=1)
    listener = multiprocessing.connection.Listener(family="AF_UNIX")
    say(f"file /dev/shm/{shared.name}")
    say(f"file {listener.address}")
    say(f"file {util.get_temp_dir()}")
    return shared, listener

def main(what, method, end):
    owned = globals()[what](multiprocessing.get_context(method))
    if end == "nudge":
        reader, writer = os.pipe()
        def work():
            # It then reads again whatever signal comes, and never sees its end.
            until_asleep()
            with TerminateProtected():
                say("ready")
                until(lambda: gracefulexit._core.held(SIGTERM), "it came")
        threading.Thread(target=work, daemon=True).start()
        os.read(reader, 1)
    stuck(GracefulKiller(grace=20.0 if end == "deadline" else None))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "method", "end"),
    [
        ("pool", "fork", "hurry"),
        ("pool", "spawn", "deadline"),
        ("pool", "forkserver", "nudge"),
        # Not in HURRY, where half a second is all there is: its server has to answer.
        ("manager", "fork", "deadline"),
        ("manager", "forkserver", "nudge"),
        ("files", "fork", "hurry"),
        ("files", "fork", "deadline"),
        ("files", "fork", "nudge"),
    ],
)
def test_nothing_of_multiprocessing_is_left(
    script, what: str, method: str, end: str
) -> None:
    """Workers of a pool, the server of a manager, shared memory, sockets and temporary
    folders are gone, whatever the early end."""
    child = script(STUCK + OWNED, what, method, end)
    files = [
        Path(child.wait_line("file ").split()[1]) for _ in range(3 * (what == "files"))
    ]
    child.wait_line("ready")
    before = [path.exists() for path in files]
    if end == "hurry":
        hurry(child)
    else:
        child.signal(TERM)
    done = child.finish()

    assert all(before)
    assert [path for path in files if path.exists()] == []
    assert done.status == (-INT if end == "hurry" else -TERM)


def test_a_stream_that_cannot_be_flushed(program) -> None:
    """Whatever a stream of the program's own raises, our end at interpreter exit goes
    on, and says nothing of it."""
    done = program(
        """
        import atexit
        class Tee:
            broken = True
            def write(self, text): return len(text)
            def flush(self):
                if self.broken:
                    raise RuntimeError("not now")
        sys.stdout = Tee()
        atexit.register(setattr, Tee, "broken", False)  # after ours
        killer = GracefulKiller((), grace=LIMIT)
        killer.stop()
        killer.exit()
        """
    ).finish()

    assert (done.status, done.err) == (0, "")
