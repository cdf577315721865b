"""Sections beside killers, other sections, forks, libraries and exceptions."""

from __future__ import annotations

import json
import os
import pty
import signal
from pathlib import Path

import pytest
from ccompile import shared_library
from sections import checked

HARNESS = Path(__file__).parents[1] / "harness"
TERM, INT, QUIT = signal.SIGTERM, signal.SIGINT, signal.SIGQUIT


@pytest.fixture
def program(program):
    return checked(program)


# ---- several sections, several signals -----------------------------------------


def test_union_in_threads(passes) -> None:
    """Sections of several threads hold the union of their signals until the last one
    is left, whichever that is."""
    passes(
        """
        heard = []
        ALL = (SIGTERM, SIGHUP, SIGUSR1)
        for s in ALL:
            signal.signal(s, lambda signum, frame: heard.append(signum))
        class Holder(threading.Thread):
            def __init__(self, signals):
                super().__init__()
                self.section = TerminateProtected(signals)
                self.opened, self.leave = threading.Event(), threading.Event()
                self.start()
                self.opened.wait()
            def run(self):
                with self.section:
                    self.opened.set()
                    self.leave.wait()
            def close(self):
                self.leave.set()
                self.join()
        orders = [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1)]
        for order in orders:
            holders = [Holder(s) for s in ("TERM", "HUP", ("USR1", "TERM"))]
            for i, n in enumerate(order):
                for s in ALL:
                    send(s)
                until(lambda: holders[order[-1]].section.pending, "held")
                equal([], heard)
                holders[n].close()
            until(lambda: len(heard) >= 3, "delivered")
            equal(sorted(ALL), sorted(heard))
            heard.clear()
            # What nobody holds any more passes at once.
            for s in ALL:
                send(s)
            until(lambda: len(heard) >= 3, "not held")
            equal(sorted(ALL), sorted(heard))
            heard.clear()
        """
    )


def test_more_signals_added_inside(passes) -> None:
    """A signal that only a nested section asks for was free before, and is held from
    then on until the outermost is left."""
    passes(
        """
        heard = []
        signal.signal(SIGUSR1, lambda *_: heard.append(1))
        with TerminateProtected("TERM"):
            send(SIGUSR1)
            equal([1], heard)
            with TerminateProtected("USR1"):
                send(SIGUSR1)
                equal([1], heard)
            send(SIGUSR1)
            equal([1], heard)
        # Two held, one merged or not.
        assert len(heard) in (2, 3), heard
        """
    )


def test_pending_of_each_section(passes) -> None:
    """`pending` and `reason` of a section speak of its own signals."""
    passes(
        """
        for s in (SIGTERM, SIGHUP):
            signal.signal(s, lambda *_: None)
        with TerminateProtected("TERM") as outer, TerminateProtected("HUP") as inner:
            send(SIGHUP)
            until(lambda: inner.pending, "held")
            equal((False, None), (outer.pending, outer.reason))
            equal(SIGHUP, inner.reason.signum)
            send(SIGTERM)
            until(lambda: outer.pending, "held")
            equal((SIGTERM, SIGHUP), (outer.reason.signum, inner.reason.signum))
        equal((False, False), (outer.pending, inner.pending))
        """
    )


# ---- killers -------------------------------------------------------------------


@pytest.mark.parametrize("where", ["main", "worker"])
def test_killer_made_inside(passes, where: str) -> None:
    """A killer made while sections are open takes what is pending as its stop, and
    lifts the gate: workers open the sections that they need to finish."""
    passes(
        """
        told = Warnings()
        called = []
        signal.signal(SIGTERM, lambda *_: called.append(1))
        def other():
            with TerminateProtected():
                pass
        def run():
            global killer
            with TerminateProtected() as section:
                send(SIGTERM)
                until(lambda: section.pending, "held")
                waiting = threading.Thread(target=other)
                waiting.start()
                until_asleep(waiting)
                killer = GracefulKiller()
                equal((True, SIGTERM), (killer.kill_now, killer.reason.signum))
                equal((True, SIGTERM), (section.pending, section.reason.signum))
                waiting.join()
        if sys.argv[1] == "main":
            run()
        else:
            thread = threading.Thread(target=run)
            thread.start()
            thread.join()
        equal([], called)
        killer.close()
        equal(([], []), (called, told.texts))
        nothing_of_ours()
        """,
        where,
    )


