"""sigwait mode: no system call of the program is interrupted, and nothing is lost."""

from __future__ import annotations

import ctypes
import signal

import pytest

libc = ctypes.CDLL(None, use_errno=True)

# Calls that do not try again: what was interrupted is counted. Another process sends
# all the while, and reads what is written.
UNDISTURBED = """
        import ctypes, errno, socket, struct, subprocess
        SENDER = '''
        import os, sys, time
        to, signum, source = map(int, sys.argv[1:])
        os.set_blocking(source, False)
        print("ready", flush=True)
        sys.stdin.readline()
        while True:
            try:
                if not os.read(source, 3000):
                    break
            except BlockingIOError:
                pass
            os.kill(to, signum)
            time.sleep(1e-4)
        '''
        source, sink = os.pipe()
        sender = subprocess.Popen(
            [sys.executable, "-S", "-c", textwrap.dedent(SENDER), str(os.getpid()),
             str(int(SIGUSR1)), str(source)],
            pass_fds=[source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        os.close(source)
        class Timespec(ctypes.Structure):
            _fields_ = [("sec", ctypes.c_long), ("nsec", ctypes.c_long)]
        SHORT = Timespec(0, 20_000_000)
        a, b = socket.socketpair()
        a.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 20_000))
        MUCH = b"x" * 200_000
        def poll():
            return libc.poll(None, 0, 20) == 0
        def nanosleep():
            return libc.nanosleep(ctypes.byref(SHORT), None) == 0
        def read():
            buffer = ctypes.create_string_buffer(1)
            ctypes.set_errno(0)
            got = libc.read(a.fileno(), buffer, 1)
            return got == -1 and ctypes.get_errno() == errno.EAGAIN
        def write():
            return libc.write(sink, MUCH, len(MUCH)) == len(MUCH)
        CALLS = {f.__name__: f for f in (poll, nanosleep, read, write)}
        def disturbed(call, times):
            return sum(not call() for _ in range(times))
        killer = GracefulKiller(backend=sys.argv[1])
        killer.take("USR1")
        equal("ready\\n", sender.stdout.readline())
        sender.stdin.write("go\\n")
        sender.stdin.flush()
        until(lambda: killer.counts[SIGUSR1] > 10, "the storm")
        call = CALLS[sys.argv[2]]
        found = {"main": disturbed(call, 10)}
        def work():
            found["worker"] = disturbed(call, 10)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        heard = killer.counts[SIGUSR1]
        until(lambda: killer.counts[SIGUSR1] > heard, "still heard")
        os.close(sink)
        equal(0, sender.wait(LIMIT))
        killer.close()
"""
CALLS = ["poll", "nanosleep", "read", "write"]


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
def test_no_call_is_interrupted(passes, call: str) -> None:
    """C calls that do not try again end as if no signal came, in main and in threads
    that are started later, while another process sends all the time."""
    passes(
        "\n        import textwrap"
        + UNDISTURBED
        + """
        equal({"main": 0, "worker": 0}, found)
        """,
        "sigwait",
        call,
    )


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
def test_handlers_interrupt(passes, handler_backend: str, call: str) -> None:
    """The same calls are interrupted in main where a handler runs there: what the
    other test finds can be found. (A worker mostly is not, but while main has not yet
    run for one signal the kernel gives the next one to another thread.)"""
    passes(
        "\n        import textwrap"
        + UNDISTURBED
        + """
        assert found["main"] > 0, found
        """,
        handler_backend,
        call,
    )


def test_one_call_is_not_interrupted(program) -> None:
    """A poll() in main ends by its own condition, not by the signal, which is heard
    meanwhile."""
    child = program(
        """
        import ctypes
        killer = GracefulKiller(backend="sigwait")
        reader, writer = os.pipe()
        class PollFd(ctypes.Structure):
            _fields_ = [("fd", ctypes.c_int), ("events", ctypes.c_short),
                        ("revents", ctypes.c_short)]
        wanted = PollFd(reader, select.POLLIN, 0)
        @killer.on_stop
        def wake():
            print("heard", flush=True)
            os.write(writer, b"x")
        print("ready", flush=True)
        equal(1, libc.poll(ctypes.byref(wanted), 1, -1))
        equal(True, killer.kill_now)
        killer.close()
        print("reached the end")
        """
    )
    child.wait_line("ready")
    child.signal(signal.SIGTERM)
    child.wait_line("heard")
    done = child.finish()

    assert (done.status, done.err) == (0, "")
    assert done.out.endswith("reached the end\n")


