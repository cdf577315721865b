"""The stop: who hears of it, how often, and what the killer tells."""

from __future__ import annotations

import os
import signal

import pytest

# All but those that nobody handles, faults, and those that do not end a process.
# Python itself ignores SIGPIPE and SIGXFSZ, and what is ignored stays so.
ENDING = sorted(
    int(s)
    for s in signal.valid_signals()
    - {
        *(signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV, signal.SIGBUS),
        *(signal.SIGFPE, signal.SIGILL, signal.SIGCHLD, signal.SIGCONT),
        *(signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGURG),
        *(signal.SIGWINCH, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTRAP),
        signal.SIGSYS,
    }
)


def test_every_signal_that_may_stop_does(passes) -> None:
    """Any signal whose default ends the process can be a stop signal."""
    passes(
        """
        for signum in eval(sys.argv[1]):
            before = action(signum)
            with GracefulKiller(signum) as killer:
                assert not killer.kill_now, signum
                send(signum)
                assert killer.kill_now, signum
                equal(signum, killer.reason.signum)
                equal(os.getpid(), killer.reason.si_pid)
                equal(1, killer.counts[signum])
            equal(before, action(signum))
        """,
        ENDING,
    )


def test_stop_by_signal(program, backend: str) -> None:
    """A signal from another process sets kill_now, event and reason, and wakes
    every waiter."""
    child = program(
        """
        killer = GracefulKiller(backend=sys.argv[1])
        equal(None, killer.reason)
        equal(False, killer.kill_now)
        equal(False, killer.event.is_set())
        waiters = [
            threading.Thread(target=wait)
            for wait in [killer.wait] * 4 + [killer.event.wait] * 4
        ]
        for waiter in waiters:
            waiter.start()
        print("ready", flush=True)
        equal(True, killer.wait(LIMIT))
        equal(True, killer.event.wait(LIMIT))
        for waiter in waiters:
            waiter.join()
        equal(True, killer.kill_now)
        reason = killer.reason
        print(reason.signal.name, reason.si_pid, reason.si_uid, reason.si_code)
        assert abs(time.monotonic() - reason.when) < 60
        killer.close()
        """,
        backend,
    )
    child.wait_line("ready")
    child.signal(signal.SIGTERM)
    done = child.finish()

    assert done.err == ""
    assert done.out == f"ready\nSIGTERM {os.getpid()} {os.getuid()} 0\n"
    assert done.status == 0


@pytest.mark.parametrize(
    "where",
    {
        "in main": "killer.stop('why')",
        "in a thread": "in_thread(killer.stop, 'why')",
        "in a Python handler": (
            "signal.signal(SIGUSR1, lambda *_: killer.stop('why')); send(SIGUSR1)"
        ),
        "in on()": "killer.on('HUP', lambda info: killer.stop('why')); send(SIGHUP)",
    }.items(),
    ids=lambda item: item[0],
)
def test_stop_from_code(passes, where: tuple[str, str]) -> None:
    """stop() stops as a signal would, from anywhere, and its message is the reason."""
    passes(
        """
        def in_thread(func, *args):
            thread = threading.Thread(target=func, args=args)
            thread.start()
            thread.join()
        killer = GracefulKiller()
        told = threading.Event()
        killer.on_stop(told.set)
        exec(sys.argv[1])
        equal(True, killer.wait(LIMIT))
        assert told.wait(LIMIT)
        equal((0, None, "why"), (
            killer.reason.signum, killer.reason.signal, killer.reason.message
        ))
        equal("stop(): why", str(killer.reason))
        equal({SIGTERM: 0, SIGINT: 0}, {
            s: n for s, n in killer.counts.items() if s != SIGHUP
        })
        killer.close()
        """,
        where[1],
    )


def test_first_reason_stays(passes) -> None:
    """What comes after the first stop changes counts, not the reason."""
    passes(
        """
        from gracefulexit import lowlevel
        killer = GracefulKiller()
        killer.stop("first")
        killer.stop("second")
        send(SIGTERM)
        equal("first", killer.reason.message)
        equal(0, killer.reason.signum)
        equal(1, killer.counts[SIGTERM])
        equal("stopping", lowlevel.state())
        killer.close()
        killer = GracefulKiller()
        equal(None, killer.reason)
        send(SIGTERM)
        killer.stop("later")
        equal(SIGTERM, killer.reason.signum)
        equal("", killer.reason.message)
        killer.close()
        """
    )


