"""Forked children: who hears in them, and of what."""

from __future__ import annotations

import sys
import textwrap
from typing import Any

import pytest
from child_process import Child

QUIET = ["-W", "ignore:This process:DeprecationWarning"]  # 3.12 and newer


@pytest.fixture
def program(program) -> Any:
    """As everywhere, with harness/forks.py in scope."""

    def start(source: str, *args: object, **kwargs: Any) -> Child:
        source = "from forks import *\n" + textwrap.dedent(source)
        return program(source, *args, **{"options": QUIET, **kwargs})

    return start


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_terminate(start_child, tmp_path, method: str) -> None:
    """Process.terminate() and Pool.terminate() end children of every start method."""
    (tmp_path / "prog.py").write_text(
        """
import multiprocessing, sys, threading, time
import gracefulexit

def work(writer):
    writer.send("started")
    time.sleep(1000)

if __name__ == "__main__":
    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    context = multiprocessing.get_context(sys.argv[-1])
    with gracefulexit.GracefulKiller() as killer:
        reader, writer = context.Pipe()
        process = context.Process(target=work, args=(writer,))
        process.start()
        assert reader.poll(30) and reader.recv() == "started"
        process.terminate()
        process.join(150)
        print(process.exitcode)
        pool = context.Pool(2)
        pool.map_async(time.sleep, [1000] * 2)
        pool.apply_async(time.sleep, (0,))
        pool.terminate()
        pool.join()
        print(killer.kill_now)
"""
    )
    done = start_child("", method, options=["prog.py"]).finish()

    assert done.err == ""
    assert done.out == "-15\nFalse\n"
    assert done.status == 0


@pytest.mark.parametrize("on_fork", ["auto", "reset"])
def test_inherited_killer_says_what_to_do(passes, on_fork: str) -> None:
    """A killer that a forked child cannot use raises there, with the remedy, in all
    that would otherwise tell of a stop that never comes."""
    passes(
        """
        import multiprocessing
        on_fork = sys.argv[1]
        class Tagged(GracefulKiller):
            def __init_subclass__(cls, *, tag):
                pass
        killer = Tagged(on_fork=on_fork)
        calls = {
            "kill_now": lambda: killer.kill_now,
            "a loop on kill_now": lambda: [None for _ in iter(killer.kill_now, 1)],
            "event": lambda: killer.event.wait(),
            "wait": killer.wait,
            "wait_async": lambda: killer.wait_async().send(None),
            "checkpoint": killer.checkpoint,
            "stop": killer.stop,
            "exit": killer.exit,
            "extend": lambda: killer.extend(1),
            "join": killer.join,
            "fileno": killer.fileno,
            "select": lambda: select.select([killer], [], [], 0),
            "rearm": killer.rearm,
            "on": lambda: killer.on("HUP", print),
            "take": lambda: killer.take("HUP"),
            "on_stop": lambda: killer.on_stop(print),
            "on_exit": lambda: killer.on_exit(print),
            "add": lambda: killer.add(Worker()),
            "with": killer.__enter__,
            "report": killer.report,
        }
        def child():
            assert isinstance(killer, GracefulKiller)
            equal("Tagged", type(killer).__name__)
            equal(None, current())
            for name, call in calls.items():
                try:
                    call()
                except RuntimeError as error:
                    assert "on_fork='rearm'" in str(error), (name, error)
                    assert "new GracefulKiller()" in str(error), (name, error)
                else:
                    raise AssertionError(f"{name}: nothing raised")
            equal((None, False), (killer.reason, killer.armed))
            equal(None, killer.remaining())
            equal({SIGTERM: 0, SIGINT: 0}, dict(killer.counts))
            repr(killer)
            killer.close()
            with GracefulKiller() as fresh:
                send(SIGTERM)
                equal(True, fresh.kill_now)
        if on_fork == "auto":
            context = multiprocessing.get_context("fork")
            process = context.Process(target=child)
            process.start()
            process.join()
            equal(0, process.exitcode)
        else:
            equal(0, reap(fork_to(child)))
        equal((True, False), (killer.armed, killer.kill_now))
        killer.close()
        """,
        on_fork,
    )


