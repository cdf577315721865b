"""What a section held reaches its owner once, whoever closes the last section and
whatever the main thread is doing."""

from __future__ import annotations

import signal

import pytest
from sections import checked

TERM, INT = signal.SIGTERM, signal.SIGINT


@pytest.fixture
def program(program):
    return checked(program)


SETUP = """
    import atexit, ctypes, functools, operator, socket
    from gracefulexit import _core
    owner, where, when = sys.argv[1:]
    SIGNUM = SIGINT if owner == "own" else SIGTERM
    class Released(Exception):
        "Ends whatever main is in; sent when the delivery is over."
    def release(*_):
        raise Released
    signal.signal(SIGUSR1, release)
    heard = []
    inside = False  # main is in the block of a section
    def handler(signum, frame):
        equal((SIGTERM, True, False), (signum, in_main(), inside))
        heard.append(signum)
        say("handler")
    def in_main():
        return threading.current_thread() is threading.main_thread()
    if owner == "handler":
        signal.signal(SIGTERM, handler)
    elif owner == "ignored":
        signal.signal(SIGTERM, SIG_IGN)
    atexit.register(say, "atexit")
    print("buffered")  # the end has to flush it

    there = False  # main is about to go where it shall be
    reader, writer = os.pipe()
    ours, theirs = socket.socketpair()
    taken = threading.Lock()
    taken.acquire()
    never = threading.Event()
    stuck = threading.Thread(target=never.wait, daemon=True)
    stuck.start()
    mutex = ctypes.create_string_buffer(64)
    lock_mutex = functools.partial(libc.pthread_mutex_lock, mutex)
    lock_mutex()

    def for_ever(function):
        while True:
            function()
    def at_the_gate():
        with TerminateProtected():
            say("opened")
        for_ever(int)
    def fresh_section():
        global inside
        # From C call to C call: the delivery finds no bytecode before the entry.
        section = TerminateProtected()
        calls = lock_mutex, section.__enter__
        list(map(operator.methodcaller("__call__"), calls))
        inside = True
        sum(range(100))
        inside = False
        section.__exit__(None, None, None)
        for_ever(int)
    def mutex_in_c():
        lock_mutex()
        for_ever(int)
    PLACES = {
        "bytecode": lambda: for_ever(int),
        "lock.acquire": taken.acquire,
        "join": stuck.join,
        "Event.wait": never.wait,
        "os.read": lambda: os.read(reader, 1),
        "select": lambda: select.select([reader], [], []),
        "sleep": lambda: time.sleep(1000),
        "recv": lambda: ours.recv(1),
        "pause": lambda: for_ever(signal.pause),
        "poll in C": lambda: for_ever(lambda: libc.poll(None, 0, -1)),
        "mutex in C": mutex_in_c,
        "fresh section": fresh_section,
        "at the gate": at_the_gate,
    }
    def until_there():
        until(lambda: there, "main goes there")
        if where != "bytecode":
            until_asleep()
"""

CLOSED_BY_A_WORKER = (
    SETUP
    + """
    opened = threading.Event()
    def work():
        if when == "before":
            until_there()
        with TerminateProtected() as section:
            if where != "at the gate":
                opened.set()
                until_there()
            send(SIGNUM)
            if owner != "ignored":
                until(lambda: section.pending, "it is held")
            opened.set()
            until_there()
            say("whole")
        if where == "fresh section" or where == "mutex in C" and owner != "default":
            libc.pthread_mutex_unlock(mutex)
        if owner == "handler":
            until(lambda: heard, "main has run its handler")
        if owner in ("handler", "ignored"):
            time.sleep(0.02)  # a second call would come now
            if where != "_shutdown":
                signal.pthread_kill(threading.main_thread().ident, SIGUSR1)
    thread = threading.Thread(target=work)
    thread.start()
    if when != "before":
        opened.wait()
    if when == "after a section":
        with TerminateProtected():
            pass
    try:
        there = True
        if where != "_shutdown":
            PLACES[where]()
            say("came back")
    except Released:
        say("went on")
    except KeyboardInterrupt:
        say("KeyboardInterrupt")
        time.sleep(0.02)  # a second one would come now
    except GracefulExit as error:
        equal(SIGTERM, error.reason.signum)
        say("GracefulExit")
        raise
"""
)
# Where main may be when a worker closes the last section.
HEARS = ["bytecode", "lock.acquire", "join", "Event.wait", "pause", "poll in C"]
# System calls that CPython starts again unless a Python handler raises: only where
# layer 1 is laid do they end with GracefulExit.
RESTARTED = ["os.read", "select", "sleep", "recv"]
# What no signal ends.
DEAF = ["mutex in C"]
SPECIAL = ["fresh section", "_shutdown"]
EVERYWHERE = HEARS + RESTARTED + DEAF + SPECIAL
# before: main is there before the section is opened. after: it has run bytecode
# meanwhile; that this lays layer 1 is not promised, so the calls that need that are
# left out. after a section: one of its own, which lays layer 1.
BY_A_WORKER = [
    *[(owner, where, "before") for owner in ("handler", "own") for where in EVERYWHERE],
    *[("ignored", where, "after") for where in EVERYWHERE],
    *[
        ("default", where, when)
        for where in EVERYWHERE
        for when in ("before", "after", "after a section")
        if where not in RESTARTED or when != "after"
    ],
    # Ignored is left out: what is not held shuts no gate.
    *[(owner, "at the gate", "after") for owner in ("default", "handler", "own")],
]


