"""Popen: what an external program and its group get, and when."""

from __future__ import annotations

import inspect
import os
import pty
import signal
import subprocess
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
from child_process import Finished

HEAD = """
from subprocess import DEVNULL, PIPE, TimeoutExpired
import subprocess
from outside import *
"""


@pytest.fixture
def checks(passes: Callable[..., Finished]) -> Callable[..., Finished]:
    """As `passes`, with what tests of external programs need in scope."""

    def run(source: str, *args: object, **kwargs: Any) -> Finished:
        return passes(HEAD + textwrap.dedent(source), *args, **kwargs)

    return run


# ---- at the stop ---------------------------------------------------------------


def test_a_program_is_told(checks) -> None:
    """The stop ends the program by the first step, and leaving the block reaps it."""
    checks(
        """
        with GracefulKiller() as killer:
            p = Popen(SLEEPS, stdout=PIPE, text=True)
            said(p.stdout)
            equal([p.name], [w.name for w in killer.report().workers])
            assert p.is_alive()
            killer.stop()
        equal(-15, p.returncode)
        assert not p.is_alive()
        p.stdout.close()
        """
    )


def test_a_signal_stops_it_too(checks) -> None:
    """Whatever begins the stop; once stopping, further signals change nothing."""
    checks(
        """
        with GracefulKiller(escalate=()) as killer:
            p = Popen(
                python(
                    "import signal\\n"
                    "got = []\\n"
                    "signal.signal(15, lambda *_: got.append(15))\\n"
                    "print('ready')\\n"
                    "while not got: signal.pause()\\n"
                    "print('got', len(got))\\n"
                    "input()\\n"
                    "print('got', len(got))\\n"
                ),
                stdin=PIPE, stdout=PIPE, text=True, stop=("TERM", 1000, "KILL"),
            )
            said(p.stdout)
            send(SIGTERM)
            said(p.stdout, "got 1")
            for _ in range(5):
                send(SIGTERM)
                send(SIGINT)
            out, _ = p.communicate("go on\\n")
            equal("got 1\\n", out)
            equal(0, p.returncode)
        """
    )


def test_the_whole_group(checks) -> None:
    """Who outlives the leader gets the next steps; nobody is left."""
    checks(
        """
        with GracefulKiller() as killer:
            p = Popen(
                LEAVES_ONE, stdin=PIPE, stdout=PIPE, text=True,
                stop=("TERM", 0.2, "KILL"),
            )
            said(p.stdout, "hears")
            p.stdin.write("go on\\n")
            p.stdin.flush()
            other = int(p.stdout.readline())
            assert alive(other)
            killer.stop()
            equal(-15, p.wait())
        until_ended(other)
        p.communicate()
        equal(-15, p.returncode)
        """
    )


def test_waiting_does_not_end_the_stop(checks) -> None:
    """wait() tells of the leader at once; its group is still being stopped, the
    zombie keeps the number, and join() waits for it."""
    checks(
        """
        with GracefulKiller() as killer:
            p = Popen(
                LEAVES_ONE, stdin=PIPE, stdout=PIPE, text=True,
                stop=("TERM", 1000, "INT", 1000, "KILL"),
            )
            said(p.stdout, "hears")
            p.stdin.write("go on\\n")
            p.stdin.flush()
            other = int(p.stdout.readline())
            killer.stop()
            equal(-15, p.wait(LIMIT))
            equal(-15, p.poll())
            equal("Z", state_of(p.pid))
            assert alive(other)
            assert p.is_alive()
            p.join(0.01)
            equal([p], killer.join(0.01))
            os.kill(other, 9)
            p.join(LIMIT)
            assert not p.is_alive()
            assert not os.path.exists(f"/proc/{p.pid}")
        p.communicate()
        """
    )


@pytest.mark.slow
def test_the_waits_fit_into_the_grace(checks) -> None:
    """SIGKILL comes before the deadline, however long the schedule is."""
    done = checks(
        """
        logging.basicConfig(format="%(message)s")
        with GracefulKiller(grace=8) as killer:
            p = Popen(STUBBORN, stdout=PIPE, text=True, stop=("TERM", 1000, "KILL"))
            said(p.stdout)
            killer.stop()
            killer.wait()
            equal([], killer.join())
        equal(-9, p.returncode)
        p.stdout.close()
        """
    )

    assert "has not ended in time; sending SIGKILL" in done.err


