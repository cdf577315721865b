"""Descriptors in other people's hands: closed, replaced, exhausted."""

from __future__ import annotations

import signal
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from child_process import Finished
from programs import PRELUDE

# Files of every kind that get a number which was ours, and what has arrived in them.
VICTIMS = """
import errno, random, resource, socket
from gracefulexit import lowlevel
from sections import Warnings

class Victims:
    KEPT = 3000  # and above: not in reach of closerange(3, 2000)

    def __init__(self):
        self._next = self.KEPT
        self.file = self._keep(os.open("victim", os.O_CREAT | os.O_RDWR | os.O_APPEND))
        reader, writer = os.pipe()  # a blocking one
        self.reader, self.pipe = self._keep(reader), self._keep(writer)
        ours, theirs = socket.socketpair()
        self.peer, self.socket = self._keep(ours.detach()), self._keep(theirs.detach())
        reader, writer = os.pipe()
        os.close(reader)
        self.unread = self._keep(writer)
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        self.fill = b""
        while len(self.fill) < 65536:
            self.fill += b"x" * os.write(writer, b"x" * 4096)
        os.set_blocking(writer, True)
        self.full_reader, self.full = self._keep(reader), self._keep(writer)
        self.all = self.file, self.pipe, self.socket, self.unread, self.full

    def _keep(self, fd):
        os.dup2(fd, self._next)
        os.close(fd)
        self._next += 1
        return self._next - 1

    def take(self, numbers):
        "Open one at each of these numbers; returns what is there now."
        return {fd: self._take(fd) for fd in numbers}

    def _take(self, fd):
        victim = random.choice(self.all)
        while True:
            try:
                os.dup2(victim, fd)
                return os.fstat(victim)[1:3]
            except OSError as e:  # the kernel is about to give it to us
                equal(errno.EBUSY, e.errno)

    def check(self):
        "Nothing has come in, and nothing was taken out."
        equal(0, os.fstat(self.file).st_size)
        for fd in self.reader, self.peer:
            os.set_blocking(fd, False)
            try:
                raise AssertionError(f"came in: {os.read(fd, 100)}")
            except BlockingIOError:
                pass
        os.set_blocking(self.full_reader, False)
        equal(self.fill, os.read(self.full_reader, 1 << 20))

def still_there(taken):
    equal(taken, {fd: os.stat(fd)[1:3] for fd in taken})

if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 4096:
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
signal.signal(signal.SIGPIPE, SIG_DFL)  # as command-line programs do
"""


@pytest.fixture
def attacked(passes: Callable[..., Finished]) -> Callable[..., Finished]:
    """A child that checks things itself, with VICTIMS in scope."""

    def run(source: str, *args: object) -> Finished:
        return passes(VICTIMS + textwrap.dedent(source), *args)

    return run


def test_closed_and_taken(attacked, backend: str) -> None:
    """All descriptors closed and files of every kind at their numbers: all is heard,
    and no file gets or loses a byte."""
    attacked(
        """
        victims = Victims()
        killer = GracefulKiller(backend=sys.argv[1])
        heard = threading.Semaphore(0)
        killer.on("USR1", lambda info: heard.release())
        fd = killer.fileno()
        for n in range(100):
            os.closerange(3, 2000)
            taken = victims.take(random.sample(range(3, 80), random.randrange(77)))
            send(SIGUSR1)
            assert heard.acquire(timeout=LIMIT), n
            still_there(taken)
            if n % 10 == 0:
                fd = killer.fileno()
                assert fd not in taken
        equal(100, killer.counts[SIGUSR1])
        fd = killer.fileno()
        send(SIGTERM)
        assert killer.wait(LIMIT)
        assert killer.event.wait(LIMIT)
        equal([fd], select.select([fd], [], [], LIMIT)[0])
        os.closerange(3, 2000)
        taken = victims.take(range(3, 80))
        killer.close()
        still_there(taken)
        victims.check()
        """,
        backend,
    )


