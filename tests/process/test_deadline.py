"""It ends: the grace period, HURRY, and what is said before."""

from __future__ import annotations

import signal

import pytest

TERM, INT = signal.SIGTERM, signal.SIGINT

# What keeps the process from ending by itself.
STUCK = {
    "GIL held in C": "ctypes.PyDLL(None).sleep(1000)",
    "C call in main": "ctypes.CDLL(None).sleep(1000)",
    "join of a stuck thread": "stuck.join()",
    "worker, block left": (
        "killer.add(stuck, stop=lambda: None)\nwith killer: killer.wait()"
    ),
    "worker, exit()": (
        "killer.add(stuck, stop=lambda: None)\nkiller.wait()\nkiller.exit()"
    ),
    "returned, stuck thread left": "pass",
    "endless loop": "while True: pass",
    "open section": "with TerminateProtected(): stuck.join()",
}


DEADLINE = """
    import ctypes
    killer = GracefulKiller(
        grace=0.3, exit_status=eval(sys.argv[1]), backend=sys.argv[3]
    )
    stuck = threading.Thread(target=lambda: ctypes.CDLL(None).sleep(1000))
    stuck.start()
    print("ready", flush=True)
    exec(sys.argv[2])
"""


@pytest.mark.parametrize("stuck", STUCK)
def test_deadline(program, backend: str, stuck: str) -> None:
    """With a grace the process ends by the signal, whatever it is stuck in."""
    child = program(DEADLINE, "'signal'", STUCK[stuck], backend)
    child.wait_line("ready")
    child.signal(TERM)

    assert child.finish().status == -TERM


@pytest.mark.parametrize(("how", "status"), [("'code'", 143), ("3", 3), ("0", 0)])
def test_exit_status_at_the_deadline(program, how: str, status: int) -> None:
    """The forced end has the status that exit_status asks for."""
    child = program(DEADLINE, how, STUCK["C call in main"], "auto")
    child.wait_line("ready")
    child.signal(TERM)

    assert child.finish().status == status


def test_deadline_of_a_stop_from_code(program) -> None:
    """stop() that does not end in time is cut short, and is not a success."""
    for how, status in (("'signal'", 1), ("'code'", 1), ("0", 0), ("4", 4)):
        done = program(
            """
            killer = GracefulKiller((), grace=0.2, exit_status=eval(sys.argv[1]))
            killer.stop()
            time.sleep(1000)
            """,
            how,
        ).finish()

        assert done.status == status, how


def test_grace_zero(program) -> None:
    """grace=0 ends the process at the signal."""
    child = program(
        """
        killer = GracefulKiller(grace=0)
        print("ready", flush=True)
        time.sleep(1000)
        """
    )
    child.wait_line("ready")
    child.signal(TERM)

    assert child.finish().status == -TERM


def test_nothing_printed_is_lost_at_the_deadline(program) -> None:
    """What print() has buffered is written before the forced end."""
    child = program(
        """
        killer = GracefulKiller(grace=10)
        print("ready", flush=True)
        print("buffered")
        time.sleep(1000)
        """
    )
    child.wait_line("ready")
    child.signal(TERM)
    done = child.finish()

    assert done.out == "ready\nbuffered\n"
    assert done.status == -TERM


def test_stragglers_are_named_before_the_end(program) -> None:
    """In the last fifth of the grace the log names workers with their stacks, open
    sections and hooks."""
    child = program(
        """
        killer = GracefulKiller(grace=15)
        never = threading.Event()
        def stuck_here(): never.wait()
        class Stuck(Worker):
            def run(self): stuck_here()
        killer.start(Stuck(name="reader"))
        def slow_hook(): never.wait()
        killer.on_stop(slow_hook)
        with TerminateProtected(name="ledger"):
            print("ready", flush=True)
            never.wait()
        """
    )
    child.wait_line("ready")
    child.signal(TERM)
    done = child.finish()

    assert done.status == -TERM
    for text in ("reader", "stuck_here", "slow_hook", "ledger"):
        assert text in done.err


