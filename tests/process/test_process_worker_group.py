"""Process workers among others: groups, reports, handlers, forks, bad input."""

from __future__ import annotations

import sys

import pytest

SPAWNED = [
    pytest.param("spawn", marks=pytest.mark.slow),
    pytest.param("forkserver", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("ordered", [False, True])
def test_a_group_of_threads_and_processes(works, ordered: bool) -> None:
    """A group stops threads and processes; in order, if it is ordered."""
    source = """
    class Stage(Talking):
        def run(self):
            self.tell("ready")
            self.wait()
            say(self.name)

    class Thread(Worker):
        def run(self):
            self.wait()
            say(self.name)

    def main(ordered):
        names = "a", "c", "e"
        stages = [Stage(name=n, start_method="fork") for n in names]
        threads = [Thread(name=n) for n in ("b", "d")]
        with GracefulKiller(grace=LIMIT) as killer:
            members = sorted([*stages, *threads], key=lambda w: w.name)
            group = WorkerGroup(*members, ordered=ordered == "True")
            group.start()
            for stage in stages:
                stage.hear()
            equal(True, group.is_alive())
            equal(set(members), set(group.join(0.01)))
            killer.stop()
            equal([], killer.join())
            equal([], group.join())
            equal(False, group.is_alive())
            equal([0, 0, 0], [s.exitcode for s in stages])
            equal([group], [m.thread for m in killer._members.snapshot()])
    """
    done = works(source, ordered)
    *names, _ = done.out.splitlines()

    assert sorted(names) == ["a", "b", "c", "d", "e"]
    if ordered:
        assert names == ["e", "d", "c", "b", "a"]


def test_a_group_that_is_spawned(works) -> None:
    """A group that has a worker is not carried over into the child."""
    source = """
    def main():
        with WorkerGroup(Waiting(start_method="spawn"), Worker()) as group:
            pass
        equal(False, group.is_alive())
    """
    works(source)


def test_report_and_stragglers(works) -> None:
    """A report tells of processes what it tells of threads; those that do not end in
    their time are join()'s stragglers."""
    source = """
    def main():
        killer = GracefulKiller()
        slow = Deaf(start_method="fork", stop=("ASK", 1000, "KILL"))
        quick = Waiting(start_method="fork", name="quick")
        never = Waiting(start_method="fork", name="never")
        killer.add(slow, timeout=0.05)
        killer.add(quick)
        killer.add(never)
        slow.start()
        quick.start()
        slow.hear()
        killer.stop()
        equal([slow], killer.join())
        deaf, second, _ = killer.report().workers
        equal(("Deaf-1", True, None), (deaf.name, deaf.alive, deaf.noticed))
        assert deaf.asked is not None, deaf
        equal(("quick", False), (second.name, second.alive))
        assert 0 <= second.noticed <= second.ended, second
        (one,) = killer._stragglers(time.monotonic())
        equal(("worker Deaf-1", None), (one.what, one.ident))
        quick.close()
        equal((False, quick.pid), (quick.is_alive(), quick.ident))
        quick.join()
        quick.shutdown()
        equal([slow], killer.join())
        slow.kill()
        equal(-9, ended(slow))
        killer.close()
    """
    works(source)


@pytest.mark.slow
def test_many_short_ones_with_one_killer(works) -> None:
    """A killer forgets process workers that have ended, so a server may start them
    without end; they keep no more descriptors than multiprocessing does."""
    source = """
    def main():
        with GracefulKiller(grace=LIMIT) as killer:
            for n in range(300):
                worker = ProcessWorker(target=int, start_method="fork")
                worker.start()
                equal(0, ended(worker))
            assert len(killer._members.snapshot()) < 300
            # Those that are remembered have the sentinel and what belongs to it.
            left = len(killer._members.snapshot())
            assert len(descriptors()) < 2 * left + 20, descriptors()
    """
    works(source)


HANDLER = """
def main(rounds):
    # What main may hold: locks of threading, of the worker, of logging.
    logging.basicConfig(filename=os.devnull, level=0)
    asked = 0
    def on_signal(signum, frame):
        nonlocal asked
        worker.shutdown()
        worker.shutdown_flag.set()
        worker.is_alive()
        asked += 1
    signal.signal(SIGUSR1, on_signal)
    main_thread = threading.get_ident()
    for n in range(int(rounds)):
        worker = Waiting(start_method="fork")
        go = threading.Event()
        def fire():
            go.wait(LIMIT)
            until(lambda: time.monotonic() > moment, "the moment")
            for _ in range(1 + n % 3):
                signal.pthread_kill(main_thread, SIGUSR1)
        moment = time.monotonic() + (n % 10) * 0.001
        firing = threading.Thread(target=fire)
        firing.start()
        go.set()
        worker.start()
        while not worker.stopping:
            worker.wait(0)
            worker.is_alive()
            worker.exitcode
            threading.enumerate()
            logging.info("busy")
            if n % 2:
                worker.shutdown()
        worker.shutdown_flag.wait(LIMIT)
        equal((0, None), (ended(worker), worker.error))
        firing.join(LIMIT)
    assert asked >= int(rounds) // 2
"""


def test_asked_in_a_handler(works) -> None:
    """shutdown() in a Python signal handler never hangs, whatever main is in."""
    works(HANDLER, 10)


@pytest.mark.slow
def test_asked_in_a_handler_a_hundred_times(works) -> None:
    """shutdown() in a Python signal handler never hangs, in two hundred rounds."""
    works(HANDLER, 200)


def test_nothing_while_idle(works) -> None:
    """No thread of an idle worker or of its parent runs: nobody polls."""
    source = """
    from examples import all_asleep, switches
    def main():
        with GracefulKiller(grace=LIMIT) as killer:
            worker = Talking2(start_method="fork")
            worker.start()
            worker.hear()
            def sleep():
                nonlocal before
                last, before = before, [switches(worker.pid), switches(os.getpid())]
                me = threading.get_native_id()
                ours = before[1].pop(me)
                return last == before and all(map(all_asleep, before))
            before = None
            until(sleep, "idle")
            time.sleep(0.15)
            idle, before = before, None
            until(sleep, "idle")
            equal(idle, before)

    class Talking2(Talking):
        def run(self):
            self.tell("ready")
            self.wait()
    """
    works(source)


@pytest.mark.parametrize("on_fork", ["auto", "reset", "rearm"])
def test_the_killer_of_the_parent(works, on_fork: str) -> None:
    """The child has a killer of its own, whatever forked children get of the
    parent's; the hooks of that one are not called in it."""
    source = """
    class Looking(Talking):
        def run(self):
            equal((signal.SIGTERM,), current().signals)
            assert current() is not killer
            os.kill(os.getpid(), SIGINT)
            equal(False, self.wait(0.01))
            self.tell("looked")
            self.wait()

    def main(on_fork):
        global killer
        killer = GracefulKiller(grace=LIMIT, on_fork=on_fork)
        killer.on_stop(say, "stop hook")
        killer.on_exit(say, "exit hook")
        worker = Looking(start_method="fork")
        worker.start()
        equal("looked", worker.hear())
        killer.stop()
        equal([], killer.join())
        equal(0, worker.exitcode)
        killer.close()
    """
    done = works(source, on_fork)

    assert sorted(done.out.splitlines()) == [
        *("exit hook", "main has returned", "stop hook"),
    ]


@pytest.mark.parametrize("method", ["fork", *SPAWNED])
def test_each_back_end(works, backend: str, method: str) -> None:
    """Whatever the back end of the parent's killer: the child hears, Ctrl-C does
    nothing in it, what it starts has clean masks, and the parent hears its own."""
    source = """
    import json, subprocess
    LOOK = "import json; from probe import masks; print(json.dumps(masks()))"

    def look():
        command = [sys.executable, "-c", LOOK]
        return subprocess.run(command, stdout=-1, check=True).stdout

    class Looking(Talking):
        def run(self):
            for signum in (SIGINT, SIGTERM):
                os.kill(os.getpid(), signum)
            equal(True, self.wait(LIMIT))
            equal(SIGTERM, current().reason.signum)
            self.tell(look())

    def main(method, backend):
        without_us = look()
        with GracefulKiller(grace=LIMIT, backend=backend) as killer:
            worker, other = Looking(start_method=method), Waiting(start_method=method)
            worker.start()
            other.start()
            equal(without_us, worker.hear())
            equal((0, None), (ended(worker), worker.error))
            equal({SIGTERM: 0, SIGINT: 0}, dict(killer.counts))
            send(SIGTERM)
            equal([], killer.join())
            equal(0, other.exitcode)
            equal({SIGTERM: 1, SIGINT: 0}, dict(killer.counts))
    """
    works(source, method, backend)


def test_a_storm(works) -> None:
    """SIGINT and SIGTERM by the hundred, to the child and to the parent, while it is
    asked: it ends well."""
    source = """
    def main():
        killer = GracefulKiller(escalate=(), grace=LIMIT)
        workers = [Waiting(start_method="fork") for _ in range(5)]
        killer.start(*workers)
        for n in range(500):
            for worker in workers:
                try:
                    os.kill(worker.pid, (SIGINT, SIGTERM)[n % 2])
                except ProcessLookupError:
                    pass
            if n > 200:
                os.kill(os.getpid(), (SIGINT, SIGTERM)[n % 2])
        equal([], killer.join())
        equal([0] * 5, [w.exitcode for w in workers])
        equal([None] * 5, [w.error for w in workers])
    """
    works(source)


# ---- bad input

# In CPython's order, whose default is first.
METHODS = (
    "'forkserver', 'fork', 'spawn'"
    if sys.version_info >= (3, 14)
    else "'fork', 'spawn', 'forkserver'"
)
BAD = {
    "ProcessWorker(stop='TERM')": "TypeError: a schedule is a tuple like",
    "ProcessWorker(stop=('ASK', 10))": "must end with 'KILL'",
    "ProcessWorker(stop=())": "must end with 'KILL'",
    "ProcessWorker(stop=('EOF', 10, 'KILL'))": "EOF",
    "ProcessWorker(stop=('ASK', 'TERM', 'KILL'))": "no seconds before 'TERM'",
    "ProcessWorker(stop=(1, 'ASK', 1, 'KILL'))": "begin it with 'ASK'",
    "ProcessWorker(start_method='vfork')": (
        f"ValueError: start_method is one of {METHODS}; got 'vfork'"
    ),
    "ProcessWorker().on_stop(None)": "TypeError: on_stop hook must be callable",
    "ProcessWorker().on_stop(len, nothing=1)": "TypeError",
    "ProcessWorker().wait(float('nan'))": "ValueError: timeout",
    "of(interval=-1).start()": "ValueError: interval must be 0 or more seconds",
    "of(stop=('ASK',)).start()": "ValueError: a schedule must end with 'KILL'",
    "of(start_method='no').start()": (
        f"ValueError: start_method is one of {METHODS}; got 'no'"
    ),
    "setattr(of(), 'shutdown_flag', threading.Event())": "assign it in run()",
    "Uninitialised().start()": "call super().__init__()",
    "GracefulKiller(()).add(ProcessWorker)": "a ProcessWorker or a WorkerGroup",
    "started.on_stop(print)": "RuntimeError: this process worker is started",
    "started.start()": "AssertionError: cannot start a process twice",
    "started.close()": "ValueError: Cannot close a process",
}


def test_bad_input(works) -> None:
    """What cannot work is refused at the call, in words; nothing is started."""
    source = f"""
    BAD = {BAD!r}

    def of(**attributes):
        return type("Bad", (ProcessWorker,), attributes)()

    class Uninitialised(ProcessWorker):
        def __init__(self):
            pass

    def main():
        started = Waiting(start_method="fork")
        started.start()
        with GracefulKiller(()) as killer:
            before = state()
            for code, message in BAD.items():
                try:
                    eval(code, {{**globals(), "started": started}})
                except Exception as error:
                    text = f"{{type(error).__name__}}: {{error}}"
                    assert message in text, (code, text)
                else:
                    raise AssertionError(code)
            equal([], killer._members.snapshot())
            equal({{}}, changes(before))
        started.shutdown()
        equal(0, ended(started))
    """
    works(source)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_cannot_be_pickled(works, method: str) -> None:
    """A worker that cannot be carried over says at start() which part it is and what
    to do; nothing is left of the attempt, and the next may succeed."""
    source = """
    class Module(ProcessWorker):
        pass

    def main(method):
        class Local(ProcessWorker):
            pass
        hooked = Module(start_method=method)
        hooked.on_stop(lambda: None)
        having = Module(start_method=method)
        having.lock = threading.Lock()
        target = Module(target=lambda: None, start_method=method)
        args = Module(target=say, args=(sys.stdin, having.lock), start_method=method)
        cases = {
            having: "its attribute lock cannot be pickled; make it in run()",
            target: "its argument target cannot be pickled",
            args: "its argument args cannot be pickled",
            hooked: "its on_stop() hooks cannot be pickled; register them in",
            Local(start_method=method): "define it at the top level of a module",
        }
        with GracefulKiller() as killer:
            fds = None
            for worker, message in cases.items():
                try:
                    worker.start()
                except TypeError as error:
                    expected = f"worker {worker.name} cannot be started by {method!r}: "
                    assert str(error).startswith(expected), error
                    assert message in str(error), error
                    assert error.__cause__ is not None
                else:
                    raise AssertionError(worker)
                before, fds = fds, descriptors()
                if before is not None:  # the first one started a resource tracker
                    equal(before, fds)
                equal((None, False), (worker.pid, worker.is_alive()))
            equal([], killer._members.snapshot())
            del having.lock
            having.start()
            equal(0, ended(having))
    """
    works(source, method)


@pytest.mark.parametrize("method", ["fork", *SPAWNED])
def test_a_start_that_fails_leaves_nothing(works, method: str) -> None:
    """Without a thread to look after it a child is not left alone; without
    descriptors none is made."""
    source = """
    import resource

    def fails(worker, kind):
        try:
            worker.start()
        except kind:
            return
        raise AssertionError("started")

    def main(method):
        first = Waiting(start_method=method)
        first.start()  # with it what multiprocessing has one of
        first.shutdown()
        equal(0, ended(first))
        first.close()
        calm()
        with GracefulKiller() as killer:
            before = state()
            start, threading.Thread.start = threading.Thread.start, None
            fails(Waiting(start_method=method), TypeError)
            threading.Thread.start = start
            equal({}, changes(before))
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            free = os.dup(0)
            os.close(free)
            for spare in range(8):
                resource.setrlimit(resource.RLIMIT_NOFILE, (free + spare, hard))
                worker = Waiting(start_method=method)
                try:
                    worker.start()
                except OSError:
                    pass
                else:
                    worker.shutdown()
                    equal(0, ended(worker))
                    worker.close()
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                del worker
                equal({}, changes(before))
    """
    works(source, method)


def test_a_worker_of_another_process(works) -> None:
    """A forked child cannot ask the workers of its parent."""
    source = """
    def main():
        worker = Waiting(start_method="fork")
        worker.start()
        pid = os.fork()
        if not pid:
            try:
                worker.shutdown()
            except RuntimeError as error:
                assert f"belongs to process {os.getppid()}" in str(error)
                os._exit(7)
            os._exit(8)
        equal(7, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        equal(False, worker.wait(0.01))
        worker.shutdown()
        equal(0, ended(worker))
    """
    works(source)