@pytest.mark.slow
def test_storm(program, backend: str) -> None:
    """One thread closes and re-uses all numbers without a pause while another process
    sends, killers come and go and others wait: exact counts, nobody hangs."""
    child = program(
        VICTIMS
        + """
victims = Victims()
killer = GracefulKiller(backend=sys.argv[1])
killer.on("USR2", lambda info: os.write(1, b"heard\\n"))
over = threading.Event()

def attack():
    while not over.is_set():
        os.closerange(3, 300)
        # Not all: log lines and the sender's name need some, as all programs do.
        victims.take(random.sample(range(64, 80), 10))
        if random.random() < 0.3:
            time.sleep(random.random() / 100)

def come_and_go():
    while not over.is_set():
        other = GracefulKiller("HUP")
        other.fileno()
        other.close()

def wait(results):
    results.append(killer.wait(LIMIT))

results = []
attacker = threading.Thread(target=attack)
waiters = [threading.Thread(target=wait, args=[results]) for _ in range(3)]
others = threading.Thread(target=come_and_go)
for thread in (attacker, others, *waiters):
    thread.start()
print("ready", flush=True)
for thread in waiters:
    thread.join()
over.set()
attacker.join()
others.join()
equal([True] * 3, results)
equal(300, killer.counts[SIGUSR2])
os.closerange(3, 300)
killer.close()
victims.check()
""",
        backend,
    )
    child.wait_line("ready")
    for _ in range(300):
        child.signal(signal.SIGUSR2)
        child.wait_line("heard")
    child.signal(signal.SIGTERM)
    done = child.finish()

    assert done.status == 0, done.err  # and log lines about fileno()


@pytest.mark.parametrize("kind", ["waits", "does not wait", "has data", "pipe"])
def test_file_of_the_sender_taken(attacked, kind: str) -> None:
    """While the sender's name is read, the number of that file becomes that of somebody
    else's socket or pipe: no call is lost or held up, nothing is taken out or told."""
    attacked(
        """
        victims = Victims()
        kind = sys.argv[1]
        source = victims.full_reader if kind == "pipe" else victims.socket
        os.set_blocking(source, kind == "waits")
        if kind == "has data":
            os.write(victims.peer, b"secret")
        killer = GracefulKiller()
        heard, senders = threading.Event(), set()
        over = threading.Event()

        @killer.on("USR2")
        def hear(info):
            senders.add(info.sender)
            heard.set()

        def attack():
            while not over.is_set():
                for fd in 3, 4, 5:
                    try:
                        os.dup2(source, fd)
                    except OSError as e:  # the kernel is about to give it to us
                        equal(errno.EBUSY, e.errno)
                os.closerange(3, 6)

        def call():
            heard.clear()
            send(SIGUSR2)
            assert heard.wait(LIMIT), "not called"

        attacker = threading.Thread(target=attack)
        attacker.start()
        for _ in range(100):
            call()
        over.set()
        attacker.join()
        os.closerange(3, 6)
        true_one = " ".join([sys.executable, *sys.orig_argv[1:]])[:200]
        assert all(s is None or true_one.startswith(s[:50]) for s in senders), senders
        senders.clear()
        call()
        assert None not in senders
        if kind == "has data":
            equal(b"secret", os.read(victims.socket, 100))
        killer.close()
        victims.check()
        """,
        kind,
    )


def test_fileno_after_loss(attacked, backend: str) -> None:
    """fileno() gives a fresh descriptor, with one log line, when either end of the old
    one is gone; a loop that asks each time hears the stop."""
    attacked(
        """
        victims = Victims()
        warnings = Warnings()
        killer = GracefulKiller(backend=sys.argv[1])
        for lose in (
            lambda fd: os.close(fd),
            lambda fd: os.close(other),
            lambda fd: os.dup2(victims.file, fd),
            lambda fd: os.dup2(victims.full, other),
            lambda fd: os.closerange(3, 2000),
        ):
            killer.close()
            killer = GracefulKiller(backend=sys.argv[1])
            before = descriptors()
            fd = killer.fileno()
            new = set(map(int, descriptors().keys() - before.keys()))
            (other,) = (n for n in new if 64 <= n < victims.KEPT and n != fd)
            equal(fd, killer.fileno())
            equal([], warnings.texts)
            lose(fd)
            fresh = killer.fileno()
            assert f"descriptor {fd} of killer.fileno()" in warnings.texts[0], warnings
            assert f"{fresh} takes its place" in warnings.texts[0], warnings.texts
            del warnings.texts[0]
        equal([], select.select([killer], [], [], 0)[0])
        send(SIGTERM)
        equal([killer], select.select([killer], [], [], LIMIT)[0])
        os.closerange(3, 2000)
        equal([killer], select.select([killer], [], [], LIMIT)[0])
        killer.close()
        equal(1, len(warnings.texts))
        victims.check()
        """,
        backend,
    )


