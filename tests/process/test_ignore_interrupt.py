"""Ctrl-C on a real terminal, typed to programs with process pools and process
workers: the program stops, and no child is cut."""

from __future__ import annotations

import os
import pty
import signal
from collections.abc import Iterator

import pytest
from child_process import Child, Finished

METHODS = [
    "fork",
    pytest.param("spawn", marks=pytest.mark.slow),
    pytest.param("forkserver", marks=pytest.mark.slow),
]
FOREGROUND = """
    import fcntl, multiprocessing, termios
    from concurrent.futures import ProcessPoolExecutor

    def foreground():
        '''Stdin is our terminal from now on, and our group has its Ctrl-C.'''
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def nap(n):
        time.sleep(0.01)
        return n * n

    def pids(pool_map, size):
        '''Every worker of a pool is there, and past its initializer.'''
        found = set()
        def all_there():
            found.update(pool_map(pid, range(8)))
            return len(found) == size
        until(all_there, "all are there")

    def pid(_):
        time.sleep(0.001)
        return os.getpid()
"""


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a pseudo-terminal: master, slave."""
    master, slave = pty.openpty()
    yield master, slave
    os.close(master)
    os.close(slave)


def interrupted(child: Child, master: int, after: str = "go") -> Finished:
    child.wait_line(after)
    os.write(master, b"\x03")
    return child.finish()


POOLS = """
    class Plain:
        '''What the tests need of the two, the same way.'''

        def __init__(self, kind, method):
            context = multiprocessing.get_context(method)
            if kind == "Pool":
                self.pool = context.Pool(2, initializer=ignore_interrupt)
            else:
                self.pool = ProcessPoolExecutor(
                    2, mp_context=context, initializer=ignore_interrupt
                )

        def begin(self):
            if isinstance(self.pool, ProcessPoolExecutor):
                running = [self.pool.submit(nap, n) for n in range(20)]
                return lambda: [future.result(LIMIT) for future in running]
            running = self.pool.map_async(nap, range(20))
            return lambda: running.get(LIMIT)

        def join(self):
            if not isinstance(self.pool, ProcessPoolExecutor):
                self.pool.join()