def test_stop_never_hurries(passes) -> None:
    """stop() only enters STOPPING, however often and late it is called."""
    passes(
        """
        from gracefulexit import lowlevel
        killer = GracefulKiller(("TERM", "INT"), escalate=("TERM", "INT"))
        killer.stop()
        until(lambda: killer.report().stopping_for > 0.6, "time passes")
        killer.stop()
        equal("stopping", lowlevel.state())
        killer.close()
        """
    )


def test_closed_killer_keeps_its_last_values(passes) -> None:
    """After close() kill_now, event, reason and counts are what they were."""
    passes(
        """
        killer = GracefulKiller()
        killer.take("USR1")
        send(SIGUSR1)
        send(SIGTERM)
        killer.wait(LIMIT)
        killer.close()
        with GracefulKiller():
            equal(True, killer.kill_now)
            equal(True, killer.event.is_set())
            equal(True, killer.wait(0))
            equal(SIGTERM, killer.reason.signum)
            equal({SIGTERM: 1, SIGINT: 0, SIGUSR1: 1}, dict(killer.counts))
            equal(None, killer.remaining())
            equal(False, killer.armed)
            equal("closed", killer.report().state)
            equal([], killer.join())
            killer.stop()
            killer.close()
        calm = GracefulKiller()
        calm.close()
        with GracefulKiller() as other:
            send(SIGTERM)
            assert other.kill_now
            equal(False, calm.kill_now)
            equal(None, calm.reason)
            equal({SIGTERM: 0, SIGINT: 0}, dict(calm.counts))
        """
    )


def test_running_again(passes) -> None:
    """After the last close() a new killer starts at RUNNING, with nothing counted."""
    passes(
        """
        from gracefulexit import lowlevel
        for i in range(1, 4):
            killer = GracefulKiller(grace=60)
            equal("running", lowlevel.state())
            equal((False, False, None, None), (
                killer.kill_now, killer.event.is_set(), killer.reason,
                killer.remaining(),
            ))
            equal({SIGTERM: 0, SIGINT: 0}, dict(killer.counts))
            equal(False, killer.wait(0))
            send(SIGTERM)
            equal(1, killer.counts[SIGTERM])
            equal("stopping", lowlevel.state())
            killer.close()
            equal(i, lowlevel.counts("TERM")["SIGTERM"])
        equal("running", lowlevel.state())
        """
    )


def test_several_killers_have_one_stop(passes) -> None:
    """Any killer's signal or stop() stops all; one made while stopping is born
    stopped; the state ends with the last close()."""
    passes(
        """
        from gracefulexit import lowlevel
        first = GracefulKiller("TERM")
        second = GracefulKiller("INT")
        third = GracefulKiller(())
        equal(first, current())
        told = [threading.Event() for _ in range(4)]
        for killer, event in zip((first, second, third), told):
            killer.on_stop(event.set)
        send(SIGINT)
        equal([True] * 3, [k.kill_now for k in (first, second, third)])
        born = GracefulKiller("HUP")
        born.on_stop(told[3].set)
        equal(True, born.kill_now)
        equal(True, born.wait(0))
        for event in told:
            assert event.wait(LIMIT)
        assert born.event.wait(LIMIT)
        equal([SIGINT] * 4, [k.reason.signum for k in (first, second, third, born)])
        first.close()
        equal(second, current())
        second.close()
        third.close()
        equal("stopping", lowlevel.state())
        equal(True, GracefulKiller("HUP").kill_now)
        for killer in [born, current()]:
            killer.close()
        while current():
            current().close()
        equal("running", lowlevel.state())
        """
    )


def test_shared_signal_stays_until_the_last_owner_closes(passes) -> None:
    """A signal that two killers manage is given back by the second close()."""
    passes(
        """
        before = action(SIGTERM)
        first, second = GracefulKiller(), GracefulKiller("TERM")
        first.close()
        assert second.armed
        assert action(SIGTERM) != before
        equal(signal.default_int_handler, signal.getsignal(SIGINT))
        send(SIGTERM)
        assert second.kill_now
        assert not first.kill_now
        second.close()
        equal(before, action(SIGTERM))
        """
    )


