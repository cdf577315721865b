"""How process workers end: by schedule, with their parent, by an error; and who is
told of it."""

from __future__ import annotations

import os
import signal

import pytest

METHODS = [
    "fork",
    pytest.param("spawn", marks=pytest.mark.slow),
    pytest.param("forkserver", marks=pytest.mark.slow),
]
C_FORK = "ctypes.PyDLL(None).fork()"


@pytest.mark.parametrize("method", METHODS)
def test_the_schedule(works, method: str) -> None:
    """Who does not end when asked gets SIGTERM, then SIGKILL."""
    source = """
    def main(method):
        with GracefulKiller(grace=LIMIT) as killer:
            worker = Deaf(start_method=method)
            worker.start()
            worker.hear()
            killer.stop()
            equal([], killer.join())
            equal(-9, worker.exitcode)
            equal("RuntimeError('was killed by SIGKILL')", repr(worker.error))
            assert f"failed: {worker.error!r}" in str(killer.report())
            equal(False, killer._failed)
    """
    done = works(source, method)

    assert done.out.splitlines() == ["asked", "TERM", "main has returned"]
    assert "worker Deaf-1 has not ended in time; killing it" in done.err


def test_term_ends_one_that_does_not_look(works) -> None:
    """SIGTERM in the schedule asks a child that has missed the first asking: here,
    because its descriptors were closed."""
    source = """
    class Closing(Talking):
        stop = ("ASK", 0.05, "TERM", 1000, "KILL")
        def run(self):
            self.tell("ready")
            self.answer()
            os.closerange(3, 4096)
            say("closed")
            self.shutdown_flag.wait()
            say(current().reason.signal)

    def main():
        worker = Closing(start_method="fork")
        worker.start()
        worker.hear()
        worker.to_child.send("go on")
        worker.shutdown()
        equal((0, None), (ended(worker), worker.error))
    """
    works(source)


@pytest.mark.parametrize("when", ["stop", "before", "by hand"])
@pytest.mark.slow
def test_the_schedule_fits_into_the_grace(works, when: str) -> None:
    """SIGKILL comes before join() gives up, however long the schedule is, also if
    it was begun before the stop."""
    source = """
    def main(when):
        with GracefulKiller(grace=10) as killer:
            worker = Deaf(start_method="fork", stop=("ASK", 500, "TERM", 500, "KILL"))
            worker.start()
            worker.hear()
            if when == "before":
                worker.shutdown()
                equal(True, worker.is_alive())
            killer.stop()
            if when == "by hand":
                killer.event.wait(LIMIT)
                worker.shutdown()
            equal([], killer.join())
            equal(-9, worker.exitcode)
    """
    done = works(source, when)

    assert done.out.splitlines() == ["asked", "TERM", "main has returned"]


@pytest.mark.parametrize(
    ("method", "fork"),
    [
        ("fork", "os.fork()"),
        ("fork", C_FORK),
        pytest.param("spawn", C_FORK, marks=pytest.mark.slow),
        pytest.param("forkserver", "os.fork()", marks=pytest.mark.slow),
    ],
)
def test_the_parent_is_killed(script, method: str, fork: str) -> None:
    """A child whose parent was killed stops by itself, as if it had been asked, also
    if processes with all that the parent had open go on."""
    source = """
    class Orphan(Talking):
        def run(self):
            self.on_stop(say, "hook")
            self.tell("ready")
            self.wait()
            say(current().reason.message.partition(",")[0])

    def main(method, fork):
        import ctypes
        for orphan in (Orphan(start_method=method), Orphan(start_method=method)):
            orphan.start()
            orphan.hear()
        pid = eval(fork)
        say(f"sibling {pid or os.getpid()}")
        time.sleep(1000)
    """
    quiet = ["-W", "ignore::DeprecationWarning"]  # 3.12 on: of forks beside threads
    child = script(source, method, fork, options=quiet)
    sibling = int(child.wait_line("sibling").split()[1])
    child.signal(signal.SIGKILL)
    for _ in range(2):
        child.wait_line("has lost its parent")
    os.kill(sibling, signal.SIGKILL)
    done = child.finish()

    assert done.status == -signal.SIGKILL
    assert done.err == ""
    for line in ("hook", "has lost its parent"):
        assert done.out.splitlines().count(line) == 2, done.out


def test_an_orphan_that_does_not_end(script) -> None:
    """A child that does not end after its parent was killed ends itself by force,
    after the time that the schedule gives."""
    source = """
    class Orphan(Deaf):
        stop = ("ASK", 0.05, "KILL")

    def main():
        worker = Orphan(start_method="fork")
        worker.start()
        say(f"pid {worker.hear()}")
        time.sleep(LIMIT)
    """
    child = script(source)
    child.wait_line("pid")
    child.signal(signal.SIGKILL)
    done = child.finish()  # its output is closed: the worker has ended

    assert done.out.splitlines()[1:] == ["asked"]
    assert "the parent has ended, and so do I: 0.05 s are over" in done.err


