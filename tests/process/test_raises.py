"""raises= and chain=: exceptions in main, and those who were there before."""

from __future__ import annotations

import signal

import pytest

TERM, INT = signal.SIGTERM, signal.SIGINT

# Where main may be; each must end by Mine and by nothing else. Names of SETUP.
PLACES = {
    "time.sleep": "time.sleep(1000)",
    "os.read": "os.read(reader, 1)",
    "lock.acquire": "locked.acquire()",
    "lock.acquire with timeout": "locked.acquire(timeout=1000)",
    "RLock.acquire": "rlocked.acquire()",
    "Event.wait": "threading.Event().wait()",
    "Event.wait with timeout": "threading.Event().wait(1000)",
    "Condition.wait": "\nwith condition: condition.wait()",
    "queue.get": "queue.Queue().get()",
    "SimpleQueue.get": "queue.SimpleQueue().get()",
    "Thread.join": "sleeper.join()",
    "select": "select.select([reader], [], [])",
    "poll": "\np = select.poll(); p.register(reader); p.poll()",
    "accept": "\ns = socket.create_server(('127.0.0.1', 0)); s.accept()",
    "signal.pause": "signal.pause()",
    "waitpid": "os.waitpid(child, 0)",
    "bytecode": "\nwhile True: pass",
    "killer.wait": "killer.wait()",
    "killer.join": "killer.join()",
}
SETUP = """
        import queue, socket
        class Mine(Exception): pass
        reader, writer = os.pipe()
        locked = threading.Lock(); locked.acquire()
        rlocked = threading.RLock()
        condition = threading.Condition()
        over = threading.Event()
        sleeper = threading.Thread(target=over.wait, daemon=True)
        child = 0
        def hold(entered):
            rlocked.acquire(); entered.set(); over.wait()
        entered = threading.Event()
        threading.Thread(target=hold, args=(entered,), daemon=True).start()
        entered.wait()
        sleeper.start()
        place, how = sys.argv[1:3]
        if "waitpid" in place:
            import warnings
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
            if not child:
                signal.pthread_sigmask(signal.SIG_BLOCK, (SIGTERM, SIGINT))
                os.close(writer)
                os.read(reader, 1)
                os._exit(0)
        killer = GracefulKiller(raises=Mine)
        killer.add(sleeper, stop=lambda: None)
"""


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("how", ["TERM", "INT", "thread", "stop"])
def test_raises_wherever_main_is(program, place: str, how: str) -> None:
    """The exception is raised in main at once, wherever main waits: for a signal from
    outside, for one that another thread takes, and for stop() in another thread."""
    child = program(
        SETUP
        + """
        arrived = False
        def act():
            # When the kernel shows main asleep (or busy, for bytecode) we are there.
            # Not in start(), where it sleeps or is busy as well.
            until(lambda: arrived, "main is in the block")
            where = f"/proc/self/task/{os.getpid()}/stat"
            wanted = "R" if "while True" in place else "S"
            seen = 0
            while seen < 3:
                with open(where) as f:
                    seen = seen + 1 if f.read().split()[2] == wanted else 0
                time.sleep(0.005)
            if how == "thread":
                signal.pthread_kill(threading.get_ident(), SIGTERM)
            elif how == "stop":
                killer.stop("from a thread")
            else:
                print("there", flush=True)
        threading.Thread(target=act, daemon=True).start()
        try:
            arrived = True
            exec(place)
        except Mine:
            pass
        else:
            raise AssertionError("main went on")
        equal(True, killer.kill_now)
        counted = 0 if how == "stop" else 1
        equal(counted, sum(killer.counts.values()))
        # Once: nothing more comes.
        try:
            killer.stop()
            send(SIGTERM)
            for _ in range(1000):
                time.sleep(0)
            time.sleep(0.01)
        except Mine:
            raise AssertionError("raised twice") from None
        if child:
            os.kill(child, signal.SIGKILL)
        os.write(1, b"passed\\n")
        os._exit(0)
        """,
        PLACES[place],
        how,
    )
    if how in ("TERM", "INT"):
        child.wait_line("there")
        child.signal(TERM if how == "TERM" else INT)
    done = child.finish()

    assert done.err == ""
    assert done.out.endswith("passed\n")
    assert done.status == 0