@pytest.mark.parametrize("where", ["main", "worker"])
def test_killer_closed_inside(passes, where: str) -> None:
    """A killer closed inside: what it heard is its own, what comes then is held."""
    passes(
        """
        heard = []
        signal.signal(SIGTERM, lambda *_: heard.append("handler"))
        killer = GracefulKiller()
        def run():
            with TerminateProtected() as section:
                send(SIGTERM)
                until(lambda: killer.kill_now, "the killer has heard")
                equal(True, section.pending)
                killer.close()
                equal(False, section.pending)
                send(SIGTERM)
                until(lambda: section.pending, "held")
                heard.append("whole")
        if sys.argv[1] == "main":
            run()
        else:
            thread = threading.Thread(target=run)
            thread.start()
            thread.join()
        until(lambda: "handler" in heard, "delivered")
        equal(["whole", "handler"], heard)
        """,
        where,
    )


def test_pending_with_a_stopping_killer(passes) -> None:
    """`pending` is true from the stop on, for any reason, in every section."""
    passes(
        """
        with GracefulKiller("HUP") as killer:
            with TerminateProtected() as section:
                equal((False, None), (section.pending, section.reason))
                killer.stop("enough")
                equal(True, section.pending)
                equal("enough", section.reason.message)
            with section:
                equal(True, section.pending)
        with section:
            equal(False, section.pending)
        """
    )


def test_report_lists_open_sections(passes) -> None:
    """report() names the open sections of all threads: name, thread and since when."""
    passes(
        """
        killer = GracefulKiller()
        opened, leave = threading.Event(), threading.Event()
        def work():
            with TerminateProtected(name="ledger"):
                opened.set()
                leave.wait()
        thread = threading.Thread(target=work, name="booking")
        thread.start()
        opened.wait()
        with TerminateProtected():
            with TerminateProtected(name="inner"):
                sections = killer.report().sections
                assert {s.name for s in sections} >= {"ledger"}, sections
                ledger, = [s for s in sections if s.name == "ledger"]
                equal("booking", ledger.thread)
                assert ledger.since >= 0
                own = [s.name for s in sections if s.thread == "MainThread"]
                assert any(name.startswith("<module> (") for name in own), own
                time.sleep(0.002)
                later, = [s for s in killer.report().sections if s.name == "ledger"]
                assert later.since > ledger.since
                line, = [
                    l for l in str(killer.report()).splitlines() if "ledger" in l
                ]
                equal(["ledger", "booking"], line.split()[:2])
        leave.set()
        thread.join()
        equal((), killer.report().sections)
        killer.close()
        """
    )


# ---- fork ----------------------------------------------------------------------

FORK = """
    from gracefulexit import _core
    if sys.version_info >= (3, 12):
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
    told = Warnings()
    heard = []
    signal.signal(SIGTERM, lambda *_: heard.append(1))
    def in_child(check):
        pid = os.fork()
        if pid == 0:
            try:
                check()
                nothing_of_ours()
                os._exit(0)
            except BaseException:
                sys.excepthook(*sys.exc_info())
                os._exit(1)
        equal(0, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    def leave_and_reuse():
        # The forking thread's section is left, and holds again when entered.
        section.__exit__(None, None, None)
        equal((0, []), (_core.sections(), heard))
        nothing_of_ours()
        send(SIGTERM)
        equal([1], heard)
        with section:
            send(SIGTERM)
            until(lambda: section.pending, "held")
            equal([1], heard)
        equal([1, 1], heard)
    section = TerminateProtected()
"""


def test_fork_in_a_section(passes) -> None:
    """The forking thread's section stays open in the child, holds there, and closes;
    the parent's is its own."""
    passes(
        FORK
        + """
    def check():
        equal(1, _core.sections())
        equal(False, section.pending)
        leave_and_reuse()
    with section:
        in_child(check)
        equal(1, _core.sections())
        send(SIGTERM)
        until(lambda: section.pending, "held")
        equal([], heard)
    equal([1], heard)
        """
    )


