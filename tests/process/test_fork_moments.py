"""A fork at a bad moment: no hang, nothing lost in the parent, and each process hears
what was sent to it."""

from __future__ import annotations

import signal
import textwrap
from pathlib import Path
from typing import Any

import pytest
from ccompile import shared_library
from child_process import Child

HARNESS = Path(__file__).resolve().parents[1] / "harness"

# Every child is stopped by a signal of its own, so one that came to another
# process shows: as a wrong exit status, or in the parent's counts.
PRELUDE = """
import itertools, random
from forks import *
RT = range(signal.SIGRTMIN, signal.SIGRTMIN + 20)
ALL = [SIGTERM, SIGINT, *RT]
turn = itertools.cycle(RT)
def hear(killer, times=1):
    for _ in range(times):
        hears(killer, next(turn))
def heard_nothing(killer):
    equal({0}, {killer.counts[signum] for signum in RT})
"""


@pytest.fixture
def program(program) -> Any:
    def start(source: str, *args: object, **kwargs: Any) -> Child:
        quiet = ["-W", "ignore:This process:DeprecationWarning"]  # 3.12 and newer
        return program(
            PRELUDE + textwrap.dedent(source), *args, **{"options": quiet, **kwargs}
        )

    return start


@pytest.mark.race
@pytest.mark.slow
def test_storm(passes, backend: str) -> None:
    """200 forks while signals arrive in other threads: each child hears its own, and
    the parent's counts are exact."""
    passes(
        """
        killer = GracefulKiller(ALL, backend=sys.argv[1])
        killer.take(signal.SIGRTMAX)  # these are queued, and never merge
        sent, over = [0, 0], threading.Event()
        def shoot(n):
            while not over.is_set():
                send(signal.SIGRTMAX)
                sent[n] += 1
                time.sleep(random.random() / 500)
        shooters = [threading.Thread(target=shoot, args=(n,)) for n in range(2)]
        for shooter in shooters:
            shooter.start()
        hear(killer, 100)
        for n in times(100):
            equal(0, reap(fork_to(lambda: sum(killer.counts.values()))))
        over.set()
        for shooter in shooters:
            shooter.join()
        assert sum(sent) > 200
        until(lambda: killer.counts[signal.SIGRTMAX] >= sum(sent), "all are heard")
        equal(sum(sent), killer.counts[signal.SIGRTMAX])
        heard_nothing(killer)
        equal((False, True), (killer.kill_now, killer.armed))
        killer.close()
        """,
        backend,
    )


@pytest.mark.race
@pytest.mark.slow
def test_stop_among_forks(passes, backend: str) -> None:
    """The parent's stop signal, at a random moment of 100 rounds of forking, stops the
    parent, and none of its children."""
    passes(
        """
        for n in times(100):
            killer = GracefulKiller(ALL, backend=sys.argv[1])
            pause = random.random() / 3000
            def shoot():
                time.sleep(pause)
                send(SIGTERM)
            shooter = threading.Thread(target=shoot)
            shooter.start()
            pids = []
            while not killer.kill_now:
                pids.append(fork_to(lambda: killer.kill_now))
            equal({0}, {reap(pid) for pid in pids} or {0})
            shooter.join()
            equal((1, SIGTERM), (killer.counts[SIGTERM], killer.reason.signum))
            killer.close()
        """,
        backend,
    )


@pytest.mark.parametrize("whose", ["thread", "process"])
def test_pending_at_the_fork(passes, backend: str, whose: str) -> None:
    """A signal that is blocked and pending at the fork, for the thread or the whole
    process, is the parent's: it is heard there once, and not in the child."""
    passes(
        """
        backend, whose = sys.argv[1:]
        block = lambda how: signal.pthread_sigmask(how, [SIGUSR1])
        block(signal.SIG_BLOCK)  # in the dispatcher too, which is started next
        killer = GracefulKiller(ALL, backend=backend)
        killer.take("USR1")  # unblocks it here
        block(signal.SIG_BLOCK)
        if whose == "thread":
            signal.pthread_kill(threading.get_ident(), SIGUSR1)
        else:
            send(SIGUSR1)
        count = lambda: killer.counts[SIGUSR1]
        if backend == "sigwait":  # where one of ours is always blocked, and taken
            until(count, "it is taken")
        else:
            equal({SIGUSR1}, signal.sigpending())
        def child():
            equal(set(), signal.sigpending())
            block(signal.SIG_UNBLOCK)
            equal((0, False), (count(), killer.kill_now))
            send(SIGUSR1)
            until(count, "it is heard")
        equal(0, reap(fork_to(child)))
        hear(killer)
        equal(backend == "sigwait", count())
        block(signal.SIG_UNBLOCK)
        until(count, "it is heard")
        equal(1, count())
        killer.close()
        """,
        backend,
        whose,
    )


