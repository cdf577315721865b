"""gevent, with its monkey patch of threads not applied, beside a killer."""

from __future__ import annotations

import pytest

# Above every child. Its argument is the back end.
COMMON = """
import gevent, gevent.event, gevent.socket
backend = sys.argv[1]
STOPS = (SIGTERM, SIGINT)
def handlers():
    return {s: (signal.getsignal(s), action(s)[0]) for s in STOPS}
def wait(killer):
    gevent.socket.wait_read(killer.fileno(), LIMIT)
def works():
    heard = gevent.event.Event()
    handler = gevent.signal_handler(SIGUSR1, heard.set)
    for _ in range(3):
        send(SIGUSR1)
        assert heard.wait(LIMIT)
        heard.clear()
    handler.cancel()
    gevent.sleep(0.001)
"""


def test_greenlets_wait(beside) -> None:
    """Any number of greenlets wait for fileno(), others run meanwhile, and gevent works
    before and after the stop; a wait that times out leaves nothing behind."""
    beside(
        """
        works()
        before = calm()
        for signum in STOPS:
            with GracefulKiller(backend=backend) as killer:
                works()
                assert killer.armed
                try:
                    gevent.socket.wait_read(killer.fileno(), 0.001)
                except OSError:
                    pass
                else:
                    raise AssertionError("readable before the stop")
                waiting = [gevent.spawn(wait, killer) for _ in range(3)]
                ran = gevent.spawn(gevent.sleep, 0.001)
                ran.get(timeout=LIMIT)
                equal([False] * 3, [w.dead for w in waiting])
                send(signum)
                for waiter in waiting:
                    waiter.get(timeout=LIMIT)
                equal(signum, killer.reason.signum)
                works()
            works()
        equal({}, changes(before))
        """
    )


@pytest.mark.slow
def test_killer_first(beside) -> None:
    """A killer that is made before gevent makes its hub hears as well."""
    beside(
        """
        for signum in STOPS:
            with GracefulKiller(backend=backend) as killer:
                # A hub for each of them.
                gevent.get_hub().destroy(destroy_loop=True)
                works()
                send(signum)
                gevent.spawn(wait, killer).get(timeout=LIMIT)
                equal(signum, killer.reason.signum)
        """
    )


@pytest.mark.slow
def test_gevent_takes_the_signal(beside) -> None:
    """gevent.signal_handler() takes a signal of ours: the log says so once, with what
    to do; it leaves the default action behind, and rearm() takes the signal back."""
    beside(
        """
        told = log_lines("taken over:")
        for signum in STOPS:
            gevent.signal_handler(signum, print).cancel()
            gevent.sleep(0.001)
        left = handlers()  # without us: by default both, in the kernel's table
        equal([0, 0], [kernels for _, kernels in left.values()])
        for signum in STOPS:
            told.clear()
            with GracefulKiller(backend=backend) as killer:
                heard = gevent.event.Event()
                handler = gevent.signal_handler(signum, heard.set)
                equal(False, killer.armed)
                killer.fileno()  # here we notice
                until(lambda: told, "told")
                killer.fileno()
                send(signum)
                assert heard.wait(LIMIT)
                equal(False, killer.kill_now)
                handler.cancel()
                equal(False, killer.armed)
                killer.rearm()
                assert killer.armed
                send(signum)
                wait(killer)
                equal(signum, killer.reason.signum)
            equal(1, len(told))
            assert "gevent.signal_handler()" in told[0], told
            assert "killer.rearm()" in told[0], told
            equal(left, handlers())
        """
    )


@pytest.mark.slow
def test_killer_takes_the_signal_from_gevent(beside) -> None:
    """A killer made after gevent.signal_handler() hears alone, and gives it back."""
    beside(
        """
        for signum in STOPS:
            heard = gevent.event.Event()
            handler = gevent.signal_handler(signum, heard.set)
            with GracefulKiller(backend=backend) as killer:
                assert killer.armed
                send(signum)
                wait(killer)
                equal(signum, killer.reason.signum)
                equal(False, heard.is_set())
            send(signum)
            assert heard.wait(LIMIT)
            handler.cancel()
        """
    )


@pytest.mark.slow
def test_raises(beside_in_main) -> None:
    """`raises=KeyboardInterrupt` ends the main greenlet's wait, on SIGTERM too."""
    beside_in_main(
        """
        for signum in STOPS:
            with GracefulKiller(backend=backend, raises=KeyboardInterrupt) as killer:
                gevent.spawn(send, signum)
                try:
                    gevent.sleep(LIMIT)
                except KeyboardInterrupt:
                    equal(signum, killer.reason.signum)
                else:
                    raise AssertionError("not raised")
        """
    )


def test_patched_threads_are_refused(program, backend: str) -> None:
    """Where gevent has patched threading, a killer is refused with what to write, and
    nothing is left half done."""
    done = program(
        """
        from gevent import monkey
        monkey.patch_all()
        before = masks(), signal.getsignal(SIGTERM)
        for signals in ("TERM", ()):
            try:
                GracefulKiller(signals, backend=sys.argv[1])
            except RuntimeError as error:
                assert "patch_all(thread=False)" in str(error), error
            else:
                raise AssertionError("not refused")
            equal(before, (masks(), signal.getsignal(SIGTERM)))
            equal(None, current())
        send(SIGTERM)
        """,
        backend,
    ).finish()

    assert done.err == ""
    assert done.status == -15


@pytest.mark.slow
def test_all_but_threads_patched(passes, backend: str) -> None:
    """With patch_all(thread=False) killers, workers and hooks are as without gevent."""
    passes(
        """
        from gevent import monkey
        monkey.patch_all(thread=False)
        import gevent, gevent.socket
        rounds, hooked = [], []
        class Rounds(Worker):
            interval = 0.001
            def step(self):
                rounds.append(1)
        for signum in (SIGTERM, SIGINT):
            with GracefulKiller(backend=sys.argv[1]) as killer:
                killer.start(Rounds())
                killer.on_stop(hooked.append, signum)
                until(lambda: len(rounds) > 2, "rounds")
                send(signum)
                gevent.socket.wait_read(killer.fileno(), LIMIT)
                assert killer.event.wait(LIMIT)
                equal([], killer.join(LIMIT))
            rounds.clear()
        equal([SIGTERM, SIGINT], hooked)
        """,
        backend,
    )


@pytest.mark.race
@pytest.mark.slow
def test_signals_at_any_moment(beside) -> None:
    """Whenever it comes, while greenlets sleep, switch or end: the killer hears the
    signal and nothing is raised."""
    beside(
        """
        import random
        early = 0
        def send_later(delay, signum):
            time.sleep(delay)
            send(signum)
        for n in times(150):
            signum = STOPS[n % 2]
            with GracefulKiller(backend=backend) as killer:
                args = random.uniform(0, 0.003), signum
                sender = threading.Thread(target=send_later, args=args)
                sender.start()
                waiter = gevent.spawn(wait, killer)
                gevent.joinall([gevent.spawn(gevent.sleep, 0.001) for _ in range(5)])
                early += killer.kill_now
                waiter.get(timeout=LIMIT)
                sender.join()
                equal(signum, killer.reason.signum)
                assert killer.armed
        assert early, "no signal came meanwhile"
        """
    )
