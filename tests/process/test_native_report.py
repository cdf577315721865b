"""The report of a stop that Python cannot write itself, and the real-time signal that
it has the stacks from."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from child_process import Child
from examples import thread_ids, until_asleep
from probe import until

TERM = signal.SIGTERM
PREFIX = "gracefulexit: "


def sleeps_of_reporter(pid: int) -> int:
    """How often it has gone to sleep."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text() == "ge-reporter\n":
            status = (task / "status").read_text()
            return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
    return 0


def stack_has(child: Child, function: str) -> None:
    while f" in {function}" not in child.wait_line("  File ", stream="err"):
        pass


# Who hangs, and what is seen of it in the stacks.
HANGS = {
    "GIL held in main": "killer.wait(); hang()",
    "GIL held in a worker": """
        class Stuck(Worker):
            def run(self):
                killer.wait()
                hang()
        killer.start(Stuck())
        killer.wait()
        killer.exit()
    """,
    "log handler": "killer.wait(); hang_without_lock()",
    "log handler, at the stragglers": "killer.wait(); hang_without_lock()",
    "threading._shutdown": """
        def stuck():
            killer.wait()
            threading.main_thread().join()
            hang()
        killer.add(threading.Thread(target=stuck, daemon=True), stop=int)
        threading.Thread(target=stuck).start()
    """,
    "atexit": """
        killer.wait()
        killer.exit()
    """,
    "finalisation": """
        class Stuck:
            hang = staticmethod(hang)
            def __del__(self): self.hang()
        stuck = Stuck()
        killer.wait()
        killer.exit()
    """,
}


@pytest.mark.slow
@pytest.mark.parametrize("stuck", HANGS)
def test_report_and_stacks(late, let_it_end, stuck: str) -> None:
    """Where Python does not say what the stop waits for, stderr has the time that is
    left, why it stops, the threads, and the stacks; the status is as ever."""
    child = late(
        """
        import atexit
        if sys.argv[1] == "atexit":
            atexit.register(hang)  # runs after that of the killer
        if sys.argv[1].startswith("log handler"):
            class Stuck(logging.Handler):
                def emit(self, record): threading.Event().wait()
            log = logging.getLogger("gracefulexit")
            log.addHandler(Stuck())
            log.setLevel(logging.WARNING if "," in sys.argv[1] else logging.INFO)
        killer = GracefulKiller(grace=GRACE)
        print("ready", flush=True)
        exec(__import__("textwrap").dedent(sys.argv[2]))
        """,
        stuck,
        HANGS[stuck],
    )
    child.wait_line("ready")
    child.signal(TERM)
    first = child.wait_line(PREFIX, stream="err")
    second = child.wait_line(PREFIX, stream="err")
    child.wait_line(f"{PREFIX}thread {child.pid} ", stream="err")
    stack_has(child, "hang")
    done = let_it_end(child)

    assert " s left until the end, and Python does not answer" in first
    assert f"by signal 15 (SIGTERM) from pid {os.getpid()}; " in second
    assert second.endswith("open protected sections: 0")
    assert "ge-watcher" in done.err
    assert done.err.count("s left until the end, and Python") == 1
    assert done.status == -TERM


# Takes seconds, and is not slow: each CPython writes its stacks in its own way.
def test_report_with_each_backend(late, let_it_end, backend: str) -> None:
    """The same with each back end, and on every interpreter."""
    child = late(
        """
        killer = GracefulKiller(grace=GRACE, exit_status=3, backend=sys.argv[1])
        with TerminateProtected():
            print("ready", flush=True)
            killer.wait()
            hang()
        """,
        backend,
    )
    child.wait_line("ready")
    child.signal(TERM)
    stack_has(child, "hang")
    done = let_it_end(child)

    assert "open protected sections: 1" in done.err
    assert done.status == 3