def test_lost_at_the_stop(attacked, backend: str) -> None:
    """A descriptor of fileno() that was replaced is not written at the stop, and the
    log says who does not hear."""
    attacked(
        """
        victims = Victims()
        for n in range(100):
            warnings = Warnings()
            killer = GracefulKiller(backend=sys.argv[1])
            fd = killer.fileno()
            os.close(fd)
            os.close(fd + 1)
            taken = victims.take([fd, fd + 1])
            send(SIGTERM)
            assert killer.event.wait(LIMIT)
            until(lambda: warnings.texts, "the log")
            killer.close()
            equal(1, len(warnings.texts))
            assert "does not hear of the stop" in warnings.texts[0], warnings.texts
            still_there(taken)
            os.closerange(fd, fd + 2)
            logging.getLogger("gracefulexit").removeHandler(warnings)
        victims.check()
        """,
        backend,
    )


def test_close_leaves_others_alone(attacked, backend: str) -> None:
    """A killer that lost its descriptor closes neither a file that has its number nor
    another killer's."""
    attacked(
        """
        victims = Victims()
        keeper = GracefulKiller(backend=sys.argv[1])
        for n in range(100):
            first, second = GracefulKiller("HUP"), GracefulKiller("HUP")
            fd = first.fileno()
            os.closerange(fd, fd + 2)
            taken = {}
            if n % 2:
                taken = victims.take([fd, fd + 1])
            again = second.fileno()
            equal(not n % 2, again == fd)
            first.close()
            still_there(taken)
            second.stop()
            equal([again], select.select([again], [], [], LIMIT)[0])
            second.close()
            still_there(taken)
            os.closerange(fd, fd + 2)
            keeper.close()
            keeper = GracefulKiller(backend=sys.argv[1])
        victims.check()
        """,
        backend,
    )


def test_forked_child_leaves_others_alone(attacked, backend: str) -> None:
    """A child closes its copies of ours, and not what has their numbers by then."""
    attacked(
        """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        victims = Victims()
        killer = GracefulKiller(backend=sys.argv[1])
        for n in range(20):
            fd = killer.fileno()
            os.closerange(3, 2000)
            taken = victims.take([fd, fd + 1])
            pid = os.fork()
            if not pid:
                still_there(taken)
                os._exit(0)
            equal(0, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            still_there(taken)
            os.closerange(3, 2000)
        killer.close()
        victims.check()
        """,
        backend,
    )


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_wakeup_fd_lost(attacked, backend: str, kind: str) -> None:
    """A descriptor of add_wakeup_fd() that was closed and re-used, or made blocking, is
    dropped with one log line and never written; the others are fed."""
    attacked(
        """
        def pair():
            if sys.argv[2] == "pipe":
                reader, writer = os.pipe()
            else:
                reader, writer = (s.detach() for s in socket.socketpair())
            os.set_blocking(writer, False)
            return reader, writer

        def got(reader):
            assert select.select([reader], [], [], LIMIT)[0], "nothing"
            return os.read(reader, 100)

        victims = Victims()
        warnings = Warnings()
        killer = GracefulKiller(backend=sys.argv[1])
        killer.take("USR1")
        reader, writer = pair()
        lowlevel.add_wakeup_fd(writer)
        for n in range(100):
            lost = pair()[1]
            lowlevel.add_wakeup_fd(lost)
            os.close(lost)
            taken = victims.take([lost])
            send(SIGUSR1)
            equal(bytes([SIGUSR1]), got(reader))
            until(lambda: warnings.texts, "the log")
            equal(1, len(warnings.texts))
            assert f"descriptor {lost} was closed" in warnings.texts.pop()
            send(SIGUSR1)
            equal(bytes([SIGUSR1]), got(reader))
            still_there(taken)
            try:
                lowlevel.remove_wakeup_fd(lost)
                raise AssertionError("it is not fed any more")
            except ValueError:
                pass
            os.close(lost)
        equal([], warnings.texts)
        os.set_blocking(writer, True)
        send(SIGUSR1)
        if sys.argv[2] == "pipe":
            until(lambda: warnings.texts, "the log")
            assert "made blocking" in warnings.texts.pop()
        else:
            equal(bytes([SIGUSR1]), got(reader))  # send() need not block
        send(SIGTERM)
        assert killer.event.wait(LIMIT)
        killer.close()
        equal([], warnings.texts)
        victims.check()
        """,
        backend,
        kind,
    )


