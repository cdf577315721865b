"""sigwait mode beside forks, exec, other people's handlers and functions."""

from __future__ import annotations

import signal

import pytest

IMPORTS = """
        from sigwaits import *
        from gracefulexit import _core
        import subprocess
        BOTH = {SIGTERM, SIGINT}
        PROBE = "print(*(l for l in open('/proc/self/status') if l[:6] == 'SigBlk'))"
        COMMAND = [sys.executable, "-S", "-c", PROBE]
        def clean(out):
            equal(["SigBlk:", "0" * 16], out.split())
"""


@pytest.mark.parametrize("close", [False, True])
def test_children_of_threads_are_clean(passes, close: bool) -> None:
    """Children of a thread that has inherited the mask are clean, after close() too;
    the functions are Python's own again when no such thread is left."""
    passes(
        IMPORTS
        + """
        untouched = functions()
        killer = GracefulKiller(backend="sigwait")
        go = threading.Event()
        def work():
            go.wait(LIMIT)
            equal(BOTH, blocked())
            clean(subprocess.run(COMMAND, stdout=subprocess.PIPE, text=True).stdout)
            equal(BOTH, blocked())
        thread = threading.Thread(target=work)
        thread.start()
        if sys.argv[1] == "True":
            killer.close()
            equal(set(), blocked())
            assert functions() != untouched
        go.set()
        thread.join()
        killer.close()
        if sys.argv[1] == "True":
            GracefulKiller(backend="sigwait").close()
        equal(untouched, functions())
        """,
        close,
    )


@pytest.mark.parametrize("where", ["main", "worker"])
def test_exec(passes, program, where: str) -> None:
    """What os.exec*() turns the process into starts with a clean mask."""
    done = program(
        IMPORTS
        + """
        killer = GracefulKiller(backend="sigwait")
        run = lambda: os.execvp(COMMAND[0], COMMAND)
        if sys.argv[1] == "worker":
            threading.Thread(target=run).start()
            killer.wait()
        run()
        """,
        where,
    ).finish()

    assert done.out.split() == ["SigBlk:", "0" * 16]
    assert done.status == 0


def test_functions_look_the_same(passes) -> None:
    """Name, documentation and signature are those of Python, they fail as ever, and
    can be pickled for another process."""
    passes(
        IMPORTS
        + """
        import inspect, pickle
        def looks():
            found = []
            for f in functions():
                if f is not None:
                    try:
                        signature = str(inspect.signature(f))
                    except ValueError:
                        signature = None
                    found.append((f.__name__, f.__module__, f.__doc__, signature))
            return found
        before = looks()
        killer = GracefulKiller(backend="sigwait")
        equal(before, looks())
        for wrong, error in (
            (lambda: os.execv("/does/not/exist", ["x"]), FileNotFoundError),
            (lambda: os.posix_spawn("/does/not/exist", ["x"], {}), FileNotFoundError),
            (lambda: os.system(), TypeError),
            (lambda: os.system(b"a", "b"), TypeError),
            (lambda: signal.raise_signal(10**6), (OSError, ValueError)),
        ):
            try:
                wrong()
            except error:
                equal(BOTH, blocked())
            else:
                assert False, "no error"
        equal(0, os.system(command="true"))
        pid = os.posix_spawn(
            "/bin/sh", ["sh", "-c", "exit 3"], os.environ, setsigmask=[])
        equal(3, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        equal(0, pickle.loads(pickle.dumps(os.system))("true"))
        equal(BOTH, blocked())
        killer.close()
        """
    )


def test_functions_that_others_replace(passes) -> None:
    """Other people's functions over or under ours stay, and are called."""
    passes(
        IMPORTS
        + """
        called = []
        def over(name, original):
            def function(*args, **kwargs):
                called.append(name)
                return original(*args, **kwargs)
            return function
        original = os.system
        under = os.system = over("under", original)
        for n in range(3):
            killer = GracefulKiller(backend="sigwait")
            os.system("true")
            killer.close()
            equal(under, os.system)
        equal(["under"] * 3, called)
        killer = GracefulKiller(backend="sigwait")
        theirs = os.system = over("over", os.system)
        killer.close()
        equal(theirs, os.system)
        called.clear()
        equal(0, os.system("true"))
        equal(["over", "under"], called)
        with GracefulKiller(backend="sigwait"):
            equal(0, os.system("true"))
        equal(theirs, os.system)
        """
    )


def test_subprocess_imported_meanwhile(passes) -> None:
    """subprocess, imported while a killer lives, has Python's own function again."""
    passes(
        """
        sys.modules.pop("subprocess", None)
        import _posixsubprocess
        own = _posixsubprocess.fork_exec
        killer = GracefulKiller(backend="sigwait")
        import subprocess
        out = subprocess.run(
            [sys.executable, "-S", "-c", "print(open('/proc/self/status').read())"],
            stdout=subprocess.PIPE, text=True).stdout
        assert "SigBlk:\\t" + "0" * 16 in out
        killer.close()
        equal(own, _posixsubprocess.fork_exec)
        equal(own, getattr(subprocess, "_fork_exec", own))
        """
    )