def test_signal_in_the_child_of_a_section(passes) -> None:
    """A signal to the child inside the section that it has from its parent is held
    there and delivered at its end, to the child alone."""
    passes(
        FORK
        + """
    def check():
        send(SIGTERM)
        until(lambda: section.pending, "held")
        equal([], heard)
        section.__exit__(None, None, None)
        equal([1], heard)
    with section:
        in_child(check)
        equal(False, section.pending)
    equal([], heard)
        """
    )


def test_fork_with_a_signal_pending(passes) -> None:
    """What is pending at the fork is the parent's; the child's gate is open."""
    passes(
        FORK
        + """
    def check():
        equal((False, 0), (section.pending, _core.held(SIGTERM)))
        def work():
            with TerminateProtected():
                pass
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        equal([], told.texts)
        leave_and_reuse()
    with section:
        send(SIGTERM)
        until(lambda: section.pending, "held")
        in_child(check)
        equal([], heard)
    equal([1], heard)
        """
    )


def test_fork_beside_sections_of_others(passes) -> None:
    """Sections of other threads, and who waited at the gate, are gone in the child."""
    passes(
        FORK
        + """
    def check():
        equal(0, _core.sections())
        nothing_of_ours()
        send(SIGTERM)
        equal([1], heard)
        with section:
            equal(1, _core.sections())
            send(SIGTERM)
            until(lambda: section.pending, "held")
        equal([1, 1], heard)
    opened, leave = threading.Event(), threading.Event()
    def work():
        with TerminateProtected():
            opened.set()
            leave.wait()
    def wait_at_the_gate():
        with TerminateProtected():
            pass
    thread = threading.Thread(target=work)
    thread.start()
    opened.wait()
    in_child(check)
    send(SIGTERM)
    until(lambda: _core.held(SIGTERM), "held")
    waiting = threading.Thread(target=wait_at_the_gate)
    waiting.start()
    until_asleep(waiting)
    in_child(check)
    equal([], heard)
    leave.set()
    thread.join()
    waiting.join()
    until(lambda: heard, "delivered")
    equal([1], heard)
        """
    )


def test_fork_in_a_worker_s_section(passes) -> None:
    """The same when the forking thread is a worker: it is main in the child."""
    passes(
        FORK
        + """
    def check():
        equal(1, _core.sections())
        assert threading.current_thread() is threading.main_thread()
        leave_and_reuse()
    main_opened, leave = threading.Event(), threading.Event()
    def work():
        with section:
            with TerminateProtected("HUP"):
                pass
            in_child(check)
    with TerminateProtected():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        equal(1, _core.sections())
    equal([], heard)
        """
    )


def test_fork_in_nested_sections(passes) -> None:
    """All of the forking thread's levels stay open in the child."""
    passes(
        FORK
        + """
    def check():
        equal(3, _core.sections())
        send(SIGTERM)
        until(lambda: section.pending, "held")
        for left in (2, 1, 0):
            section.__exit__(None, None, None)
            equal((left, [1] * (left == 0)), (_core.sections(), heard))
    with section, section, section:
        in_child(check)
    equal([], heard)
        """
    )


def test_default_in_a_forked_child(passes) -> None:
    """A default disposition ends the child that was forked inside a section by the
    signal, when it leaves the section."""
    passes(
        """
        if sys.version_info >= (3, 12):
            import warnings
            warnings.simplefilter("ignore", DeprecationWarning)
        pid = -1
        try:
            with TerminateProtected() as section:
                pid = os.fork()
                if not pid:
                    send(SIGTERM)
                    until(lambda: section.pending, "held")
                    say("whole")
            assert pid, "not delivered in the child"
        except GracefulExit:
            assert not pid, "delivered in the parent"
            raise
        equal(-SIGTERM, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """
    )


# ---- closed by another thread --------------------------------------------------

ELSEWHERE = """
    from gracefulexit import _core
    told = Warnings()
    heard = []
    signal.signal(SIGTERM, lambda *_: heard.append(1))
    section = TerminateProtected()
    def elsewhere(func):
        errors = []
        def run():
            try:
                func()
            except BaseException as error:
                errors.append(error)
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return errors
    def close():
        section.__exit__(None, None, None)
    def is_runtime_error(errors):
        equal([RuntimeError], [type(e) for e in errors])
        assert "thread" in str(errors[0]), errors
"""


