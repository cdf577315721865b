"""ProcessWorker: a process with the face of a Worker."""

from __future__ import annotations

import signal

import pytest

METHODS = ["fork", "spawn", "forkserver"]
# One quick form of each start method is in test_a_signal_to_the_program.
MORE_METHODS = [
    "fork",
    pytest.param("spawn", marks=pytest.mark.slow),
    pytest.param("forkserver", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("method", METHODS)
def test_a_signal_to_the_program(script, method: str) -> None:
    """A signal to the program asks its process workers, which end with status 0."""
    source = """
    def main(method):
        with GracefulKiller(grace=LIMIT) as killer:
            worker = Waiting(start_method=method)
            worker.on_stop(say, "hook from the parent")
            worker.start()
            equal([], killer.join())
            equal(True, worker.stopping)
        equal((0, None), (worker.exitcode, worker.error))
        killer.exit()
    """
    child = script(source, method)
    child.wait_line("ready")
    child.signal(signal.SIGTERM)
    done = child.finish()

    assert done.err == ""
    assert sorted(done.out.split("\n")[1:-1]) == ["ending", "hook from the parent"]
    assert done.status == -signal.SIGTERM


@pytest.mark.parametrize("method", MORE_METHODS)
def test_the_face_in_the_child(works, method: str) -> None:
    """The child has an event, stopping, a wait, a shutdown and a killer of its own."""
    source = """
    class Looking(Talking):
        def run(self):
            assert isinstance(self.shutdown_flag, threading.Event)
            equal((False, False), (self.stopping, self.shutdown_flag.is_set()))
            equal(False, self.wait(0.01))
            killer = current()
            equal(False, killer.kill_now)
            self.shutdown_flag = mine = threading.Event()
            self.tell("looking")
            equal(True, self.wait(LIMIT))
            equal((True, True), (self.stopping, killer.wait(LIMIT)))
            equal(True, mine.wait(LIMIT))
            self.shutdown_flag = late = threading.Event()
            equal(True, late.is_set())
            equal(True, self.is_alive())
            equal(os.getpid(), self.pid)
            message = f"asked by its parent, pid {os.getppid()}"
            if self.start_method != "forkserver":
                equal(message, killer.reason.message)

    class Alone(ProcessWorker):
        def run(self):
            self.shutdown()
            equal((True, True), (self.wait(LIMIT), self.stopping))

    def main(method):
        worker = Looking(start_method=method)
        worker.start()
        equal("looking", worker.hear())
        worker.shutdown()
        equal(0, ended(worker))
        worker = Alone(start_method=method)
        worker.start()
        equal((0, False), (ended(worker), worker.stopping))
    """
    works(source, method)


def test_the_face_in_the_parent(works) -> None:
    """In the parent a worker tells whether it was asked, and setting its flag asks."""
    source = """
    def main():
        worker = Waiting(start_method="fork")
        flag = worker.shutdown_flag
        equal((False, False), (worker.stopping, flag.is_set()))
        equal((False, None), (worker.is_alive(), worker.pid))
        worker.start()
        equal((False, False), (worker.wait(0.01), flag.wait(0)))
        waiting = threading.Thread(target=worker.wait)
        waiting.start()
        flag.set()
        equal((True, True), (worker.stopping, worker.wait(LIMIT)))
        waiting.join(LIMIT)
        equal(False, waiting.is_alive())
        try:
            flag.clear()
        except RuntimeError as error:
            assert "start a new one" in str(error)
        else:
            raise AssertionError("cleared")
        worker.shutdown()
        equal(0, ended(worker))
        worker.shutdown()
        flag.set()
        equal((True, None), (worker.stopping, worker.error))
    """
    works(source)


def test_stopping_comes_with_a_reason(works) -> None:
    """Also for a child that is quicker than the thread that listens to its parent."""
    source = """
    class Quick(Talking):
        def run(self):
            sys.setswitchinterval(LIMIT)
            self.tell("ready")
            end = time.monotonic() + LIMIT
            while not self.stopping:
                assert time.monotonic() < end, "not asked"
            assert current().reason.message.startswith("asked by its parent")

    def main():
        with GracefulKiller() as killer:
            worker = Quick(start_method="fork")
            worker.start()
            equal("ready", worker.hear())
            worker.shutdown()
            worker.join(LIMIT)
            equal((0, None), (worker.exitcode, worker.error))
    """
    works(source)


@pytest.mark.parametrize("method", MORE_METHODS)
def test_asked_before_the_start(works, method: str) -> None:
    """Who is asked before the start begins stopped, hooks and all."""
    source = """
    class Stopped(ProcessWorker):
        def run(self):
            say(("begins", self.stopping, self.wait(LIMIT)))
            self.on_stop(say, "late hook")

    def main(method):
        worker = Stopped(start_method=method)
        worker.on_stop(say, "hook")
        worker.shutdown()
        equal((True, True), (worker.stopping, worker.wait()))
        worker.start()
        equal(0, ended(worker))
    """
    done = works(source, method)

    assert sorted(done.out.splitlines()) == [
        "('begins', True, True)",
        "hook",
        "late hook",
        "main has returned",
    ]


def test_a_worker_asked_by_a_killer_that_stops_already(works) -> None:
    """A worker that is started during the stop begins stopped."""
    source = """
    def main():
        with GracefulKiller() as killer:
            killer.stop()
            worker = Waiting(start_method="fork")
            worker.start()
            equal([], killer.join())
            equal(0, worker.exitcode)
    """
    works(source)


@pytest.mark.parametrize("method", MORE_METHODS)
def test_steps(works, method: str) -> None:
    """step() is called in the child, again and again, until it is asked."""
    source = """
    class Counting(Talking):
        interval = 0.001
        n = 0
        def step(self):
            self.n += 1
            if self.n == 3:
                self.interval = 1000  # the pause ends at once when asked
                self.tell(os.getpid())

    def main(method):
        worker = Counting(start_method=method)
        worker.start()
        equal(worker.pid, worker.hear())
        worker.shutdown()
        equal((0, 0), (ended(worker), worker.n))
    """
    works(source, method)


def test_a_target(works) -> None:
    """With a target it is called, with its arguments, in the child."""
    source = """
    def work(a, b):
        say((a, b, os.getpid()))

    def main():
        worker = ProcessWorker(
            None, work, "a name", (1,), {"b": 2}, daemon=True, start_method="fork"
        )
        equal(("a name", True), (worker.name, worker.daemon))
        worker.start()
        equal(0, ended(worker))
        say((1, 2, worker.pid))
    """
    first, second, _ = works(source).out.splitlines()

    assert first == second


def test_hooks(works) -> None:
    """Hooks run in the child, last registered first, each once; one that fails is
    logged, and the rest go on."""
    source = """
    class Hooked(Talking):
        def run(self):
            @self.on_stop
            def first_in_run():
                say(f"first in run, in the child: {os.getpid() == self.pid}")
            self.on_stop(int, "no number")
            equal(say, self.on_stop(say, "last in run"))
            self.tell("ready")
            self.wait()

    def main():
        worker = Hooked(start_method="fork")
        worker.on_stop(say, "first")
        worker.on_stop(say, "second")
        worker.start()
        equal("ready", worker.hear())
        worker.shutdown()
        equal(0, ended(worker))
        equal(None, worker.error)
    """
    done = works(source)

    assert done.out.splitlines() == [
        "last in run",
        "first in run, in the child: True",
        *("second", "first", "main has returned"),
    ]
    assert done.err.count("on_stop hook int failed: ValueError") == 1


def test_hooks_of_one_that_nobody_asks(works) -> None:
    """At the latest the end of run() runs the hooks; one that blocks for ever holds
    the end up no longer than the schedule would."""
    source = """
    class Hooked(ProcessWorker):
        stop = ("ASK", 0.05, "KILL")
        def run(self):
            self.on_stop(threading.Event().wait)
            self.on_stop(say, "hook")

    def main():
        worker = Hooked(start_method="fork")
        worker.start()
        equal((0, None), (ended(worker), worker.error))
    """
    done = works(source)

    assert done.out.splitlines() == ["hook", "main has returned"]
    assert "on_stop hook Event.wait has not ended in time" in done.err


@pytest.mark.parametrize("method", MORE_METHODS)
def test_serve_forever(works, method: str) -> None:
    """A child in serve_forever() is stopped by a hook that shuts the server down,
    whenever it is asked."""
    source = """
    import socketserver, urllib.request
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Hello(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello")
        def log_message(self, *args):
            pass

    class Server(ProcessWorker):
        writer = None
        def run(self):
            with ThreadingHTTPServer(("127.0.0.1", 0), Hello) as httpd:
                self.on_stop(httpd.shutdown)
                self.writer.send(httpd.server_port)
                httpd.serve_forever(poll_interval=0.01)

    def main(method):
        import multiprocessing
        for at_once in (False, True):
            server = Server(start_method=method)
            reader, server.writer = multiprocessing.Pipe()
            server.start()
            assert reader.poll(LIMIT)
            port = reader.recv()
            if not at_once:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}") as answer:
                    equal(b"hello", answer.read())
            server.shutdown()
            equal(0, ended(server))
    """
    works(source, method)


def test_ctrl_c_and_term_in_the_child(works) -> None:
    """SIGINT does nothing in the child; SIGTERM asks it, and again, nothing."""
    source = """
    class Listening(Talking):
        def run(self):
            self.tell("ready")
            equal("on", self.answer())
            equal(False, self.wait(0))
            self.tell("still here")
            self.wait()
            self.tell(current().reason.signal.name)
            equal("end", self.answer())

    def main():
        with GracefulKiller(grace=LIMIT) as killer:
            worker = Listening(start_method="fork")
            worker.start()
            equal("ready", worker.hear())
            for _ in range(10):
                os.kill(worker.pid, SIGINT)
            worker.to_child.send("on")
            equal("still here", worker.hear())
            os.kill(worker.pid, SIGTERM)
            equal("SIGTERM", worker.hear())
            for signum in (SIGTERM, SIGINT, SIGTERM):
                os.kill(worker.pid, signum)
            worker.to_child.send("end")
            equal((0, None), (ended(worker), worker.error))
            equal((False, False), (worker.stopping, killer.kill_now))
    """
    works(source)


@pytest.mark.parametrize("method", MORE_METHODS)
def test_children_of_the_child_are_normal(works, method: str) -> None:
    """What a worker starts has the masks and dispositions of any process, and none
    of our descriptors."""
    source = """
    import json, subprocess
    LOOK = (
        "import json, os; from probe import masks; "
        "print(json.dumps([masks(), sorted(os.listdir('/proc/self/fd'))]))"
    )

    def look():
        out = subprocess.run(
            [sys.executable, "-c", LOOK], stdout=-1, close_fds=False, check=True
        ).stdout
        return json.loads(out)

    class Starting(ProcessWorker):
        def run(self):
            say(json.dumps(look()[0]))
            sleep = subprocess.Popen(["sleep", "1000"])
            try:
                sleep.send_signal(SIGINT)
                say(sleep.wait(LIMIT))
            finally:
                sleep.kill()  # or it would outlive a test that fails

    def main(method):
        say(json.dumps(look()[0]))
        worker = Starting(start_method=method)
        worker.start()
        equal(0, ended(worker))
    """
    without, within, status, _ = works(source, method).out.splitlines()

    assert within == without
    assert int(status) == -signal.SIGINT


def test_a_fork_in_the_child(works) -> None:
    """A process that the child forks hears for itself, and that our parent asks is
    none of its business."""
    source = """
    class Forking(Talking):
        def run(self):
            reader, writer = os.pipe()
            pid = os.fork()
            if not pid:
                os.write(writer, b"x")
                current().wait()
                os._exit(7 if current().reason.signum == SIGTERM else 8)
            os.read(reader, 1)
            self.tell("ready")
            self.wait()
            equal((0, 0), os.waitpid(pid, os.WNOHANG))
            os.kill(pid, SIGTERM)
            equal(7, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            equal(0, current().counts[SIGTERM])

    def main():
        worker = Forking(start_method="fork")
        worker.start()
        equal("ready", worker.hear())
        worker.shutdown()
        equal(0, ended(worker))
    """
    works(source)


def test_nested(works) -> None:
    """A worker may have workers: they register with the killer of the child."""
    source = """
    class Outer(ProcessWorker):
        def run(self):
            self.inner = Waiting(start_method="fork")
            self.inner.start()
            self.wait()
            equal([], current().join())
            equal(0, self.inner.exitcode)

    def main():
        with GracefulKiller(grace=LIMIT) as killer:
            Outer(start_method="fork").start()
            killer.stop()
            equal([], killer.join())
    """
    works(source)