@pytest.mark.parametrize("limit", ["all in use", "below ours"])
def test_no_descriptor_left(program, backend: str, limit: str) -> None:
    """With no descriptor to be had, a forked child hears its signal; where it cannot,
    as the pipe has none, it says so and has the default action. The parent hears."""
    done = program(
        """
        import resource
        backend, limit = sys.argv[1:]
        killer = GracefulKiller(ALL, backend=backend)
        killer.fileno()
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if limit == "below ours":
            resource.setrlimit(resource.RLIMIT_NOFILE, (10, most))
        else:
            resource.setrlimit(resource.RLIMIT_NOFILE, (100, most))
        try:
            while True:
                os.open(os.devnull, os.O_RDONLY)
        except OSError:
            pass
        pid = hearing_child(killer)
        os.kill(pid, RT[3])
        print(reap(pid))
        heard_nothing(killer)
        send(SIGTERM)
        equal(True, killer.wait(LIMIT))
        equal([killer], select.select([killer], [], [], LIMIT)[0])
        killer.close()
        """,
        backend,
        limit,
    ).finish()

    assert done.status == 0
    if (backend, limit) == ("pipe", "below ours"):
        assert done.err.startswith("a forked child cannot hear its signals: [Errno 24]")
    else:
        assert (done.out, done.err) == (f"{signal.SIGRTMIN + 3}\n", "")


def test_no_descriptor_for_a_killer(passes, backend: str) -> None:
    """With all descriptors in use a killer hears; one that needs a pipe is refused, and
    then nothing is installed."""
    passes(
        """
        import resource
        import subprocess  # sigwait loads what it has, which takes a descriptor
        backend = sys.argv[1]
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, most))
        before = masks(), action(SIGTERM)
        used = []
        try:
            while True:
                used.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
        try:
            killer = GracefulKiller(backend=backend)
        except OSError:
            equal("pipe", backend)
        else:
            send(SIGTERM)
            equal(True, killer.wait(LIMIT))
            killer.close()
        os.close(used.pop())
        os.close(used.pop())
        equal(before, (masks(), action(SIGTERM)))
        equal(None, current())
        with GracefulKiller(backend=backend) as killer:
            send(SIGTERM)
            equal(True, killer.wait(LIMIT))
        """,
        backend,
    )


STATES = {
    "idle": "",
    "stopping": """
        send(SIGTERM)
    """,
    "stopping by stop()": """
        killer.stop()
    """,
    "in a section": """
        stack.enter_context(TerminateProtected())
    """,
    "stopping, in a section": """
        stack.enter_context(TerminateProtected(timeout=600))
        send(SIGTERM)
    """,
    "beside a section": """
        section_in_a_thread()
        send(SIGTERM)
    """,
    "hurry": """
        section_in_a_thread()
        send(SIGINT)
        until(lambda: killer.kill_now, "the first")
        begin = killer.reason.when
        until(lambda: time.monotonic() > begin + 0.6, "time for a second one")
        send(SIGINT)
        until(lambda: lowlevel.state() == "hurry", "the second")
    """,
}


@pytest.mark.parametrize(
    "state",
    [pytest.param(s, marks=pytest.mark.slow if s == "hurry" else ()) for s in STATES],
)
def test_states(passes, backend: str, state: str) -> None:
    """Whatever state the parent is in, its child runs, and stops by its own signal; the
    parent's state is as it was."""
    passes(
        """
        import contextlib
        from gracefulexit import lowlevel
        killer = GracefulKiller(ALL, backend=sys.argv[1], grace=500)
        stack = contextlib.ExitStack()
        def section_in_a_thread():
            inside = threading.Event()
            def stay():
                with TerminateProtected():
                    inside.set()
                    time.sleep(1000)
            threading.Thread(target=stay, daemon=True).start()
            inside.wait()
        exec(sys.argv[2])
        if "send" in sys.argv[2]:
            until(lambda: killer.kill_now, "it is stopping")
        before = lowlevel.state(), killer.reason and killer.reason.when, killer.counts
        def child():
            equal((False, None), (killer.kill_now, killer.reason))
            equal(("running", None), (lowlevel.state(), killer.remaining()))
            os.mkdir("ready")
            assert killer.wait(LIMIT)
            until(lambda: lowlevel.state() == "stopping", "no more than that")
            return killer.reason.signum
        pid = fork_to(child)
        until_ready("ready")
        os.kill(pid, RT[2])
        equal(RT[2], reap(pid))
        hear(killer, 3)
        in_thread(lambda: hear(killer, 3))
        after = lowlevel.state(), killer.reason and killer.reason.when, killer.counts
        equal(before, after)
        print("reached the end", flush=True)
        os._exit(0)
        """,
        backend,
        textwrap.dedent(STATES[state]),
    )