def test_closed_by_another_thread(passes) -> None:
    """It is closed first, with all that follows, and then a RuntimeError is raised;
    the opener's next entry is a first one again."""
    passes(
        ELSEWHERE
        + """
    section.__enter__()
    send(SIGTERM)
    until(lambda: section.pending, "held")
    is_runtime_error(elsewhere(close))
    equal(0, _core.sections())
    until(lambda: heard, "delivered")
    equal([1], heard)
    nothing_of_ours()
    # Not nested: at a shut gate it waits.
    opened, leave = threading.Event(), threading.Event()
    def work():
        with TerminateProtected():
            opened.set()
            send(SIGTERM)
            until(lambda: section.pending, "held")
            until_asleep()
            equal((1, [1]), (_core.sections(), heard))
    thread = threading.Thread(target=work)
    thread.start()
    opened.wait()
    until(lambda: _core.held(SIGTERM), "held")
    with section:
        equal([1, 1], heard)
        send(SIGTERM)
        until(lambda: section.pending, "held")
    equal([1, 1, 1], heard)
    thread.join()
    equal([], told.texts)
        """
    )


def test_inner_one_closed_by_another_thread(passes) -> None:
    """Of two nested sections the other thread closes one: the opener is still inside
    the other one, and the signal is held until that is left."""
    passes(
        ELSEWHERE
        + """
    with TerminateProtected():
        section.__enter__()
        is_runtime_error(elsewhere(close))
        equal(1, _core.sections())
        send(SIGTERM)
        until(lambda: section.pending, "held")
        # It is inside, and so does not wait for itself.
        with section:
            equal(2, _core.sections())
        equal([], heard)
    equal(([1], []), (heard, told.texts))
        """
    )


def test_closed_by_another_thread_that_is_inside(passes) -> None:
    """The closer's own section is not closed in its place."""
    passes(
        ELSEWHERE
        + """
    section.__enter__()
    def close_beside():
        with TerminateProtected():
            errors = []
            try:
                close()
            except RuntimeError as error:
                errors.append(error)
            is_runtime_error(errors)
            equal(1, _core.sections())
            send(SIGTERM)
            until(lambda: _core.held(SIGTERM), "held")
            with section:
                equal(2, _core.sections())
            equal(1, _core.sections())
            equal([], heard)
    equal([], elsewhere(close_beside))
    until(lambda: heard, "delivered")
    equal((0, [1]), (_core.sections(), heard))
        """
    )


# ---- other code ----------------------------------------------------------------


def test_signal_signal_inside(passes) -> None:
    """A handler that other code sets inside is kept, and gets what comes from then
    on; one that it sets and gives back leaves ours in force."""
    passes(
        """
        heard = []
        def first(*_): heard.append("first")
        def second(*_): heard.append("second")
        signal.signal(SIGTERM, first)
        with TerminateProtected() as section:
            saved = signal.signal(SIGTERM, second)
            signal.signal(SIGTERM, saved)
            send(SIGTERM)
            until(lambda: section.pending, "held")
            equal([], heard)
        equal(["first"], heard)
        heard.clear()
        with TerminateProtected() as section:
            send(SIGTERM)
            until(lambda: section.pending, "held")
            signal.signal(SIGTERM, second)
        equal((["second"], second), (heard, signal.getsignal(SIGTERM)))
        with TerminateProtected():
            signal.signal(SIGTERM, SIG_IGN)
        equal(SIG_IGN, signal.getsignal(SIGTERM))
        nothing_of_ours()
        """
    )


def test_signal_signal_inside_a_worker_s(passes) -> None:
    """The same by main while the section is a worker's."""
    passes(
        """
        heard = []
        def handler(*_): heard.append(1)
        opened, leave = threading.Event(), threading.Event()
        def work():
            with TerminateProtected() as section:
                send(SIGTERM)
                until(lambda: section.pending, "held")
                opened.set()
                leave.wait()
        thread = threading.Thread(target=work)
        thread.start()
        opened.wait()
        signal.signal(SIGTERM, handler)
        leave.set()
        thread.join()
        until(lambda: heard, "delivered")
        equal(([1], handler), (heard, signal.getsignal(SIGTERM)))
        """
    )


