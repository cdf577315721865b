"""Signals that come while something is being made or let go are never lost."""

from __future__ import annotations

import pytest

# A process that signals its parent when it is told to, after a random time; threads
# of the process itself would be chosen by another rule of the kernel.
SENDER = """
        import random
        to_sender, from_parent = os.pipe(), None
        def shoot():
            # Another thread of this process, at a random moment.
            delay = random.random() * 0.0015
            end = time.perf_counter() + delay
            while time.perf_counter() < end:
                pass
            send(SIGNUM)
        reader, writer = os.pipe()
        parent = os.getpid()
        if not os.fork():
            os.close(writer)
            while data := os.read(reader, 4):
                end = time.perf_counter() + int(data) / 1e6
                while time.perf_counter() < end:
                    pass
                os.kill(parent, SIGNUM)
            os._exit(0)
        os.close(reader)
        def shoot_soon(limit=1000):
            os.write(writer, b"%4d" % random.randrange(limit))
"""


@pytest.mark.race
@pytest.mark.parametrize("previous", ["handler", "other thread"])
def test_signal_against_close(passes, backend: str, previous: str) -> None:
    """A signal during close() is the killer's or the previous owner's, never lost."""
    passes(
        "        SIGNUM = SIGTERM\n"
        + SENDER
        + """
        heard = []
        signal.signal(SIGTERM, lambda *_: heard.append(1))
        kills = 0
        for n in rounds(300, lambda: kills):
            killer = GracefulKiller("TERM", backend=sys.argv[1])
            shoot_soon(1500)
            pause = time.perf_counter() + random.random() * 0.001
            while time.perf_counter() < pause:
                pass
            if sys.argv[2] == "handler":
                killer.close()
            else:
                closer = threading.Thread(target=killer.close)
                closer.start()
                closer.join()
            until(lambda: killer.kill_now or heard, f"heard, round {n}")
            kills += killer.kill_now
            equal(1, killer.kill_now + len(heard))
            equal(killer.kill_now, killer.reason is not None)
            equal(int(killer.kill_now), killer.counts[SIGTERM])
            heard.clear()
        """,
        backend,
        previous,
    )


@pytest.mark.race
def test_signal_against_the_constructor(passes, backend: str) -> None:
    """A signal while a killer is being made goes to the previous owner or stops."""
    passes(
        "        SIGNUM = SIGTERM\n"
        + SENDER
        + """
        heard = []
        def previous(*_): heard.append(1)
        signal.signal(SIGTERM, previous)
        kills = 0
        for n in rounds(300, lambda: kills):
            shoot_soon()
            pause = time.perf_counter() + random.random() * 0.001
            while time.perf_counter() < pause:
                pass
            killer = GracefulKiller("TERM", backend=sys.argv[1])
            until(lambda: killer.kill_now or heard, f"heard, round {n}")
            kills += killer.kill_now
            equal(1, killer.kill_now + len(heard))
            killer.close()
            equal(previous, signal.getsignal(SIGTERM))
            heard.clear()
        """,
        backend,
    )


@pytest.mark.race
def test_signal_against_close_over_the_default(program) -> None:
    """A signal during close() over a default disposition stops or ends the process."""
    done = program(
        """
        import random, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        GracefulKiller().close()
        ended = 0
        for n in rounds(150, lambda: ended):
            reader, writer = os.pipe()
            pid = os.fork()
            if not pid:
                killer = GracefulKiller("TERM")
                os.write(writer, b"x")
                end = time.perf_counter() + random.random() * 0.0005
                while time.perf_counter() < end:
                    pass
                killer.close()
                # Sent before this: so it is heard by now, or ends us at once.
                until(lambda: killer.kill_now, "heard")
                os._exit(7)
            os.read(reader, 1)
            end = time.perf_counter() + random.random() * 0.001
            while time.perf_counter() < end:
                pass
            os.kill(pid, SIGTERM)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            assert status in (7, -15), (n, status)
            ended += status == -15
            os.close(reader); os.close(writer)
        """
    ).finish()

    assert done.status == 0, done.err


@pytest.mark.race
@pytest.mark.parametrize("owner", ["handler", "killer"])
def test_signal_against_leaving_a_section(passes, owner: str) -> None:
    """A signal while a section is left is delivered, once, and never inside one."""
    passes(
        "        SIGNUM = SIGTERM\n"
        + SENDER
        + """
        heard, inside = [], False
        def handler(*_): heard.append(inside)
        signal.signal(SIGTERM, handler)
        in_section = 0
        for n in rounds(300, lambda: in_section):
            killer = None
            if sys.argv[1] == "killer":
                killer = GracefulKiller("TERM")
            shoot_soon()
            section = TerminateProtected("TERM")
            with section:
                inside = True
                pause = time.perf_counter() + random.random() * 0.001
                while time.perf_counter() < pause:
                    pass
                in_section += section.pending
                inside = False
            if killer is None:
                until(lambda: heard, f"heard, round {n}")
                equal([False], heard)
                equal(handler, signal.getsignal(SIGTERM))
            else:
                until(lambda: killer.kill_now, f"heard, round {n}")
                equal([], heard)
                killer.close()
            heard.clear()
        """,
        owner,
    )


@pytest.mark.race
def test_sections_in_threads_against_signals(passes) -> None:
    """Signals while threads open and close sections are all delivered outside."""
    passes(
        """
        heard = 0
        def handler(*_):
            global heard
            heard += 1
        signal.signal(SIGTERM, handler)
        over = threading.Event()
        def work():
            while not over.is_set():
                with TerminateProtected():
                    with TerminateProtected():
                        pass
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads: thread.start()
        for n in times(100):
            send(SIGTERM)
            with TerminateProtected():
                pass
            until(lambda: heard > n, f"heard, round {n}")
            equal(n + 1, heard)
        over.set()
        for thread in threads: thread.join()
        equal(handler, signal.getsignal(SIGTERM))
        """
    )


@pytest.mark.race
def test_killers_in_threads_against_signals(passes) -> None:
    """Killers that are made and closed in several threads while signals come: nothing
    hangs, nothing is left, the counters are exact."""
    passes(
        """
        from gracefulexit import lowlevel
        heard = []
        signal.signal(SIGTERM, lambda *_: heard.append(1))
        GracefulKiller(()).close()
        before = calm()
        over = threading.Event()
        def work():
            while not over.is_set():
                with GracefulKiller("TERM", escalate=()):
                    pass
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads: thread.start()
        for n in times(300):
            send(SIGTERM)
            time.sleep(0.0005)
        over.set()
        for thread in threads: thread.join()
        equal({}, changes(before))
        equal(None, current())
        equal("running", lowlevel.state())
        """
    )


@pytest.mark.race
def test_stop_from_many_threads(passes) -> None:
    """Of many stop() and signals at once one is the reason."""
    passes(
        """
        for n in times(100):
            killer = GracefulKiller(escalate=())
            start = threading.Barrier(5)
            def stop(name):
                start.wait()
                killer.stop(name)
            def shoot():
                start.wait()
                send(SIGTERM)
            threads = [threading.Thread(target=stop, args=(s,)) for s in "abc"]
            threads.append(threading.Thread(target=shoot))
            for thread in threads: thread.start()
            start.wait()
            for thread in threads: thread.join()
            reason = killer.reason
            assert reason.signum == SIGTERM or reason.message in "abc", reason
            equal(1, killer.counts[SIGTERM])
            killer.close()
        """
    )
