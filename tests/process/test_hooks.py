"""on_stop(), on_exit(), workers and the order of a stop."""

from __future__ import annotations

import pytest


def test_on_stop_hooks(passes) -> None:
    """on_stop hooks run at the stop, last registered first, each once, with their
    arguments, on a thread that is not main; a failing one does not stop the rest."""
    done = passes(
        """
        killer = GracefulKiller()
        ran, over = [], threading.Event()
        def note(*args, **kwargs):
            ran.append((args, kwargs, threading.current_thread()))
        def bad(): ran.append("bad"); raise ValueError("from the hook")
        equal(over.set, killer.on_stop(over.set))
        killer.on_stop(note, 1, x=2)
        killer.on_stop(bad)
        @killer.on_stop
        def last(): ran.append("last")
        assert callable(last)
        send(SIGTERM)
        send(SIGTERM)
        assert over.wait(LIMIT)
        equal(["last", "bad"], ran[:2])
        equal(((1,), {"x": 2}), ran[2][:2])
        assert ran[2][2] is not threading.main_thread()
        equal(3, len(ran))
        killer.close()
        equal(3, len(ran))
        """
    )

    assert "on_stop hook bad failed: ValueError('from the hook')" in done.err


@pytest.mark.parametrize("error", ["SystemExit(3)", "KeyboardInterrupt()"])
def test_hook_that_exits(passes, error: str) -> None:
    """A hook that raises SystemExit or KeyboardInterrupt does not stop the rest."""
    passes(
        """
        killer = GracefulKiller()
        over = threading.Event()
        killer.on_stop(over.set)
        @killer.on_stop
        def bad(): raise eval(sys.argv[1])
        order = []
        killer.on_exit(order.append, "first")
        @killer.on_exit
        def bad_too(): raise eval(sys.argv[1])
        send(SIGTERM)
        assert over.wait(LIMIT)
        killer.close()
        equal(["first"], order)
        """,
        error,
    )


def test_late_on_stop(passes) -> None:
    """A hook registered after the stop began runs at once, and once."""
    passes(
        """
        killer = GracefulKiller()
        send(SIGTERM)
        assert killer.event.wait(LIMIT)
        for _ in range(3):
            ran = []
            over = threading.Event()
            def hook(): ran.append(1); over.set()
            killer.on_stop(hook)
            assert over.wait(LIMIT)
        killer.close()
        equal([1], ran)
        """
    )


@pytest.mark.race
def test_on_stop_registered_during_the_stop_never_gets_lost(passes) -> None:
    """A hook registered while the signal comes runs exactly once."""
    passes(
        """
        import random
        for i in times(100):
            killer = GracefulKiller()
            ran = []
            sender = threading.Thread(target=send, args=(SIGTERM,))
            for n in range(8):
                if n == i % 8:
                    sender.start()
                killer.on_stop(ran.append, n)
            assert killer.wait(LIMIT)
            until(lambda: len(ran) >= 8, "all ran")
            sender.join()
            killer.close()
            equal(list(range(8)), sorted(ran))
        """
    )


@pytest.mark.parametrize(
    "leave", ["left", "killer.close()", "killer.exit()", "stop and left", "at exit"]
)
def test_on_exit_hooks(program, leave: str) -> None:
    """on_exit hooks run after the workers, last first, each once, at any way out."""
    done = program(
        """
        leave = sys.argv[1]
        killer = GracefulKiller()
        def say(what): print(what, flush=True)
        class Slow(Worker):
            def run(self):
                self.wait()
                say("worker")
        def main():
            with killer:
                if leave == "killer.close()":
                    killer.close()
                elif leave == "killer.exit()":
                    killer.exit()
                elif leave == "stop and left":
                    killer.stop()
        killer.on_exit(say, "second")
        killer.on_exit(say, "first")
        if leave != "at exit":
            if leave != "killer.close()":
                killer.start(Slow())
            main()
        """,
        leave,
    ).finish()

    worker = "" if leave in ("killer.close()", "at exit") else "worker\n"
    assert done.out == worker + "first\nsecond\n"
    assert done.err == ""
    assert done.status == 0


