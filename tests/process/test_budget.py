"""One budget: workers, hooks and groups share the grace, and all are asked in time."""

from __future__ import annotations

import signal

import pytest

WORKERS = """
        never = threading.Event()
        def say(what): os.write(1, f"{what}\\n".encode())
        class Stuck(Worker):
            def shutdown(self):
                say(f"ask {self.name}")
                super().shutdown()
            def run(self): never.wait()
        class Good(Stuck):
            def run(self): self.wait()
        class Deaf(Stuck):
            def shutdown(self):
                say(f"ask {self.name}")
                never.wait()
        class Failing(Good):
            def shutdown(self):
                super().shutdown()
                raise OSError("in shutdown")
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Stuck", "Deaf"])
def test_stuck_members_of_an_ordered_group(program, kind: str) -> None:
    """Each uses up its share of the grace, also in a group in a group, and one whose
    shutdown() blocks; then the next is asked. All are before the end."""
    child = program(
        WORKERS
        + """
        kind = eval(sys.argv[1])
        inner = WorkerGroup(kind(name="b"), kind(name="c"), ordered=True)
        outer = WorkerGroup(kind(name="a"), inner, kind(name="d"), ordered=True)
        killer = GracefulKiller(grace=10)
        outer.start()
        say("ready")
        killer.wait()
        killer.exit()
        """,
        kind,
    )
    child.wait_line("ready")
    child.signal(signal.SIGTERM)
    done = child.finish()

    assert done.out == "ready\nask d\nask c\nask b\nask a\n"
    assert done.status == -signal.SIGTERM


def test_timeouts_in_an_ordered_group(passes) -> None:
    """A member that used up its own timeout is left behind; the timeout of the next
    begins when that is asked, and join() returns only the one who is left."""
    passes(
        WORKERS
        + """
        class Slow(Worker):
            def run(self):
                self.wait()
                threading.Event().wait(0.1)
        killer = GracefulKiller(grace=LIMIT)
        slow, stuck = Slow(name="slow"), Stuck(name="stuck")
        group = WorkerGroup(ordered=True)
        group.add(Good(name="first"), timeout=LIMIT)
        group.add(slow, timeout=LIMIT)
        group.add(stuck, timeout=0.05)
        group.start()
        killer.stop()
        equal([stuck], killer.join())
        equal([True, False], [stuck.is_alive(), slow.is_alive()])
        never.set()
        killer.close()
        """
    )


def test_timeout_begins_when_a_member_is_asked(passes) -> None:
    """A short timeout of one that is asked late is not used up before."""
    passes(
        WORKERS
        + """
        release = threading.Event()
        class Slow(Worker):
            def run(self): release.wait(LIMIT)
        killer = GracefulKiller(grace=LIMIT)
        group = WorkerGroup(ordered=True)
        group.add(Good(name="first"), timeout=0.2)
        group.add(Slow(name="slow"))
        group.start()
        killer.stop()
        joined = []
        thread = threading.Thread(target=lambda: joined.append(killer.join()))
        thread.start()
        thread.join(0.5)
        release.set()
        thread.join(LIMIT)
        equal([[]], joined)
        killer.close()
        """
    )


@pytest.mark.slow
def test_unordered_group_asks_all(passes) -> None:
    """shutdown() that blocks or raises, and an ordered group with a stuck member, keep
    no other member of the group from being asked."""
    done = passes(
        WORKERS
        + """
        good = [Good(name=f"good{i}") for i in range(4)]
        held_up = Good(name="held up")
        group = WorkerGroup(
            good[0],
            WorkerGroup(held_up, Stuck(name="stuck"), ordered=True),
            good[1],
            Deaf(name="deaf"),
            good[2],
            Deaf(name="deaf too"),
            Failing(name="failing"),
            good[3],
        )
        group.start()
        group.stop()
        for worker in good:
            worker.join(LIMIT)
            equal(False, worker.is_alive())
        equal(False, held_up.stopping)
        never.set()
        equal([], group.join(LIMIT))
        """
    )

    assert "shutdown of failing failed: OSError('in shutdown')" in done.err


def test_a_worker_that_a_worker_starts_at_its_end_is_awaited(passes) -> None:
    """A stop waits for all, not only for those who were there when it began to."""
    passes(
        """
        ran = []
        killer = GracefulKiller(())
        class Acceptor(Worker):
            def run(self):
                self.wait()
                until(lambda: killer._members._wakes, "main waits")
                time.sleep(0.1)
                Last(daemon=True).start()
        class Last(Worker):
            def run(self):
                time.sleep(0.1)
                ran.append("last worker")
        Acceptor().start()
        killer.on_exit(ran.append, "exit")
        with killer:
            pass
        equal(["last worker", "exit"], ran)
        """
    )