def test_none_to_be_had(passes, backend: str) -> None:
    """Without a free descriptor: an error where one is asked for and nothing half done;
    what is installed goes on hearing."""
    passes(
        """
        import asyncio, errno, resource
        GracefulKiller().close()
        before = calm()
        high = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        backend = sys.argv[1]

        def refused(call):
            try:
                call()
            except OSError as e:
                equal(errno.EMFILE, e.errno)
                assert "ulimit -n" in e.strerror, e
            else:
                raise AssertionError("it should have failed")

        resource.setrlimit(resource.RLIMIT_NOFILE, (0, high))
        if backend == "pipe":
            refused(lambda: GracefulKiller(backend=backend))
            equal(None, current())
            resource.setrlimit(resource.RLIMIT_NOFILE, (256, high))
            equal({}, changes(before))
        killer = GracefulKiller(backend=backend)
        event = threading.Event()
        killer.on_stop(event.set)
        loop = asyncio.new_event_loop() if backend == "pipe" else None
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, high))
        refused(killer.fileno)
        refused(killer.fileno)
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, high))
        fd = killer.fileno()
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, high))
        if loop is not None:
            equal(False, loop.run_until_complete(killer.wait_async(0)))
        send(SIGTERM)
        assert killer.wait(LIMIT)
        assert event.wait(LIMIT)
        if loop is not None:
            equal(True, loop.run_until_complete(killer.wait_async()))
            loop.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, high))
        equal([fd], select.select([fd], [], [], LIMIT)[0])
        killer.close()
        equal({}, changes(before))
        """,
        backend,
    )


def test_lost_and_none_to_be_had(attacked, backend: str) -> None:
    """Ours closed and no new one to be had: all is heard, fileno() says why it fails,
    and works again when there is one."""
    attacked(
        """
        victims = Victims()
        killer = GracefulKiller(backend=sys.argv[1])
        heard = threading.Semaphore(0)
        killer.on("USR1", lambda info: heard.release())
        high = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        for n in range(20):
            killer.fileno()
            resource.setrlimit(resource.RLIMIT_NOFILE, (0, high))
            os.closerange(3, 2000)
            send(SIGUSR1)
            assert heard.acquire(timeout=LIMIT), n
            try:
                killer.fileno()
                raise AssertionError("it should have failed")
            except OSError as e:
                equal(errno.EMFILE, e.errno)
            resource.setrlimit(resource.RLIMIT_NOFILE, (4096, high))
        equal(20, killer.counts[SIGUSR1])
        fd = killer.fileno()
        send(SIGTERM)
        equal([fd], select.select([fd], [], [], LIMIT)[0])
        killer.close()
        """,
        backend,
    )


def test_first_three_closed(program, backend: str, tmp_path: Path) -> None:
    """Started without 0 to 2: ours are elsewhere, and what is opened there gets neither
    our wake-ups nor our log lines."""
    source = (
        # libffi may keep a descriptor of its own from the first import of ctypes,
        # which is done by the harness: not one of these three.
        "import os\n"
        "taken = [os.open(os.devnull, os.O_RDWR) for _ in range(3)]\n"
        "import ctypes\n"
        "os.closerange(0, 3)\n"
        + PRELUDE
        + VICTIMS
        + textwrap.dedent(
            """
            def say(what):
                os.write(200, what)
            sys.excepthook = lambda *error: say(repr(error).encode())
            equal((None, None, None), (sys.stdin, sys.stdout, sys.stderr))
            equal([0, 1, 2], taken)
            killer = GracefulKiller(backend=sys.argv[1])
            killer.take("USR1")
            fd = killer.fileno()
            assert fd >= 64, fd
            files = [os.open(f"file{n}", os.O_CREAT | os.O_RDWR) for n in range(3)]
            equal([0, 1, 2], files)
            say(b"ready\\n")
            until(lambda: killer.take("USR1"), "the first signal")
            os.close(fd)
            killer.fileno()  # one log line
            assert killer.wait(LIMIT)
            killer.close()
            equal([0] * 3, [os.fstat(n).st_size for n in files])
            say(b"good\\n")
            """
        )
    )
    (tmp_path / "without.py").write_text(source)
    child = program(
        """
        os.dup2(1, 200)
        env = {k: v for k, v in os.environ.items() if k != "PYTHONFAULTHANDLER"}
        os.closerange(0, 3)
        os.execve(sys.executable, [sys.executable, "without.py", sys.argv[1]], env)
        """,
        backend,
    )
    child.wait_line("ready")
    child.signal(signal.SIGUSR1)
    child.signal(signal.SIGTERM)
    done = child.finish()

    assert (done.status, done.out, done.err) == (0, "ready\ngood\n", "")