@pytest.mark.parametrize("way", ["pickle", "copy", "spawn", "forkserver"])
def test_killer_cannot_be_pickled(passes, way: str) -> None:
    """A killer handed to another process, or copied, is an error at the call that says
    what to do; the killer works on, and no child is left."""
    passes(
        """
        import copy, multiprocessing, pickle
        way = sys.argv[1]
        killer = GracefulKiller()
        try:
            if way == "pickle":
                pickle.dumps(killer)
            elif way == "copy":
                copy.deepcopy({1: killer})
            else:
                context = multiprocessing.get_context(way)
                context.Process(target=print, args=(killer,)).start()
        except TypeError as error:
            assert "make a new GracefulKiller() in the other" in str(error), error
        else:
            raise AssertionError("nothing raised")
        equal([], multiprocessing.active_children())
        send(SIGTERM)
        equal(True, killer.wait(LIMIT))
        killer.close()
        """,
        way,
    )


@pytest.mark.parametrize(
    ("way", "on_fork"),
    [("os.fork", "auto"), ("os.fork", "rearm"), ("multiprocessing", "rearm")],
)
def test_rearm(program, backend: str, way: str, on_fork: str) -> None:
    """The killer works afresh in a child that os.fork() made, or any with
    on_fork='rearm', and the parent's is left alone."""
    done = program(
        """
        killer = GracefulKiller(backend=sys.argv[1], on_fork=sys.argv[3], grace=500)
        killer.take("USR1")
        send(SIGUSR1)
        hooked, reloaded = threading.Event(), threading.Event()
        killer.on_stop(hooked.set)
        killer.on("HUP", lambda info: reloaded.set())
        event = killer.event
        fd = killer.fileno()
        async def stopped():
            return await killer.wait_async(LIMIT)
        def child():
            equal(True, killer.armed)
            equal((False, None), (killer.kill_now, killer.reason))
            equal({0}, set(killer.counts.values()))
            equal(False, killer.wait(0))
            equal(False, event.is_set())
            equal([], select.select([killer], [], [], 0)[0])
            send(SIGHUP)
            assert reloaded.wait(LIMIT)
            threading.Timer(0, send, [SIGTERM]).start()
            import asyncio
            equal(True, asyncio.run(stopped()))
            equal(True, killer.wait(LIMIT))
            assert hooked.wait(LIMIT)
            assert killer.event.wait(LIMIT)
            assert event.wait(LIMIT)  # one that was taken before the fork
            equal([killer], select.select([killer], [], [], LIMIT)[0])
            equal((1, 1), (killer.counts[SIGTERM], killer.counts[SIGHUP]))
            equal((SIGTERM, os.getpid()), (killer.reason.signal, killer.reason.si_pid))
            assert 400 < killer.remaining() <= 500
            killer.close()
            equal(SIG_DFL, signal.getsignal(SIGTERM))
        if sys.argv[2] == "os.fork":
            equal(0, reap(fork_to(child)))
        else:
            import multiprocessing
            process = multiprocessing.get_context("fork").Process(target=child)
            process.start()
            process.join()
            equal(0, process.exitcode)
        equal((False, None), (killer.kill_now, killer.reason))
        equal((False, False), (hooked.is_set(), reloaded.is_set()))
        equal({SIGTERM: 0, SIGINT: 0, SIGUSR1: 1, SIGHUP: 0}, dict(killer.counts))
        send(SIGTERM)
        assert killer.wait(LIMIT)
        assert hooked.wait(LIMIT)
        killer.close()
        """,
        backend,
        way,
        on_fork,
    ).finish()

    assert (done.status, done.err) == (0, "")


def test_fork_while_stopping(passes) -> None:
    """A child that is forked during the stop is not stopping, and has no deadline."""
    passes(
        """
        killer = GracefulKiller(grace=6)
        send(SIGTERM)
        assert killer.event.wait(LIMIT)
        pid = os.fork()
        if not pid:
            start = time.monotonic()
            until(lambda: time.monotonic() > start + 6.2, "the parent's deadline")
            from gracefulexit import lowlevel
            os._exit(3 if lowlevel.state() == "running" else 4)
        killer.close()
        equal(3, reap(pid))
        """
    )


