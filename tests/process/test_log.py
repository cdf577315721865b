"""What is said: the log lines of a stop, and who sent the signal."""

from __future__ import annotations

import os
import signal

LOG = """
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
"""


def test_lines_of_a_stop(program) -> None:
    """INFO at the stop with the sender and the time left, and at its end with the
    phases; nothing else."""
    child = program(
        LOG
        + """
        with GracefulKiller(grace=30) as killer:
            killer.start(Worker(target=killer.wait))
            killer.on_exit(lambda: None)
            print("ready", flush=True)
            killer.wait()
        """
    )
    child.wait_line("ready")
    child.signal(signal.SIGTERM)
    done = child.finish()

    first, last = done.err.splitlines()
    assert first.startswith(f"INFO stopping: SIGTERM from pid {os.getpid()} (")
    assert "pytest" in first or "python" in first
    assert f"uid {os.getuid()}" in first
    assert first.endswith("s left")
    assert last.startswith(f"INFO stopped: SIGTERM from pid {os.getpid()}")
    assert "workers" in last
    assert "on_exit hooks" in last
    assert done.status == 0


def test_no_time_limit_is_said(program) -> None:
    """Without a grace the stop line says so; a stop from code says its message."""
    done = program(
        LOG
        + """
        killer = GracefulKiller()
        killer.stop("enough is enough")
        killer.event.wait(LIMIT)
        killer.close()
        """
    ).finish()

    assert "INFO stopping: stop(): enough is enough; no time limit" in done.err


def test_grace_of_zero_is_said(program) -> None:
    """Who asks for no time at all, perhaps in the environment, is told so once."""
    done = program(
        LOG
        + """
        GracefulKiller().close()
        """,
        env={"GRACEFULEXIT_GRACE": "0"},
    ).finish()

    assert done.err == (
        "INFO grace=0: a stop ends the process at once, and waits for nothing\n"
    )


def test_stop_from_ourselves(program) -> None:
    """A signal from the process itself is said to be from ourselves."""
    done = program(
        LOG
        + """
        with GracefulKiller() as killer:
            send(SIGTERM)
            equal("SIGTERM from ourselves", str(killer.reason))
            equal(None, killer.reason.sender)
        """
    ).finish()

    assert "INFO stopping: SIGTERM from ourselves" in done.err


def test_stop_from_the_terminal(program, tmp_path) -> None:
    """Ctrl-C at a terminal is said to be from the terminal."""
    primary, secondary = os.openpty()
    child = program(
        """
        import fcntl, termios
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        with GracefulKiller() as killer:
            print("ready", flush=True)
            killer.wait()
            print(killer.reason, killer.reason.signal)
        """,
        stdin=secondary,
    )
    try:
        child.wait_line("ready")
        os.write(primary, b"\x03")
        done = child.finish()
    finally:
        os.close(primary)
        os.close(secondary)

    assert done.out.startswith("ready\nSIGINT from the terminal ")
    assert done.status == 0


def test_section_that_is_finished_first(program) -> None:
    """At the signal one line says which section is being finished."""
    done = program(
        LOG
        + """
        said = []
        class Listen(logging.Handler):
            def emit(self, record):
                said.append(record.getMessage())
        logging.getLogger().addHandler(Listen())
        with GracefulKiller() as killer, TerminateProtected(name="ledger"):
            send(SIGTERM)
            until(lambda: any("ledger" in line for line in said), "said", 5)
        """
    ).finish()

    assert done.status == 0, done.err
    assert done.err.count("ledger") == 1


def test_section_without_a_killer_says_what_it_held(program) -> None:
    """Without a killer no thread of ours runs that could log at the signal; the end
    of the section says what it held up."""
    done = program(
        LOG
        + """
        signal.signal(SIGTERM, lambda *_: None)
        with TerminateProtected(name="ledger"):
            send(SIGTERM)
        """
    ).finish()

    assert done.status == 0, done.err
    assert done.err.count("ledger") == 1
    assert "SIGTERM from ourselves was held until" in done.err