def test_raises_before_wait_returns(passes) -> None:
    """Where the stop wakes main before what is to be raised is on its way: nobody
    goes on after wait() for a moment, and nothing is raised twice."""
    passes(
        """
        from gracefulexit._process import process
        class Mine(Exception): pass
        awake, sent = threading.Event(), threading.Event()
        def send_late(send=process._raise_soon):
            until(awake.is_set, "main is awake")
            send()
            sent.set()
        process._raise_soon = send_late
        killer = GracefulKiller(raises=Mine)
        threading.Thread(target=killer.stop, daemon=True).start()
        try:
            killer.wait()
        except Mine:
            pass
        else:
            raise AssertionError("main went on")
        awake.set()
        until(sent.is_set, "the signal to main is sent")
        time.sleep(0.01)
        equal(True, killer.wait())
        killer.close()
        """
    )


def test_leaving_in_another_thread_raises_nothing(passes) -> None:
    """Nor does main's wait(), though the flag says that the program stops."""
    passes(
        """
        from gracefulexit import _core
        class Mine(Exception): pass
        returned = threading.Event()
        def stop_slowly(stop=_core.stop):
            began = stop()
            until(returned.is_set, "main's wait() has returned")
            return began
        _core.stop = stop_slowly
        killer = GracefulKiller(raises=Mine)
        def leave():
            with killer:
                pass
        thread = threading.Thread(target=leave)
        thread.start()
        equal(True, killer.wait())
        returned.set()
        thread.join()
        """
    )


def test_raises_keyboard_interrupt(program) -> None:
    """raises=KeyboardInterrupt ends a main loop that is not ours at SIGTERM."""
    child = program(
        """
        def serve_forever():
            print("ready", flush=True)
            while True:
                time.sleep(1000)
        with GracefulKiller(raises=KeyboardInterrupt) as killer:
            try:
                serve_forever()
            except KeyboardInterrupt:
                print(killer.reason.signal.name)
        killer.exit()
        """
    )
    child.wait_line("ready")
    child.signal(TERM)
    done = child.finish()

    assert (done.status, done.out, done.err) == (-TERM, "ready\nSIGTERM\n", "")


def test_raises_waits_for_the_section(passes) -> None:
    """The exception is held until main's outermost section is left."""
    passes(
        """
        class Mine(Exception): pass
        killer = GracefulKiller(raises=Mine)
        steps = []
        try:
            with TerminateProtected():
                with TerminateProtected():
                    send(SIGTERM)
                    time.sleep(0.01)
                    steps.append("inner")
                time.sleep(0.01)
                steps.append("outer")
            steps.append("after")
        except Mine:
            steps.append("raised")
        equal(["inner", "outer", "raised"], steps)
        killer.close()
        """
    )


def test_raises_keeps_the_sections_own_exception(passes) -> None:
    """If the delivery raises, the section's exception is its __context__."""
    passes(
        """
        class Mine(Exception): pass
        killer = GracefulKiller(raises=Mine)
        try:
            with TerminateProtected():
                send(SIGTERM)
                raise OSError("own")
        except Mine as error:
            equal("own", str(error.__context__))
        killer.close()
        """
    )


def test_leaving_the_block_does_not_raise(passes) -> None:
    """Leaving the block, and exit(), stop without `raises`."""
    passes(
        """
        class Mine(Exception): pass
        with GracefulKiller(raises=Mine) as killer:
            pass
        equal(True, killer.kill_now)
        killer = GracefulKiller(raises=Mine)
        try:
            killer.exit()
        except SystemExit as error:
            equal(0, error.code)
        """
    )


def test_raises_comes_once_for_several_signals(program) -> None:
    """Ten signals raise once; the cleanup that follows is not interrupted."""
    child = program(
        """
        class Mine(Exception): pass
        killer = GracefulKiller(raises=Mine, escalate=())
        def count():
            for n in range(1, 11):
                until(lambda: killer.counts[SIGTERM] == n, "the next")
                os.write(1, b"counted\\n")
        counter = threading.Thread(target=count)
        counter.start()
        caught = 0
        try:
            print("ready", flush=True)
            time.sleep(1000)
        except Mine:
            caught += 1
        try:
            counter.join()
        except Mine:
            caught += 1
        equal(1, caught)
        killer.close()
        """
    )
    child.wait_line("ready")
    for _ in range(10):
        # Until main has had the first nothing else may hide in it.
        child.signal(TERM)
        child.wait_line("counted")
    done = child.finish()

    assert done.err == ""
    assert done.status == 0