def test_fork_in_a_section(passes) -> None:
    """In a child the forking thread's sections are open and close normally, others are
    gone, and nothing is pending."""
    passes(
        """
        entered, leave = threading.Event(), threading.Event()
        def other():
            with TerminateProtected():
                entered.set()
                leave.wait()
        thread = threading.Thread(target=other)
        thread.start()
        entered.wait()
        with TerminateProtected() as section:
            send(SIGTERM)
            equal(True, section.pending)
            pid = os.fork()
            if not pid:
                equal(False, section.pending)
                with TerminateProtected():
                    pass
        if not pid:
            equal(SIG_DFL, signal.getsignal(SIGTERM))
            send(SIGTERM)
            os._exit(9)
        equal(-15, reap(pid))
        try:
            leave.set()
            thread.join()
            time.sleep(LIMIT)
        except GracefulExit:
            pass
        """
    )


def test_fork_in_a_held_section_can_be_killed(passes) -> None:
    """A child that is forked in a section and leaves it dies of SIGTERM."""
    passes(
        """
        with TerminateProtected():
            pid = os.fork()
            if not pid:
                with TerminateProtected():
                    pass
        if not pid:
            send(SIGTERM)
            os._exit(9)
        equal(-15, reap(pid))
        """
    )


def test_signal_between_fork_and_exec(passes) -> None:
    """A signal to a child between fork and exec ends that child."""
    passes(
        """
        import subprocess
        killer = GracefulKiller()
        for _ in range(5):
            try:
                child = subprocess.Popen(
                    ["/bin/true"], preexec_fn=lambda: send(SIGTERM)
                )
            except subprocess.SubprocessError:
                continue  # it died before it could tell of its exec
            equal(-15, child.wait())
        equal(False, killer.kill_now)
        killer.close()
        """
    )


def test_daemonising(program) -> None:
    """A double fork with closerange() and a new killer in the grandchild works."""
    child = program(
        """
        GracefulKiller().close()
        before = GracefulKiller()
        reader, writer = os.pipe()
        if os.fork():
            os.close(writer)
            pid = int(os.read(reader, 20))
            os.kill(pid, SIGTERM)
            equal(b"stopped SIGTERM", os.read(reader, 100))
            equal(b"", os.read(reader, 100))
            equal(False, before.kill_now)
            before.close()
            print("good")
            sys.exit()
        os.setsid()
        if os.fork():
            os._exit(0)
        out = os.dup2(writer, 200)
        os.closerange(0, 200)
        with GracefulKiller() as killer:
            os.write(out, str(os.getpid()).encode())
            killer.wait()
            os.write(out, b"stopped " + killer.reason.signal.name.encode())
        os._exit(0)
        """
    )
    done = child.finish()

    assert (done.status, done.out, done.err) == (0, "good\n", "")


@pytest.mark.parametrize("stuck", [False, True])
@pytest.mark.slow
def test_daemon_that_closes_everything(
    program, tmp_path, backend: str, stuck: bool
) -> None:
    """A daemon that forks twice and closes all descriptors after the killer was made
    stops gracefully, and ends by a signal at its deadline if it is stuck."""
    done = program(
        """
        import ctypes
        backend, stuck = sys.argv[1], sys.argv[2] == "True"
        killer = GracefulKiller(backend=backend, grace=1 if stuck else 500)
        killer.on_stop(lambda: os.mkdir("hook"))
        killer.on_exit(lambda: os.mkdir(f"closed {os.getpid()}"))
        killer.fileno()
        pr_set_child_subreaper = 36
        equal(0, ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0))
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            os.setsid()
            pid = os.fork()
            if pid:
                os.write(writer, str(pid).encode())
                os._exit(0)
            os.chdir(".")
            os.umask(0)
            os.closerange(0, 4096)
            null = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(null, stream)
            os.mkdir("ready")
            if stuck:
                hold = ctypes.PyDLL(None).sleep  # with the interpreter
                while True:
                    hold(60)
            equal([killer], select.select([killer], [], [], LIMIT)[0])
            killer.exit()
        equal(0, reap(pid))
        daemon = int(os.read(reader, 20))
        until_ready("ready")
        os.kill(daemon, SIGTERM)
        equal(-15, reap(daemon))
        assert stuck or os.path.exists("hook")
        equal(not stuck, os.path.exists(f"closed {daemon}"))
        equal((False, None, True), (killer.kill_now, killer.reason, killer.armed))
        equal([], select.select([killer], [], [], 0)[0])
        killer.close()
        """,
        backend,
        stuck,
    ).finish()

    assert (done.status, done.err) == (0, "")


