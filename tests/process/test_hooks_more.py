"""Hooks under attack: storms, hooks that raise, register, exit and fork."""

from __future__ import annotations

import pytest


@pytest.mark.race
@pytest.mark.slow
def test_hooks_in_a_storm(passes) -> None:
    """While signals keep coming, each hook of a hundred stops runs once, in order,
    also those that are registered at that moment and by hooks."""
    passes(
        """
        import random
        over = threading.Event()
        def shoot():
            while not over.is_set():
                send(random.choice((SIGTERM, SIGINT)))
                time.sleep(random.random() / 500)
        # Nobody's while there is no killer.
        signal.signal(SIGTERM, lambda *_: None)
        signal.signal(SIGINT, lambda *_: None)
        shooter = threading.Thread(target=shoot)
        shooter.start()
        for n in times(100):
            ran = []
            killer = GracefulKiller(grace=LIMIT, escalate=())
            killer.on_stop(ran.append, "first")
            @killer.on_stop
            def registers():
                ran.append("registers")
                killer.on_stop(ran.append, "by a hook")
                killer.on_exit(ran.append, "exit by a hook")
            killer.on_stop(ran.append, "last")
            killer.on_exit(ran.append, "exit first")
            killer.on_exit(ran.append, "exit last")
            with killer:
                assert killer.wait(LIMIT)
            at_stop = [what for what in ran if "exit" not in what]
            at_exit = [what for what in ran if "exit" in what]
            # One registered while the stop begins may be in its place or late.
            equal(["by a hook", "first", "last", "registers"], sorted(at_stop))
            assert at_stop.index("registers") < at_stop.index("by a hook")
            equal(at_stop + at_exit, ran)
            equal(["exit by a hook", "exit first", "exit last"], sorted(at_exit))
            assert at_exit.index("exit last") < at_exit.index("exit first")
        over.set()
        shooter.join()
        """
    )


@pytest.mark.race
def test_a_late_hook_overtakes_nobody(passes) -> None:
    """A hook that is registered while the stop begins comes after those of before."""
    passes(
        """
        import random
        sys.setswitchinterval(1e-5)
        for n in times(200):
            killer = GracefulKiller(())
            ran = []
            for i in range(20):
                killer.on_stop(ran.append, "early")
            begin = threading.Barrier(2)
            def stop():
                begin.wait()
                killer.stop()
            stopper = threading.Thread(target=stop)
            stopper.start()
            begin.wait()
            time.sleep(random.random() / 2000)
            told = killer._hooks._told
            killer.on_stop(ran.append, "late")
            until(lambda: len(ran) == 21, "all ran")
            # Before the stop it is the last registered, and the first.
            assert ran.index("late") in ((20,) if told else (0, 20)), (told, ran)
            stopper.join()
            killer.close()
        """
    )


@pytest.mark.parametrize("kind", ["on_stop", "on_exit"])
@pytest.mark.parametrize(
    "error", ["SystemExit(3)", "KeyboardInterrupt()", "GracefulExit(None, 3)", "Mine()"]
)
def test_base_exceptions_of_hooks(passes, kind: str, error: str) -> None:
    """Whatever a hook raises is logged with its name and in the report, and the rest
    goes on."""
    done = passes(
        """
        class Mine(BaseException): pass
        kind, error = sys.argv[1:]
        ran = []
        killer = GracefulKiller()
        register = getattr(killer, kind)
        register(ran.append, "last")
        @register
        def bad(): raise eval(error)
        register(ran.append, "first")
        with killer:
            send(SIGTERM)
        equal(["first", "last"], ran)
        [failed] = [h for h in killer.report().hooks if h.result == "failed"]
        equal(f"{kind} hook bad", failed.name)
        assert error.partition("(")[0] in failed.error, failed
        """,
        kind,
        error,
    )

    name = error.partition("(")[0]
    assert f"{kind} hook bad failed: {name}" in done.err


@pytest.mark.parametrize("kind", ["on_stop", "on_exit"])
@pytest.mark.parametrize("timeout", [None, 19.0])
def test_exit_in_a_hook(program, kind: str, timeout: float | None) -> None:
    """exit() in a hook ends only the hook: it waits for nobody that waits for it, the
    other hooks run once, and main ends as it would."""
    done = program(
        """
        kind, timeout = sys.argv[1], eval(sys.argv[2])
        killer = GracefulKiller(hook_timeout=timeout)
        register = getattr(killer, kind)
        register(print, "last")
        @register
        def leaves(): killer.exit()
        register(print, "first")
        killer.start(Worker(target=killer.wait))
        send(SIGTERM)
        with killer:
            pass
        killer.exit()
        """,
        kind,
        timeout,
    ).finish()

    assert sorted(done.out.split()) == ["first", "last"]
    assert f"{kind} hook leaves failed: SystemExit(143)" in done.err or (
        f"{kind} hook leaves failed: GracefulExit(143)" in done.err
    )
    assert done.status == -15


