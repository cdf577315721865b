"""Signals at random moments of the life of sections, most of them in the middle of an
entry or an exit: none is lost, none is delivered twice, none inside."""

from __future__ import annotations

import pytest
from sections import checked

ROUNDS = 850  # of each of the cases: 10,200 signals in all


@pytest.fixture
def program(program):
    return checked(program)


# A sender of one signal a round: a process, or a thread of this one, which spins for
# a random time first.
SENDERS = """
    import queue, random
    from traceback import walk_stack, walk_tb
    from gracefulexit import _core
    where, owner, sender, rounds = *sys.argv[1:4], times(int(sys.argv[4]))
    SIGNUM = SIGINT if owner == "own" else SIGTERM
    random.seed(f"{where} {owner} {sender}")
    # Three threads that never sleep would wait 5 ms for each other at every step.
    sys.setswitchinterval(1e-5)
    def spin(us):
        end = time.perf_counter() + us / 1e6
        while time.perf_counter() < end:
            pass
    if sender == "process":
        reader, writer = os.pipe()
        parent = os.getpid()
        if not os.fork():
            os.close(writer)
            while data := os.read(reader, 4):
                spin(int(data))
                os.kill(parent, SIGNUM)
            os._exit(0)
        os.close(reader)
        def shoot(us):
            os.write(writer, b"%4d" % us)
    else:
        asked = queue.SimpleQueue()
        def shooting():
            while True:
                spin(asked.get())
                send(SIGNUM)
        threading.Thread(target=shooting, daemon=True).start()
        shoot = asked.put
"""
# Main's own sections, a worker's, or both at the same time.
MOMENTS = """
    heard = []
    inside = pending = over = False
    section = TerminateProtected()
    def body(us):
        global inside
        inside = True
        if us:
            spin(us)
        inside = False
    def work():
        # `pending`: held, so nobody may hear of it before this section is left. A
        # later section says nothing: main may hear while that is open.
        global pending
        mine = TerminateProtected()
        opened = 0
        while not over:
            with mine:
                opened += 1
                if opened % 2:
                    spin(opened % 40)
                pending = mine.pending
                sum(range(20))
                pending = False
    def use_section(us):
        with section:
            body(us)
    LINE = use_section.__code__.co_firstlineno + 2
    def delivered(frames):
        # During the entry and the exit it is the line of the `with`.
        for frame, line in frames:
            assert (frame.f_code, line) != (use_section.__code__, LINE), "inside"
        equal((False, False), (inside, pending))
    # In the callback of a weak reference, such as `threading` has to each thread,
    # CPython runs handlers and ignores what they raise.
    ignored = []
    sys.unraisablehook = lambda what: ignored.append(what.exc_type)
    # A function: 3.13 takes the jump at the end of a loop out of its `try`.
    def use_sections_until_heard(n, length):
        end = time.monotonic() + LIMIT
        while not ignored and time.monotonic() < end:
            if where == "worker" and n % 2:
                # Not for long: a signal that no section holds may come between
                # CPython's last look and its system call.
                time.sleep(0.002)
            elif where == "worker":
                sum(range(20))
            else:
                use_section(length * (n % 2))
    class Heard(Exception): pass
    def handler(signum, frame):
        delivered(walk_stack(frame))
        heard.append(1)
        raise Heard
    if owner == "handler":
        signal.signal(SIGTERM, handler)
    usual = signal.getsignal(SIGNUM)
    if where != "main":
        worker = threading.Thread(target=work, daemon=True)
        worker.start()
    expected = Heard if owner == "handler" else KeyboardInterrupt
    for n in rounds:
        delay, length = random.randrange(250), random.randrange(40)
        lost = False
        try:
            shoot(delay)
            use_sections_until_heard(n, length)
            lost = ignored != [expected]
            ignored.clear()
        except expected as error:
            delivered(walk_tb(error.__traceback__))
            equal(owner == "handler", len(heard) == n + 1)
        assert not lost, f"round {n}: lost"
        if where == "main":
            equal(False, _core.ours(SIGNUM))
            equal(usual, signal.getsignal(SIGNUM))
    over = True
    if where != "main":
        worker.join()
    time.sleep(0.02)  # one too many would come now
    equal(0, _core.sections())
    if sender == "process":
        os.close(writer)
        os.wait()
"""