CHAIN = {"True": ["previous"], "False": []}


@pytest.mark.parametrize("chain", CHAIN)
@pytest.mark.parametrize("to", ["main", "thread"])
def test_chain(passes, chain: str, to: str) -> None:
    """chain=True: the previous Python handler runs as well, once a signal, in main;
    by default it does not."""
    passes(
        """
        called = []
        def previous(signum, frame):
            called.append((signum, frame is not None, threading.current_thread()))
        signal.signal(SIGTERM, previous)
        chain, to = sys.argv[1] == "True", sys.argv[2]
        killer = GracefulKiller(chain=chain)
        main = threading.main_thread()
        def shoot():
            if to == "main":
                send(SIGTERM)
            else:
                shooter = threading.Thread(
                    target=lambda: signal.pthread_kill(threading.get_ident(), SIGTERM)
                )
                shooter.start()
                shooter.join()
        for n in (1, 2):
            shoot()
            equal(True, killer.kill_now)
            if chain:
                until(lambda: len(called) == n, "the previous handler ran")
        equal([(SIGTERM, True, main)] * 2 if chain else [], called)
        equal(2, killer.counts[SIGTERM])
        killer.close()
        equal(previous, signal.getsignal(SIGTERM))
        """,
        chain,
        to,
    )


def test_chain_of_a_c_handler(passes) -> None:
    """chain=True: a C handler that was there before runs as well."""
    passes(
        """
        import ctypes
        called = []
        # Only main is signalled here, and it is in Python code: that makes it safe.
        handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(called.append)
        set_action(SIGUSR1, ctypes.cast(handler, ctypes.c_void_p).value)
        killer = GracefulKiller("USR1", chain=True)
        send(SIGUSR1)
        equal(True, killer.kill_now)
        until(lambda: called == [SIGUSR1], "the C handler ran")
        killer.close()
        """
    )


def test_chain_to_a_handler_that_raises(program) -> None:
    """chain=True: default_int_handler beneath us raises KeyboardInterrupt."""
    child = program(
        """
        killer = GracefulKiller(chain=True)
        try:
            print("ready", flush=True)
            time.sleep(1000)
        except KeyboardInterrupt:
            equal(True, killer.kill_now)
            killer.exit()
        """
    )
    child.wait_line("ready")
    child.signal(INT)
    done = child.finish()

    assert (done.status, done.err) == (-INT, "")


@pytest.mark.parametrize("previous", ["SIG_DFL", "SIG_IGN"])
def test_chain_to_no_handler(passes, previous: str) -> None:
    """chain=True over the default only stops; over an ignored signal nothing."""
    passes(
        """
        signal.signal(SIGTERM, eval(sys.argv[1]))
        with GracefulKiller(chain=True) as killer:
            send(SIGTERM)
            time.sleep(0.01)
            equal(sys.argv[1] == "SIG_DFL", killer.kill_now)
        """,
        previous,
    )


def test_chain_of_on(passes) -> None:
    """chain=True also runs who handled a signal of on() before."""
    passes(
        """
        called = []
        signal.signal(SIGHUP, lambda *args: called.append(args[0]))
        killer = GracefulKiller(chain=True)
        ours = threading.Event()
        killer.on("HUP", lambda info: ours.set())
        send(SIGHUP)
        assert ours.wait(LIMIT)
        until(lambda: called == [SIGHUP], "the previous handler ran")
        equal(False, killer.kill_now)
        killer.close()
        """
    )