def test_saved_inside_and_put_back_outside(passes) -> None:
    """Who saved our function inside and puts it back later does no harm."""
    passes(
        """
        heard = []
        signal.signal(SIGTERM, lambda *_: heard.append(1))
        with TerminateProtected():
            saved = signal.getsignal(SIGTERM)
        signal.signal(SIGTERM, saved)
        send(SIGTERM)
        until(lambda: heard, "passed on")
        equal([1], heard)
        with TerminateProtected():
            send(SIGTERM)
        until(lambda: len(heard) > 1, "passed on")
        equal([1, 1], heard)
        """
    )


def test_foreign_c_handler(passes, tmp_path: Path) -> None:
    """A handler that C code had before us is called once, behind the section."""
    passes(
        """
        import ctypes
        library = ctypes.CDLL(sys.argv[1])
        calls = ctypes.c_int.in_dll(library, "calls")
        address = ctypes.cast(library.count_handler, ctypes.c_void_p).value
        set_action(SIGUSR1, address)
        before = action(SIGUSR1)
        for where in ("main", "worker"):
            def run():
                with TerminateProtected("USR1") as section:
                    send(SIGUSR1)
                    until(lambda: section.pending, "held")
                    equal(0, calls.value)
            if where == "main":
                run()
            else:
                thread = threading.Thread(target=run)
                thread.start()
                thread.join()
            until(lambda: calls.value, "delivered")
            equal(1, calls.value)
            equal(before, action(SIGUSR1))
            calls.value = 0
        signal.signal(SIGUSR1, SIG_DFL)
        """,
        shared_library(HARNESS / "count_handler.c", tmp_path),
    )


CHILDREN = {
    "subprocess": "subprocess.run(SHOW, stdout=subprocess.PIPE).stdout",
    "subprocess, preexec_fn": (
        "subprocess.run(SHOW, stdout=subprocess.PIPE, preexec_fn=int).stdout"
    ),
    "os.posix_spawn": "spawned(lambda: os.posix_spawn(SHOW[0], SHOW, os.environ))",
    "os.fork": "spawned(forked)",
}


@pytest.mark.parametrize("where", ["main", "worker"])
def test_children_of_a_section(passes, where: str) -> None:
    """Children started inside, whatever way, have the masks and dispositions of
    children started outside, and a signal ends them."""
    passes(
        """
        import json, subprocess
        if sys.version_info >= (3, 12):
            import warnings
            warnings.simplefilter("ignore", DeprecationWarning)
        SHOW = ["/bin/grep", "-E", "Sig(Blk|Ign|Cgt)", "/proc/self/status"]
        def spawned(start):
            reader, writer = os.pipe()
            saved = os.dup(1)
            os.dup2(writer, 1)
            pid = start()
            os.dup2(saved, 1)
            os.close(writer)
            os.close(saved)
            data = os.read(reader, 4096)
            os.close(reader)
            os.waitpid(pid, 0)
            return data
        def forked():
            pid = os.fork()
            if not pid:
                os.execv(SHOW[0], SHOW)
            return pid
        ways = json.loads(sys.argv[2])
        def show():
            return {name: eval(code) for name, code in ways.items()}
        def run(pending):
            with TerminateProtected() as section:
                if pending:
                    send(SIGTERM)
                    until(lambda: section.pending, "held")
                equal(before, show())
                child = subprocess.Popen(["/bin/sleep", "1000"])
                child.terminate()
                equal(-SIGTERM, child.wait())
        heard = []
        signal.signal(SIGTERM, lambda *_: heard.append(1))
        before = show()
        for pending in (False, True):
            if sys.argv[1] == "main":
                run(pending)
            else:
                thread = threading.Thread(target=run, args=(pending,))
                thread.start()
                thread.join()
        until(lambda: heard, "delivered")
        equal(before, show())
        """,
        where,
        json.dumps(CHILDREN),
    )


