"""wait(), event, fileno() and wait_async(): how a program sleeps until the stop."""

from __future__ import annotations

import signal

import pytest


def test_wait_times_out(passes) -> None:
    """wait(timeout) is False after the timeout, never early, and True once stopping."""
    passes(
        """
        with GracefulKiller() as killer:
            for timeout in (0, -1, 0.05):
                start = time.monotonic()
                equal(False, killer.wait(timeout))
                assert time.monotonic() - start >= timeout
            killer.stop()
            for timeout in (None, 0, -1, 5, float("inf"), 1e300):
                equal(True, killer.wait(timeout))
        """
    )


@pytest.mark.parametrize("timeout", ["None", "float('inf')", "1e300", "1e10", "30"])
def test_any_timeout_waits(program, timeout: str) -> None:
    """A wait of any length, infinity too, ends at the stop."""
    child = program(
        """
        killer = GracefulKiller()
        print("ready", flush=True)
        equal(True, killer.wait(eval(sys.argv[1])))
        killer.close()
        """,
        timeout,
    )
    child.wait_line("ready")
    child.signal(signal.SIGTERM)

    assert child.finish().status == 0


def test_other_python_handlers_run_in_wait(program) -> None:
    """Python handlers of other signals run while main is in wait(), and may raise."""
    child = program(
        """
        class Mine(Exception): pass
        ran = []
        def note(signum, frame): ran.append(int(signum)); os.write(1, b"noted\\n")
        def throw(signum, frame): raise Mine
        signal.signal(SIGUSR1, note)
        signal.signal(SIGUSR2, throw)
        killer = GracefulKiller()
        try:
            print("ready", flush=True)
            killer.wait()
        except Mine:
            print("thrown", ran, flush=True)
        equal(True, killer.wait())
        killer.close()
        """
    )
    child.wait_line("ready")
    child.signal(signal.SIGUSR1)
    child.wait_line("noted")
    # It may still be in note(), from where the exception also leaves wait().
    child.signal(signal.SIGUSR2)
    child.wait_line(f"thrown [{int(signal.SIGUSR1)}]")
    child.signal(signal.SIGTERM)

    assert child.finish().status == 0


def test_wait_ends_at_close(passes) -> None:
    """wait() in other threads returns when the killer is closed."""
    passes(
        """
        killer = GracefulKiller()
        results = []
        entered = threading.Barrier(4)
        def wait():
            entered.wait()
            try:
                results.append(killer.wait())
            except RuntimeError:  # closed before it began to wait
                results.append(False)
        threads = [threading.Thread(target=wait) for _ in range(3)]
        for thread in threads: thread.start()
        entered.wait()
        killer.close()
        for thread in threads: thread.join(LIMIT)
        equal([False] * 3, results)
        """
    )


def test_join_ends_at_close(passes) -> None:
    """join() in another thread does not outlast close()."""
    passes(
        """
        killer = GracefulKiller()
        release = threading.Event()
        killer.add(worker := threading.Thread(target=release.wait), stop=release.set)
        worker.start()
        joined = []
        joiner = threading.Thread(target=lambda: joined.append(killer.join(LIMIT)))
        joiner.start()
        release.set()
        joiner.join(LIMIT)
        equal([[]], joined)
        killer.close()
        """
    )


def test_fileno(passes, backend: str) -> None:
    """fileno() is one descriptor, 64 or above, close-on-exec, readable from the stop
    on and for ever."""
    passes(
        """
        killer = GracefulKiller(backend=sys.argv[1])
        fd = killer.fileno()
        equal(fd, killer.fileno())
        assert fd >= 64, fd
        equal(False, os.get_inheritable(fd))
        poll = select.poll()
        poll.register(killer, select.POLLIN)
        equal([], poll.poll(0))
        send(SIGTERM)
        equal([(fd, select.POLLIN)], poll.poll(LIMIT * 1000))
        equal([(fd, select.POLLIN)], poll.poll(0))
        equal(([killer], [], []), select.select([killer], [], [], 0))
        killer.close()
        try:
            os.fstat(fd)
        except OSError:
            pass
        else:
            raise AssertionError("still open")
        """,
        backend,
    )


def test_fileno_after_the_stop(passes) -> None:
    """A descriptor that is made after the stop is readable too, in every killer."""
    passes(
        """
        first, second = GracefulKiller(), GracefulKiller()
        send(SIGTERM)
        assert first.wait(LIMIT)
        for killer in (first, second):
            equal([killer], select.select([killer], [], [], LIMIT)[0])
        third = GracefulKiller()
        equal([third], select.select([third], [], [], LIMIT)[0])
        for killer in (first, second, third):
            killer.close()
        """
    )


def test_select_in_main_wakes(program) -> None:
    """select() on a killer in main wakes at the signal."""
    child = program(
        """
        killer = GracefulKiller()
        print("ready", flush=True)
        equal(([killer], [], []), select.select([killer], [], []))
        killer.close()
        """
    )
    child.wait_line("ready")
    child.signal(signal.SIGINT)

    assert child.finish().status == 0


def test_wait_async(program) -> None:
    """wait_async() suspends its task and not the loop, any number of tasks, until the
    stop."""
    child = program(
        """
        import asyncio
        killer = GracefulKiller()
        async def main():
            equal(False, await killer.wait_async(0.01))
            equal(False, await killer.wait_async(0))
            tasks = [asyncio.create_task(killer.wait_async()) for _ in range(5)]
            await asyncio.sleep(0)
            print("ready", flush=True)
            equal([True] * 5, await asyncio.gather(*tasks))
            equal(True, await killer.wait_async())
        asyncio.run(main())
        killer.close()
        """
    )
    child.wait_line("ready")
    child.signal(signal.SIGTERM)
    done = child.finish()

    assert done.err == ""
    assert done.status == 0