STRANGERS = {
    "handler of Python": """
        heard = []
        signal.signal(SIGTERM, lambda *_: heard.append(1))
        send(SIGTERM)
        # Nothing interrupts main: the handler runs when main runs Python.
        until(lambda: heard == [1], "heard")
    """,
    "handler of C": """
        import ctypes
        heard = []
        function = ctypes.CFUNCTYPE(None, ctypes.c_int)(heard.append)
        # In a thread that Python does not know; ctypes takes the GIL for it.
        set_action(SIGTERM, ctypes.cast(function, ctypes.c_void_p).value)
        send(SIGTERM)
        until(lambda: heard == [SIGTERM], "heard")
    """,
    "ignored": """
        signal.signal(SIGTERM, SIG_IGN)
        send(SIGTERM)
        until(lambda: not signal.sigpending(), "taken")
    """,
    "asyncio": """
        import asyncio
        async def main():
            loop, heard = asyncio.get_running_loop(), asyncio.Event()
            loop.add_signal_handler(SIGTERM, heard.set)
            send(SIGTERM)
            await asyncio.wait_for(heard.wait(), LIMIT)
        asyncio.run(main())
    """,
    "set_wakeup_fd": """
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer)
        signal.signal(SIGTERM, lambda *_: None)
        send(SIGTERM)
        equal(bytes([SIGTERM]), os.read(reader, 1))
        signal.set_wakeup_fd(-1)
    """,
}


@pytest.mark.parametrize("case", STRANGERS)
def test_stranger_has_the_signal(passes, case: str) -> None:
    """Who puts a handler over ours gets the signal, and we get it back by rearm()."""
    passes(
        """
        killer = GracefulKiller(backend="sigwait")
        """
        + STRANGERS[case].strip("\n ")
        + """
        equal(False, killer.kill_now)
        killer.rearm()
        equal(True, killer.armed)
        send(SIGTERM)
        equal(True, killer.wait(LIMIT))
        killer.close()
        """
    )


@pytest.mark.parametrize(
    "put_back",
    [
        # trio's question whether this is the main thread
        "signal.signal(SIGTERM, signal.getsignal(SIGTERM))",
        # servers and loops, for the time they run
        "signal.signal(SIGTERM, signal.signal(SIGTERM, lambda *_: None))",
        # bound before there was a killer
        "bound(SIGTERM, bound(SIGTERM, SIG_IGN))",
        # after C code that has not asked Python, and that we lie on now
        """\
set_action(SIGTERM, ctypes.cast(libc.abort, ctypes.c_void_p).value)
        killer.rearm()
        signal.signal(SIGTERM, signal.getsignal(SIGTERM))""",
    ],
    ids=["same", "restored", "bound", "over C"],
)
def test_put_back_and_main_in_a_system_call(program, put_back: str) -> None:
    """Who has put our handler back into Python's table has put it back for threads,
    too: main need not run Python for them to stop."""
    child = program(
        f"""
        import ctypes
        from signal import signal as bound
        from sections import until_asleep
        from sigwaits import sleep_in_c
        killer = GracefulKiller(backend="sigwait")
        def stops():
            killer.wait()
            os._exit(7)
        worker = threading.Thread(target=stops, daemon=True)
        worker.start()
        until_asleep(worker)
        {put_back}
        sleep_in_c(lambda: print("ready", flush=True))
        """
    )
    child.wait_line("ready")
    child.signal(signal.SIGTERM)

    assert child.finish().status == 7


@pytest.mark.race
def test_put_back_at_any_moment(passes) -> None:
    """A signal that comes while main puts our handler back reaches threads, although
    main is in a system call from then on."""
    passes(
        """
        import ctypes, random, subprocess
        sender = subprocess.Popen(
            [sys.executable, "-S", "-c",
             "import os, sys, time\\n"
             "while delay := sys.stdin.readline():\\n"
             "    time.sleep(float(delay)); os.kill(int(sys.argv[1]), 2)",
             str(os.getpid())], stdin=subprocess.PIPE, text=True)
        reader, writer = os.pipe()
        def tell(killer):
            killer.wait()
            os.write(writer, b"x")
        byte = ctypes.create_string_buffer(1)
        for n in times(300):
            with GracefulKiller(backend="sigwait") as killer:
                thread = threading.Thread(target=tell, args=(killer,))
                thread.start()
                print(random.uniform(0, 0.001), file=sender.stdin, flush=True)
                for _ in range(random.randrange(300)):
                    signal.signal(SIGINT, signal.getsignal(SIGINT))
                equal(1, libc.read(reader, byte, 1))
                equal(SIGINT, killer.reason.signum)
                thread.join()
        sender.stdin.close()
        sender.wait(LIMIT)
        """
    )