@pytest.mark.slow
def test_stuck_child_ends_at_its_deadline(passes, backend: str) -> None:
    """The grace of a forked child begins at its own signal, and holds there with the
    interpreter held; the parent goes on."""
    passes(
        """
        import ctypes
        killer = GracefulKiller(backend=sys.argv[1], grace=6)
        def child():
            os.mkdir("ready")
            killer.wait(LIMIT)
            os.mkdir("stopping")
            ctypes.PyDLL(None).sleep(1000)
        pid = fork_to(child)
        until_ready("ready")
        os.kill(pid, SIGTERM)
        until_ready("stopping")
        equal(-15, reap(pid))
        equal((False, None), (killer.kill_now, killer.remaining()))
        hears(killer, SIGINT)
        killer.close()
        """,
        backend,
    )


def test_generations(passes, backend: str) -> None:
    """Each of a line of children hears the signal that it was sent, and no other."""
    passes(
        """
        signals = [signal.SIGRTMIN + n for n in range(6)]
        killer = GracefulKiller(signals, backend=sys.argv[1])
        def generation(n):
            if n == len(signals):
                return 0
            child = fork_to(lambda: generation(n + 1)) if n + 1 < len(signals) else 0
            os.mkdir(f"ready-{n}")
            if n:
                Path(f"ready-{n}", "pid").write_text(str(os.getpid()))
                assert killer.wait(LIMIT)
                equal(signals[n], killer.reason.signum)
                equal([n == m for m in range(6)], [*map(bool, killer.counts.values())])
            if child:
                equal(0, reap(child))
            return 0
        from pathlib import Path
        helper = threading.Thread(target=generation, args=(0,))
        helper.start()
        for n in (3, 1, 5, 2, 4):
            path = Path(f"ready-{n}", "pid")
            until(lambda: path.exists() and path.read_text(), f"generation {n}")
            os.kill(int(path.read_text()), signals[n])
        helper.join()
        equal({0}, set(killer.counts.values()))
        equal(False, killer.kill_now)
        killer.close()
        """,
        backend,
    )


def test_reference_to_the_event(passes) -> None:
    """`killer.event` that was handed out before the fork tells of the child's stop,
    even if the parent was stopping at the fork."""
    passes(
        """
        killer = GracefulKiller()
        event = killer.event
        for _ in range(2):
            def child():
                equal(False, event.is_set())
                assert event is killer.event
                send(SIGTERM)
                assert event.wait(LIMIT)
            equal(0, reap(fork_to(child)))
            killer.stop()
            assert event.wait(LIMIT)
        killer.close()
        """
    )


def test_hooks_of_a_child_that_was_forked_while_stopping(passes) -> None:
    """They run once, at the child's own stop, and not when they are registered."""
    passes(
        """
        killer = GracefulKiller()
        ran = []
        killer.on_stop(lambda: ran.append("old"))
        killer.on_exit(lambda: ran.append("exit"))
        killer.stop()
        until(lambda: ran == ["old"], "the hook")
        def child():
            ran.clear()
            killer.on_stop(lambda: ran.append("new"))
            equal([], ran)
            equal({"not started"}, {hook.result for hook in killer.report().hooks})
            send(SIGTERM)
            until(lambda: len(ran) == 2, "the hooks")
            equal(["new", "old"], ran)
            killer.close()
            equal(["new", "old", "exit"], ran)
        equal(0, reap(fork_to(child)))
        killer.close()
        equal(["old", "exit"], ran)
        """
    )