def test_hook_timeout_leaves_behind(passes) -> None:
    """A hook over hook_timeout is left behind with a line in the log; the rest run,
    and close() does not wait for it."""
    done = passes(
        """
        killer = GracefulKiller(hook_timeout=0.5)
        never, over = threading.Event(), threading.Event()
        order = []
        killer.on_stop(over.set)
        @killer.on_stop
        def stuck(): never.wait()
        killer.on_exit(order.append, "last")
        @killer.on_exit
        def stuck_too(): never.wait()
        killer.on_exit(order.append, "first")
        send(SIGTERM)
        assert over.wait(LIMIT)
        with killer:
            pass
        equal(["first", "last"], order)
        results = {h.name.split()[-1]: h.result for h in killer.report().hooks}
        equal(("left behind", "left behind"), (results["stuck"], results["stuck_too"]))
        never.set()
        """
    )

    assert "stuck" in done.err
    assert "stuck_too" in done.err


def test_left_behind_at_the_end_of_the_block(passes, backend: str) -> None:
    """hook_timeout holds whoever is first to tell of the stop, main or dispatcher."""
    passes(
        """
        for _ in range(20):
            over = threading.Event()
            with GracefulKiller(backend=sys.argv[1], hook_timeout=0.02) as killer:
                killer.on_stop(over.wait, LIMIT)
            equal(["left behind"], [h.result for h in killer.report().hooks])
            over.set()
        """,
        backend,
    )


def test_on_stop_hook_is_waited_for(passes) -> None:
    """Leaving the block waits for on_stop hooks that are still running."""
    passes(
        """
        order = []
        entered = threading.Event()
        with GracefulKiller() as killer:
            @killer.on_stop
            def hook():
                entered.set()
                threading.Event().wait(0.1)
                order.append("on_stop")
            killer.on_exit(order.append, "on_exit")
            send(SIGTERM)
            assert entered.wait(LIMIT)
        equal(["on_stop", "on_exit"], order)
        """
    )


@pytest.mark.parametrize("kind", ["on_stop", "on", "on_exit", "shutdown"])
def test_close_from_a_hook(passes, kind: str) -> None:
    """close() and stop() may be called from any hook; on_exit hooks run once."""
    passes(
        """
        before = state()["actions"]
        killer = GracefulKiller()
        kind = sys.argv[1]
        exits = []
        closed = threading.Event()
        def close(*_):
            killer.stop("from the hook")
            killer.close()
            closed.set()
        killer.on_exit(exits.append, 1)
        if kind == "on":
            killer.on("HUP", close)
            send(SIGHUP)
        elif kind == "shutdown":
            release = threading.Event()
            thread = threading.Thread(target=release.wait)
            killer.add(thread, stop=close)
            thread.start()
            send(SIGTERM)
        elif kind == "on_stop":
            killer.on_stop(close)
            send(SIGTERM)
        else:
            killer.on_exit(close)
            killer.close()
        assert closed.wait(LIMIT)
        equal([1], exits)
        equal("closed", killer.report().state)
        until(lambda: state()["actions"] == before, "given back")
        if kind == "shutdown":
            release.set()
        """,
        kind,
    )


def test_stop_from_on_exit_hook(passes) -> None:
    """stop() in an on_exit hook of a killer that was not stopping is harmless."""
    passes(
        """
        killer = GracefulKiller()
        killer.on_exit(killer.stop, "late")
        killer.close()
        equal(None, current())
        with GracefulKiller() as second:
            equal(False, second.kill_now)
        """
    )