PLACES = {
    "on_stop hook": """
        killer.on_stop(there)
        send(SIGTERM)
    """,
    "on_stop hook with a limit": """
        killer = GracefulKiller(ALL, backend=sys.argv[1], hook_timeout=500)
        killer.on_stop(there)
        send(SIGTERM)
    """,
    "on() callback": """
        killer.on("HUP", lambda info: there())
        send(SIGHUP)
    """,
    "on_exit hook of close()": """
        killer.on_exit(there)
        killer.close()
    """,
    "on_exit hook after a stop": """
        killer.on_exit(there)
        send(SIGTERM)
        with killer:
            pass
    """,
    "shutdown() of a worker": """
        class Stopper(Worker):
            def run(self):
                self.wait()
            def shutdown(self):
                super().shutdown()
                there()
        killer.start(Stopper())
        send(SIGTERM)
        killer.join()
    """,
    "worker": """
        class Forker(Worker):
            def run(self):
                self.wait()
                there()
        killer.start(Forker())
        send(SIGTERM)
        killer.join()
    """,
    "section": """
        with TerminateProtected():
            there()
    """,
    "Python signal handler": """
        signal.signal(signal.SIGALRM, lambda *_: there())
        send(signal.SIGALRM)
    """,
    "Python signal handler in wait()": """
        signal.signal(signal.SIGALRM, lambda *_: there())
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        until(lambda: killer.wait(0.05) or done.is_set(), "the handler")
    """,
    "previous handler, called by chain": """
        killer.close()
        signal.signal(SIGTERM, lambda *_: there())
        # Refused with sigwait.
        handlers = backend if backend != "sigwait" else "auto"
        killer = GracefulKiller(ALL, backend=handlers, chain=True)
        send(SIGTERM)
    """,
    "asyncio": """
        import asyncio
        async def main():
            there()
        asyncio.run(main())
    """,
}


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_places(passes, backend: str, place: str) -> None:
    """Wherever the program forks, in its own code or in what we call, the child hears
    for itself, and the parent what it was sent."""
    passes(
        """
        backend, place = sys.argv[1:]
        done = threading.Event()
        parent = os.getpid()
        def there():
            if os.getpid() == parent:  # hooks and callbacks run in the child as well
                hear(killer, 3)
                done.set()
        killer = GracefulKiller(ALL, backend=backend)
        exec(place)
        assert done.wait(LIMIT)
        heard_nothing(killer)
        killer.close()
        """,
        backend,
        textwrap.dedent(PLACES[place]),
    )


BESIDE = {
    "makes and closes killers": """
        GracefulKiller(("USR1", "TERM"), backend=backend).close()
    """,
    "registers": """
        killer.take("USR1")
        killer.report()
        if random.random() < 0.01:  # or the child does little else than copy them
            killer.on(random.choice(["HUP", "ALRM", "USR2"]), print)
            killer.on_stop(print)
    """,
    "opens sections": """
        with TerminateProtected(("TERM", "USR1")):
            pass
    """,
    "logs": """
        logging.getLogger("gracefulexit").warning("a line")
        killer.report()
    """,
    "has callbacks called": """
        send(SIGUSR2)
    """,
    "adds descriptors": """
        ends = os.pipe()
        os.set_blocking(ends[1], False)
        lowlevel.add_wakeup_fd(ends[1])
        lowlevel.remove_wakeup_fd(ends[1])
        os.close(ends[0])
        os.close(ends[1])
    """,
    "forks": """
        hear(killer)
    """,
}


@pytest.mark.race
@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("what", BESIDE)
def test_beside_a_thread(passes, backend: str, what: str) -> None:
    """100 forks while another thread is in the middle of something of ours, with or
    without a lock: every child hears, and nothing hangs."""
    passes(
        """
        backend, what = sys.argv[1], compile(sys.argv[2], "what", "exec")
        from gracefulexit import lowlevel
        logging.basicConfig(stream=open(os.devnull, "w"))
        killer = GracefulKiller(ALL, backend=backend)
        killer.on("USR2", lambda info: None)
        over, done = threading.Event(), []
        def run():
            while not over.is_set():
                exec(what)
                done.append(1)
        thread = threading.Thread(target=run)
        thread.start()
        for n in rounds(100, lambda: len(done) > 10):
            hear(killer)
            time.sleep(random.random() / 2000)
        over.set()
        thread.join()
        heard_nothing(killer)
        equal((False, True), (killer.kill_now, killer.armed))
        killer.close()
        """,
        backend,
        textwrap.dedent(BESIDE[what]),
    )


