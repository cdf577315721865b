"""Real-time signals by on(): each is a call of its own, with its payload."""

from __future__ import annotations

import pytest

SETUP = """
        from queued import *
        RT = signal.SIGRTMIN + 1
"""
# A killer whose callback waits until it is let go; what is sent meanwhile waits.
BLOCKED = (
    SETUP
    + """
        import resource
        # What the kernel keeps for us must not be what is counted here.
        limit = resource.getrlimit(resource.RLIMIT_SIGPENDING)[1]
        resource.setrlimit(resource.RLIMIT_SIGPENDING, (limit, limit))
        entered, release = threading.Event(), threading.Event()
        values = []
        def func(info):
            values.append(info.si_value)
            entered.set()
            assert release.wait(LIMIT)
        def blocked_killer(**kwargs):
            killer = GracefulKiller(**kwargs)
            killer.on(RT, func)
            sigqueue(os.getpid(), RT, 0)
            assert entered.wait(LIMIT)
            return killer
"""
)


@pytest.mark.slow
def test_each_of_ten_thousand(passes, backend: str) -> None:
    """Another process queues 10,000; each is one call, no payload is missing or twice,
    and none is lost. In sigwait mode they come in order."""
    passes(
        SETUP
        + """
        N = 10_000
        killer = GracefulKiller(backend=sys.argv[1])
        calls, senders = [], set()
        @killer.on(RT)
        def func(info):
            senders.add((info.si_pid, info.si_code, info.signum))
            calls.append(info.si_value)
        if sys.argv[1] == "sigwait":
            from sigwaits import blocked
            tasks = [t.native_id for t in threading.enumerate()]
            until(lambda: all(RT in blocked(task) for task in tasks), "all block it")
        sender = start_sender(RT, 7, N)
        equal(0, sender.wait())
        until(lambda: killer.counts[RT] == N, "all are heard")
        until(lambda: len(calls) == N, "all are called")
        if sys.argv[1] != "sigwait":
            calls.sort()
        equal(list(range(7, N + 7)), calls)
        equal({(sender.pid, -1, RT)}, senders)
        equal({}, killer.report().lost)
        equal(False, killer.kill_now)
        killer.close()
        """,
        backend,
    )