def by_a_worker(owner: str, where: str, when: str) -> tuple[int, list[str]]:
    """Status and lines that are promised."""
    lines = ["whole"]
    if where == "_shutdown":
        # KeyboardInterrupt: CPython reports it as unraisable and goes on.
        lines += ["handler"] * (owner == "handler")
        status = -TERM if owner == "default" else 0
        return status, [*lines, "atexit", "buffered"]
    if owner == "default":
        deaf = where in DEAF or (where in RESTARTED and when == "before")
        lines += [] if deaf else ["GracefulExit", "atexit"]
        return -TERM, [*lines, "buffered"]
    seen = {
        "ignored": ["went on"],
        "handler": ["handler", "went on"],
        "own": ["KeyboardInterrupt"],
    }[owner]
    if where == "at the gate" and owner == "handler":
        seen = ["handler", "opened", "went on"]
    return 0, [*lines, *seen, "atexit", "buffered"]


def slow_if_deaf(owner: str, where: str, when: str) -> object:
    lines = by_a_worker(owner, where, when)[1]
    deaf = owner == "default" and "atexit" not in lines
    marks = [pytest.mark.slow] if deaf and where != "os.read" else []
    return pytest.param(owner, where, when, marks=marks)


@pytest.mark.parametrize(
    ("owner", "where", "when"), [slow_if_deaf(*case) for case in BY_A_WORKER]
)
def test_closed_last_by_a_worker(program, owner: str, where: str, when: str) -> None:
    """The owner gets it once, in the main thread, wherever that is; a default ends
    the process by the signal, at the latest after a second."""
    done = program(CLOSED_BY_A_WORKER, owner, where, when).finish()
    status, lines = by_a_worker(owner, where, when)

    assert (done.status, done.out.splitlines()) == (status, lines), done.err
    assert done.err.count("KeyboardInterrupt") == (
        owner == "own" and where == "_shutdown"
    )


CLOSED_BY_MAIN = (
    SETUP
    + """
    # What ends the call in the section by itself, for whom a signal must not.
    ENDS = {
        "lock.acquire": taken.release,
        "Event.wait": never.set,
        "os.read": lambda: os.write(writer, b"x"),
        "select": lambda: os.write(writer, b"x"),
        "recv": lambda: theirs.send(b"x"),
        "mutex in C": lambda: libc.pthread_mutex_unlock(mutex),
    }
    ended = threading.Event()
    PLACES["mutex in C"] = lock_mutex
    def spin():
        while not ended.is_set():
            pass
    PLACES["bytecode"] = spin
    def nested():
        with section, TerminateProtected():
            spin()
    PLACES["nested"] = nested
    def beside():
        # A worker's section is open meanwhile, and closed first.
        closed = threading.Event()
        def work():
            with TerminateProtected():
                beside_opened.set()
                ended.wait()
            closed.set()
        beside_opened = threading.Event()
        threading.Thread(target=work).start()
        beside_opened.wait()
        closed.wait()
    PLACES["beside a worker's"] = beside
    def work():
        until(lambda: there, "main goes there")
        if where in ENDS:
            until_asleep()
        send(SIGNUM)
        if owner != "ignored":
            until(lambda: section.pending, "it is held")
        if where in ENDS:
            until_asleep()
        ENDS.get(where, int)()
        ended.set()
    section = TerminateProtected()
    thread = threading.Thread(target=work)
    thread.start()
    try:
        with section:
            there = True
            PLACES[where]()
            sum(range(100))
            equal([], heard)
            say("whole")
        # In __exit__ itself, before the next statement.
        equal([SIGTERM] if owner == "handler" else [], heard)
        thread.join()
        equal(int(owner == "handler"), len(heard))
        say("went on")
    except KeyboardInterrupt:
        say("KeyboardInterrupt")
        thread.join()
    except GracefulExit as error:
        equal(SIGTERM, error.reason.signum)
        say("GracefulExit")
        raise
"""
)
# Main that closes last is not blocked anywhere: what is left is where it was in its
# section when the signal came. Nothing there may see the signal, but for the calls
# that end at every handler (signal.pause() and poll() in C), which are left out, as
# are sleep() and join(), which differ from the rest in nothing.
IN_THE_SECTION = [
    "bytecode",
    "nested",
    "beside a worker's",
    "lock.acquire",
    "Event.wait",
    "os.read",
    "select",
    "recv",
    "mutex in C",
]
BY_MAIN = [
    *[("default", where) for where in IN_THE_SECTION],
    *[
        (owner, where)
        for owner in ("handler", "own", "ignored")
        for where in IN_THE_SECTION[:4]
    ],
]