def test_asyncio_run_inside(passes) -> None:
    """asyncio.run() in a section leaves the tables as it found them, with SIGINT's
    own handler and with another one, and a Ctrl-C inside it is held."""
    passes(
        """
        import asyncio
        async def main(sending):
            if sending:
                send(SIGINT)
            await asyncio.sleep(0.001)
            return 7
        for handler in (signal.default_int_handler, lambda *_: heard.append(1)):
            heard = []
            signal.signal(SIGINT, handler)
            before = calm()
            with TerminateProtected():
                inside = action(SIGINT), signal.getsignal(SIGINT)
                equal(7, asyncio.run(main(False)))
                equal(inside, (action(SIGINT), signal.getsignal(SIGINT)))
            equal({}, changes(before))
            try:
                with TerminateProtected() as section:
                    equal(7, asyncio.run(main(True)))
                    equal(True, section.pending)
                    equal([], heard)
            except KeyboardInterrupt:
                heard.append(1)
            equal([1], heard)
            equal({}, changes(before))
        """
    )


# ---- the ways out --------------------------------------------------------------


def test_quit_at_the_terminal(program) -> None:
    """Ctrl+\\ at a terminal ends a program that is stuck in a section, after a Ctrl-C
    that was held."""
    master, slave = pty.openpty()
    try:
        child = program(
            """
            import fcntl, resource, termios
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            with TerminateProtected() as section:
                say("ready")
                until(lambda: section.pending, "Ctrl-C")
                say("held")
                while True:
                    time.sleep(1000)
            """,
            stdin=slave,
            env={"PYTHONFAULTHANDLER": ""},
        )
        child.wait_line("ready")
        os.write(master, b"\x03")
        child.wait_line("held")
        os.write(master, b"\x1c")
        done = child.finish()
    finally:
        os.close(master)
        os.close(slave)

    assert (done.status, done.out) == (-QUIT, "ready\nheld\n"), done.err


@pytest.mark.parametrize("where", ["main", "worker", "task"])
def test_quit(program, where: str) -> None:
    """SIGQUIT ends a program whose section never ends, wherever that is, with others
    waiting at the gate."""
    child = program(
        """
        import asyncio, resource
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        def stuck():
            with TerminateProtected() as section:
                say("ready")
                until(lambda: section.pending, "held")
                say("held")
                while True:
                    time.sleep(1000)
        async def stuck_task():
            async with TerminateProtected() as section:
                say("ready")
                until(lambda: section.pending, "held")
                say("held")
                await asyncio.get_running_loop().create_future()
        if sys.argv[1] == "main":
            stuck()
        if sys.argv[1] == "task":
            asyncio.run(stuck_task())
        threading.Thread(target=stuck).start()
        while True:
            with TerminateProtected():
                time.sleep(0.001)
        """,
        where,
    )
    child.wait_line("ready")
    child.signal(TERM)
    child.wait_line("held")
    child.signal(QUIT)
    done = child.finish()

    assert (done.status, done.out) == (-QUIT, "ready\nheld\n"), done.err


# ---- exceptions ----------------------------------------------------------------


@pytest.mark.parametrize("owner", ["default", "handler", "own"])
def test_context_is_kept(passes, owner: str) -> None:
    """The block's exception is the context of what the delivery raises, with its own
    context and traceback; nothing is swallowed."""
    passes(
        """
        class Mine(Exception): pass
        def handler(*_): raise Mine
        owner = sys.argv[1]
        SIGNUM = SIGINT if owner == "own" else SIGTERM
        kind = {"default": GracefulExit, "handler": Mine, "own": KeyboardInterrupt}
        if owner == "handler":
            signal.signal(SIGTERM, handler)
        own = OSError("own")
        def block():
            with TerminateProtected() as section:
                send(SIGNUM)
                until(lambda: section.pending, "held")
                try:
                    {}["first"]
                except KeyError:
                    raise own
        try:
            block()
        except kind[owner] as error:
            assert error.__context__ is own, repr(error.__context__)
            equal(KeyError, type(own.__context__))
            names = []
            trace = own.__traceback__
            while trace:
                names.append(trace.tb_frame.f_code.co_name)
                trace = trace.tb_next
            assert "block" in names, names
        else:
            raise AssertionError("nothing was raised")
        """,
        owner,
    )


