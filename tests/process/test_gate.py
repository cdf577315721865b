"""The gate: once a signal is held, who is in no section waits before opening one, so
that sections drain; and no deadlock follows from it."""

from __future__ import annotations

import signal

import pytest
from sections import checked

TERM, INT = signal.SIGTERM, signal.SIGINT


@pytest.fixture
def program(program):
    return checked(program)


# Each thread's section overlaps with those of others: without a gate there is always
# one open.
OVERLAPPING = """
    told = Warnings()
    heard = []
    signal.signal(SIGTERM, lambda *_: heard.append(1))
    over = False
    def work(i):
        section = TerminateProtected()
        pause = 0.001 + i % 7 * 0.0003
        while not over:
            with section:
                time.sleep(pause)
    many = range(int(sys.argv[1]))
    threads = [threading.Thread(target=work, args=(i,)) for i in many]
    for thread in threads:
        thread.start()
"""


@pytest.mark.parametrize("threads", [8, pytest.param(64, marks=pytest.mark.slow)])
def test_no_starvation(passes, threads: int) -> None:
    """However many threads loop over sections, one signal is delivered, and then the
    next."""
    passes(
        OVERLAPPING
        + """
    for n in range(3):
        send(SIGTERM)
        until(lambda: len(heard) > n, f"delivery {n}")
    over = True
    for thread in threads:
        thread.join()
    equal(3, len(heard))
    equal([], told.texts)
        """,
        threads,
    )


def test_no_starvation_with_main_in_sections(passes) -> None:
    """Main waits at the gate as well: the delivery is made in its own entry or exit."""
    passes(
        OVERLAPPING
        + """
    section = TerminateProtected()
    for n in range(5):
        send(SIGTERM)
        end = time.monotonic() + LIMIT
        while len(heard) <= n:
            assert time.monotonic() < end, f"delivery {n}"
            with section:
                time.sleep(0.001)
    over = True
    for thread in threads:
        thread.join()
    equal(5, len(heard))
        """,
        8,
    )


# Each: what `outer`, which holds a section, waits for needs a section itself. The
# threads are made by `first` and `second`; main may be either.
DEADLOCKS = {
    "lock order": """
    lock, taken = threading.Lock(), threading.Event()
    def outer():
        with TerminateProtected(name="outer"):
            opened.set()
            taken.wait()
            held_now()
            with lock:
                done.append("outer")
    def inner():
        opened.wait()
        with lock:
            taken.set()
            until_held()
            with TerminateProtected(name="inner"):
                done.append("inner")
    """,
    "executor.map": """
    from concurrent.futures import ThreadPoolExecutor
    def task(n):
        with TerminateProtected(name="inner"):
            return n
    def outer():
        with ThreadPoolExecutor(2) as pool:
            with TerminateProtected(name="outer"):
                held_now()
                equal([0, 1, 2, 3, 4, 5], list(pool.map(task, range(6))))
                done.append("inner")
                done.append("outer")
    inner = int
    """,
    "join": """
    def task():
        with TerminateProtected(name="inner"):
            done.append("inner")
    def outer():
        with TerminateProtected(name="outer"):
            held_now()
            thread = threading.Thread(target=task)
            thread.start()
            thread.join()
            done.append("outer")
    inner = int
    """,
}
WITHOUT_DEADLOCK = """
    import re
    from gracefulexit import _core
    told = Warnings()
    done, heard = [], []
    opened = threading.Event()
    signal.signal(SIGTERM, lambda *_: heard.append(list(done)))
    def held_now():
        send(SIGTERM)
        until_held()
    def until_held():
        until(lambda: _core.held(SIGTERM), "it is held")
"""


@pytest.mark.slow
@pytest.mark.parametrize("main", ["outer", "inner"])
@pytest.mark.parametrize("case", DEADLOCKS)
def test_no_deadlock(passes, case: str, main: str) -> None:
    """A section that waits for a thread that wants to open one: both end, with one
    WARNING that names both, and the signal is delivered behind them."""
    passes(
        WITHOUT_DEADLOCK
        + DEADLOCKS[case]
        + """
    here, there = (outer, inner) if sys.argv[1] == "outer" else (inner, outer)
    thread = threading.Thread(target=there, name="the other")
    thread.start()
    here()
    thread.join()
    until(lambda: heard, "delivered")
    equal(["inner", "outer"], done)
    equal([["inner", "outer"]], heard)
    equal(1, len(told.texts))
    outers = "MainThread" if sys.argv[1] == "outer" else "the other"
    for name in ("inner", "outer", outers):
        assert name in told.texts[0], told.texts
    # And since when the other one has been open.
    assert re.search(r"\\b[0-9.]+ s\\b", told.texts[0]), told.texts
        """,
        main,
    )