@pytest.mark.slow
def test_a_stop_while_it_is_being_shut_down(checks) -> None:
    """shutdown() by hand without a limit, and then the stop brings one."""
    checks(
        """
        with GracefulKiller(grace=8) as killer:
            p = Popen(STUBBORN, stdout=PIPE, text=True, stop=("TERM", 1000, "KILL"))
            said(p.stdout)
            p.shutdown()
            equal([p], killer.join(0.01))
            killer.stop()
            equal([], killer.join())
        equal(-9, p.returncode)
        p.stdout.close()
        """
    )


def test_it_may_end_unasked_first(checks) -> None:
    """With a number in front it is left alone for so long."""
    checks(
        """
        with GracefulKiller() as killer:
            p = Popen(
                ["sh", "-c", "echo ready; read x; echo done $x"],
                stdin=PIPE, stdout=PIPE, text=True, stop=(1000, "TERM", 0, "KILL"),
            )
            said(p.stdout)
            killer.stop()
            killer.event.wait(LIMIT)
            equal(("done it\\n", None), p.communicate("it\\n"))
        equal(0, p.returncode)
        """
    )


def test_time_to_end_unasked_is_over(checks) -> None:
    """After that it is told."""
    checks(
        """
        with GracefulKiller() as killer:
            p = Popen(SLEEPS, stdout=PIPE, stop=(0.01, "TERM", 1000, "KILL"))
            killer.stop()
        equal(-15, p.returncode)
        p.stdout.close()
        """
    )


def test_a_halted_program(checks) -> None:
    """One that was halted is continued, to act on the signal."""
    checks(
        """
        with GracefulKiller() as killer:
            p = Popen(SLEEPS, stdout=PIPE, text=True, stop=("TERM", 1000, "KILL"))
            said(p.stdout)
            p.send_signal(signal.SIGSTOP)
            until(lambda: state_of(p.pid) == "T", "halted")
            killer.stop()
        equal(-15, p.returncode)
        p.stdout.close()
        """
    )


@pytest.mark.parametrize("waits", ["wait()", "wait(LIMIT)", "communicate()"])
def test_main_waits(checks, waits: str) -> None:
    """Main, blocked in subprocess's own ways to wait, gets the status."""
    checks(
        f"""
        killer = GracefulKiller()
        p = Popen(SLEEPS, stdout=PIPE, text=True)
        said(p.stdout)
        threading.Timer(0.02, killer.stop).start()
        p.{waits}
        equal(-15, p.returncode)
        killer.exit_status = 0
        killer.close()
        p.stdout.close()
        """
    )


def test_main_waits_for_what_it_left(checks) -> None:
    """communicate() reads from who outlives a leader that has ended before the stop:
    as long as the leader was not waited for, its group is stopped."""
    checks(
        """
        with GracefulKiller() as killer:
            p = Popen(
                ["sh", "-c", "echo ready; sleep 1000 &"], stdout=PIPE, text=True
            )
            said(p.stdout)
            until(lambda: state_of(p.pid) == "Z", "the leader's end")
            killer.stop()
            equal(("", None), p.communicate())
        equal(0, p.returncode)
        """
    )


def test_who_was_waited_for_is_out_of_reach(checks) -> None:
    """After wait() nothing is signalled, as the number may be somebody else's."""
    checks(
        """
        with GracefulKiller() as killer:
            p = Popen(
                ["sh", "-c", "sleep 1000 & echo $!"], stdout=PIPE, text=True
            )
            other = int(p.stdout.readline())
            equal(0, p.wait())
            equal((), killer.report().workers)
            p.shutdown()
            p.send_signal(9)
            p.terminate()
            p.kill()
            killer.add(p)
            killer.stop()
        assert alive(other)
        equal(0, p.returncode)
        os.kill(other, 9)
        p.stdout.close()
        """
    )


# ---- Ctrl-C --------------------------------------------------------------------

ON_A_TERMINAL = """
    import fcntl, termios
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
"""