def test_exception_from_an_inner_section(passes) -> None:
    """An exception that passes several levels is the same object at each of them."""
    passes(
        """
        signal.signal(SIGTERM, lambda *_: None)
        own = OSError("own")
        section = TerminateProtected()
        for sending in (False, True):
            try:
                with section:
                    try:
                        with section, TerminateProtected("HUP"):
                            if sending:
                                send(SIGTERM)
                            raise own
                    except OSError as error:
                        assert error is own
                        raise
            except OSError as error:
                assert error is own
                equal(None, error.__context__)
        """
    )


def test_exit_swallowed_between_levels(program) -> None:
    """Code inside that swallows SystemExit between two levels does not lose the
    request: it is delivered at the end of the outermost."""
    done = program(
        """
        import atexit
        atexit.register(print, "atexit")
        try:
            with TerminateProtected():
                try:
                    with TerminateProtected() as inner:
                        send(SIGTERM)
                        until(lambda: inner.pending, "held")
                        raise SystemExit(3)
                except SystemExit as error:
                    print("swallowed", error.code)
                print("pending", inner.pending)
            print("never")
        except GracefulExit as error:
            print("delivered", error.reason.signal.name, error.__context__)
            raise
        """
    ).finish()

    assert done.out == (
        "swallowed 3\npending True\ndelivered SIGTERM None\natexit\n"
    ), done.err
    assert done.status == -TERM


def test_swallowed_delivery(program) -> None:
    """A GracefulExit that the program swallows is its decision: it goes on, and the
    next signal is delivered again."""
    done = program(
        """
        for n in range(3):
            try:
                with TerminateProtected() as section:
                    send(SIGTERM)
                    until(lambda: section.pending, "held")
            except GracefulExit:
                print("swallowed")
            nothing_of_ours()
        sys.exit(3)
        """
    ).finish()

    assert (done.status, done.out) == (3, "swallowed\n" * 3), done.err


def test_generator_section(passes) -> None:
    """A section in a generator that is closed or collected in its own thread ends
    there, and delivers there."""
    passes(
        """
        import gc
        from gracefulexit import _core
        class Mine(Exception): pass
        def handler(*_): raise Mine
        signal.signal(SIGTERM, handler)
        def generator():
            with TerminateProtected() as section:
                yield section
        made = generator()
        section = next(made)
        send(SIGTERM)
        until(lambda: section.pending, "held")
        try:
            made.close()
        except Mine:
            pass
        else:
            raise AssertionError("nothing was raised")
        equal(0, _core.sections())
        made = generator()
        next(made)
        del made
        gc.collect()
        equal(0, _core.sections())
        nothing_of_ours()
        """
    )


def test_log_says_that_it_is_held(passes) -> None:
    """One line says, at the next entry or exit, what is held and for which section."""
    passes(
        """
        lines = []
        class Keep(logging.Handler):
            def emit(self, record):
                lines.append(record.getMessage())
        log = logging.getLogger("gracefulexit")
        log.addHandler(Keep())
        log.setLevel("INFO")
        signal.signal(SIGTERM, lambda *_: None)
        with TerminateProtected(name="ledger") as section:
            send(SIGTERM)
            until(lambda: section.pending, "held")
            for _ in range(3):
                with TerminateProtected(name="inner"):
                    pass
            told = [line for line in lines if "SIGTERM" in line and "ledger" in line]
            equal(1, len(told))
        """
    )


def test_main_is_shown_the_long_section_after_a_short_one(passes) -> None:
    """Python's table shows us while another thread's section is open, so that what
    saves and restores handlers in main keeps it; also when that thread had another
    one just before."""
    passes(
        """
        from gracefulexit._layers import on_python_signal
        opened, go_on = threading.Event(), threading.Event()
        def work():
            with TerminateProtected():
                until(lambda: signal.getsignal(SIGINT) is on_python_signal, "shown")
            until(lambda: signal.getsignal(SIGINT) is not on_python_signal, "not")
            with TerminateProtected():
                opened.set()
                go_on.wait()
        thread = threading.Thread(target=work)
        thread.start()
        until(opened.is_set, "main goes on with its bytecode")
        for signum in (SIGTERM, SIGINT):
            until(lambda: signal.getsignal(signum) is on_python_signal, "shown")
        go_on.set()
        thread.join()
        until(lambda: signal.getsignal(SIGTERM) == SIG_DFL, "given back")
        """
    )