@pytest.mark.race
@pytest.mark.slow
@pytest.mark.parametrize("sender", ["process", "thread"])
@pytest.mark.parametrize("owner", ["handler", "own"])
@pytest.mark.parametrize("where", ["main", "worker", "both"])
def test_at_any_moment(passes, where: str, owner: str, sender: str) -> None:
    """A signal around the entry and the exit of sections is delivered once, outside."""
    passes(SENDERS + MOMENTS, where, owner, sender, ROUNDS)


# A default disposition ends the process: one of them a round. Where no section is
# open it does so at once, otherwise by GracefulExit, and never in the middle.
DEFAULT = """
    import mmap, random
    if sys.version_info >= (3, 12):
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
    shared = mmap.mmap(-1, 2)
    def spin(us):
        end = time.perf_counter() + us / 1e6
        while time.perf_counter() < end:
            pass
    def use_sections(i):
        section = TerminateProtected()
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            with section:
                shared[i] = 1
                spin(20)
                shared[i] = 0
        os._exit(9)
    def work():
        try:
            use_sections(1)
        except SystemExit:
            pass
    def child(where, ready):
        try:
            if where != "main":
                threading.Thread(target=work).start()
            os.write(ready, b"x")
            while where == "worker":
                # Not for long: see above; and a second in it would be the end.
                time.sleep(0.001)
            use_sections(0)
        except GracefulExit as error:
            equal(SIGTERM, error.reason.signum)
            os._exit(7)
    where, rounds = sys.argv[1], times(int(sys.argv[2]))
    found = {}
    for n in rounds:
        shared[:] = bytes(2)
        reader, ready = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                child(where, ready)
            finally:
                sys.excepthook(*sys.exc_info())
                os._exit(8)
        os.read(reader, 1)
        spin(random.randrange(1500))
        os.kill(pid, SIGTERM)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(reader)
        os.close(ready)
        found[status] = found.get(status, 0) + 1
        if status == -15:
            equal(bytes(2), shared[:])
    assert found.keys() <= {7, -15}, found
    # Main was told at least once, or nothing was held.
    assert found.get(7), found
"""


@pytest.mark.race
@pytest.mark.slow
@pytest.mark.parametrize("where", ["main", "worker", "both"])
def test_default_at_any_moment(passes, where: str) -> None:
    """A default disposition ends the process outside of sections or by unwinding
    main; no section is cut."""
    passes(DEFAULT, where, 150)


@pytest.mark.race
@pytest.mark.slow
def test_storm(passes) -> None:
    """Signals without a pause, while main and workers use sections: each is delivered
    after it was sent, sections go on, and in the end nothing is left."""
    passes(
        """
        from gracefulexit import _core
        heard = 0
        inside = over = False
        def spin(us):
            end = time.perf_counter() + us / 1e6
            while time.perf_counter() < end:
                pass
        def handler(signum, frame):
            global heard
            assert not inside
            heard += 1
        signal.signal(SIGTERM, handler)
        parent = os.getpid()
        pid = os.fork()
        if not pid:
            for _ in times(4000):
                os.kill(parent, SIGTERM)
                # A handler in Python is interrupted by the next signal: without
                # time for one of them they only pile up.
                spin(60)
            os._exit(0)
        done = [0] * 3
        def work(i):
            while not over:
                with TerminateProtected():
                    done[i] += 1
        threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
        for thread in threads:
            thread.start()
        section = TerminateProtected()
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            with section:
                inside = True
                sum(range(50))
                inside = False
        last = heard
        send(SIGTERM)
        until(lambda: heard > last, "the last one")
        over = True
        for thread in threads:
            thread.join()
        assert all(done), done
        """
    )