def test_wait_async_without_descriptors(attacked, backend: str) -> None:
    """A task in wait_async() wakes though everything but the loop's own was closed and
    taken; if the loop's was closed too, asyncio says so and the killer goes on."""
    attacked(
        """
        import asyncio
        victims = Victims()
        killer = GracefulKiller(backend=sys.argv[1])

        async def waits():
            killer.fileno()
            tasks = [asyncio.create_task(killer.wait_async()) for _ in range(3)]
            await asyncio.sleep(0)
            os.closerange(60, 2000)
            taken = victims.take(range(60, 80))
            send(SIGTERM)
            equal([True] * 3, await asyncio.wait_for(asyncio.gather(*tasks), LIMIT))
            still_there(taken)
            os.closerange(60, 2000)

        async def closes():
            task = asyncio.create_task(killer.wait_async())
            await asyncio.sleep(0)
            os.closerange(3, 2000)
            await task

        asyncio.run(waits())
        killer.close()
        killer = GracefulKiller(backend=sys.argv[1])
        try:
            asyncio.run(closes())
            raise AssertionError("the loop should have failed")
        except OSError as e:
            equal(errno.EBADF, e.errno)
        send(SIGTERM)
        assert killer.wait(LIMIT)
        killer.close()
        victims.check()
        """,
        backend,
    )


def test_daemon_closes_all(program, backend: str) -> None:
    """A double fork that closes all descriptors, and takes their numbers, after the
    killer was made: it is heard in the daemon and in the parent, each its own."""
    child = program(
        VICTIMS
        + textwrap.dedent(
            """
            import warnings
            warnings.simplefilter("ignore", DeprecationWarning)
            killer = GracefulKiller(backend=sys.argv[1], on_fork="rearm", grace=60)
            killer.fileno()
            reader, writer = os.pipe()
            pid = os.fork()
            if pid:
                os.close(writer)
                equal(0, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                daemon = int(os.read(reader, 20))
                os.kill(daemon, SIGTERM)
                equal(b"stopped", os.read(reader, 100))
                equal(b"", os.read(reader, 100))
                equal(False, killer.kill_now)
                killer.stop()
                equal([killer], select.select([killer], [], [], LIMIT)[0])
                killer.close()
                print("good")
                sys.exit()
            os.setsid()
            if os.fork():
                os._exit(0)
            out = os.dup2(writer, 3500)
            victims = Victims()
            os.closerange(0, 2000)
            equal(0, os.open(os.devnull, os.O_RDWR))
            equal((1, 2), (os.dup2(0, 1), os.dup2(0, 2)))
            victims.take(range(3, 80))
            os.write(out, str(os.getpid()).encode())
            if killer.wait(LIMIT) and select.select([killer], [], [], LIMIT)[0]:
                victims.check()
                os.write(out, b"stopped")
            os._exit(0)
            """
        ),
        backend,
    )
    done = child.finish()

    assert (done.status, done.out, done.err) == (0, "good\n", "")


@pytest.mark.race
@pytest.mark.slow
def test_forks_in_a_storm(attacked, backend: str) -> None:
    """Forks while another thread closes and re-uses all numbers: each child hears for
    itself, the parent's counts are exact."""
    attacked(
        """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        victims = Victims()
        killer = GracefulKiller(backend=sys.argv[1], on_fork="rearm")
        killer.on("USR1", lambda info: None)
        over = threading.Event()

        def attack():
            while not over.is_set():
                os.closerange(3, 300)
                victims.take(random.sample(range(64, 80), 10))
                if random.random() < 0.3:
                    time.sleep(random.random() / 100)

        attacker = threading.Thread(target=attack)
        attacker.start()
        for n in times(100):
            send(SIGUSR1)
            pid = os.fork()
            if not pid:
                send(SIGTERM)
                heard = killer.wait(LIMIT) and killer.event.wait(LIMIT)
                os._exit(0 if heard and not killer.counts[SIGUSR1] else 1)
            equal(0, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            # In sigwait mode another thread takes it; two that wait would be one.
            until(lambda: killer.counts[SIGUSR1] == n + 1, f"heard, round {n}")
        over.set()
        attacker.join()
        equal(n + 1, killer.counts[SIGUSR1])
        equal(False, killer.kill_now)
        os.closerange(3, 300)
        send(SIGTERM)
        assert killer.wait(LIMIT)
        killer.close()
        victims.check()
        """,
        backend,
    )