@pytest.mark.parametrize("number", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_while_a_callback_is_slow(passes, backend: str, number: int) -> None:
    """What comes while a callback runs waits for it, each for its own call; a stop is
    heard meanwhile, and the calls go on while stopping."""
    passes(
        BLOCKED
        + """
        N = int(sys.argv[2])
        killer = blocked_killer(backend=sys.argv[1])
        equal(0, start_sender(RT, 1, N).wait())
        until(lambda: killer.counts[RT] == N + 1, "all are heard")
        equal([0], values)
        send(SIGTERM)
        assert killer.event.wait(LIMIT)
        release.set()
        until(lambda: len(values) == N + 1, "all are called")
        equal(list(range(N + 1)), sorted(values))
        equal({}, killer.report().lost)
        killer.close()
        """,
        backend,
        number,
    )


def test_more_than_fits(passes) -> None:
    """What comes while the queue is full is counted and logged once; what was in it is
    called, and then there is room again."""
    passes(
        BLOCKED
        + """
        warnings = log_lines("faster than its callback")
        killer = blocked_killer()
        for first in range(1, 16384 + 500, 100):
            for n in range(first, min(first + 100, 16384 + 501)):
                sigqueue(os.getpid(), RT, n)
        until(lambda: killer.counts[RT] == 16384 + 501, "all are heard")
        equal({"SIGRTMIN+1": 500}, dict(killer.report().lost))
        lines = [line.split() for line in str(killer.report()).splitlines()]
        assert ["lost", "SIGRTMIN+1", "x", "500"] in lines, lines
        equal({"SIGRTMIN+1": 500}, killer.report().to_dict()["lost"])
        release.set()
        until(lambda: len(values) == 16385, "what was in it is called")
        equal(16385, len(set(values)))
        sigqueue(os.getpid(), RT, -1)
        until(lambda: values[-1] == -1, "there is room again")
        equal({"SIGRTMIN+1": 500}, dict(killer.report().lost))
        until(lambda: warnings, "the log")
        equal(1, len(warnings))
        assert warnings[0].startswith("SIGRTMIN+1 comes faster"), warnings
        killer.close()
        equal({"SIGRTMIN+1": 500}, dict(killer.report().lost))
        """
    )


def test_what_waits_at_the_close(passes) -> None:
    """close() waits for nobody: what is called is finished, what waits is lost, counted
    and logged."""
    passes(
        BLOCKED
        + """
        warnings = log_lines("waiting for their callback")
        killer = blocked_killer()
        for n in range(1, 6):
            sigqueue(os.getpid(), RT, n)
        until(lambda: killer.counts[RT] == 6, "all are heard")
        killer.close()
        equal({"SIGRTMIN+1": 5}, dict(killer.report().lost))
        equal(1, len(warnings))
        assert warnings[0].startswith("5 of SIGRTMIN+1 were waiting"), warnings
        release.set()
        until(lambda: threading.active_count() == 1, "the runner has ended")
        equal([0], values)
        killer.close()
        equal(1, len(warnings))
        """
    )


@pytest.mark.race
@pytest.mark.slow
def test_closed_at_any_moment(passes, backend: str) -> None:
    """Whenever the killer is closed, each signal has been called once or is counted as
    lost."""
    passes(
        SETUP
        + """
        import logging, random
        logging.disable(logging.CRITICAL)
        always = GracefulKiller("HUP", backend=sys.argv[1])
        always.take(RT)
        called = was_lost = 0
        for n in times(150):
            values = []
            killer = GracefulKiller(backend=sys.argv[1])
            killer.on(RT, lambda info: values.append(info.si_value))
            before = always.counts[RT]
            number = random.randrange(1, 40)
            for i in range(number):
                sigqueue(os.getpid(), RT, i)
            until(lambda: always.counts[RT] - before == number, "heard")
            time.sleep(random.random() * random.choice([0, 0.001, 0.01]))
            killer.close()
            lost = killer.report().lost.get("SIGRTMIN+1", 0)
            until(lambda: len(values) + lost >= number, "called or lost")
            equal(number, len(values) + lost)
            equal(len(values), len(set(values)))
            called += len(values)
            was_lost += lost
        assert called > 0
        always.close()
        """,
        backend,
    )


def test_several_functions_and_killers(passes) -> None:
    """Each function of each killer gets each signal, and one that is slow holds up no
    other killer's."""
    passes(
        BLOCKED
        + """
        slow = blocked_killer()
        fast = GracefulKiller("HUP")
        a, b = [], []
        fast.on(RT, lambda info: a.append(info.si_value))
        fast.on(RT, lambda info: b.append(info.si_value))
        for n in range(1, 11):
            sigqueue(os.getpid(), RT, n)
        until(lambda: len(b) == 10, "those of the fast one")
        equal((list(range(1, 11)),) * 2, (sorted(a), sorted(b)))
        equal([0], values)
        release.set()
        until(lambda: len(values) == 11, "those of the slow one")
        equal(list(range(11)), sorted(values))
        fast.close()
        slow.close()
        """
    )


def test_other_numbers_are_other_channels(passes) -> None:
    """A callback that is slow holds up that of no other signal, and gets no other."""
    passes(
        BLOCKED
        + """
        killer = blocked_killer()
        others = []
        killer.on("RTMIN+2", others.append)
        killer.on("USR1", others.append)
        sigqueue(os.getpid(), RT + 1, 5)
        until(lambda: len(others) == 1, "RTMIN+2")
        sigqueue(os.getpid(), SIGUSR1, 6)
        until(lambda: len(others) == 2, "USR1")
        equal([(RT + 1, 5), (SIGUSR1, 6)], [(i.signum, i.si_value) for i in others])
        release.set()
        until(lambda: threading.active_count() == 2, "the callbacks have ended")
        equal([0], values)
        killer.close()
        """
    )


def test_a_signal_while_its_function_is_registered(passes, backend: str) -> None:
    """One that the killer hears already, by take(), is called when it comes in the
    middle of on() and the dispatcher looks before the function is there."""
    passes(
        SETUP
        + """
        from gracefulexit._channels import Channel
        killer = GracefulKiller(backend=sys.argv[1])
        killer.take(RT)
        values = []
        real = Channel.add
        def add(channel, func):
            sigqueue(os.getpid(), RT, 5)
            until(lambda: killer.counts[RT] == 1, "heard")
            killer._callbacks.turn(time.monotonic())
            real(channel, func)
        Channel.add = add
        killer.on(RT, lambda info: values.append(info.si_value))
        until(lambda: values, "it is called")
        equal([5], values)
        killer.close()
        """,
        backend,
    )


def test_a_callback_that_fails(passes) -> None:
    """It is logged, and the next signal is called all the same."""
    done = passes(
        SETUP
        + """
        killer = GracefulKiller()
        calls = []
        @killer.on(RT)
        def bad(info):
            calls.append(info)
            raise ValueError(f"payload {info.si_value}")
        for n in range(3):
            sigqueue(os.getpid(), RT, n)
        until(lambda: len(calls) == 3, "all are called")
        until(lambda: threading.active_count() == 2, "the runner has ended")
        killer.close()
        """
    )

    assert sum("bad failed: ValueError" in line for line in done.err.splitlines()) == 3


def test_a_callback_that_never_returns(passes) -> None:
    """With hook_timeout it is left behind, and the next signals are called."""
    passes(
        SETUP
        + """
        killer = GracefulKiller(hook_timeout=0.05)
        never, values = threading.Event(), []
        @killer.on(RT)
        def stuck(info):
            values.append(info.si_value)
            if info.si_value in (0, 2):
                never.wait()
        for n in range(4):
            sigqueue(os.getpid(), RT, n)
            until(lambda: n in values, "it is called")
        equal(list(range(4)), values)
        killer.close()
        never.set()
        """
    )


def test_the_systems_limit(passes, backend: str) -> None:
    """Where the kernel keeps no more, sigqueue() fails with EAGAIN, and what is sent by
    kill() is heard without a payload."""
    passes(
        SETUP
        + """
        import resource
        killer = GracefulKiller(backend=sys.argv[1])
        infos = []
        killer.on(RT, infos.append)
        hard = resource.getrlimit(resource.RLIMIT_SIGPENDING)[1]
        resource.setrlimit(resource.RLIMIT_SIGPENDING, (0, hard))
        try:
            sigqueue(os.getpid(), RT, 5)
        except BlockingIOError:
            pass
        else:
            raise AssertionError("no EAGAIN")
        equal(0, killer.counts[RT])
        send(RT)
        until(lambda: infos, "it is called")
        equal((0, 1), (infos[0].si_value, killer.counts[RT]))
        resource.setrlimit(resource.RLIMIT_SIGPENDING, (hard, hard))
        sigqueue(os.getpid(), RT, 6)
        until(lambda: len(infos) == 2, "as before")
        equal(6, infos[1].si_value)
        killer.close()
        """,
        backend,
    )


def test_more_channels_than_there_are(passes) -> None:
    """The error comes at the call, and nothing is left of it."""
    passes(
        SETUP
        + """
        killers = [GracefulKiller() for _ in range(3)]
        signums = range(signal.SIGRTMIN + 1, signal.SIGRTMIN + 31)
        made = 0
        try:
            for killer in killers:
                for signum in signums:
                    killer.on(signum, print)
                    made += 1
        except RuntimeError as error:
            assert "close() those killers that are no longer needed" in str(error)
        equal(64, made)
        before = action(signum), dict(killers[2].counts)
        try:
            killers[2].on(signum, print)
        except RuntimeError:
            equal(before, (action(signum), dict(killers[2].counts)))
        else:
            raise AssertionError("no error")
        killers[0].close()
        killers[2].on(signum, lambda info: called.set())
        called = threading.Event()
        send(signum)
        assert called.wait(LIMIT)
        killers[1].close()
        killers[2].close()
        """
    )


def test_a_forked_child_begins_with_nothing(passes, backend: str) -> None:
    """What waits in the parent is called there and not in the child, which hears its
    own."""
    passes(
        BLOCKED
        + """
        from forks import fork_to, reap
        killer = blocked_killer(backend=sys.argv[1])
        for n in range(1, 6):
            sigqueue(os.getpid(), RT, n)
        until(lambda: killer.counts[RT] == 6, "all are heard")
        def child():
            values.clear()
            release.set()
            equal(0, killer.counts[RT])
            for n in range(100, 200):
                sigqueue(os.getpid(), RT, n)
            until(lambda: len(values) == 100, "its own are called")
            equal(list(range(100, 200)), sorted(values))
            equal({}, killer.report().lost)
            return 7
        equal(7, reap(fork_to(child)))
        equal([0], values)
        release.set()
        until(lambda: len(values) == 6, "those of the parent")
        equal(list(range(6)), sorted(values))
        killer.close()
        """,
        backend,
    )


def test_a_callback_that_forks(passes) -> None:
    """The child of a callback hears its own signals, and the parent goes on."""
    passes(
        SETUP
        + """
        from forks import fork_to, reap
        killer = GracefulKiller()
        values = []
        def child():
            values.clear()
            sigqueue(os.getpid(), RT, 50)
            # The thread that runs this is the callback's, which is not over.
            until(lambda: killer.counts[RT] == 1, "heard")
            until(lambda: values == [50], "called")
            return 7
        @killer.on(RT)
        def func(info):
            values.append(info.si_value)
            if info.si_value < 3:
                equal(7, reap(fork_to(child)))
        for n in range(5):
            sigqueue(os.getpid(), RT, n)
        until(lambda: len(values) == 5, "all are called")
        equal(list(range(5)), sorted(values))
        killer.close()
        """
    )


def test_multiprocessing_inherits_no_channel(passes) -> None:
    """A child that gets the handlers from before has the default action again."""
    passes(
        SETUP
        + """
        import multiprocessing
        killer = GracefulKiller()
        values = []
        killer.on(RT, values.append)
        def child():
            sigqueue(os.getpid(), RT, 1)
        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        process.join()
        equal(-RT, process.exitcode)
        sigqueue(os.getpid(), RT, 2)
        until(lambda: values, "the parent's own")
        equal([2], [info.si_value for info in values])
        killer.close()
        """
    )