def test_no_line_for_who_ends_in_time(program) -> None:
    """A stop that ends in time says nothing above INFO."""
    child = program(
        """
        with GracefulKiller(grace=30) as killer:
            killer.start(Worker(target=killer.wait))
            print("ready", flush=True)
            killer.wait()
        """
    )
    child.wait_line("ready")
    child.signal(TERM)
    done = child.finish()

    assert (done.status, done.err) == (0, "")


def test_grace_from_the_environment(program) -> None:
    """GRACEFULEXIT_GRACE is the grace of a program that gave none."""
    child = program(
        """
        killer = GracefulKiller()
        equal(0.2, killer.grace)
        equal(50.0, GracefulKiller(grace=50).grace)
        print("ready", flush=True)
        time.sleep(1000)
        """,
        env={"GRACEFULEXIT_GRACE": "0.2"},
    )
    child.wait_line("ready")
    child.signal(TERM)

    assert child.finish().status == -TERM


@pytest.mark.parametrize("text", ["", "  ", "inf"])
def test_no_grace_from_the_environment(passes, text: str) -> None:
    """An empty or infinite GRACEFULEXIT_GRACE is no limit."""
    passes(
        """
        killer = GracefulKiller()
        killer.stop()
        equal(None, killer.remaining())
        killer.close()
        """,
        env={"GRACEFULEXIT_GRACE": text},
    )


def test_remaining_and_extend(passes) -> None:
    """remaining() counts down from the grace; extend() moves the end."""
    passes(
        """
        killer = GracefulKiller(grace=100)
        equal(None, killer.remaining())
        send(SIGTERM)
        first = killer.remaining()
        assert 50 < first <= 100, first
        killer.extend(100)
        assert 150 < killer.remaining() <= 200
        killer.extend(0)
        killer.close()
        with GracefulKiller(grace=100) as second:
            second.stop()
            assert 50 < second.remaining() <= 100
        with GracefulKiller() as third:
            third.stop()
            third.extend(5)
            equal(None, third.remaining())
        """
    )


def test_extend_keeps_the_process_alive(program) -> None:
    """After extend() the old deadline passes and nothing happens."""
    child = program(
        """
        killer = GracefulKiller(grace=6)
        print("ready", flush=True)
        killer.wait()
        killer.extend(1000)
        until(lambda: killer.report().stopping_for > 6.2, "the old deadline is over")
        killer.close()
        """
    )
    child.wait_line("ready")
    child.signal(TERM)

    assert child.finish().status == 0


def test_close_lifts_the_deadline(passes) -> None:
    """A killer that was closed in time ends nothing."""
    passes(
        """
        killer = GracefulKiller(grace=6)
        send(SIGTERM)
        start = time.monotonic()
        killer.close()
        until(lambda: time.monotonic() > start + 6.2, "the deadline is over")
        """
    )


# ---- HURRY -----------------------------------------------------------------

HURRY = """
        killer = GracefulKiller(**eval(sys.argv[1]))
        never = threading.Event()
        class Stuck(Worker):
            def run(self): never.wait()
        killer.start(Stuck())
        def later():
            until(lambda: killer.report().stopping_for is not None, "stopping")
            until(lambda: killer.report().stopping_for > 0.6, "0.6 s")
            os.write(1, b"later\\n")
        threading.Thread(target=later, daemon=True).start()
        print("ready", flush=True)
"""


@pytest.mark.parametrize(
    ("arguments", "first", "second", "status"),
    [
        ({}, INT, INT, -INT),
        ({}, TERM, INT, -TERM),
        ({"exit_status": "code"}, INT, INT, 130),
        ({"exit_status": 5}, INT, INT, 5),
        ({"escalate": ("TERM",)}, TERM, TERM, -TERM),
        ({"escalate": ("TERM", "INT"), "grace": 500}, INT, TERM, -INT),
    ],
)
def test_second_signal_ends(
    program, backend: str, arguments: dict, first: int, second: int, status: int
) -> None:
    """A signal of `escalate` at least 0.5 s after the stop ends the process although a
    worker never ends, with what was printed."""
    child = program(
        HURRY
        + """
        print("buffered")
        killer.wait()
        killer.exit()
        """,
        repr({**arguments, "backend": backend}),
    )
    child.wait_line("ready")
    child.signal(first)
    child.wait_line("later")
    child.signal(second)
    done = child.finish()

    assert "buffered\n" in done.out
    assert "ending now" in done.err
    assert done.status == status