@pytest.mark.parametrize("where", ["in it", "beside it"])
@pytest.mark.parametrize("what", ["hook", "callback"])
def test_fork_while_user_code_runs(passes, backend: str, what: str, where: str) -> None:
    """A child that is forked in a hook or callback, or while one runs, runs its own
    at its own signals."""
    passes(
        """
        backend, what, where = sys.argv[1:]
        killer = GracefulKiller(backend=backend)
        signum = SIGTERM if what == "hook" else SIGHUP
        inside, leave, forked = (threading.Event() for _ in range(3))
        parent = os.getpid()
        ran = []
        def child():
            ran.clear()
            for n in range(1 if what == "hook" else 3):
                send(signum)
                until(lambda: len(ran) == n + 1, "called in the child")
            equal({os.getpid()}, set(ran))
        def called(*info):
            ran.append(os.getpid())
            if os.getpid() != parent:
                return
            inside.set()
            if where == "in it":
                equal(0, reap(fork_to(child)))
                forked.set()
            else:
                leave.wait(LIMIT)
        killer.on_stop(called) if what == "hook" else killer.on("HUP", called)
        send(signum)
        assert inside.wait(LIMIT)
        if where == "beside it":
            equal(0, reap(fork_to(child)))
            leave.set()
        else:
            assert forked.wait(LIMIT)
        equal([parent], ran)
        killer.close()
        """,
        backend,
        what,
        where,
    )


def test_child_leaves_the_block(passes) -> None:
    """In a forked child leaving the `with` block stops and closes the child's own
    killer, and ends nothing of the parent's."""
    passes(
        """
        ran = []
        with GracefulKiller() as killer:
            killer.on_exit(lambda: ran.append(os.getpid()))
            pid = os.fork()
            if pid:
                equal(0, reap(pid))
                equal((False, True, []), (killer.kill_now, killer.armed, ran))
        equal([os.getpid()], ran)
        equal(SIG_DFL, signal.getsignal(SIGTERM))
        if not pid:
            os._exit(0)
        """
    )


@pytest.mark.parametrize("closes", [False, True])
def test_thread_that_forked_returns(passes, backend: str, closes: bool) -> None:
    """A child whose forking thread returns ends when its other threads have ended, as
    it does without us: threads of ours do not keep it."""
    passes(
        """
        backend, closes = sys.argv[1], sys.argv[2] == "True"
        killer = GracefulKiller(backend=backend)
        pids = []
        def last():
            main = threading.main_thread()  # whose is_alive() may join it
            until(lambda: main not in threading.enumerate(), "it has returned")
            os.mkdir("last")
        def run():
            pids.append(os.fork())
            if not pids[0]:
                threading.Thread(target=last).start()
                if closes:
                    killer.close()
        in_thread(run)
        equal(0, reap(*pids))
        assert os.path.exists("last")
        equal(True, killer.armed)
        killer.close()
        """,
        backend,
        closes,
    )


def test_thread_that_forked_leaves_a_killer_of_its_own(passes, backend: str) -> None:
    """So does one with a killer that was made there and never closed."""
    passes(
        """
        pids = []
        def run():
            pids.append(os.fork())
            if not pids[0]:
                GracefulKiller(backend=sys.argv[1])
        in_thread(run)
        equal(0, reap(*pids))
        """,
        backend,
    )