@pytest.mark.slow
def test_python_answers(late, let_it_end) -> None:
    """Where the log has said what the stop waits for, nothing is reported natively."""
    child = late(
        """
        killer = GracefulKiller(grace=GRACE)
        lines = log_lines("still waiting for")
        killer.start(Worker(target=threading.Event().wait, name="reader", daemon=True))
        print("ready", flush=True)
        killer.wait()
        releasing.clock_put_on(LAST_FIFTH)
        def look():
            killer.extend(0)
            select.select([], [], [], 0.001)  # time.sleep() goes by the clock
        while not lines:
            look()
        print(*lines, flush=True)
        names = {t.name: t.ident for t in threading.enumerate()}
        dispatcher = names["gracefulexit-dispatcher"]
        while sys._current_frames()[dispatcher].f_code.co_name != "work":
            look()  # its turn is not over
        releasing.clock_put_on(5)
        for _ in range(300):
            look()
        hang()
        """
    )
    child.wait_line("ready")
    child.signal(TERM)
    done = let_it_end(child)

    assert "reader" in done.out
    assert PREFIX not in done.err
    assert done.status == -TERM


def test_stderr_that_is_no_file(passes) -> None:
    """A killer can be made whatever has become of Python's stderr."""
    passes(
        """
        def check(expected):
            with GracefulKiller(grace=50):
                equal(expected, action(signal.SIGRTMAX)[0] > 1)
        sys.stderr = None
        check(True)
        sys.stderr = sys.__stderr__
        sys.__stderr__ = None
        check(False)
        sys.__stderr__ = sys.stderr
        os.dup2(os.open("/dev/null", os.O_RDONLY), 2)
        check(False)
        os.close(2)
        check(False)
        os.dup2(1, 2)
        check(True)
        sys.stderr.detach()
        check(False)
        os.write(1, b"reached the end\\n")
        os._exit(0)  # Python flushes its streams, and fails
        """
    )


@pytest.mark.slow
@pytest.mark.parametrize("stderr", ["full", "closed", "a file", "None"])
def test_deadline_does_not_wait_for_the_report(
    late, let_it_end, tmp_path: Path, stderr: str
) -> None:
    """With a stderr that nobody reads, that is closed or that is another file now, the
    process ends in time, with its status, and the file has nothing of ours."""
    victim = tmp_path / "victim"
    child = late(
        """
        if sys.argv[1] == "full":
            r, w = os.pipe()
            os.dup2(w, 2)
        killer = GracefulKiller(grace=GRACE)
        logging.disable()  # it goes to stderr, too
        print("ready", flush=True)
        killer.wait()
        if sys.argv[1] == "full":
            os.set_blocking(2, False)
            try:
                while True:
                    os.write(2, bytes(512))
            except BlockingIOError:
                os.set_blocking(2, True)
        elif sys.argv[1] == "closed":
            os.close(2)
        elif sys.argv[1] == "None":
            sys.stderr = None
        else:
            # In one step: the dispatcher opens files, too.
            os.dup2(os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT), 2)
        hang()
        """,
        stderr,
        victim,
    )
    child.wait_line("ready")
    until(lambda: sleeps_of_reporter(child.pid) > 0, "it sleeps until it is needed")
    sleeps = sleeps_of_reporter(child.pid)
    child.signal(TERM)
    if stderr == "None":
        stack_has(child, "hang")
    elif stderr == "full":
        until(lambda: sleeps_of_reporter(child.pid) > sleeps, "it waits for a reader")

    assert let_it_end(child).status == -TERM
    assert not victim.exists() or victim.read_text() == ""


def test_started_without_stderr(passes) -> None:
    """Number 2 is somebody's file then, and nothing is made ready."""
    source = (
        "import os, signal\n"
        "from gracefulexit import *\n"
        "from probe import action, native_threads\n"
        "os.open('victim', os.O_WRONLY | os.O_CREAT)\n"
        "killer = GracefulKiller(grace=50)\n"
        "os._exit(0 if action(signal.SIGRTMAX)[0] == 0 else 5)\n"
    )
    passes(
        """
        pid = os.fork()
        if pid == 0:
            os.close(2)
            os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
        equal((pid, 0), os.waitpid(pid, 0))
        """,
        source,
    )


# ---- the signal ------------------------------------------------------------

LAST, NEXT = int(signal.SIGRTMAX), int(signal.SIGRTMAX) - 1


