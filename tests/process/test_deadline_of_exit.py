"""The deadline holds after exit(), also where the killer's block was left before."""

from __future__ import annotations

import signal

import pytest

TERM = signal.SIGTERM

# What the interpreter meets after killer.exit().
STUCK_AT_EXIT = {
    "thread": "threading.Thread(target=never.wait).start()",
    "atexit": "import atexit; atexit.register(never.wait)",
    "finally": "hang_in_finally = True",
    "finalisation": (
        "last = type('Last', (), {'__del__': lambda self, wait=never.wait: wait()})()"
    ),
}

PROGRAM = """
    never = threading.Event()
    hang_in_finally = False
    killer = GracefulKiller(grace=0.3, **eval(sys.argv[2]))
    exec(sys.argv[1])
    print("ready", flush=True)
    with killer:
        killer.wait()
    try:
        killer.exit()
    finally:
        if hang_in_finally:
            never.wait()
"""


@pytest.mark.parametrize("stuck", STUCK_AT_EXIT)
def test_exit_after_the_block(program, stuck: str) -> None:
    """The block gave the deadline back; exit() takes it again."""
    child = program(PROGRAM, STUCK_AT_EXIT[stuck], "{}")
    child.wait_line("ready")
    child.signal(TERM)

    assert child.finish().status == -TERM


@pytest.mark.parametrize("stuck", ["thread", "atexit", "finalisation"])
@pytest.mark.parametrize("way", ["raises", "checkpoint", "plain checkpoint"])
def test_unwound_without_exit(program, stuck: str, way: str) -> None:
    """The interpreter ends by a GracefulExit of the block, or of after it."""
    child = program(
        """
        never = threading.Event()
        killer = GracefulKiller(
            grace=0.3, raises=GracefulExit if sys.argv[2] == "raises" else None
        )
        exec(sys.argv[1])
        print("ready", flush=True)
        with killer:
            killer.wait()
            while sys.argv[2] != "plain checkpoint":
                killer.checkpoint()
        killer.checkpoint()
        """,
        STUCK_AT_EXIT[stuck],
        way,
    )
    child.wait_line("ready")
    child.signal(TERM)

    assert child.finish().status == -TERM


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ({"exit_status": "code"}, 128 + TERM),
        ({"exit_status": 7}, 7),
        ({"backend": "pipe"}, -TERM),
        ({"backend": "sigwait"}, -TERM),
    ],
)
def test_its_status(program, arguments: dict, status: int) -> None:
    """The forced end has the status that exit() would have had."""
    child = program(PROGRAM, STUCK_AT_EXIT["atexit"], arguments)
    child.wait_line("ready")
    child.signal(TERM)

    assert child.finish().status == status


def test_a_stop_from_code(program) -> None:
    """Where no signal began the stop, the forced end is not a success."""
    done = program(
        """
        import atexit
        atexit.register(threading.Event().wait)
        with GracefulKiller((), grace=0.3) as killer:
            killer.stop()
        killer.exit()
        """
    ).finish()

    assert done.status == 1


@pytest.mark.parametrize(
    ("other", "when"),
    [
        ("GracefulKiller(())", "before"),
        ("GracefulKiller(())", "after"),
        ("GracefulKiller('USR1', raises=OSError, grace=500)", "after"),
    ],
)
def test_beside_another_killer(program, other: str, when: str) -> None:
    """One that is alive, stopping with the first or made after it, does not hold the
    end up, and raises nothing into it."""
    child = program(
        """
        import atexit
        atexit.register(threading.Event().wait)
        make, when = sys.argv[1:]
        killer = GracefulKiller(grace=0.3)
        if when == "before":
            other = eval(make)
        print("ready", flush=True)
        with killer:
            killer.wait()
        if when == "after":
            other = eval(make)
        with TerminateProtected():
            pass
        killer.exit()
        """,
        other,
        when,
    )
    child.wait_line("ready")
    child.signal(TERM)
    done = child.finish()

    assert done.status == -TERM, done.err
    assert done.err == ""