@pytest.mark.parametrize("where", ["main", "thread"])
def test_raises_in_a_child(passes, handler_backend: str, where: str) -> None:
    """raises= and chain= work in the child as well, whatever thread forked it."""
    passes(
        """
        backend, where = sys.argv[1:]
        chained = []
        signal.signal(SIGUSR1, lambda *_: chained.append(os.getpid()))
        killer = GracefulKiller(backend=backend, raises=KeyboardInterrupt)
        second = GracefulKiller("USR1", chain=True)
        def child():
            try:
                send(SIGTERM)
                time.sleep(LIMIT)
            except KeyboardInterrupt:
                equal(SIGTERM, killer.reason.signum)
                send(SIGUSR1)
                until(lambda: chained == [os.getpid()], "the handler of before")
                return 5
        fork = lambda: equal(5, reap(fork_to(child)))
        fork() if where == "main" else in_thread(lambda: fork() or True)
        equal([], chained)
        try:
            send(SIGTERM)
            time.sleep(LIMIT)
        except KeyboardInterrupt:
            killer.close()
            second.close()
        """,
        handler_backend,
        where,
    )


def test_exit_status_of_a_child(passes) -> None:
    """killer.exit() in a forked child ends it by the child's own signal, or with 0."""
    passes(
        """
        killer = GracefulKiller()
        def child(signum):
            if signum:
                send(signum)
                killer.wait()
            killer.exit()
        for signum in (0, SIGTERM, SIGINT):
            pid = os.fork()
            if not pid:
                child(signum)
            equal(-signum, reap(pid))
        killer.close()
        """
    )


def test_exit_in_a_thread_that_forked(passes) -> None:
    """killer.exit() ends the child of a thread as exit_status says, without a
    traceback; without a stop, with status 0."""
    done = passes(
        """
        for exit_status, stopped, status in (
            ("signal", True, -15), ("code", True, 143), (7, True, 7),
            ("signal", False, 0),
        ):
            killer = GracefulKiller(exit_status=exit_status)
            pids = []
            def run():
                pids.append(os.fork())
                if not pids[0]:
                    if stopped:
                        send(SIGTERM)
                        killer.wait()
                    killer.exit()
            in_thread(run)
            equal(status, reap(*pids))
            killer.close()
        """
    )

    assert done.err == ""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="CPython warns since 3.12")
@pytest.mark.parametrize("action", ["default", "error"])
def test_deprecation_warning(program, action: str) -> None:
    """os.fork() beside a killer warns, as beside any thread. As an error CPython drops
    the warning, and since 3.15 raises it in the parent when the child is there: in
    either case parent and child go on."""
    raises = action == "error" and sys.version_info >= (3, 15)
    done = program(
        """
        killer = GracefulKiller()
        os.mkdir("children")
        def child():
            os.mkdir(f"children/{os.getpid()}")
            assert killer.wait(LIMIT), "it was never stopped"
            return int(killer.reason.signum)
        raised = False
        try:
            fork_to(child)
        except DeprecationWarning as error:
            raised = "is multi-threaded, use of fork()" in str(error)
        equal(sys.argv[1], str(raised))
        until(lambda: os.listdir("children"), "the child says that it is there")
        (pid,) = map(int, os.listdir("children"))
        os.kill(pid, SIGTERM)
        equal(int(SIGTERM), reap(pid))
        equal(False, killer.kill_now)
        killer.close()
        """,
        raises,
        options=["-W", f"{action}::DeprecationWarning"],
    ).finish()

    assert done.status == 0
    assert done.err.count("is multi-threaded, use of fork()") == (action == "default")
    assert "Error" not in done.err


@pytest.mark.race
@pytest.mark.slow
def test_signal_right_after_the_fork(passes, backend: str) -> None:
    """A child that is signalled before it can have been re-armed dies of the signal or
    stops by it, and the parent hears nothing: 200 times."""
    passes(
        """
        import random
        killer = GracefulKiller(backend=sys.argv[1])
        def child():
            killer.wait()
            return HEARD
        statuses = []
        for n in times(200):
            pid = fork_to(child)
            until_pause = time.monotonic() + random.random() / 500
            while time.monotonic() < until_pause:
                pass
            os.kill(pid, SIGTERM)
            statuses.append(reap(pid))
        assert set(statuses) <= {HEARD, -15}, set(statuses)
        equal({0}, set(killer.counts.values()))
        equal((False, True), (killer.kill_now, killer.armed))
        killer.close()
        """,
        backend,
    )