"""


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["Pool", "ProcessPoolExecutor"])
def test_a_pool(script, terminal, kind: str, method: str) -> None:
    """With ignore_interrupt() as its initializer, Ctrl-C stops a program with a pool:
    tasks in hand are finished, no child prints a traceback, nothing hangs."""
    source = """
    def main(kind, method):
        foreground()
        with GracefulKiller(grace=LIMIT) as killer:
            plain = Plain(kind, method)
            with plain.pool as pool:
                pids(pool.map, 2)
                results = plain.begin()
                say("go")
                killer.wait()
                equal([n * n for n in range(20)], results())
            plain.join()
            equal([], multiprocessing.active_children())
        killer.exit()
    """
    master, slave = terminal
    child = script(FOREGROUND + POOLS + source, kind, method, stdin=slave)
    done = interrupted(child, master)

    assert done.err == ""
    assert done.status == -signal.SIGINT


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["Pool", "ProcessPoolExecutor"])
def test_a_pool_without_a_killer(script, terminal, kind: str, method: str) -> None:
    """Without a killer KeyboardInterrupt ends the program's block, and no child has
    anything to say."""
    source = """
    def main(kind, method):
        foreground()
        plain = Plain(kind, method)
        try:
            with plain.pool as pool:
                pids(pool.map, 2)
                results = plain.begin()
                say("go")
                # Python alone misses a signal that comes between its last look and
                # its sleep; with a limit it looks again.
                while True:
                    time.sleep(0.1)
        except KeyboardInterrupt:
            plain.join()
        equal([], multiprocessing.active_children())
    """
    master, slave = terminal
    child = script(FOREGROUND + POOLS + source, kind, method, stdin=slave)
    done = interrupted(child, master)

    assert done.err == ""
    assert done.status == 0


@pytest.mark.parametrize("method", METHODS)
def test_terminate_still_ends_them(works, method: str) -> None:
    """terminate() ends children with ignore_interrupt(), and programs that they
    start are interrupted as usual."""
    source = """
    import multiprocessing, subprocess

    def sleep(writer):
        ignore_interrupt()
        ignore_interrupt()
        os.kill(os.getpid(), SIGINT)
        program = subprocess.Popen(["sleep", "1000"])
        try:
            program.send_signal(SIGINT)
            writer.send(program.wait(LIMIT))
        finally:
            program.kill()  # or it would outlive a test that fails
        threading.Event().wait()

    def main(method):
        killer = GracefulKiller()
        context = multiprocessing.get_context(method)
        reader, writer = context.Pipe()
        process = context.Process(target=sleep, args=(writer,))
        process.start()
        assert reader.poll(LIMIT)
        equal(-SIGINT, reader.recv())
        process.terminate()
        process.join(LIMIT)
        equal(-SIGTERM, process.exitcode)
        pool = context.Pool(2, initializer=ignore_interrupt)
        pool.map_async(time.sleep, [1000] * 2)
        pool.terminate()
        pool.join()
        equal(False, killer.kill_now)
    """
    works(source, method)


@pytest.mark.parametrize("method", METHODS)
def test_process_workers(script, terminal, method: str) -> None:
    """Ctrl-C on the terminal does not cut process workers: the program asks them."""
    source = """
    class Busy(Talking):
        def run(self):
            self.tell("ready")
            self.wait()
            equal(None, getattr(current().reason.signal, "name", None))
            say("asked")

    def main(method):
        foreground()
        with GracefulKiller(grace=LIMIT) as killer:
            workers = [Busy(start_method=method) for _ in range(3)]
            for worker in workers:
                worker.start()
                worker.hear()
            say("go")
            killer.wait()
            equal([], killer.join())
            equal([0] * 3, [w.exitcode for w in workers])
        killer.exit()
    """
    master, slave = terminal
    child = script(FOREGROUND + source, method, stdin=slave)
    done = interrupted(child, master)

    assert done.err == ""
    assert done.out.splitlines() == ["go"] + ["asked"] * 3
    assert done.status == -signal.SIGINT


def test_ctrl_c_while_they_start(script, terminal, backend: str) -> None:
    """Ctrl-C typed again and again while process workers are started cuts none."""
    source = """
    def main(backend):
        foreground()
        with GracefulKiller(grace=LIMIT, escalate=(), backend=backend) as killer:
            say("go")
            workers = []
            while not killer.kill_now or len(workers) < 20:
                workers.append(Waiting(start_method="fork"))
                workers[-1].start()
            equal([], killer.join())
            equal({0}, {w.exitcode for w in workers})
            equal({None}, {w.error for w in workers})
        killer.exit()
    """
    master, slave = terminal
    child = script(FOREGROUND + source, backend, stdin=slave)
    child.wait_line("go")
    for _ in range(30):
        child.wait_line("ready")  # one more each time that one has started
        os.write(master, b"\x03")
        if child.out.count("ready") >= 15:
            break
    done = child.finish()

    assert done.err == ""
    assert done.status == -signal.SIGINT


def test_refused(works) -> None:
    """ignore_interrupt() says what to write where it is called instead of passed, and
    in a thread."""
    source = """
    import multiprocessing, pickle
    from concurrent.futures import ThreadPoolExecutor

    def refused(call, kind, message):
        try:
            call()
        except kind as error:
            assert message in str(error), error
        else:
            raise AssertionError("it went through")

    def in_child():
        with ThreadPoolExecutor(1) as pool:
            in_thread = pool.submit(ignore_interrupt)
            refused(in_thread.result, ValueError, "main thread")

    def main():
        before = signal.getsignal(SIGINT)
        refused(ignore_interrupt, RuntimeError, "pass the function and do not call it")
        equal(before, signal.getsignal(SIGINT))
        assert pickle.loads(pickle.dumps(ignore_interrupt)) is ignore_interrupt
        process = multiprocessing.get_context("fork").Process(target=in_child)
        process.start()
        process.join(LIMIT)
        equal(0, process.exitcode)
        pid = os.fork()
        if not pid:
            ignore_interrupt()
            os._exit(0)
        equal((pid, 0), os.waitpid(pid, 0))
    """
    works(source)


def test_nohup_stays(works) -> None:
    """Where SIGINT was ignored from the beginning, it stays so, for programs that are
    started, too."""
    source = """
    def main():
        pid = os.fork()
        if not pid:
            ignore_interrupt()
            os._exit(0 if signal.getsignal(SIGINT) is SIG_IGN else 1)
        equal((pid, 0), os.waitpid(pid, 0))
    """
    works(source, ignored=[signal.SIGINT])