def test_put_back_while_a_strangers_handler_runs(passes) -> None:
    """Who puts our handler back waits for the one that has the signal, even if that
    needs the interpreter."""
    passes(
        """
        import ctypes
        killer = GracefulKiller(backend="sigwait")
        ours = signal.getsignal(SIGTERM)
        inside, heard = threading.Event(), []
        def slow(signum):
            inside.set()
            time.sleep(0.05)  # the interpreter lock goes, and is wanted again
            heard.append(signum)
        function = ctypes.CFUNCTYPE(None, ctypes.c_int)(slow)
        for n in range(1, 11):
            inside.clear()
            set_action(SIGTERM, ctypes.cast(function, ctypes.c_void_p).value)
            send(SIGTERM)
            assert inside.wait(LIMIT)
            signal.signal(SIGTERM, ours)
            equal([SIGTERM] * n, heard)
        equal(False, killer.kill_now)
        killer.rearm()
        send(SIGTERM)
        equal(True, killer.wait(LIMIT))
        """
    )


@pytest.mark.race
def test_strangers_handler_ends_a_wait(passes) -> None:
    """Main in killer.wait() runs the handler of who has put it over ours."""
    passes(
        """
        import random
        for n in times(100):
            with GracefulKiller(backend="sigwait") as killer:
                signal.signal(SIGTERM, lambda *_: killer.stop("theirs"))
                def send_later(delay):
                    time.sleep(delay)
                    send(SIGTERM)
                sender = threading.Thread(
                    target=send_later, args=(random.uniform(0, 0.001),))
                sender.start()
                equal(True, killer.wait(LIMIT))
                equal("theirs", killer.reason.message)
                sender.join()
                signal.signal(SIGTERM, SIG_DFL)
        """
    )


def test_default_put_over_ours(program) -> None:
    """Who puts the default action over ours has the process end by the signal."""
    child = program(
        """
        killer = GracefulKiller(backend="sigwait")
        signal.signal(SIGTERM, SIG_DFL)
        print("ready", flush=True)
        killer.wait()
        """
    )
    child.wait_line("ready")
    child.signal(signal.SIGTERM)

    assert child.finish().status == -signal.SIGTERM


FORKS = {
    "main": "fork_and_check()",
    "worker": """
        thread = threading.Thread(target=fork_and_check)
        thread.start()
        thread.join()
    """,
}


@pytest.mark.race
@pytest.mark.slow
@pytest.mark.parametrize("on_fork", ["rearm", "reset"])
@pytest.mark.parametrize("where", FORKS)
def test_fork_at_any_moment(passes, where: str, on_fork: str) -> None:
    """A child that is forked while others make and close killers and signals come
    hears for itself, or is as if we had not been there."""
    passes(
        IMPORTS
        + """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        untouched = functions()
        killer = GracefulKiller("TERM", backend="sigwait", on_fork=sys.argv[1])
        killer.take("USR1")
        over = False
        def disturb():
            while not over:
                GracefulKiller("HUP", on_fork="reset").close()
                time.sleep(1e-3)
        def storm():
            while not over:
                send(SIGUSR1)
                time.sleep(1e-4)
        threads = [threading.Thread(target=f, daemon=True) for f in (disturb, storm)]
        for thread in threads:
            thread.start()
        def child():
            if sys.argv[1] == "reset":
                equal(set(), blocked())
                equal(untouched, functions())
                os.kill(os.getpid(), SIGTERM)
                time.sleep(LIMIT)
            else:
                equal(0, killer.counts[SIGUSR1])
                send(SIGTERM)
                equal(True, killer.wait(LIMIT))
                equal(1, killer.counts[SIGTERM])
                killer.close()
                equal(set(), blocked())
        wanted = -SIGTERM if sys.argv[1] == "reset" else 0
        def fork_and_check():
            for n in times(100):
                pid = os.fork()
                if not pid:
                    signal.alarm(int(LIMIT))
                    try:
                        child()
                        os._exit(0)
                    except BaseException:
                        sys.excepthook(*sys.exc_info())
                        sys.stderr.flush()
                        os._exit(1)
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                assert status == wanted, (n, status)
        """
        + FORKS[where].strip("\n ")
        + """
        over = True
        for thread in threads:
            thread.join()
        equal(False, killer.kill_now)
        killer.close()
        """,
        on_fork,
    )


def test_what_the_functions_can_do(passes) -> None:
    """os.supports_fd says of the functions that stand in what it says of Python's."""
    passes(
        """
        before = set(os.supports_fd)
        execve = os.execve
        with GracefulKiller(backend="sigwait"):
            assert os.execve is not execve
            equal({True}, {f in os.supports_fd for f in (os.execve, execve)})
            equal(False, os.execv in os.supports_fd)
        equal(before, os.supports_fd)
        """
    )
