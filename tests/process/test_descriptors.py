"""Descriptors in other people's hands: closed, replaced, exhausted."""

from __future__ import annotations

import signal

import pytest

# Files of every kind that get a number which was ours, and what has arrived in them.
VICTIMS = """
import errno, random, resource, socket
from gracefulexit import lowlevel

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
def attacked(passes):
    """A child that checks things itself, with VICTIMS in scope."""

    def run(source: str, *args: object, **kwargs: object):
        import textwrap

        return passes(VICTIMS + textwrap.dedent(source), *args, **kwargs)

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

    assert (done.status, done.err) == (0, "")