def on_a_terminal(program: Any, source: str, typed: bytes) -> Finished:
    """Run it in the foreground of a terminal, and type when it is ready."""
    master, slave = pty.openpty()
    try:
        child = program(
            HEAD + textwrap.dedent(ON_A_TERMINAL) + textwrap.dedent(source),
            stdin=slave,
        )
        child.wait_line("ready")
        os.write(master, typed)
        return child.finish()
    finally:
        os.close(master)
        os.close(slave)


def test_ctrl_c_does_not_reach_it(program) -> None:
    """The terminal's Ctrl-C goes to us alone; the program finishes, and we die of
    SIGINT."""
    done = on_a_terminal(
        program,
        """
        with GracefulKiller() as killer:
            # As its own SIGINT would end it, and our own stop does not touch it.
            p = Popen(
                ["sh", "-c", "echo ready; read x; echo finished"], stdin=PIPE,
                stop=(1000, "KILL"),
            )
            assert killer.wait(LIMIT)
            p.communicate(b"go on\\n", timeout=LIMIT)
            print("status", p.returncode, flush=True)
        killer.exit()
        """,
        b"\x03",
    )

    assert done.out == "ready\nfinished\nstatus 0\n", done.err
    assert done.status == -signal.SIGINT


def test_ctrl_c_without_a_killer(program) -> None:
    """Without a killer, `with` stops the program on its way out."""
    done = on_a_terminal(
        program,
        """
        try:
            with Popen(SLEEPS, stdout=PIPE, text=True) as p:
                said(p.stdout)
                print("ready", flush=True)
                p.wait()
        except KeyboardInterrupt:
            print("status", p.returncode, flush=True)
        """,
        b"\x03",
    )

    assert done.out == "ready\nstatus -15\n", done.err
    assert done.status == 0


def test_it_may_write_to_the_terminal(program) -> None:
    """A program in the background may write, and has nothing to read."""
    master, slave = pty.openpty()
    try:
        child = program(
            HEAD
            + textwrap.dedent(ON_A_TERMINAL)
            + textwrap.dedent(
                """
                with Popen(["sh", "-c", "cat && echo written >&0"], stdout=0) as p:
                    pass
                print("first", p.returncode)
                with Popen(["echo", "written"], stdout=0) as p:
                    pass
                print("second", p.returncode)
                """
            ),
            stdin=slave,
        )
        done = child.finish()
        shown = os.read(master, 100)
    finally:
        os.close(master)
        os.close(slave)

    assert shown == b"written\r\n"
    assert done.out.endswith("second 0\n"), done.err


def test_one_that_reads_the_terminal_is_halted(program) -> None:
    """With stdin=None the system halts it, and the stop still ends it."""
    done = on_a_terminal(
        program,
        """
        with GracefulKiller(exit_status=0) as killer:
            p = Popen(["cat"], stdin=None, stop=("TERM", 1000, "KILL"))
            if sys.version_info >= (3, 11):  # before, it has no terminal
                until(lambda: state_of(p.pid) == "T", "halted")
            print("ready", flush=True)
            killer.wait()
        print("status", p.returncode, flush=True)
        """,
        b"\x03",
    )

    assert done.out in ("ready\nstatus -15\n", "ready\nstatus 1\n"), done.err


def test_it_leads_a_group(checks) -> None:
    """From its first moment, and all of its children are in that."""
    checks(
        """
        with Popen(["sh", "-c", "echo $$; read x"], stdin=PIPE, stdout=PIPE) as p:
            equal(p.pid, os.getpgid(p.pid))
            equal(sys.version_info < (3, 11), os.getsid(p.pid) == p.pid)
        with Popen(SLEEPS, stdout=PIPE, text=True, start_new_session=True) as p:
            said(p.stdout)
            equal((p.pid, p.pid), (os.getpgid(p.pid), os.getsid(p.pid)))
            p.shutdown()
        equal(-15, p.returncode)
        with Popen("true", process_group=0) as p:
            pass
        equal(0, p.returncode)
        """
    )


def test_it_has_left_its_group(checks) -> None:
    """A program that joined another group is told all the same, and that group is
    not."""
    checks(
        """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        ours = os.getpgrp()
        signal.signal(SIGTERM, lambda *_: os._exit(3))
        kwargs = {"preexec_fn": lambda: os.setpgid(0, ours)}
        if sys.version_info < (3, 11):
            kwargs = {}  # a session cannot be left
        with GracefulKiller(()) as killer:
            p = Popen(SLEEPS, stdout=PIPE, text=True, **kwargs)
            said(p.stdout)
            if kwargs:
                equal(ours, os.getpgid(p.pid))
            killer.stop()
        equal(-15, p.returncode)
        p.stdout.close()
        """
    )