# Each leaves threads that do not block the signals, by the name `disturb`, which is
# called again and again.
UNBLOCKED = {
    "older thread": """
        over = threading.Event()
        threading.Thread(target=over.wait).start()
        def prepare(): pass
        def disturb(n): pass
    """,
    "older thread of C": """
        import ctypes
        def prepare():
            pass
        thread = ctypes.c_ulong()
        end = ctypes.create_string_buffer(4)
        equal(0, libc.pthread_create(
            ctypes.byref(thread), None, libc.pause, None))
        def disturb(n): pass
    """,
    "resource_tracker": """
        from multiprocessing.shared_memory import SharedMemory
        def prepare():
            memory = SharedMemory(create=True, size=1)
            memory.close()
            memory.unlink()
        def disturb(n): pass
    """,
    "somebody unblocks in main": """
        def prepare():
            pass
        def disturb(n):
            if n % 7 == 0:
                signal.pthread_sigmask(signal.SIG_SETMASK, [])
    """,
    "somebody unblocks elsewhere": """
        def prepare():
            def unblock():
                while not over:
                    signal.pthread_sigmask(signal.SIG_SETMASK, [])
                    signal.pthread_sigmask(signal.SIG_BLOCK, [SIGUSR1])
            threading.Thread(target=unblock, daemon=True).start()
        over = False
        def disturb(n): pass
    """,
    "children are made": """
        import subprocess
        def prepare():
            def spawn():
                while not over:
                    subprocess.run(["/bin/true"])
            threading.Thread(target=spawn, daemon=True).start()
        over = False
        def disturb(n):
            if n % 100 == 0:
                os.system("true")
    """,
}
ONE_AT_A_TIME = """
        killer = GracefulKiller(backend="sigwait")
        killer.take("USR1")
        prepare()
        reader, writer = os.pipe()
        parent = os.getpid()
        import subprocess
        sender = subprocess.Popen([
            sys.executable, "-S", "-c",
            "import os, sys\\n"
            "while os.read(0, 1): os.kill(int(sys.argv[1]), int(sys.argv[2]))",
            str(parent), str(int(SIGUSR1))], stdin=reader)
        os.close(reader)
        from gracefulexit import _core
        for n in range(int(sys.argv[1])):
            disturb(n)
            os.write(writer, b"x")
            end = time.monotonic() + LIMIT
            while _core.count(SIGUSR1) == n:
                assert time.monotonic() < end, f"lost in round {n}"
                time.sleep(0)
            equal(n + 1, _core.count(SIGUSR1))
        os.close(writer)
        equal(0, sender.wait(LIMIT))
        equal(int(sys.argv[1]), killer.counts[SIGUSR1])
        killer.close()
"""


@pytest.mark.parametrize(
    "times", [100, pytest.param(3000, marks=pytest.mark.slow)], ids=["quick", "long"]
)
@pytest.mark.parametrize("case", UNBLOCKED)
def test_safety_net(passes, case: str, times: int) -> None:
    """Signals of another process, each sent when the last one was counted, are all
    counted, whichever thread does not block them."""
    after = "over.set()" if case == "older thread" else "over = True"
    passes(
        UNBLOCKED[case].rstrip() + ONE_AT_A_TIME + f"        {after}\n",
        times,
    )


@pytest.mark.parametrize(
    "call",
    ["pass", "libc.poll(None, 0, -1)", "forever.join()", "killer.wait()"],
)
def test_keyboard_interrupt(program, call: str) -> None:
    """A SIGINT that is not ours is Python's, as ever."""
    child = program(
        f"""
        killer = GracefulKiller("TERM", backend="sigwait")
        forever = threading.Thread(target=time.sleep, args=(1000,), daemon=True)
        forever.start()
        try:
            print("ready", flush=True)
            {call}
            time.sleep(LIMIT)  # where Python looks for signals
        except KeyboardInterrupt:
            print("interrupted", killer.kill_now)
        sys.stdout.flush()
        os._exit(0)
        """
    )
    child.wait_line("ready")
    child.signal(signal.SIGINT)
    done = child.finish()

    assert (done.status, done.err) == (0, "")
    assert done.out == "ready\ninterrupted False\n"


OLDER = """
        logging.basicConfig(format="%(levelname)s %(message)s")
        over = threading.Event()
        older = threading.Thread(target=over.wait, name="older")
        older.start()
"""


def test_older_threads_are_named(passes) -> None:
    """One line in the log names the threads that are older and may be interrupted,
    and says that all is heard; their signals are."""
    done = passes(
        OLDER
        + """
        killer = GracefulKiller(backend="sigwait")
        GracefulKiller(backend="sigwait").close()
        libc.tgkill(os.getpid(), older.native_id, int(SIGTERM))
        equal(True, killer.wait(LIMIT))
        over.set()
        killer.close()
        """
    )

    warnings = [line for line in done.err.splitlines() if "WARNING" in line]
    assert len(warnings) == 1, done.err
    assert "thread 'older' is older than the killer" in warnings[0]
    assert "heard all the same" in warnings[0]


def test_made_in_another_thread(passes) -> None:
    """A killer that another thread makes takes the signals from main as well, as soon
    as main runs Python; main is not called an older thread."""
    done = passes(
        """
        from sigwaits import *
        logging.basicConfig(format="%(levelname)s %(message)s")
        def make():
            global killer
            killer = GracefulKiller(backend="sigwait")
        maker = threading.Thread(target=make)
        maker.start()
        maker.join()
        until(lambda: blocked() == {SIGTERM, SIGINT}, "main follows")
        send(SIGTERM)
        equal(True, killer.wait(LIMIT))
        killer.close()
        equal(set(), blocked())
        """
    )

    assert done.err == ""