def test_exception_in_the_block(program) -> None:
    """An exception that leaves the block goes on, after workers and hooks."""
    done = program(
        """
        with GracefulKiller() as killer:
            killer.start(Worker(target=killer.wait))
            killer.on_exit(print, "on_exit")
            raise ValueError("mine")
        """
    ).finish()

    assert done.out == "on_exit\n"
    assert done.err.endswith("ValueError: mine\n")
    assert done.status == 1


def test_add_any_thread(passes) -> None:
    """At the stop a thread is asked by stop(), else shutdown(), else shutdown_flag;
    one that is added while stopping is asked at once."""
    passes(
        """
        killer = GracefulKiller()
        asked = []
        class WithMethod(threading.Thread):
            def __init__(self):
                super().__init__(target=lambda: self.go.wait(LIMIT))
                self.go = threading.Event()
            def shutdown(self):
                asked.append("shutdown")
                self.go.set()
        class WithFlag(threading.Thread):
            def __init__(self):
                super().__init__()
                self.shutdown_flag = threading.Event()
            def run(self): assert self.shutdown_flag.wait(LIMIT)
        class Both(WithMethod):
            shutdown_flag = None
        plain_event = threading.Event()
        plain = threading.Thread(target=plain_event.wait)
        both = Both()
        def stop_both(): asked.append("stop="); both.go.set()
        killer.start(WithMethod(), WithFlag())
        killer.add(plain, stop=plain_event.set)
        killer.add(plain, stop=plain_event.set)
        killer.add(both, stop=stop_both)
        plain.start()
        both.start()
        equal(4, len(killer.report().workers))
        send(SIGTERM)
        equal([], killer.join())
        equal(["shutdown", "stop="], sorted(asked))
        late = WithFlag()
        killer.start(late)
        late.join(LIMIT)
        equal(False, late.is_alive())
        killer.close()
        """
    )


def test_shutdown_that_blocks_or_fails(passes) -> None:
    """A shutdown() that blocks or raises does not keep the others from being asked."""
    passes(
        """
        killer = GracefulKiller()
        never = threading.Event()
        class Stuck(Worker):
            def shutdown(self): never.wait()
            def run(self): never.wait()
        class Failing(Worker):
            def shutdown(self):
                super().shutdown()
                raise OSError("in shutdown")
            def run(self): self.wait()
        class Good(Worker):
            def run(self): self.wait()
        others = [Good(), Failing(), Good()]
        stuck = Stuck()
        killer.start(others[0], others[1], stuck, others[2])
        send(SIGTERM)
        for worker in others:
            worker.join(LIMIT)
            equal(False, worker.is_alive())
        never.set()
        killer.close()
        """
    )


def test_join_returns_stragglers(passes) -> None:
    """join() returns who is left: at its timeout, at the grace, at add(timeout=)."""
    passes(
        """
        killer = GracefulKiller(grace=1000)
        release = threading.Event()
        class Good(Worker):
            def run(self): self.wait()
        class Stuck(Worker):
            def run(self): release.wait()
        good, stuck = Good(), Stuck()
        equal([], killer.join())
        killer.start(good)
        killer.add(stuck, timeout=0.05)
        stuck.start()
        equal([good, stuck], killer.join(0.01))
        equal([good, stuck], killer.join(0))
        send(SIGTERM)
        equal([stuck], killer.join())
        release.set()
        stuck.join()
        equal([], killer.join(LIMIT))
        killer.close()
        """
    )


def test_join_keeps_to_the_grace(passes) -> None:
    """Once stopping, join() returns within the grace, before the end of the process."""
    passes(
        """
        killer = GracefulKiller(grace=10)
        release = threading.Event()
        stuck = threading.Thread(target=release.wait, name="stuck")
        killer.add(stuck, stop=lambda: None)
        stuck.start()
        send(SIGTERM)
        equal([stuck], killer.join())
        assert killer.remaining() > 0
        killer.close()
        release.set()
        """
    )