def test_children_stay_normal(checks) -> None:
    """Its masks and dispositions are those of a subprocess.Popen without us."""
    checks(
        """
        def look(popen):
            with popen(SLEEPS, stdin=DEVNULL, stdout=PIPE, text=True) as p:
                said(p.stdout)
                until(lambda: b"sleep" in open(f"/proc/{p.pid}/comm", "rb").read(), "")
                found = masks(p.pid)
                p.kill()
            return found
        without = look(subprocess.Popen)
        with GracefulKiller() as killer:
            killer.on("USR1", print)
            equal(without, look(Popen))
        """
    )


# ---- "EOF" ---------------------------------------------------------------------


def test_eof(checks) -> None:
    """The step closes its stdin, with what was written before."""
    checks(
        """
        with GracefulKiller() as killer:
            p = Popen(
                "cat", stdin=PIPE, stdout=PIPE, text=True,
                stop=("EOF", 1000, "TERM", 1000, "KILL"),
            )
            p.stdin.write("in the buffer")
            killer.stop()
            equal("in the buffer", p.stdout.read())
            until(lambda: p.stdin.closed, "closed")
            try:
                p.stdin.write("more")
            except ValueError:
                pass
            else:
                raise AssertionError("written")
        equal(0, p.returncode)
        p.stdout.close()
        """
    )


def test_eof_and_communicate(checks) -> None:
    """communicate() after the step reads what there is."""
    checks(
        """
        with GracefulKiller() as killer:
            p = Popen(
                "cat", stdin=PIPE, stdout=PIPE, text=True,
                stop=("EOF", 1000, "KILL"),
            )
            p.stdin.write("before")
            killer.stop()
            until(lambda: p.stdin.closed, "closed")
            equal(("before", None), p.communicate("after"))
        equal(0, p.returncode)
        """
    )


def test_eof_in_communicate(checks) -> None:
    """communicate() that is under way delivers all of its input first."""
    checks(
        """
        data = b"x" * 1_000_000
        with GracefulKiller() as killer:
            p = Popen(
                ["sh", "-c", "echo ready >&2; kill -STOP $$; exec cat"],
                stdin=PIPE, stdout=PIPE, stderr=PIPE,
                stop=("EOF", 0, "CONT", 1000, "KILL"),
            )
            threading.Thread(target=lambda: (
                until(lambda: state_of(p.pid) == "T", "halted"),
                killer.stop(),
            )).start()
            out, err = p.communicate(data)
            equal((len(data), b"ready\\n"), (len(out), err))
        equal(0, p.returncode)
        """
    )


def test_eof_and_a_blocked_writer(checks) -> None:
    """A program that does not read holds up who writes, but not the schedule."""
    checks(
        """
        with GracefulKiller() as killer:
            p = Popen(
                SLEEPS, stdin=PIPE, stdout=PIPE, text=True,
                stop=("EOF", 0.01, "TERM", 1000, "KILL"),
            )
            said(p.stdout)
            def write():
                try:
                    p.stdin.write("x" * 1_000_000)
                    p.stdin.flush()
                except (BrokenPipeError, ValueError):
                    print("broken", flush=True)
            writer = threading.Thread(target=write)
            writer.start()
            killer.stop()
            writer.join(LIMIT)
            assert not writer.is_alive()
        equal(-15, p.returncode)
        p.stdout.close()
        """
    )


# ---- as subprocess.Popen -------------------------------------------------------