ENDS = {
    "an exception": (
        "raise ValueError('too bad')",
        (1, "RuntimeError(\"ended by ValueError('too bad')\")"),
    ),
    "a status": ("sys.exit(3)", (3, "RuntimeError('ended with exit status 3')")),
    "no way out": ("os._exit(4)", (4, "RuntimeError('ended with exit status 4')")),
    "a signal": ("os.kill(0, 9)", (-9, "RuntimeError('was killed by SIGKILL')")),
    "a failed thread": (
        "t = Worker(name='t', target=int, args='x'); t.start(); self.wait()",
        (1, "its worker t failed: ValueError("),
    ),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("how", ENDS)
def test_a_worker_that_fails(script, how: str, method: str) -> None:
    """A worker that ends by an exception, by a signal, or with a status other than
    0, and was not asked, stops the program, whose status is 1, with one line."""
    code, (status, error) = ENDS[how]
    source = f"""
    class Failing(ProcessWorker):
        def run(self):
            os.setsid()
            logging.disable()
            threading.excepthook = print
            {code}

    def main(method):
        killer = GracefulKiller(grace=LIMIT)
        others = [Worker(target=killer.wait), Waiting(start_method=method)]
        killer.start(*others)
        worker = Failing(start_method=method)
        worker.start()
        equal(True, killer.wait(LIMIT))
        say(killer.reason.message)
        worker.join()
        equal({status}, worker.exitcode)
        assert {error!r} in repr(worker.error), worker.error
        killer.exit()
    """
    done = script(source, method).finish()

    assert done.status == 1
    lines = [line for line in done.err.splitlines() if line.startswith("worker ")]
    assert len(lines) == 1, done.err
    assert lines[0].startswith("worker Failing-")
    assert lines[0].endswith("; stopping")
    assert error in done.err
    assert ("Traceback" in done.err) == (how == "an exception")


def test_what_is_no_failure(works) -> None:
    """A return, sys.exit(0), an exit by the child's killer, and a status of one that
    was asked stop nothing; with worker_error="ignore" nothing does."""
    source = """
    class Ending(ProcessWorker):
        def run(self):
            {
                "return": lambda: None,
                "exit": lambda: sys.exit(),
                "killer's exit": current().exit,
                "stop and exit": lambda: (current().stop(), current().exit()),
                "checkpoint": lambda: (self.shutdown(), current().checkpoint()),
                "TERM, checkpoint": lambda: (self.term(), current().checkpoint()),
                "TERM, exit": lambda: (self.term(), current().exit()),
            }[self.name]()

        def term(self):
            os.kill(os.getpid(), SIGTERM)
            equal(True, self.wait(LIMIT))

    class Asked(ProcessWorker):
        def run(self):
            self.wait()
            sys.exit(3)

    WAYS = (
        *("return", "exit", "killer's exit", "stop and exit", "checkpoint"),
        *("TERM, checkpoint", "TERM, exit"),
    )

    def main():
        with GracefulKiller(grace=LIMIT) as killer:
            for how in WAYS:
                worker = Ending(name=how, start_method="fork")
                worker.start()
                equal((how, 0, None), (how, ended(worker), worker.error))
            worker = Asked(start_method="fork")
            worker.start()
            worker.shutdown()
            equal((3, False), (ended(worker), killer.kill_now))
            equal("RuntimeError('ended with exit status 3')", repr(worker.error))
        with GracefulKiller(grace=LIMIT, worker_error="ignore") as killer:
            worker = ProcessWorker(target=os._exit, args=(3,), start_method="fork")
            worker.start()
            equal((3, False), (ended(worker), killer.kill_now))
    """
    done = works(source)

    assert "Traceback" not in done.err


def test_a_failure_is_known_when_join_returns(works) -> None:
    """Who has joined a failed worker finds the error, and the program stopping."""
    source = """
    def main():
        logging.disable()
        for _ in range(20):
            with GracefulKiller(grace=LIMIT) as killer:
                worker = ProcessWorker(target=os._exit, args=(3,), start_method="fork")
                worker.start()
                worker.join()
                equal((True, True), (killer.kill_now, worker.error is not None))
    """
    works(source)


@pytest.mark.parametrize("daemon", [False, True])
def test_main_returns(script, daemon: bool) -> None:
    """The killer hears as long as a process worker runs that is no daemon; a daemon
    is asked at the end of the program."""
    source = """
    import random

    class Told(Talking):
        def run(self):
            self.tell("ready")
            self.wait()
            say("ending")

    def main(daemon):
        import multiprocessing.util  # its exit function is called after the killer's
        threading._register_atexit(say, "over")  # called after the killer's own
        killer = GracefulKiller(grace=LIMIT)
        worker = Told(start_method="fork", daemon=daemon == "True")
        worker.start()
        worker.hear()
        killer.on_exit(say, "hook")
    """
    child = script(source, daemon)
    child.wait_line("over")
    if not daemon:
        child.signal(signal.SIGTERM)
    done = child.finish()

    assert done.err == ""
    assert done.status == (0 if daemon else -signal.SIGTERM)
    lines = done.out.splitlines()
    if not daemon:
        assert lines.index("ending") < lines.index("hook")  # the killer was alive
    assert set(lines) == {"ending", "hook", "main has returned", "over"}


def test_reaped_by_other_code(works) -> None:
    """A child that is reaped behind our back (here by the kernel, as SIGCHLD is
    ignored) counts as ended, with status 255."""
    source = """
    def main():
        signal.signal(signal.SIGCHLD, SIG_IGN)
        worker = Waiting(start_method="fork")
        worker.start()
        worker.shutdown()
        equal(255, ended(worker))
    """
    works(source)


@pytest.mark.parametrize("rounds", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_many_look_at_once(works, rounds: int) -> None:
    """Threads that join, ask and poll at the same time all see the one end."""
    source = """
    def main(rounds):
        for n in range(int(rounds)):
            worker = ProcessWorker(
                target=os._exit, args=(n % 7 + 1,), start_method="fork"
            )
            worker.start()
            seen = []
            def look():
                while worker.is_alive():
                    worker.join(0.0001)
                seen.append(worker.exitcode)
            def join():
                worker.join()
                seen.append(worker.exitcode)
            threads = [threading.Thread(target=t) for t in (look, join) * 3]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(LIMIT)
            equal([n % 7 + 1] * 6, seen)
    """
    works(source, rounds)


@pytest.mark.parametrize("rounds", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_signals_at_the_start(works, rounds: int) -> None:
    """SIGINT and SIGTERM in any moment of the child's beginning never cut it: the
    one does nothing, the other asks."""
    source = """
    import random
    def main(rounds):
        for n in range(int(rounds)):
            worker = ProcessWorker(target=nothing, start_method="fork")
            if n % 2:
                worker = Quiet(start_method="fork")
            worker.start()
            for _ in range(random.randrange(5)):
                os.sched_yield()
            for signum in (SIGINT, SIGTERM, SIGINT):
                try:
                    os.kill(worker.pid, signum)
                except ProcessLookupError:
                    pass
            equal(0, ended(worker))
            equal(None, worker.error)

    def nothing(): pass

    class Quiet(ProcessWorker):
        def run(self): self.wait()
    """
    works(source, rounds)


@pytest.mark.parametrize("method", METHODS)
def test_signals_at_the_end(works, method: str) -> None:
    """SIGINT and SIGTERM do nothing to a child that is ending, up to its last moment,
    in which Python has taken its handlers away."""
    source = """
    import random

    class Told(Talking):
        def run(self):
            self.tell("ready")
            self.wait()

    def main(method):
        worker = Told(start_method=method)
        worker.start()
        worker.hear()
        worker.shutdown()
        while worker.is_alive():
            worker._popen.send(random.choice((SIGTERM, SIGINT)))
            time.sleep(random.random() / 1000)
        equal((0, None), (ended(worker), worker.error))
    """
    works(source, method)


def test_nothing_is_left_of_some(works) -> None:
    """Nothing is left of workers that have ended: no descriptor, thread or process."""
    works(CYCLES, "fork", 20)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_nothing_is_left(works, method: str) -> None:
    """Nothing is left of two hundred workers that have ended."""
    works(CYCLES, method, 200 if method == "fork" else 50)


CYCLES = """
import gc

class Quick(ProcessWorker):
    def run(self): self.wait()

def cycle(method, n):
    workers = [Quick(start_method=method) for _ in range(n)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.shutdown()
    for worker in workers:
        equal((0, None), (ended(worker), worker.error))

def main(method, n):
    cycle(method, 1)  # starts what multiprocessing has one of
    gc.collect()
    before = calm()
    with GracefulKiller() as killer:
        for _ in range(int(n) // 5):
            cycle(method, 5)
    try:
        assert method == "forkserver" or os.waitpid(-1, os.WNOHANG)[0] == 0
    except ChildProcessError:
        pass
    del killer
    # Who has asked the last worker to end may still be on its way out.
    until(lambda: threading.active_count() == len(before["threads"]), "the threads")
    gc.collect()
    equal({}, changes(before))
    import multiprocessing
    equal([], multiprocessing.active_children())
"""