@pytest.mark.parametrize("how", ["raises", "chain", "stop", "call"])
def test_at_the_limit_of_recursion(passes, handler_backend: str, how: str) -> None:
    """What comes where main's stack is all but full is raised, once, and no
    RecursionError before."""
    passes(
        """
        from gracefulexit import _core
        class Mine(Exception): pass
        def act():
            if sys.argv[2] not in ("stop", "call"):
                os.kill(pid, SIGINT)
                return
            asked.append(True)
            while not stopped:
                pass
        def at(depth, act):
            if depth:
                at(depth - 1, act)
            else:
                act()
                for _ in range(1000):
                    pass
        def deepest():
            depth = sys.getrecursionlimit()
            while True:
                try:
                    at(depth, lambda: os.getpid())
                except RecursionError:
                    depth -= 1
                else:
                    return depth
        pid, limit, last = os.getpid(), sys.getrecursionlimit(), deepest()
        def others():
            while True:
                until(lambda: asked, "asked")
                if asked.pop() is None:
                    return
                if sys.argv[2] == "call":
                    _core.in_main(lambda: at(10, killer.stop))
                else:
                    killer.stop()
                stopped.append(True)
        asked, stopped = [], []
        other = threading.Thread(target=others)
        other.start()
        kind = KeyboardInterrupt if sys.argv[2] == "chain" else Mine
        for room in range(60):
            stopped.clear()
            killer = GracefulKiller(
                backend=sys.argv[1],
                **{"chain": True} if kind is not Mine else {"raises": Mine},
            )
            try:
                at(last - room, act)
                until(lambda: False, "it is raised")
            except kind:
                killer.close()
            equal(True, killer.kill_now)
            equal(limit, sys.getrecursionlimit())
        asked.append(None)
        other.join()
        """,
        handler_backend,
        how,
    )


def test_never_away_from_the_limit_of_recursion(program, handler_backend: str) -> None:
    """A program that would take years to come up by ten levels again is told of a
    signal. Of one of several: at the last level CPython calls nobody."""
    child = program(
        """
        def down():
            try:
                down()
            except RecursionError:
                down()
        def others():
            while True:
                send(SIGINT)
                time.sleep(0.1)
        signal.signal(SIGINT, lambda *_: os._exit(7))
        killer = GracefulKiller(backend=sys.argv[1], chain=True, escalate=())
        threading.Thread(target=others, daemon=True).start()
        down()
        """,
        handler_backend,
    )
    assert child.finish().status == 7


def test_limit_of_recursion_that_others_set(passes) -> None:
    """It stays, whoever sets it while a handler has more: the handler, or a thread that
    saves and restores it."""
    passes(
        """
        def at(depth):
            at(depth - 1) if depth else os.kill(os.getpid(), SIGINT)
        def handler(*args):
            old = sys.getrecursionlimit()
            seen.append(old)
            def save():
                sys.setrecursionlimit(old + 500)
                both.wait(LIMIT)
                both.wait(LIMIT)
                sys.setrecursionlimit(old)
            if keep is None:
                other.append(threading.Thread(target=save))
                other[0].start()
                both.wait(LIMIT)
            else:
                sys.setrecursionlimit(keep)
        def deepest():
            try:
                return 1 + deepest()
            except RecursionError:
                return 1
        limit, seen, other = sys.getrecursionlimit(), [], []
        both = threading.Barrier(2)
        signal.signal(SIGINT, handler)
        killer = GracefulKiller(chain=True, escalate=())
        before = deepest()
        for keep in (None, limit + 3, limit):
            at(limit - 15)
            until(lambda: seen, "it is called")
            equal([limit], seen)
            del seen[:]
            if keep is None:
                both.wait(LIMIT)
                other[0].join()
            equal(keep or limit, sys.getrecursionlimit())
            equal(before + (keep or limit) - limit, deepest())
            sys.setrecursionlimit(limit)
        """
    )


def test_handlers_in_handlers_find_the_limit_of_recursion(passes) -> None:
    """Each has no more than the first, or they would use up the stack of the system."""
    passes(
        """
        def handler(*args):
            try:
                again()
            except RecursionError as error:
                seen.append(error)
        def again():
            depth.append(None)
            os.kill(os.getpid(), SIGINT)
        seen, depth = [], []
        signal.signal(SIGINT, handler)
        killer = GracefulKiller(chain=True, escalate=())
        again()
        until(lambda: seen, "the end of the stack")
        equal(True, len(depth) < sys.getrecursionlimit())
        """
    )


@pytest.mark.parametrize("how", ["signal", "call"])
def test_end_with_no_room(passes, how: str) -> None:
    """Where the limit of recursion is so low that there is never room, the program ends
    all the same."""
    passes(
        """
        from gracefulexit import _core
        signal.signal(SIGINT, lambda *args: None)
        killer = GracefulKiller(chain=True)
        sys.setrecursionlimit(25)
        if sys.argv[1] == "signal":
            os.kill(os.getpid(), SIGINT)
        else:
            _core.in_main(lambda: None)
        """,
        how,
    )