@pytest.mark.parametrize(("owner", "where"), BY_MAIN)
def test_closed_last_by_main(program, owner: str, where: str) -> None:
    """The owner gets it in __exit__, once; what main did inside was not disturbed."""
    done = program(CLOSED_BY_MAIN, owner, where, "").finish()
    seen, status = {
        "default": ("GracefulExit", -TERM),
        "handler": ("handler\nwent on", 0),
        "own": ("KeyboardInterrupt", 0),
        "ignored": ("went on", 0),
    }[owner]

    assert done.out == f"whole\n{seen}\natexit\nbuffered\n", done.err
    assert done.status == status


def test_own_ctrl_c_uncaught(program) -> None:
    """A KeyboardInterrupt that nobody catches ends the process by SIGINT, as without
    a section."""
    done = program(
        """
        inside = threading.Event()
        def work():
            with TerminateProtected() as section:
                inside.wait()
                send(SIGINT)
                until(lambda: section.pending, "it is held")
        thread = threading.Thread(target=work)
        thread.start()
        try:
            inside.set()
            time.sleep(1000)
        finally:
            say("unwound")
        """
    ).finish()

    assert (done.status, done.out) == (-INT, "unwound\n"), done.err


@pytest.mark.parametrize("signum", [TERM, INT])
def test_handler_runs_once_a_signal(passes, signum: int) -> None:
    """The repeated nudges make one run of the handler, not several."""
    passes(
        """
        SIGNUM = int(sys.argv[1])
        heard = []
        signal.signal(SIGNUM, lambda *_: heard.append(1))
        def work():
            for n in range(3):
                with TerminateProtected() as section:
                    send(SIGNUM)
                    until(lambda: section.pending, "it is held")
                    equal(n, len(heard))
                until(lambda: len(heard) > n, "delivered")
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        # The last repetition is due 100 ms after the hand-over.
        time.sleep(0.12)
        equal(3, len(heard))
        """,
        int(signum),  # 3.10 writes the name
    )


def test_default_is_delivered_once(program) -> None:
    """A GracefulExit that main swallows is not followed by another."""
    done = program(
        """
        def work():
            with TerminateProtected() as section:
                opened.set()
                send(SIGTERM)
                until(lambda: section.pending, "it is held")
        opened = threading.Event()
        thread = threading.Thread(target=work)
        caught = 0
        try:
            thread.start()
            opened.wait()
            threading.Event().wait()  # always hears, unlike a system call
        except GracefulExit:
            caught += 1
        thread.join()
        # Repeated nudges, and the second after which main is given up.
        time.sleep(1.2)
        equal(1, caught)
        with TerminateProtected():
            pass
        sys.exit(3)
        """
    ).finish()

    assert done.status == 3, (done.status, done.err)


WORKERS = """
    import atexit
    atexit.register(say, "atexit")
    print("buffered")
    got = []
    do_not_look()
    looping = [0] * 4
    def work(i):
        try:
            while True:
                with TerminateProtected():
                    looping[i] += 1
                    time.sleep(0.001)
        except SystemExit as error:
            equal(SystemExit, type(error))
            equal(SIGTERM, error.reason.signum)
            equal(0, int(i in got))
            got.append(i)
    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    def tell():
        until(lambda: all(looping), "all loop")
        if sys.argv[1] == "returned":
            until_asleep()
        say("ready")
    threading.Thread(target=tell).start()
"""