def test_without_a_killer(checks) -> None:
    """It is a subprocess.Popen, which shutdown() stops by hand."""
    checks(
        """
        before = state()
        with Popen(["echo", "x"], stdout=PIPE, text=True) as p:
            equal(("x\\n", None), p.communicate())
        equal(0, p.returncode)
        assert isinstance(p, subprocess.Popen)
        with Popen(["sh", "-c", "exit 3"]) as p:
            pass
        equal(3, p.returncode)
        with Popen(SLEEPS, stdout=PIPE, text=True) as p:
            said(p.stdout)
            try:
                p.wait(0.01)
            except TimeoutExpired as error:
                equal((0.01, SLEEPS), (error.timeout, error.cmd))
            else:
                raise AssertionError("no TimeoutExpired")
            equal(None, p.poll())
            p.shutdown()
            p.shutdown()
        equal(-15, p.returncode)
        p.shutdown()
        with Popen(SLEEPS, stdout=PIPE, text=True) as p:
            try:
                p.communicate(timeout=0.01)
            except TimeoutExpired:
                p.shutdown()
            equal(None, p.communicate(timeout=LIMIT)[1])
        equal({}, changes(before))
        """
    )


def test_idle_costs_nothing(checks) -> None:
    """A running program has no thread and no descriptor of ours."""
    checks(
        """
        killer = GracefulKiller()
        before = state()
        programs = [Popen(["sleep", "1000"]) for _ in range(10)]
        equal({}, changes(before))
        killer.stop()
        equal([], killer.join())
        killer.close()
        equal({-15}, {p.returncode for p in programs})
        """
    )


@pytest.mark.slow
def test_killers_keep_nobody(checks) -> None:
    """What has been waited for is forgotten, with its pipes; what nobody waits for
    does not pile up."""
    checks(
        """
        with GracefulKiller() as killer:
            before = state()
            for _ in range(50):
                Popen("true", stdout=PIPE, stderr=PIPE).wait()
            equal({}, changes(before))
            equal((), killer.report().workers)
            for _ in range(300):
                Popen("true")
            assert len(killer.report().workers) <= 257
        """
    )


def test_in_a_group(checks) -> None:
    """A group takes it over from the killer, and asks it in its turn: here after the
    thread that feeds it has ended."""
    checks(
        """
        ended = []
        class Feeder(Worker):
            def run(self):
                self.wait()
                ended.append(p.poll())
        with GracefulKiller() as killer:
            p = Popen(SLEEPS, stdout=PIPE, text=True)
            said(p.stdout)
            group = WorkerGroup(p, Feeder(), WorkerGroup(), ordered=True)
            equal((), killer.report().workers)
            group.start()
            names = [w.name for w in killer.report().workers]
            equal([p.name, "Thread-1"], names)
            killer.stop()
        equal([None], ended)
        equal(-15, p.returncode)
        p.stdout.close()
        """
    )


def test_it_cannot_be_started(checks) -> None:
    """The error is subprocess's, and nothing is registered."""
    checks(
        """
        with GracefulKiller() as killer:
            before = state()
            for _ in range(3):
                try:
                    Popen(["/nonexistent/program"], stdin=PIPE)
                except FileNotFoundError as error:
                    equal("/nonexistent/program", error.filename)
                else:
                    raise AssertionError("started")
            equal((), killer.report().workers)
            equal({}, changes(before))
        """
    )


def test_a_handler_raises_while_it_starts(checks) -> None:
    """Popen() that is left by an exception leaves no program behind."""
    checks(
        """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        class Enough(Exception): pass
        def handler(signum, frame):
            # Not in a hook after the fork, where it would only be printed, and not
            # before the program is known.
            here = frame.f_code.co_name == "_execute_child"
            if here and frame.f_locals["self"].pid:
                raise Enough
        signal.signal(SIGUSR1, handler)
        reader, writer = os.pipe()
        def before_exec():
            signal.signal(SIGUSR1, SIG_DFL)
            os.write(writer, b"%d\\n" % os.getpid())
            parent = os.getppid()
            while True:
                os.kill(parent, SIGUSR1)
                time.sleep(0.01)
        with GracefulKiller():
            try:
                Popen("true", preexec_fn=before_exec, stop=("KILL",))
            except Enough:
                print("left")
            until_ended(int(os.read(reader, 20)))
        """
    )


def test_an_exception_in_main(checks) -> None:
    """raises= interrupts wait(), and the program is stopped and waited for."""
    checks(
        """
        ended = []
        try:
            with GracefulKiller(raises=KeyboardInterrupt) as killer:
                with Popen(SLEEPS, stdout=PIPE, text=True) as p:
                    said(p.stdout)
                    threading.Timer(0.02, send, (SIGTERM,)).start()
                    p.wait()
        except KeyboardInterrupt:
            ended.append(p.returncode)
        equal([-15], ended)
        """
    )