@pytest.mark.slow
def test_deadlock_both_ways(passes) -> None:
    """Two locks, taken in both orders around sections: as before, only in one order
    does it end, and the gate does not make a deadlock of it."""
    passes(
        WITHOUT_DEADLOCK
        + """
    lock = threading.Lock()
    rounds = 0
    over = time.monotonic() + 1.5
    def lock_then_section():
        global rounds
        while time.monotonic() < over:
            with lock, TerminateProtected():
                rounds += 1
    def section_then_lock():
        while time.monotonic() < over:
            with TerminateProtected():
                with lock:
                    pass
    threads = [
        threading.Thread(target=target)
        for target in (lock_then_section, section_then_lock) * 2
    ]
    for thread in threads:
        thread.start()
    send(SIGTERM)
    until(lambda: heard, "delivered")
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive(), "deadlock"
        """
    )


@pytest.mark.slow
def test_default_ends_in_spite_of_a_lock_order(program) -> None:
    """The same with the default disposition: the process ends by the signal."""
    done = program(
        """
        told = Warnings()
        lock, opened, held = threading.Lock(), threading.Event(), threading.Event()
        def work():
            with TerminateProtected(name="outer"):
                opened.set()
                held.wait()
                with lock:
                    say("outer")
        thread = threading.Thread(target=work)
        thread.start()
        opened.wait()
        with lock:
            held.set()
            send(SIGTERM)
            with TerminateProtected(name="inner"):
                say("inner")
        try:
            thread.join()
            time.sleep(LIMIT)
        finally:
            say(f"{len(told.texts)} warning")
        """
    ).finish()

    assert (done.status, done.out) == (-TERM, "inner\nouter\n1 warning\n"), done.err


def test_nested_passes(passes) -> None:
    """Who is in a section opens more of them at a shut gate without waiting."""
    passes(
        """
        from gracefulexit import _core
        told = Warnings()
        heard = []
        signal.signal(SIGTERM, lambda *_: heard.append(1))
        section = TerminateProtected()
        @TerminateProtected("HUP")
        def decorated():
            return _core.sections()
        def nest():
            with section:
                if not _core.held(SIGTERM):
                    send(SIGTERM)
                    until(lambda: section.pending, "it is held")
                for _ in range(100):
                    with section, TerminateProtected(("TERM", "USR1")):
                        equal(4, decorated())
                equal([], heard)
        for run in (nest, lambda: None):
            thread = threading.Thread(target=nest)
            thread.start()
            thread.join()
            until(lambda: heard, "delivered")
            heard.clear()
        nest()
        equal([1], heard)
        # Who had waited would have waited for itself: until a phase ended.
        equal([], told.texts)
        """
    )


def test_worker_waits_at_the_gate(passes) -> None:
    """A worker in no section waits asleep; once the signal is delivered it opens."""
    passes(
        """
        from gracefulexit import _core
        told = Warnings()
        steps = []
        signal.signal(SIGTERM, lambda *_: steps.append("handler"))
        def work():
            with TerminateProtected():
                until(lambda: "handler" in steps, "delivered before it opened")
                steps.append("opened")
        with TerminateProtected() as section:
            send(SIGTERM)
            until(lambda: section.pending, "it is held")
            workers = [threading.Thread(target=work) for _ in range(3)]
            for worker in workers:
                worker.start()
            for worker in workers:
                until_asleep(worker)
            equal((1, []), (_core.sections(), steps))
        equal(["handler"], steps[:1])
        for worker in workers:
            worker.join()
        equal(["handler", "opened", "opened", "opened"], steps)
        equal([], told.texts)
        """
    )


# Main is at the gate when a worker closes the last section.
MAIN_AT_THE_GATE = """
    from gracefulexit import _core
    told = Warnings()
    class Mine(Exception): pass
    held, leave = threading.Event(), threading.Event()
    def work(signum=SIGTERM):
        with TerminateProtected("TERM") as other:
            send(SIGTERM)
            until(lambda: other.pending, "it is held")
            held.set()
            until(lambda: there, "main goes to the gate")
            until_asleep()
            inside_of_work()
    def inside_of_work(): pass
    there = opened = False
    section = TerminateProtected()
    def enter():
        global there, opened
        thread = threading.Thread(target=work)
        thread.start()
        held.wait()
        there = True
        try:
            with section:
                opened = True
                equal(1, _core.sections())
                sum(range(100))
                opened = False
                return "opened"
        finally:
            thread.join()
            equal(0, _core.sections())
            equal([], told.texts)
    def not_open():
        try:
            section.__exit__(None, None, None)
        except RuntimeError:
            return True
"""


def test_handler_runs_at_the_gate(passes) -> None:
    """Main at the gate runs the Python handler in __enter__ and then opens."""
    passes(
        MAIN_AT_THE_GATE
        + """
    heard = []
    def handler(signum, frame):
        assert not opened
        heard.append(signum)
    signal.signal(SIGTERM, handler)
    equal("opened", enter())
    equal([SIGTERM], heard)
    equal(True, not_open())
        """
    )