def test_disarmed_is_said_once(program) -> None:
    """If other code takes a signal, the log says so once, with a hint."""
    done = program(
        """
        def other(*_): pass
        told = log_lines("rearm()")
        with GracefulKiller(("TERM", "INT", "USR1")) as killer:
            signal.signal(SIGTERM, other)
            for _ in range(3):
                killer.wait(0.01)
                killer.report()
            until(lambda: told, "the line")
            killer.stop()
        print(*told, sep="\\n")
        """
    ).finish()

    [said] = done.out.splitlines()
    assert "SIGTERM" in said
    assert "other" in said
    assert done.status == 0


def test_all_that_was_taken_is_said_in_one_line(program) -> None:
    """The line names the signals and, by their modules, those who have them now."""
    done = program(
        """
        class Server:
            def leave(self, *_): pass
        told = log_lines("taken over:")
        with GracefulKiller(("TERM", "INT", "USR1")) as killer:
            server = Server()
            signal.signal(SIGINT, server.leave)
            signal.signal(SIGTERM, server.leave)
            signal.signal(SIGUSR1, SIG_DFL)
            killer.report()
            until(lambda: told, "the line")
            killer.stop()
        print(*told, sep="\\n")
        """
    ).finish()

    [said] = done.out.splitlines()
    assert said.startswith(
        "taken over: SIGINT, SIGTERM by __main__.Server.leave, "
        "SIGUSR1 by code that set its default action, which ends the process at once; "
        "not heard until given back; call killer.rearm() to take it back"
    )
    assert done.status == 0


def test_disarmed_by_c_code_over_the_default(program) -> None:
    """A handler of C code is not taken for the default action in Python's table."""
    done = program(
        """
        import ctypes
        from gracefulexit._teller import Teller
        from probe import libc
        killer = GracefulKiller("USR1")
        signal.signal(SIGUSR1, SIG_DFL)
        set_action(SIGUSR1, ctypes.cast(libc.getpid, ctypes.c_void_p).value)
        # The dispatcher may have told of the step between these two.
        told = log_lines("taken over")
        Teller().taken_over([SIGUSR1])
        print(told[-1])
        """
    ).finish()

    assert done.out.startswith("taken over: SIGUSR1 by C code; not heard until")
    assert done.status == 0


def test_disarmed_is_noticed_by_wait(program) -> None:
    """wait() and report() notice that other code has taken a signal."""
    for call in ("killer.wait(0.01)", "killer.report()"):
        done = program(
            """
            class Listen(logging.Handler):
                def emit(self, record):
                    if "rearm()" in record.getMessage():
                        said.set()
            said = threading.Event()
            logging.getLogger().addHandler(Listen())
            killer = GracefulKiller(("TERM", "USR1"))
            killer.wait(0.05)
            signal.signal(SIGTERM, lambda *_: None)
            exec(sys.argv[1])
            sys.exit(not said.wait(LIMIT))
            """,
            call,
        ).finish()

        assert done.status == 0, call


def test_print_and_log_in_main_are_safe(program) -> None:
    """A main that prints and logs all the time is not disturbed by a storm."""
    done = program(
        """
        logging.basicConfig(level=logging.INFO, stream=sys.stdout)
        killer = GracefulKiller(escalate=())
        over = threading.Event()
        def shoot():
            while not over.is_set():
                signal.pthread_kill(threading.main_thread().ident, SIGTERM)
                signal.pthread_kill(threading.main_thread().ident, SIGINT)
        shooter = threading.Thread(target=shoot)
        shooter.start()
        for n in range(3000):
            print("x", n)
            logging.info("y %s", n)
            killer.event.is_set()
            killer.counts
        over.set()
        shooter.join()
        assert killer.wait(LIMIT)
        killer.close()
        """
    ).finish()

    assert (done.status, done.err) == (0, "")
    assert done.out.count("x ") == 3000