def test_in_a_forked_child(checks) -> None:
    """A fork has nothing to do with the programs of its parent."""
    checks(
        """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        for how in ("auto", "rearm"):
            with GracefulKiller(on_fork=how, exit_status=0) as killer:
                p = Popen(SLEEPS, stdout=PIPE, text=True)
                said(p.stdout)
                pid = os.fork()
                if not pid:
                    p.shutdown()
                    p.join(LIMIT)
                    child = current()
                    if child is not None:
                        child.stop()
                        child.join()
                    os._exit(0)
                equal(0, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                equal(None, p.poll())
            equal(-15, p.returncode)
            p.stdout.close()
        """
    )


def test_somebody_else_reaps_it(checks) -> None:
    """A status that others took is 0, as in subprocess, and nothing is signalled."""
    checks(
        """
        p = Popen("true")
        os.waitpid(p.pid, 0)
        p.shutdown()
        equal(0, p.wait())
        signal.signal(signal.SIGCHLD, SIG_IGN)
        with Popen(["sh", "-c", "exit 3"]) as p:
            equal(0, p.wait(LIMIT))
        """
    )


@pytest.mark.parametrize("way", ["absent", "refused"])
def test_without_descriptors_of_processes(checks, way: str) -> None:
    """Where the system offers none, all ends are seen all the same."""
    checks(
        f"""
        if {way!r} == "absent":
            del os.pidfd_open
        else:
            def refused(pid): raise PermissionError("seccomp")
            os.pidfd_open = refused
        with GracefulKiller() as killer:
            p = Popen(
                LEAVES_ONE, stdin=PIPE, stdout=PIPE, text=True,
                stop=("TERM", 0.2, "KILL"),
            )
            said(p.stdout, "hears")
            p.stdin.write("go on\\n")
            p.stdin.flush()
            other = int(p.stdout.readline())
            try:
                p.wait(0.01)
            except TimeoutExpired:
                killer.stop()
            equal(-15, p.wait(LIMIT))
            p.join(LIMIT)
        until_ended(other)
        p.communicate()
        """
    )


def test_subprocess_waits_by_one_way() -> None:
    """What Popen overrides is still what subprocess calls."""
    source = inspect.getsource(subprocess.Popen)

    assert list(inspect.signature(subprocess.Popen._wait).parameters) == [  # type: ignore[attr-defined]
        "self",
        "timeout",
    ]
    assert source.count("self._wait(timeout=") >= 3
    assert "self._waitpid_lock" not in inspect.getsource(subprocess.Popen.wait)


def test_import_costs_nothing(start_child) -> None:
    """The package imports subprocess when Popen is first asked for."""
    done = start_child(
        """
        import sys
        before = "subprocess" in sys.modules
        import gracefulexit
        print(before, "subprocess" in sys.modules, "Popen" in dir(gracefulexit))
        print(gracefulexit.Popen is gracefulexit.Popen, "subprocess" in sys.modules)
        try:
            gracefulexit.Nonsense
        except AttributeError as error:
            print(error)
        """
    ).finish()

    assert done.out.splitlines() == [
        "False False True",
        "True True",
        "module 'gracefulexit' has no attribute 'Nonsense'",
    ], done.err


# ---- bad input -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("Popen('true', stop=())", "ValueError: a schedule must end with 'KILL'"),
        ("Popen('true', stop='TERM')", "TypeError: a schedule is a tuple"),
        ("Popen('true', stop=('TERM', 9))", "ValueError: a schedule must end"),
        ("Popen('true', stop=('ASK', 9, 'KILL'))", "ValueError: no step of a schedule"),
        ("Popen('true', stop=('EOF', 2, 'KILL'))", "ValueError: stop=('EOF', 2, 'KI"),
        (
            "Popen('true', stdin=None, stop=('EOF', 2, 'KILL'))",
            "ValueError: stop=('EOF', 2, 'KILL') closes the program's stdin, which",
        ),
        ("Popen('true', process_group=7)", "ValueError: process_group=7: the program"),
        ("Popen('true', process_group=-1)", "ValueError: process_group=-1: the prog"),
        ("Popen('true', -1)", "TypeError: "),
        ("Popen('true', nonsense=1)", "TypeError: "),
        ("Popen()", "TypeError: "),
        ("killer.add(subprocess.Popen('true'))", "TypeError: "),
    ],
)
def test_bad_input(checks, call: str, says: str) -> None:
    """It raises at the call, says what to do, and leaves nothing."""
    done = checks(
        f"""
        with GracefulKiller() as killer:
            before = state()
            try:
                {call}
            except Exception as error:
                print(type(error).__name__ + ":", error)
            equal((), killer.report().workers)
            equal({{}}, changes(before))
        """
    )

    assert done.out.startswith(says)