def test_highest_free_signal(passes) -> None:
    """A killer with a grace takes the highest real-time signal that nobody uses, not
    in Python's table, and gives it back; one without takes none."""
    passes(
        """
        last, following = map(int, sys.argv[1:])
        before = state()
        with GracefulKiller():
            equal((0, 0, 0), action(last))
        with GracefulKiller(grace=50) as killer:
            assert action(last)[0] > 1
            equal(SIG_DFL, signal.getsignal(last))
            with GracefulKiller(grace=60):
                equal((0, 0, 0), action(following))
            assert action(last)[0] > 1
        equal({}, changes(before))
        set_action(last, 1)
        with GracefulKiller(grace=50):
            equal(1, action(last)[0])
            assert action(following)[0] > 1
        equal((0, 0, 0), action(following))
        set_action(last, 0)
        signal.pthread_sigmask(signal.SIG_BLOCK, [last])
        with GracefulKiller(grace=50):
            equal(0, action(last)[0])
        """,
        LAST,
        NEXT,
    )


def test_dump_signal_that_the_program_hears(passes) -> None:
    """A killer or section that asks for it gets it, and another one is taken."""
    passes(
        """
        last, following = map(int, sys.argv[1:])
        with GracefulKiller(grace=50) as killer:
            heard = threading.Event()
            killer.on(last, lambda info: heard.set())
            assert action(following)[0] > 1
            send(last)
            assert heard.wait(LIMIT)
        equal([(0, 0, 0)] * 2, [action(last), action(following)])
        with GracefulKiller(last, grace=50) as killer:
            send(last)
            assert killer.wait(LIMIT)
        with GracefulKiller(last, grace=50), GracefulKiller(following, grace=50):
            assert action(following - 1)[0] > 1
        equal((0, 0, 0), action(following - 1))
        """,
        LAST,
        NEXT,
    )


def test_dump_signal_that_others_took(passes) -> None:
    """Who has taken it meanwhile keeps it after close()."""
    passes(
        """
        last = int(sys.argv[1])
        came = []
        with GracefulKiller(grace=50):
            signal.signal(last, lambda *args: came.append(args))
        send(last)
        equal(1, len(came))
        """,
        LAST,
    )


def test_dump_signal_writes_stacks(program) -> None:
    """Sent from outside, it writes all stacks to stderr, and the program goes on."""
    child = program(
        """
        def here():
            with killer:
                equal(False, killer.wait(0))
                print("ready", flush=True)
                sys.stdin.read()
        killer = GracefulKiller(grace=50)
        here()
        """,
        stdin=subprocess.PIPE,
    )
    child.wait_line("ready")
    # faulthandler can crash CPython where a thread, as ours at its start, is at work.
    until_asleep(child.pid, thread_ids(child.pid))
    child.signal(LAST)
    stack_has(child, "here")
    child.stdin.close()

    assert child.finish().status == 0


def test_dump_signal_in_children(passes) -> None:
    """Children that run other code have the default action; one of os.fork() has the
    killer, and what belongs to it."""
    passes(
        """
        import multiprocessing, subprocess
        last = int(sys.argv[1])
        def check():
            os._exit(0 if action(last)[0] == 0 else 5)
        killer = GracefulKiller(grace=50)
        done = subprocess.run(["sh", "-c", f"kill -{last} $$"])
        equal(-last, done.returncode)
        child = multiprocessing.get_context("fork").Process(target=check)
        child.start()
        child.join(LIMIT)
        equal(0, child.exitcode)
        pid = os.fork()
        if pid == 0:
            assert action(last)[0] > 1
            until(lambda: native_threads() == 4, "watcher, dispatcher, reporter")
            killer.close()
            equal((0, 0, 0), action(last))
            os._exit(7)
        equal((pid, 7 << 8), os.waitpid(pid, 0))
        killer.close()
        """,
        LAST,
    )


def test_nothing_on_import(passes) -> None:
    """Importing takes no signal and starts no thread."""
    passes(
        """
        equal([0] * 3, [action(int(signal.SIGRTMAX) - n)[0] for n in range(3)])
        equal(1, native_threads())
        """
    )