def test_close_alone_has_no_deadline(passes) -> None:
    """Who leaves the block and goes on is not ended."""
    passes(
        """
        with GracefulKiller(grace=6) as killer:
            send(SIGTERM)
            killer.wait()
            began = killer.reason.when
        until(lambda: time.monotonic() > began + 6.5, "the deadline is over")
        """
    )


@pytest.mark.slow
def test_exit_after_the_deadline(program) -> None:
    """Who goes on for longer than the grace, and calls exit() then, has it once more:
    for atexit, and for what print() has buffered."""
    child = program(
        """
        import atexit
        with GracefulKiller(grace=8) as killer:
            print("ready", flush=True)
            killer.wait()
        over = killer.reason.when + killer.grace
        until(lambda: time.monotonic() > over, "the deadline is over")
        atexit.register(print, "atexit")
        print("buffered")
        killer.exit()
        """
    )
    child.wait_line("ready")
    child.signal(TERM)
    done = child.finish()

    assert (done.status, done.out) == (-TERM, "ready\nbuffered\natexit\n")


@pytest.mark.slow
def test_it_says_what_it_waits_for(program) -> None:
    """Also after the block was left the last fifth of the grace names who is still
    there, and what print() has buffered is not lost."""
    child = program(
        """
        never = threading.Event()
        def answer(): never.wait()
        class Stuck(Worker):
            def run(self): answer()
        with GracefulKiller(grace=10) as killer:
            worker = Stuck(name="client", daemon=True)
            killer.add(worker, timeout=0.1)
            worker.start()
            threading.Thread(target=never.wait, name="metrics").start()
            print("ready", flush=True)
            killer.wait()
        print("buffered")
        killer.exit()
        """
    )
    child.wait_line("ready")
    child.signal(TERM)
    done = child.finish()

    assert (done.status, done.out) == (-TERM, "ready\nbuffered\n")
    last_fifth = done.err.partition("still waiting for")[2]
    for text in ("worker client", "in answer", "thread metrics"):
        assert text in last_fifth, done.err


@pytest.mark.parametrize("kind", ["on_stop", "on_exit"])
@pytest.mark.parametrize("stuck", ["worker", *STUCK_AT_EXIT])
def test_a_hook_that_closes_keeps_the_deadline_of_exit(
    program, kind: str, stuck: str
) -> None:
    """Whoever closes during exit(), the program is to end in its time."""
    worker = "killer.start(Worker(target=never.wait, daemon=True))"
    done = program(
        """
        never = threading.Event()
        hang_in_finally = False
        killer = GracefulKiller(grace=0.3)
        getattr(killer, sys.argv[1])(killer.close)
        exec(sys.argv[2])
        # A worker is given up in time; then there is still something that hangs.
        if not hang_in_finally:
            import atexit; atexit.register(never.wait)
        send(SIGTERM)
        try:
            killer.exit()
        finally:
            if hang_in_finally:
                never.wait()
        """,
        kind,
        {"worker": worker, **STUCK_AT_EXIT}[stuck],
    ).finish()

    assert done.status == -TERM


def test_a_hook_that_closes_while_exit_begins(program) -> None:
    """The same where the hook is the faster one, and gives the deadline back before
    exit() has said that the program ends."""
    done = program(
        """
        closed = threading.Event()
        class Slow(GracefulKiller):
            def _finish(self, **how):
                until(closed.is_set, "the hook has closed it")
                super()._finish(**how)
        killer = Slow(grace=0.3)
        @killer.on_stop
        def close():
            killer.close()
            closed.set()
        import atexit; atexit.register(threading.Event().wait)
        send(SIGTERM)
        killer.exit()
        """
    ).finish()

    assert done.status == -TERM


def test_a_hook_that_closes_leaves_waits_their_limit(passes) -> None:
    """A block that is left does not wait for ever for a worker, though a hook has
    given the deadline back."""
    passes(
        """
        never = threading.Event()
        with GracefulKiller(grace=6) as killer:
            killer.on_stop(killer.close)
            killer.start(Worker(target=never.wait, daemon=True))
        """
    )