# ---- races ---------------------------------------------------------------------

# Whoever signals a group, its number is still ours: the leader has not been reaped.
GUARDED = """
import random
killpg, sent, wrong = os.killpg, [], []
def guarded(group, signum):
    try:
        os.waitid(os.P_PID, group, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        wrong.append(group)
        raise ProcessLookupError from None
    sent.append(signum)
    killpg(group, signum)
os.killpg = guarded
"""


@pytest.mark.race
@pytest.mark.slow
@pytest.mark.parametrize("way", ["poll", "wait", "wait(LIMIT)", "communicate", "join"])
def test_a_stop_at_any_moment_of_its_end(checks, way: str) -> None:
    """The program ends, somebody waits for it, a stop begins, all at about the same
    time: the status is right, nobody is left, and no stranger is signalled."""
    checks(
        GUARDED
        + textwrap.dedent(
            f"""
            def waits(p):
                if {way!r} == "poll":
                    until(lambda: p.poll() is not None, "the end")
                elif {way!r} == "wait(LIMIT)":
                    p.wait(LIMIT)
                else:
                    getattr(p, {way!r})()
            told = 0
            for n in times(100):
                p = Popen(["sh", "-c", "read x; exit 3"], stdin=PIPE)
                others = [
                    threading.Thread(target=waits, args=(p,)),
                    threading.Thread(target=p.shutdown),
                ]
                def ends():
                    os.write(p.stdin.fileno(), b"x\\n")
                others.insert(random.randrange(3), threading.Thread(target=ends))
                for thread in others:
                    thread.start()
                    if random.random() < 0.5:
                        time.sleep(random.random() / 500)
                for thread in others:
                    thread.join(LIMIT)
                    assert not thread.is_alive()
                p.join(LIMIT)
                assert not p.is_alive()
                assert p.returncode in (3, -15), p.returncode
                told += p.returncode == -15
                until(lambda: not os.path.exists(f"/proc/{{p.pid}}"), "reaped")
                p.stdin.close()
            equal([], wrong)
            print("told", told)
            """
        )
    )


@pytest.mark.slow
def test_many_groups_at_once(checks) -> None:
    """Twenty programs, with a child each that does not end by SIGTERM, are stopped
    side by side, and nothing is left: no process, thread or descriptor."""
    checks(
        GUARDED
        + textwrap.dedent(
            """
            before = state()
            with GracefulKiller() as killer:
                programs, others = [], []
                for _ in range(20):
                    p = Popen(
                        LEAVES_ONE, stdin=PIPE, stdout=PIPE, text=True,
                        stop=("TERM", 0.1, "KILL"),
                    )
                    said(p.stdout, "hears")
                    p.stdin.write("go on\\n")
                    p.stdin.flush()
                    others.append(int(p.stdout.readline()))
                    programs.append(p)
                killer.stop()
            equal({-15}, {p.returncode for p in programs})
            equal([], wrong)
            equal(20, sent.count(9))
            for pid in others:
                until_ended(pid)
            for p in programs:
                p.communicate()
            equal({}, changes(before))
            """
        )
    )


@pytest.mark.race
@pytest.mark.slow
def test_shutdown_in_a_signal_handler(checks) -> None:
    """From a Python signal handler, whatever main holds: it returns, every time."""
    checks(
        """
        for n in times(100):
            p = Popen(["sleep", "1000"])
            def handler(*_):
                p.shutdown()
            signal.signal(SIGUSR1, handler)
            for lock in (threading._active_limbo_lock, p._leader._lock, p._lock):
                with lock:
                    send(SIGUSR1)
            equal(-15, p.wait(LIMIT))
            p.join(LIMIT)
        """
    )
