"""What other code in the process does: it takes a signal for good, has signals run on
a stack of its own, jumps with the clock; and what is left of a killer afterwards."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest
from ccompile import compiler, run
from programs import AT_ONCE

TERM = 15


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["running", "stopping"])
def test_deadline_of_a_stolen_signal(program, backend: str, moment: str) -> None:
    """Where C code has taken the signal, before the stop or during it, the killer says
    so, and the deadline ends the process by it all the same."""
    child = program(
        """
        import ctypes
        from probe import libc
        backend, moment = sys.argv[1:]
        theirs = ctypes.cast(libc.getpid, ctypes.c_void_p).value
        killer = GracefulKiller(grace=1, backend=backend, exit_status=9)
        def steal_it():
            set_action(SIGTERM, theirs)
            equal(theirs, action(SIGTERM)[0])
        if moment == "running":
            steal_it()
            os.kill(os.getpid(), SIGTERM)
            equal((False, 0), (killer.kill_now, killer.counts[SIGTERM]))
            killer.stop()
        else:
            send(SIGTERM)
            assert killer.wait(LIMIT)
            steal_it()
        print("stopping", flush=True)
        ctypes.PyDLL(None).sleep(1000)  # with the interpreter
        """,
        backend,
        moment,
    )
    done = child.finish()

    assert done.status == 9, done.err


def test_alternate_stack(passes, handler_backend: str) -> None:
    """Where other code has made an alternate stack for signals, ours run on it: a
    thread with a small or a full stack survives them."""
    passes(
        """
        import ctypes
        from probe import libc
        class Stack(ctypes.Structure):
            _fields_ = (
                ("sp", ctypes.c_void_p), ("flags", ctypes.c_int),
                ("size", ctypes.c_size_t),
            )
        size = 64 * 1024
        memory = ctypes.create_string_buffer(size)
        stack = Stack(sp=ctypes.addressof(memory), size=size)
        equal(0, libc.sigaltstack(ctypes.byref(stack), None))
        equal(bytes(size), memory.raw)
        with GracefulKiller(backend=sys.argv[1]) as killer:
            signal.pthread_kill(threading.get_ident(), SIGTERM)
            assert killer.kill_now
            used = size - memory.raw.count(0)
            assert used > 100, used
            with TerminateProtected(("TERM", "USR1")):
                memory[:] = bytes(size)
                signal.pthread_kill(threading.get_ident(), SIGUSR1)
                assert memory.raw.count(0) < size - 100
                signal.signal(SIGUSR1, SIG_IGN)
        """,
        handler_backend,
    )


def test_closed_with_something_unread(passes, backend: str) -> None:
    """A killer that is closed with wake-ups unread leaves nothing to the next one, and
    what comes after the close is its predecessor's alone."""
    passes(
        """
        import gc
        from gracefulexit import lowlevel
        heard = []
        signal.signal(SIGHUP, lambda *_: heard.append(1))
        reader, writer = os.pipe2(os.O_NONBLOCK)
        calls, hooks, before = [], [], 0
        for n in range(20):
            killer = GracefulKiller(backend=sys.argv[1])
            lowlevel.add_wakeup_fd(writer)
            killer.fileno()
            killer.on("HUP", calls.append)
            killer.on_stop(hooks.append, n)
            if n % 2:
                send(SIGHUP)
            send(SIGTERM)
            until(lambda: sum(killer.counts.values()) == 1 + n % 2, "counted")
            lowlevel.remove_wakeup_fd(writer)
            killer.close()
            equal((True, 1), (killer.kill_now, killer.counts[SIGTERM]))
            equal(n % 2, killer.counts[SIGHUP])
            before += n % 2
            del killer
            gc.collect()

            send(SIGHUP)
            until(lambda: len(heard) > n, "who had it before gets it")
            with GracefulKiller(backend=sys.argv[1]) as fresh:
                equal((False, None), (fresh.kill_now, fresh.reason))
                equal([], select.select([fresh], [], [], 0)[0])
                equal((False, 0), (fresh.wait(0), fresh.counts[SIGTERM]))
        equal(20, len(heard))
        until(lambda: len(hooks) == 20, "each hook has run")
        assert len(calls) <= before, (calls, before)
        """,
        backend,
    )


JUMPS = """
#define _GNU_SOURCE
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* An hour on at one look, back at the next. */
static long
jump(void)
{
    static _Atomic(long) looks;

    return looks++ % 2 == 0 ? 3600 : -3600;
}

int
clock_gettime(clockid_t which, struct timespec *t)
{
    long rc = syscall(SYS_clock_gettime, which, t);

    if (rc == 0 && which == CLOCK_REALTIME) {
        t->tv_sec += jump();
    }
    return (int)rc;
}

int
gettimeofday(struct timeval *restrict t, void *restrict zone)
{
    struct timespec now;

    (void)zone;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    t->tv_sec = now.tv_sec;
    t->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t
time(time_t *t)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (t != NULL) {
        *t = now.tv_sec;
    }
    return now.tv_sec;
}
"""


@pytest.fixture
def jumps(program, tmp_path) -> Any:
    """As `program`, with a wall clock that jumps by two hours at each look."""
    source, library = tmp_path / "jumps.c", tmp_path / "libjumps.so"
    source.write_text(JUMPS)
    run([*compiler(), "-shared", "-fPIC", source, "-o", library])

    def start(text: str, *args: object) -> Any:
        return program(AT_ONCE + textwrap.dedent(text), *args, preload=library)

    return start


@pytest.mark.slow
def test_wall_clock_that_jumps(jumps, backend: str) -> None:
    """Waits, sections, workers and the deadline are of the monotonic clock: a wall
    clock that jumps makes none of them end early or never."""
    child = jumps(
        """
        assert abs(time.time() - time.time()) > 3600
        killer = GracefulKiller(grace=10, backend=sys.argv[1])
        def at_least(seconds, what):
            begin = time.monotonic()
            what()
            assert time.monotonic() - begin >= seconds, what
        equal(None, at_least(0.2, lambda: equal(False, killer.wait(0.2))))
        class Steps(Worker):
            interval, steps = 0.05, 0
            def step(self):
                self.steps += 1
        worker = Steps()
        def three_steps():
            killer.start(worker)
            until(lambda: worker.steps > 2, "three steps")
        at_least(0.1, three_steps)
        with TerminateProtected(timeout=LIMIT):
            at_least(0.1, lambda: equal([worker], killer.join(0.1)))
        print("ready", flush=True)
        killer.wait()
        assert 0 < killer.remaining() <= 10
        assert killer.report().stopping_for < 3600
        print("stopping", flush=True)
        time.sleep(1000)
        """,
        backend,
    )
    child.wait_line("ready")
    child.signal(TERM)
    child.wait_line("stopping")

    assert child.finish().status == -TERM