def test_second_signal_ends_with_the_gil_held(program) -> None:
    """HURRY ends the process also where no Python code can run any more."""
    child = program(
        """
        import ctypes
        killer = GracefulKiller()
        def later():
            killer.wait()
            until(lambda: killer.report().stopping_for > 0.6, "0.6 s")
            os.write(1, b"later\\n")
            ctypes.PyDLL(None).sleep(1000)
        threading.Thread(target=later).start()
        print("ready", flush=True)
        """
    )
    child.wait_line("ready")
    child.signal(INT)
    child.wait_line("later")
    child.signal(INT)

    assert child.finish().status == -INT


@pytest.mark.parametrize(
    ("arguments", "signals"),
    [
        ({}, [TERM, TERM]),
        ({}, [INT, TERM]),
        ({"escalate": ()}, [INT, INT]),
        ({"escalate": "TERM"}, [INT, INT]),
    ],
)
def test_what_does_not_hurry(passes, arguments: dict, signals: list[int]) -> None:
    """Only signals of `escalate` hurry; a repeated SIGTERM does not."""
    passes(
        """
        from gracefulexit import lowlevel
        killer = GracefulKiller(**eval(sys.argv[1]))
        first, second = eval(sys.argv[2])
        with TerminateProtected():
            send(first)
            until(lambda: killer.report().stopping_for > 0.6, "0.6 s")
            for _ in range(3):
                send(second)
            equal("stopping", lowlevel.state())
        killer.close()
        """,
        repr(arguments),
        [int(s) for s in signals],
    )


def test_two_at_once_do_not_hurry(passes) -> None:
    """A second SIGINT within 0.5 s is the same Ctrl-C."""
    passes(
        """
        from gracefulexit import lowlevel
        for _ in range(20):
            killer = GracefulKiller()
            with TerminateProtected():
                send(SIGINT)
                send(SIGINT)
                send(SIGINT)
                state = lowlevel.state()
                in_time = killer.report().stopping_for < 0.5
            killer.close()
            if in_time:
                equal("stopping", state)
        """
    )


def test_hurry_waits_for_an_open_section(program) -> None:
    """HURRY ends the process when the last section is left, not before; the log names
    the section and the way out."""
    child = program(
        HURRY
        + """
        said = []
        class Listen(logging.StreamHandler):
            def emit(self, record):
                super().emit(record)
                said.append(record.getMessage())
        logging.getLogger().addHandler(Listen())
        with TerminateProtected(name="ledger"):
            killer.wait()
            from gracefulexit import lowlevel
            until(lambda: lowlevel.state() == "hurry", "hurry")
            with TerminateProtected():
                pass
            until(lambda: any("ledger" in line for line in said), "it is said")
            os.write(1, b"in the section\\n")
        while True:
            never.wait(1000)
        """,
        "{}",
    )
    child.wait_line("ready")
    child.signal(INT)
    child.wait_line("later")
    child.signal(INT)
    done = child.finish()

    assert done.out.endswith("in the section\n")
    assert "ledger" in done.err
    assert "Ctrl+\\" in done.err
    assert done.status == -INT


def test_section_cut_at_the_deadline(program) -> None:
    """A section that is still open at the deadline is cut: the deadline is yours."""
    child = program(
        """
        killer = GracefulKiller(grace=15)
        with TerminateProtected(name="ledger"):
            print("ready", flush=True)
            threading.Event().wait()
        """
    )
    child.wait_line("ready")
    child.signal(TERM)
    done = child.finish()

    assert "ledger" in done.err
    assert done.status == -TERM