BACKEND_ERRORS = {
    "raises": ("sigwait", "raises=KeyboardInterrupt", None, "leave them out"),
    "chain": ("sigwait", "chain=True", None, "leave them out"),
    "raises beside one": ("auto", "raises=KeyError", "sigwait", "leave them out"),
    "chain beside one": ("auto", "chain=True", "sigwait", "leave them out"),
    "unknown": ("signalfd", "", None, "'sigwait'"),
    "another beside it": ("pipe", "", "sigwait", "pass backend='auto'"),
    "it beside another": ("sigwait", "", "pipe", "pass backend='auto'"),
    "it beside auto": ("sigwait", "", "auto", "pass backend='auto'"),
}


@pytest.mark.parametrize("case", BACKEND_ERRORS)
def test_bad_input(passes, case: str) -> None:
    """What sigwait mode cannot do is a ValueError that says what to do, and nothing
    has changed."""
    backend, arguments, beside, advice = BACKEND_ERRORS[case]
    passes(
        f"""
        backend, beside, advice = {(backend, beside, advice)!r}
        live = beside and GracefulKiller("TERM", backend=beside)
        before = state()
        try:
            GracefulKiller(backend=backend, {arguments})
        except ValueError as error:
            assert advice in str(error), error
        else:
            assert False, "no error"
        equal({{}}, changes(before))
        killer = live or GracefulKiller("TERM")
        send(SIGTERM)
        equal(True, killer.wait(LIMIT))
        killer.close()
        """
    )


def test_auto_joins(passes) -> None:
    """A killer with backend="auto" beside one of sigwait mode is in it too."""
    passes(
        """
        from sigwaits import *
        first = GracefulKiller("TERM", backend="sigwait")
        second = GracefulKiller("HUP")
        equal({SIGTERM, SIGHUP}, blocked())
        first.close()
        equal({SIGHUP}, blocked())
        send(SIGHUP)
        equal(True, second.wait(LIMIT))
        second.close()
        equal(set(), blocked())
        """
    )


@pytest.mark.parametrize(
    "send_it",
    [
        "signal.raise_signal(SIGTERM)",
        "signal.pthread_kill(threading.get_ident(), SIGTERM)",
        "signal.pthread_kill(thread.ident, SIGTERM)",
        "os.kill(os.getpid(), SIGTERM)",
        "__import__('_thread').interrupt_main(SIGTERM)",
        "killer.stop()",
    ],
)
@pytest.mark.parametrize("where", ["main", "worker"])
def test_sent_from_within(passes, send_it: str, where: str) -> None:
    """What the program sends to itself, or to one of its threads, is heard."""
    passes(
        """
        killer = GracefulKiller(backend="sigwait")
        thread = threading.Thread(target=killer.wait)
        thread.start()
        def act():
            exec(sys.argv[1])
        if sys.argv[2] == "worker":
            worker = threading.Thread(target=act)
            worker.start()
            worker.join()
        else:
            act()
        equal(True, killer.wait(LIMIT))
        thread.join()
        killer.close()
        """,
        send_it,
        where,
    )


def test_pthread_kill_of_no_thread(passes) -> None:
    """signal.pthread_kill() to a number that is no signal fails as ever."""
    passes(
        """
        killer = GracefulKiller(backend="sigwait")
        for bad, error in ((10**6, (OSError, ValueError)), ("TERM", TypeError)):
            try:
                signal.pthread_kill(threading.get_ident(), bad)
            except error:
                pass
            else:
                assert False, bad
        equal(False, killer.kill_now)
        killer.close()
        """
    )


def test_sent_to_one_thread_from_outside(program) -> None:
    """What another process sends to one thread that blocks it waits there, as POSIX
    has it, and is heard when the thread unblocks it."""
    child = program(
        """
        killer = GracefulKiller(backend="sigwait")
        go = threading.Event()
        def work():
            print("ready", threading.get_native_id(), flush=True)
            go.wait(LIMIT)
            equal({SIGTERM}, signal.sigpending())
            equal(False, killer.kill_now)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [SIGTERM])
            equal(True, killer.wait(LIMIT))
        thread = threading.Thread(target=work)
        thread.start()
        sys.stdin.readline()
        go.set()
        thread.join()
        equal(1, killer.counts[SIGTERM])
        killer.close()
        print("reached the end")
        """,
        stdin=-1,
    )
    thread = int(child.wait_line("ready").split()[1])
    assert libc.tgkill(child.pid, thread, int(signal.SIGTERM)) == 0
    child.stdin.write(b"go\n")
    child.stdin.flush()
    done = child.finish()

    assert (done.status, done.err) == (0, "")
    assert done.out.endswith("reached the end\n")


def test_example(start_child, root) -> None:
    """The example's write is whole although the signal comes in the middle of it."""
    child = start_child(root / "docs" / "examples" / "fragile_calls.py")
    child.wait_line("transferring")
    child.signal(signal.SIGTERM)
    done = child.finish()

    assert done.out.splitlines()[-2:] == [
        "received 1000000 of 1000000",
        "written in one call: True",
    ]
    assert done.status == -signal.SIGTERM