def test_join_of_infinity(passes) -> None:
    """join(inf) and Worker.wait(inf) wait without a limit, as join(None)."""
    passes(
        """
        inf = float("inf")
        killer = GracefulKiller()
        class Good(Worker):
            def run(self): assert self.wait(inf)
        group = WorkerGroup(Good())
        killer.start(Good(), group)
        killer.on("HUP", lambda info: killer.stop())
        send(SIGHUP)
        equal([], killer.join(inf))
        equal([], group.join(inf))
        killer.close()
        """
    )


def test_join_from_a_worker(passes) -> None:
    """A worker that joins waits for the others, not for itself."""
    passes(
        """
        killer = GracefulKiller()
        joined = []
        class Good(Worker):
            def run(self): self.wait()
        class Joiner(Worker):
            def run(self):
                self.wait()
                joined.append(killer.join(LIMIT))
        good, joiner = Good(), Joiner()
        killer.start(good, joiner)
        send(SIGTERM)
        joiner.join(LIMIT)
        equal([[]], joined)
        killer.close()
        """
    )


def test_join_before_the_stop_leaves_nothing(passes) -> None:
    """join(timeout) again and again while workers run leaves no thread behind."""
    passes(
        """
        killer = GracefulKiller()
        class Good(Worker):
            def run(self): self.wait()
        killer.start(Good())
        killer.join(0.01)
        before = threading.active_count()
        for _ in range(5):
            killer.join(0.01)
        equal(before, threading.active_count())
        killer.stop()
        killer.join()
        killer.close()
        """
    )


@pytest.mark.parametrize(
    ("policy", "status"), [("stop", 1), ("ignore", 0)], ids=["stop", "ignore"]
)
def test_worker_error(program, policy: str, status: int) -> None:
    """A failed Worker stops the program and makes its status 1, or is only logged."""
    done = program(
        """
        logging.basicConfig(format="%(name)s %(levelname)s %(message)s")
        killer = GracefulKiller(worker_error=sys.argv[1])
        class Failing(Worker):
            def run(self): raise OSError("disk full")
        threading.excepthook = lambda args: print("excepthook", args.exc_type.__name__)
        worker = Failing(name="writer")
        killer.start(worker)
        worker.join()
        equal("OSError('disk full')", repr(worker.error))
        if sys.argv[1] == "stop":
            assert killer.wait(LIMIT)
            assert "writer" in killer.reason.message
        equal(sys.argv[1] == "stop", killer.kill_now)
        equal("OSError('disk full')", killer.report().workers[0].error)
        killer.exit()
        """,
        policy,
    ).finish()

    assert done.status == status
    assert done.out == "excepthook OSError\n"
    assert done.err.count("worker writer failed: OSError('disk full')") == 1


def test_worker_error_of_the_oldest_killer(program) -> None:
    """The worker fails to the oldest killer, that of a library perhaps; exit() of
    another one gives status 1 all the same."""
    done = program(
        """
        library = GracefulKiller(())
        killer = GracefulKiller()
        Worker(target=lambda: 1 / 0).start()
        assert killer.wait(LIMIT)
        killer.exit()
        """
    ).finish()

    assert done.status == 1


def test_worker_that_exits_is_no_error(program) -> None:
    """A Worker that raises SystemExit, or is asked and leaves, has not failed."""
    done = program(
        """
        killer = GracefulKiller()
        class Leaving(Worker):
            def run(self): raise SystemExit(5)
        worker = Leaving()
        killer.start(worker)
        worker.join()
        equal((None, False), (worker.error, killer.kill_now))
        killer.exit()
        """
    ).finish()

    assert done.err == ""
    assert done.status == 0


def test_signal_and_worker_failure(program) -> None:
    """exit() gives 1 after a worker failed, also when that was after the signal."""
    done = program(
        """
        killer = GracefulKiller()
        class Failing(Worker):
            def run(self):
                self.wait()
                raise OSError
        threading.excepthook = lambda args: None
        killer.start(Failing())
        send(SIGTERM)
        killer.exit()
        """
    ).finish()

    assert done.status == 1