@pytest.mark.parametrize("kind", ["on_stop", "on_exit"])
def test_fork_in_a_hook(passes, kind: str) -> None:
    """os.fork() in a hook: the child has the killer afresh and all of its hooks still
    to come, the parent's go on."""
    passes(
        """
        from forks import reap
        kind = sys.argv[1]
        killer = GracefulKiller(grace=LIMIT)
        register = getattr(killer, kind)
        ran, statuses = [], []
        register(ran.append, "last")
        forked = []
        @register
        def forks():
            if forked:
                return ran.append("in the child")
            forked.append(True)
            pid = os.fork()
            if not pid:
                try:
                    equal((False, None), (killer.kill_now, killer.reason))
                    equal({"not started"}, {h.result for h in killer.report().hooks})
                    ran.clear()
                    send(SIGTERM)
                    assert killer.wait(LIMIT)
                    with killer:
                        pass
                    equal(["first", "in the child", "last"], ran)
                except BaseException as error:
                    os.write(2, repr(error).encode())
                    os._exit(1)
                os._exit(0)
            statuses.append(reap(pid))
        register(ran.append, "first")
        with killer:
            send(SIGTERM)
        equal([0], statuses)
        equal(["first", "last"], ran)
        """,
        kind,
    )


def test_late_on_exit(passes) -> None:
    """An on_exit hook that an on_exit hook registers runs, too, and once."""
    passes(
        """
        ran = []
        killer = GracefulKiller()
        killer.on_exit(ran.append, "second")
        killer.on_exit(lambda: killer.on_exit(ran.append, "late"))
        with killer:
            killer.stop()
        equal(["second", "late"], ran)
        """
    )


def test_exception_of_the_log_keeps_no_hook_from_running(passes) -> None:
    """A log filter that raises, where a failed hook is logged."""
    passes(
        """
        def refuse(record): raise ZeroDivisionError
        logging.getLogger("gracefulexit").addFilter(refuse)
        killer = GracefulKiller()
        over = threading.Event()
        killer.on_stop(over.set)
        @killer.on_stop
        def bad(): raise ValueError
        send(SIGTERM)
        assert over.wait(LIMIT)
        logging.getLogger("gracefulexit").removeFilter(refuse)
        killer.close()
        """
    )


@pytest.mark.race
@pytest.mark.slow
def test_on_stop_hooks_are_told_and_awaited_before_on_exit(passes) -> None:
    """Main may be ahead of the dispatcher that is about to tell the hooks: it waits
    for them all the same, before the on_exit hooks run."""
    passes(
        """
        sys.setswitchinterval(1e-6)
        for n in times(200):
            ran = []
            with GracefulKiller(()) as killer:
                for _ in range(3):
                    Worker(target=killer.wait).start()
                killer.on_stop(ran.append, "stop")
                killer.on_exit(ran.append, "exit")
                threading.Thread(target=killer.stop).start()
                killer.wait()
            equal(["stop", "exit"], ran)
        """
    )


def test_a_hook_that_a_hook_registers_is_awaited(passes) -> None:
    """As the others are: on_exit hooks come after it."""
    passes(
        """
        ran = []
        def main_waits():
            frame = sys._current_frames()[threading.main_thread().ident]
            names = []
            while frame is not None:
                names.append(frame.f_code.co_name)
                frame = frame.f_back
            return names[:2] == ["wait", "wait"] and "_wait_for" in names
        killer = GracefulKiller(())
        @killer.on_stop
        def registers():
            until(main_waits, "main waits for this hook")
            killer.on_stop(later)
        def later():
            time.sleep(0.1)
            ran.append("later")
        killer.on_exit(ran.append, "exit")
        with killer:
            pass
        equal(["later", "exit"], ran)
        """
    )


@pytest.mark.race
def test_an_on_exit_hook_at_the_moment_of_close(passes) -> None:
    """Each that on_exit() has taken runs once, also while another thread closes."""
    passes(
        """
        sys.setswitchinterval(1e-6)
        for n in times(300):
            killer = GracefulKiller(())
            taken, ran = [], []
            begin = threading.Barrier(2)
            def register():
                begin.wait()
                with contextlib.suppress(RuntimeError):
                    for i in range(1000):
                        killer.on_exit(ran.append, i)
                        taken.append(i)
            registers = threading.Thread(target=register)
            registers.start()
            begin.wait()
            killer.close()
            registers.join()
            equal(taken, sorted(ran))
        """
    )