def test_looping_workers_and_main_in_join(program) -> None:
    """Non-daemon workers that loop over sections: each gets a plain SystemExit, main
    a GracefulExit, and the process ends by the signal."""
    child = program(
        WORKERS
        + """
    try:
        workers[0].join()
    except GracefulExit:
        say("GracefulExit")
        # Not by join(): up to 3.12 one that was interrupted takes the thread for
        # ended.
        until(lambda: len(got) == 4, "all are told")
        say("all ended")
        raise
        """,
        "join",
    )
    child.wait_line("ready")
    child.signal(TERM)
    done = child.finish()

    assert done.out == "ready\nGracefulExit\nall ended\natexit\nbuffered\n", done.err
    assert (done.status, done.err) == (-TERM, "")


def test_looping_workers_after_main(program) -> None:
    """The same when main has returned."""
    child = program(WORKERS, "returned")
    child.wait_line("ready")
    child.signal(TERM)
    done = child.finish()

    assert done.out == "ready\natexit\nbuffered\n", done.err
    assert (done.status, done.err) == (-TERM, "")


def test_worker_that_swallows_the_end(program) -> None:
    """A non-daemon worker that goes on with its sections gets SystemExit once, and
    does not keep the process from ending."""
    child = program(
        """
        import atexit
        atexit.register(say, "atexit")
        print("buffered")
        do_not_look()
        def work():
            while True:
                try:
                    with TerminateProtected():
                        time.sleep(0.001)
                except SystemExit:
                    say("SystemExit")
        def hold():
            # Both of them may be between two sections when the signal comes.
            with TerminateProtected() as section:
                say("ready")
                until(lambda: section.pending, "held")
        for func in (work, work, hold):
            threading.Thread(target=func).start()
        try:
            threading.Event().wait()
        finally:
            # Both have been told, and have opened sections since.
            until(lambda: sys.stdin.read(1) == "x", "the parent has seen it")
        """,
        stdin=-1,
    )
    child.wait_line("ready")
    child.signal(TERM)
    child.wait_line("SystemExit")
    child.wait_line("SystemExit")
    child.stdin.write(b"x")
    child.stdin.flush()
    done = child.finish()

    assert done.out.splitlines() == [
        "ready",
        *["SystemExit"] * 2,
        "atexit",
        "buffered",
    ], done.err
    assert done.status == -TERM


def test_worker_blocked_for_ever(program) -> None:
    """A non-daemon worker that never ends does not keep the process from ending
    either, once main has unwound."""
    child = program(
        """
        import atexit
        atexit.register(say, "atexit")
        print("buffered")
        threading.Thread(target=threading.Event().wait).start()
        with TerminateProtected():
            say("ready")
            sys.stdin.read(1)
        """,
        stdin=-1,
    )
    child.wait_line("ready")
    child.signal(TERM)
    child.stdin.write(b"x")
    child.stdin.flush()
    done = child.finish()

    assert (done.status, done.out) == (-TERM, "ready\natexit\nbuffered\n"), done.err


def test_section_left_but_not_settled_at_the_end(program) -> None:
    """Main does not wait for who has left the last section and is about to give the
    signals back; nothing of ours is left then."""
    done = program(
        """
        from gracefulexit._process import process
        entered = threading.Event()
        def stuck_in_thread(section, steps=process.delivery.steps):
            if threading.current_thread() is thread:
                threading.Event().wait()
            return steps(section)
        process.delivery.steps = stuck_in_thread
        def work():
            with TerminateProtected():
                entered.set()
                until(lambda: unwound, "main has unwound")
        unwound = False
        thread = threading.Thread(target=work, daemon=True)
        try:
            with TerminateProtected():
                send(SIGTERM)
        finally:
            thread.start()
            entered.wait()
            unwound = True
        """
    ).finish()

    assert (done.status, done.out) == (-TERM, ""), done.err


@pytest.mark.parametrize("daemon", [True, False])
def test_section_at_work_is_drained_at_the_end(program, daemon: bool) -> None:
    """A section that is open when main has unwound is finished before the end."""
    done = program(
        """
        entered = threading.Event()
        def work():
            with TerminateProtected():
                entered.set()
                until(lambda: unwound, "main has unwound")
                for _ in range(20):
                    time.sleep(0.005)
                say("whole")
            threading.Event().wait()
        unwound = False
        # Started after the delivery: it is not told to end.
        thread = threading.Thread(target=work, daemon=sys.argv[1] == "True")
        try:
            with TerminateProtected():
                send(SIGTERM)
        finally:
            thread.start()
            entered.wait()
            unwound = True
        """,
        daemon,
    ).finish()

    assert (done.status, done.out) == (-TERM, "whole\n"), done.err