@pytest.mark.parametrize("owner", ["handler", "default"])
def test_delivery_that_raises_at_the_gate(passes, owner: str) -> None:
    """If it raises there, the entry is undone; the next one is a first one again."""
    passes(
        MAIN_AT_THE_GATE
        + """
    def handler(signum, frame):
        raise Mine
    expected = GracefulExit
    if sys.argv[1] == "handler":
        signal.signal(SIGTERM, handler)
        expected = Mine
    try:
        equal("an exception", enter())
    except expected:
        pass
    equal(True, not_open())
    nothing_of_ours()
    heard = []
    signal.signal(SIGTERM, lambda *_: heard.append(1))
    with section:
        equal(1, _core.sections())
        send(SIGTERM)
        until(lambda: section.pending, "it is held")
        equal([], heard)
    equal([1], heard)
        """,
        owner,
    )


def test_other_handler_at_the_gate(passes) -> None:
    """A handler that has nothing to do with sections runs while main waits at the
    gate; its exception leaves __enter__ with nothing opened, and nothing is lost."""
    passes(
        MAIN_AT_THE_GATE
        + """
    heard = []
    signal.signal(SIGTERM, lambda *_: heard.append(1))
    def other(*_):
        equal((1, []), (_core.sections(), heard))
        raise Mine
    signal.signal(SIGUSR1, other)
    left = threading.Event()
    def inside_of_work():
        signal.pthread_kill(threading.main_thread().ident, SIGUSR1)
        left.wait()
        equal((1, []), (_core.sections(), heard))
    try:
        thread = threading.Thread(target=work)
        thread.start()
        held.wait()
        there = True
        with section:
            say("opened")
    except Mine:
        equal(True, not_open())
        left.set()
    thread.join()
    until(lambda: heard, "delivered")
    equal([1], heard)
        """
    )


def test_signal_while_main_is_at_the_gate(passes) -> None:
    """More signals while main waits at the gate are held like the first."""
    passes(
        MAIN_AT_THE_GATE
        + """
    heard = []
    def handler(signum, frame):
        assert not opened
        heard.append(signum)
    signal.signal(SIGTERM, handler)
    before = _core.count(SIGTERM)
    def inside_of_work():
        for n in range(5):
            signal.pthread_kill(threading.main_thread().ident, SIGTERM)
            until(lambda: _core.count(SIGTERM) == before + 2 + n, "handled")
        until_asleep()
        equal([], heard)
    equal("opened", enter())
    assert 1 <= len(heard) <= 6, heard
        """
    )


@pytest.mark.slow
def test_with_a_killer_only_in_hurry(program) -> None:
    """With a killer alive sections open freely in STOPPING; in HURRY who is in none
    waits, and the process ends when the last one is left."""
    child = program(
        """
        killer = GracefulKiller()
        told = Warnings()
        opened, leave = threading.Event(), threading.Event()
        def work():
            with TerminateProtected():
                opened.set()
                leave.wait()
                say("whole")
        threading.Thread(target=work).start()
        opened.wait()
        say("ready")
        killer.wait()
        with TerminateProtected():
            say("in stopping")
        equal([], told.texts)
        until(lambda: killer.report().stopping_for > 0.6, "0.6 s")
        from gracefulexit import _core
        say("again")
        def then():
            until(lambda: _core.state() == _core.HURRY, "hurry")
            late = threading.Thread(target=open_late, daemon=True)
            late.start()
            until_asleep(late)
            leave.set()
        def open_late():
            with TerminateProtected():
                say("in hurry")
        then()
        threading.Event().wait()
        """
    )
    child.wait_line("ready")
    child.signal(INT)
    child.wait_line("again")
    child.signal(INT)
    done = child.finish()

    assert done.out == "ready\nin stopping\nagain\nwhole\n", done.err
    assert done.status == -INT


def test_nothing_of_ours_waits(passes) -> None:
    """Without a timeout and a killer a section starts no thread, pending or not."""
    passes(
        """
        signal.signal(SIGTERM, lambda *_: None)
        before = calm()
        with TerminateProtected() as section:
            equal(before["threads"], state()["threads"])
            equal(before["native threads"], native_threads())
            send(SIGTERM)
            until(lambda: section.pending, "it is held")
            equal(before["native threads"], native_threads())
            equal(before["descriptors"], state()["descriptors"])
        equal({}, changes(before))
        """
    )


@pytest.mark.slow
def test_phases(passes) -> None:
    """A section that never ends shuts the others out for a second at a time, then
    they go on as before; each opening of the gate is told once."""
    passes(
        """
        told = Warnings()
        heard = []
        signal.signal(SIGTERM, lambda *_: heard.append(1))
        opened, leave = threading.Event(), threading.Event()
        def stuck():
            with TerminateProtected(name="stuck"):
                opened.set()
                leave.wait()
        thread = threading.Thread(target=stuck, name="holder")
        thread.start()
        opened.wait()
        send(SIGTERM)
        section = TerminateProtected(name="mine")
        with section:
            equal(1, len(told.texts))
        for name in ("mine", "MainThread", "stuck", "holder"):
            assert name in told.texts[0], told.texts
        # It is open now for as long as it was shut.
        for _ in range(100):
            with section:
                pass
        equal(1, len(told.texts))
        leave.set()
        thread.join()
        until(lambda: heard, "delivered")
        # Forgotten with the delivery: the next one begins with an open gate.
        for _ in range(100):
            with section:
                pass
        equal((1, 1), (len(heard), len(told.texts)))
        """
    )