def test_earliest_deadline(passes) -> None:
    """With several killers the earliest deadline holds, also of one made later."""
    passes(
        """
        first = GracefulKiller(grace=500)
        second = GracefulKiller(grace=300)
        third = GracefulKiller()
        equal(None, first.remaining())
        send(SIGTERM)
        for killer in (first, second, third):
            assert 200 < killer.remaining() <= 300, killer.remaining()
        fourth = GracefulKiller(grace=100)
        assert 50 < first.remaining() <= 100
        fourth.close()
        assert 200 < first.remaining() <= 300
        second.extend(1000)
        assert 1200 < third.remaining() <= 1300
        while current():
            current().close()
        """
    )


@pytest.mark.parametrize(
    ("oldest", "second", "status"), [(7, 9, 7), ("code", "signal", 143), (0, 9, 0)]
)
def test_oldest_exit_status(program, oldest, second, status: int) -> None:
    """exit_status is the oldest live killer's, with one warning on a conflict."""
    done = program(
        """
        first = GracefulKiller(exit_status=eval(sys.argv[1]))
        second = GracefulKiller(exit_status=eval(sys.argv[2]))
        third = GracefulKiller(exit_status=eval(sys.argv[2]))
        send(SIGTERM)
        second.exit()
        """,
        repr(oldest),
        repr(second),
    ).finish()

    assert done.status == status
    assert done.err.count("exit_status") == 1


def test_oldest_escalate(passes) -> None:
    """escalate is the oldest live killer's: a younger one's does not hurry."""
    done = passes(
        """
        from gracefulexit import lowlevel
        first = GracefulKiller(escalate=())
        second = GracefulKiller(escalate=("TERM",))
        with TerminateProtected():
            send(SIGTERM)
            until(lambda: first.report().stopping_for > 0.6, "time passes")
            send(SIGTERM)
            equal("stopping", lowlevel.state())
        first.close()
        second.close()
        """
    )

    assert done.err.count("escalate") == 1


def test_same_settings_do_not_warn(passes) -> None:
    """Killers that want the same are not a conflict."""
    done = passes(
        """
        with GracefulKiller(grace=9), GracefulKiller(grace=9), GracefulKiller(()):
            pass
        # The default of escalate is SIGINT where a killer has it: no conflict.
        with GracefulKiller("TERM"), GracefulKiller(), GracefulKiller("INT"):
            pass
        """
    )

    assert done.err == ""


def test_no_signals(passes) -> None:
    """A killer with signals=() changes no signal and stops with stop()."""
    passes(
        """
        before = calm()
        killer = GracefulKiller(())
        for what in ("masks", "handlers", "actions"):
            equal(before[what], state()[what])
        assert killer.armed
        equal({}, dict(killer.counts))
        equal(False, killer.wait(0))
        killer.stop()
        equal(True, killer.wait(0))
        killer.close()
        """
    )


def test_repr_and_current(passes) -> None:
    """repr() names signals and state; current() is the oldest live killer."""
    passes(
        """
        equal(None, current())
        killer = GracefulKiller()
        equal(killer, current())
        equal("<GracefulKiller SIGTERM, SIGINT: running>", repr(killer))
        send(SIGTERM)
        equal("<GracefulKiller SIGTERM, SIGINT: stopping>", repr(killer))
        killer.close()
        equal("<GracefulKiller SIGTERM, SIGINT: closed>", repr(killer))
        equal(None, current())
        equal("<GracefulKiller no signals: running>", repr(GracefulKiller(())))
        """
    )


def test_unclosed_killer_is_kept_alive(passes) -> None:
    """A killer that nobody holds hears on, as signal.signal() keeps its handler."""
    passes(
        """
        import gc
        told = threading.Event()
        GracefulKiller().on_stop(told.set)
        gc.collect()
        send(SIGTERM)
        assert told.wait(LIMIT)
        assert current().kill_now
        current().close()
        """
    )


def test_closed_killer_is_freed(passes) -> None:
    """Nothing of ours keeps a closed killer alive."""
    passes(
        """
        import gc, weakref
        killer = GracefulKiller()
        worker = Worker(target=lambda: None)
        killer.start(worker)
        killer.on_stop(lambda: killer)
        killer.on("HUP", lambda info: killer)
        worker.join()
        send(SIGTERM)
        killer.wait(LIMIT)
        killer.close()
        dead = weakref.ref(killer), weakref.ref(worker)
        del killer, worker
        gc.collect()
        until(lambda: (gc.collect(), [d() for d in dead] == [None, None])[1], "freed")
        """
    )