def test_wait_async_cancelled(passes) -> None:
    """A cancelled wait_async() leaves the others waiting, and none ever gives the loop
    a descriptor to look at."""
    passes(
        """
        import asyncio
        killer = GracefulKiller()
        async def main():
            read = asyncio.get_running_loop()._selector.get_map()
            before = set(read)
            first = asyncio.create_task(killer.wait_async())
            second = asyncio.create_task(killer.wait_async())
            await asyncio.sleep(0)
            first.cancel()
            try:
                await first
            except asyncio.CancelledError:
                pass
            equal(False, second.done())
            second.cancel()
            try:
                await second
            except asyncio.CancelledError:
                pass
            equal(before, set(read))
            third = asyncio.create_task(killer.wait_async())
            await asyncio.sleep(0)
            send(SIGTERM)
            equal(True, await asyncio.wait_for(third, LIMIT))
            equal(before, set(read))
        asyncio.run(main())
        killer.close()
        """
    )


def test_wait_async_beside_a_reader(passes) -> None:
    """A reader of fileno() in the same loop takes nothing from wait_async(), nor the
    other way round."""
    passes(
        """
        import asyncio
        async def main(killer, own_first):
            loop = asyncio.get_running_loop()
            told = asyncio.Event()
            def read_own():
                loop.add_reader(killer.fileno(), told.set)
            if own_first:
                read_own()
            task = asyncio.create_task(killer.wait_async())
            await asyncio.sleep(0)
            if not own_first:
                read_own()
            send(SIGTERM)
            equal(True, await asyncio.wait_for(task, LIMIT))
            await asyncio.wait_for(told.wait(), LIMIT)
            equal(True, loop.remove_reader(killer.fileno()))
        before = calm()
        for own_first in (True, False):
            with GracefulKiller() as killer:
                asyncio.run(main(killer, own_first))
        equal({}, changes(before))
        """
    )


def test_wait_async_ends_at_close(passes) -> None:
    """wait_async() returns False when the killer is closed in another thread."""
    passes(
        """
        import asyncio
        killer = GracefulKiller()
        async def main():
            task = asyncio.create_task(killer.wait_async())
            await asyncio.sleep(0)
            await asyncio.to_thread(killer.close)
            equal(False, await asyncio.wait_for(task, LIMIT))
        asyncio.run(main())
        killer.close()
        """
    )


def test_wait_async_in_several_loops(passes) -> None:
    """Loops in several threads may wait on one killer."""
    passes(
        """
        import asyncio
        killer = GracefulKiller()
        entered = threading.Barrier(4)
        results = []
        async def wait():
            task = asyncio.create_task(killer.wait_async(LIMIT))
            await asyncio.sleep(0)
            entered.wait()
            results.append(await task)
        threads = [
            threading.Thread(target=lambda: asyncio.run(wait())) for _ in range(3)
        ]
        for thread in threads: thread.start()
        entered.wait()
        send(SIGTERM)
        for thread in threads: thread.join()
        equal([True] * 3, results)
        killer.close()
        """
    )


def test_nothing_while_idle(passes, backend: str) -> None:
    """A waiting program is not woken: no thread of it is scheduled meanwhile."""
    passes(
        """
        def switches():
            total = {}
            for task in os.listdir("/proc/self/task"):
                with open(f"/proc/self/task/{task}/status") as f:
                    total[task] = [
                        l.split()[1] for l in f if "State" in l or "ctxt_switches" in l
                    ]
            del total[str(os.getpid())]
            return total
        killer = GracefulKiller(backend=sys.argv[1], grace=60)
        worker = Worker(target=killer.wait)
        killer.start(worker)
        before = {}
        def settled():
            global before
            killer.wait(0.05)
            last, before = before, switches()
            asleep = all(state == "S" for state, *_ in before.values())
            return before == last and asleep
        until(settled, "all sleep")
        # watcher, reporter, dispatcher, worker, and who takes the signals
        equal(4 + (sys.argv[1] == "sigwait"), len(before))
        killer.wait(0.5)
        equal(before, switches())
        killer.close()
        worker.join()
        """,
        backend,
    )


@pytest.mark.slow
def test_many_waiters(passes, backend: str) -> None:
    """All of many threads in wait() hear of the stop, though others compute, and
    though threads come back from it at any moment by a timeout."""
    passes(
        """
        killer = GracefulKiller(backend=sys.argv[1])
        asleep, heard, computing = threading.Semaphore(0), [], [True]
        def wait():
            asleep.release()
            heard.append(killer.wait())
        def come_back():
            asleep.release()
            while not killer.wait(0.001): pass
            heard.append(True)
        def compute():
            while computing: pass
        kinds = [*(wait for _ in range(60)), *(come_back for _ in range(4))]
        threads = [threading.Thread(target=kind) for kind in kinds]
        for thread in threads: thread.start()
        for _ in threads: asleep.acquire()
        computer = threading.Thread(target=compute)
        computer.start()
        os.kill(os.getpid(), SIGTERM)
        for thread in threads: thread.join(LIMIT)
        computing.clear()
        computer.join()
        equal([True] * 64, heard)
        killer.close()
        """,
        backend,
    )


def test_a_cleared_event_stays_clear(passes) -> None:
    """The event is set once a stop: clear() by the program holds."""
    passes(
        """
        for _ in range(100):
            killer = GracefulKiller()
            told = threading.Event()
            killer.on_stop(told.set)
            os.kill(os.getpid(), SIGTERM)
            equal(True, killer.event.wait(LIMIT))
            killer.event.clear()
            equal(True, told.wait(LIMIT))
            equal(False, killer.event.is_set())
            killer.close()
        """
    )