@pytest.mark.race
@pytest.mark.slow
def test_watcher_is_started_or_stopped_at_the_fork(passes, backend: str) -> None:
    """100 forks while another thread makes and closes the only killer: the child has
    one that hears, or the default action."""
    passes(
        """
        backend = sys.argv[1]
        over = threading.Event()
        def run():
            while not over.is_set():
                with GracefulKiller(ALL, backend=backend) as killer:
                    killer.fileno()
        def child():
            killer = current()
            if killer is not None:
                equal((False, True), (killer.kill_now, killer.armed))
                send(SIGTERM)
                assert killer.wait(LIMIT)
                equal([killer], select.select([killer], [], [], LIMIT)[0])
                killer.close()
            equal(0, action(SIGTERM)[0])
            with GracefulKiller(ALL, backend=backend) as fresh:
                send(SIGTERM)
                assert fresh.wait(LIMIT)
            return 1 if killer is None else 2
        thread = threading.Thread(target=run)
        thread.start()
        statuses = []
        for n in rounds(100, lambda: statuses.count(1)):
            statuses.append(reap(fork_to(child)))
            assert statuses[-1] in (1, 2), statuses[-1]
            time.sleep(random.random() / 1000)
        over.set()
        thread.join()
        """,
        backend,
    )


@pytest.mark.slow
def test_deadline_among_forks(program, backend: str) -> None:
    """A program that does nothing but fork ends at its deadline, by its signal, and no
    child ends by it."""
    done = program(
        """
        logging.disable()  # it names main, which does not end
        killer = GracefulKiller(ALL, backend=sys.argv[1], grace=4)
        send(SIGTERM)
        print("stopping", flush=True)
        while True:
            equal(0, reap(fork_to(lambda: killer.kill_now)))
        """,
        backend,
    ).finish()

    assert (done.status, done.out, done.err) == (-signal.SIGTERM, "stopping\n", "")


@pytest.mark.slow
@pytest.mark.parametrize("where", ["prepare", "parent"])
@pytest.mark.parametrize("when", ["before", "within"])
def test_deadline_in_a_long_fork(
    program, tmp_path, backend: str, where: str, when: str
) -> None:
    """The deadline holds in a fork that takes long, whether the signal came before it
    or in it."""
    library = shared_library(HARNESS / "forks.c", tmp_path)
    child = program(
        """
        import ctypes
        backend, where, when, library = sys.argv[1:]
        killer = GracefulKiller(ALL, backend=backend, grace=6)
        ctypes.CDLL(library).slow_fork(where == "parent")
        if when == "before":
            send(SIGTERM)
        pid = os.fork()
        if not pid:
            os._exit(killer.kill_now)
        """,
        backend,
        where,
        when,
        library,
    )
    child.wait_line("napping")
    if when == "within":
        child.signal(signal.SIGTERM)
    done = child.finish()

    assert done.status == -signal.SIGTERM
    # It has the interpreter's lock, so the report is the native one, if it has time.
    assert done.err == "" or done.err.startswith("gracefulexit: ")


@pytest.mark.race
@pytest.mark.slow
def test_handler_that_raises_at_the_fork(passes, backend: str) -> None:
    """A Python handler of another signal that raises while a child is made ready costs
    it no killer: 200 times."""
    passes(
        """
        import random
        class Late(Exception):
            pass
        def late(*_):
            raise Late
        def soon():
            signal.setitimer(signal.ITIMER_REAL, 1e-6 + random.random() / 1000)
        signal.signal(signal.SIGALRM, late)
        sys.unraisablehook = lambda *_: None
        os.register_at_fork(after_in_child=soon)
        killers = [GracefulKiller("TERM", backend=sys.argv[1])]
        killers.append(GracefulKiller("USR1"))
        hooked = []
        killers[1].on_stop(hooked.append, 1)
        def child():
            try:
                until(lambda: not signal.getitimer(signal.ITIMER_REAL)[0], "late")
                time.sleep(0.001)
            except Late:
                pass
            equal([True, True], [killer.armed for killer in killers])
            send(SIGUSR1)
            for killer in killers:
                assert killer.wait(LIMIT) and killer.event.wait(LIMIT)
            until(lambda: hooked, "the hook")
            equal([1], hooked)
            return HEARD
        equal({HEARD}, {reap(fork_to(child)) for _ in times(200)})
        """,
        backend,
    )