@pytest.mark.parametrize("order", ["TERM first", "CONT first"])
def test_stopped_process(program, order: str) -> None:
    """A process under SIGSTOP hears SIGTERM when it goes on."""
    child = program(
        """
        killer = GracefulKiller()
        print("ready", flush=True)
        assert killer.wait(LIMIT)
        killer.close()
        """
    )
    child.wait_line("ready")
    child.signal(signal.SIGSTOP)
    signals = [signal.SIGTERM, signal.SIGCONT]
    for signum in signals if order == "TERM first" else reversed(signals):
        child.signal(signum)

    assert child.finish().status == 0


def test_checkpoint(passes) -> None:
    """checkpoint() does nothing while running, and raises GracefulExit in main when
    stopping."""
    passes(
        """
        killer = GracefulKiller()
        killer.checkpoint()
        send(SIGTERM)
        try:
            killer.checkpoint()
        except GracefulExit as error:
            equal(SIGTERM, error.reason.signum)
            equal(143, error.code)
        else:
            raise AssertionError("nothing raised")
        killer.close()
        """
    )


def test_checkpoint_in_a_plain_thread(passes) -> None:
    """checkpoint() ends a plain thread silently, with a plain SystemExit."""
    done = passes(
        """
        killer = GracefulKiller()
        seen = []
        def run():
            try:
                while True:
                    killer.checkpoint()
            except SystemExit as error:
                seen.append((type(error), error.reason.signum, error.code))
                raise
        thread = threading.Thread(target=run)
        thread.start()
        send(SIGTERM)
        thread.join()
        equal([(SystemExit, SIGTERM, 143)], seen)
        killer.close()
        """
    )

    assert done.err == ""


def test_report(passes) -> None:
    """report() tells state, reason, counts, workers, sections and hooks as data."""
    passes(
        """
        import json
        killer = GracefulKiller(grace=100)
        report = killer.report()
        equal(("running", None, None, None), (
            report.state, report.reason, report.stopping_for, report.remaining
        ))
        release = threading.Event()
        class Slow(Worker):
            def run(self): release.wait(LIMIT)
        class Failing(Worker):
            def run(self): raise OSError("disk full")
        slow = Slow(name="slow")
        killer.start(slow)
        def hook(): pass
        def bad(): raise ValueError("x")
        done = threading.Event()
        killer.on_stop(done.set)
        killer.on_stop(bad)
        killer.on_stop(hook)
        with TerminateProtected(name="ledger"):
            send(SIGTERM)
            assert done.wait(LIMIT)
            until(lambda: killer.report().workers[0].asked is not None, "asked")
            report = killer.report()
        equal("stopping", report.state)
        equal(SIGTERM, report.reason.signum)
        assert 0 <= report.stopping_for < 60
        assert 40 < report.remaining <= 100
        equal({"SIGTERM": 1, "SIGINT": 0}, dict(report.counts))
        equal([("slow", True)], [(w.name, w.alive) for w in report.workers])
        assert "release.wait(LIMIT)" in report.workers[0].stack or (
            "in run" in report.workers[0].stack
        )
        equal([("ledger", "MainThread")], [(s.name, s.thread) for s in report.sections])
        results = {h.name.split()[-1]: (h.result, h.error) for h in report.hooks}
        equal(("done", None), results["hook"])
        equal(("failed", "ValueError('x')"), results["bad"])
        json.dumps(report.to_dict())
        text = str(report)
        for part in ("SIGTERM from ourselves", "still running", "ledger"):
            assert part in text, text
        release.set()
        killer.close()
        """
    )


def test_threads_of_the_stop_are_few(passes) -> None:
    """However many workers there are, the stop does not start a thread for each."""
    passes(
        """
        asked_in = []
        class Quick(Worker):
            def run(self):
                self.wait()
            def shutdown(self):
                asked_in.append(threading.current_thread())
                super().shutdown()
        with GracefulKiller() as killer:
            killer.start(*(Quick() for _ in range(200)))
            send(SIGTERM)
            equal([], killer.join(LIMIT))
        equal(200, len(asked_in))
        # Another one where a machine stood still in the middle of one.
        assert len(set(asked_in)) < 10, len(set(asked_in))
        """
    )
