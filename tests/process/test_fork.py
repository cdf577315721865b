"""Forked children: who hears in them, and of what."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_terminate(start_child, tmp_path, method: str) -> None:
    """Process.terminate() and Pool.terminate() end children of every start method."""
    (tmp_path / "prog.py").write_text(
        """
import multiprocessing, sys, threading, time
import gracefulexit

def work(writer):
    writer.send("started")
    time.sleep(1000)

if __name__ == "__main__":
    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    context = multiprocessing.get_context(sys.argv[-1])
    with gracefulexit.GracefulKiller() as killer:
        reader, writer = context.Pipe()
        process = context.Process(target=work, args=(writer,))
        process.start()
        assert reader.poll(30) and reader.recv() == "started"
        process.terminate()
        process.join(30)
        print(process.exitcode)
        pool = context.Pool(2)
        pool.map_async(time.sleep, [1000] * 2)
        pool.apply_async(time.sleep, (0,))
        pool.terminate()
        pool.join()
        print(killer.kill_now)
"""
    )
    done = start_child("", method, options=["prog.py"]).finish()

    assert done.err == ""
    assert done.out == "-15\nFalse\n"
    assert done.status == 0


def test_inherited_killer_says_what_to_do(passes) -> None:
    """In a multiprocessing child the parent's killer raises, with the remedy."""
    passes(
        """
        import multiprocessing
        killer = GracefulKiller()
        def child(queue):
            results = []
            for call in (
                killer.wait, killer.checkpoint, killer.stop, killer.fileno,
                lambda: killer.kill_now, lambda: isinstance(killer, GracefulKiller)
                and type(killer).__name__ == "GracefulKiller" and killer.exit(),
                killer.rearm, lambda: killer.on("HUP", print),
                lambda: killer.on_stop(print), killer.__enter__,
            ):
                try:
                    call()
                    results.append("nothing raised")
                except RuntimeError as error:
                    results.append(str(error))
            results.append((killer.reason, killer.armed))
            killer.close()
            with GracefulKiller() as fresh:
                send(SIGTERM)
                results.append(fresh.kill_now)
            queue.put(results)
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        process = context.Process(target=child, args=(queue,))
        process.start()
        *texts, facts, fresh = queue.get()
        process.join()
        equal(0, process.exitcode)
        for text in texts:
            assert "on_fork='rearm'" in text and "new GracefulKiller()" in text, text
        equal((None, False), facts)
        equal(True, fresh)
        killer.close()
        """
    )


@pytest.mark.parametrize(
    ("way", "on_fork"),
    [("os.fork", "auto"), ("os.fork", "rearm"), ("multiprocessing", "rearm")],
)
def test_rearm(program, backend: str, way: str, on_fork: str) -> None:
    """The killer works afresh in a child that os.fork() made, or any with
    on_fork='rearm', and the parent's is left alone."""
    done = program(
        """
        killer = GracefulKiller(backend=sys.argv[1], on_fork=sys.argv[3], grace=500)
        killer.take("USR1")
        send(SIGUSR1)
        hooked = threading.Event()
        killer.on_stop(hooked.set)
        fd = killer.fileno()
        def child():
            equal(True, killer.armed)
            equal((False, None), (killer.kill_now, killer.reason))
            equal({SIGTERM: 0, SIGINT: 0, SIGUSR1: 0}, dict(killer.counts))
            equal(False, killer.wait(0))
            equal([], select.select([killer], [], [], 0)[0])
            send(SIGTERM)
            equal(True, killer.wait(LIMIT))
            assert hooked.wait(LIMIT)
            assert killer.event.wait(LIMIT)
            equal([killer], select.select([killer], [], [], LIMIT)[0])
            equal(1, killer.counts[SIGTERM])
            killer.close()
            equal(SIG_DFL, signal.getsignal(SIGTERM))
        if sys.argv[2] == "os.fork":
            pid = os.fork()
            if not pid:
                try:
                    child()
                    os._exit(0)
                except BaseException:
                    import traceback
                    traceback.print_exc()
                    os._exit(1)
            equal(0, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        else:
            import multiprocessing
            process = multiprocessing.get_context("fork").Process(target=child)
            process.start()
            process.join()
            equal(0, process.exitcode)
        equal((False, None), (killer.kill_now, killer.reason))
        equal(False, hooked.is_set())
        equal(1, killer.counts[SIGUSR1])
        send(SIGTERM)
        assert killer.wait(LIMIT)
        assert hooked.wait(LIMIT)
        killer.close()
        """,
        backend,
        way,
        on_fork,
    ).finish()

    assert (done.status, done.err) == (0, "")


def test_fork_while_stopping(passes) -> None:
    """A child that is forked during the stop is not stopping, and has no deadline."""
    passes(
        """
        killer = GracefulKiller(grace=1.5)
        send(SIGTERM)
        assert killer.event.wait(LIMIT)
        pid = os.fork()
        if not pid:
            start = time.monotonic()
            until(lambda: time.monotonic() > start + 1.7, "the parent's deadline")
            from gracefulexit import lowlevel
            os._exit(3 if lowlevel.state() == "running" else 4)
        killer.close()
        equal(3, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """
    )


def test_fork_in_a_section(passes) -> None:
    """In a child the forking thread's sections are open and close normally, others are
    gone, and nothing is pending."""
    passes(
        """
        entered, leave = threading.Event(), threading.Event()
        def other():
            with TerminateProtected():
                entered.set()
                leave.wait()
        thread = threading.Thread(target=other)
        thread.start()
        entered.wait()
        with TerminateProtected() as section:
            send(SIGTERM)
            equal(True, section.pending)
            pid = os.fork()
            if not pid:
                equal(False, section.pending)
                with TerminateProtected():
                    pass
        if not pid:
            equal(SIG_DFL, signal.getsignal(SIGTERM))
            send(SIGTERM)
            os._exit(9)
        equal(-15, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        try:
            leave.set()
            thread.join()
            time.sleep(LIMIT)
        except GracefulExit:
            pass
        """
    )


def test_fork_in_a_held_section_can_be_killed(passes) -> None:
    """A child that is forked in a section and leaves it dies of SIGTERM."""
    passes(
        """
        with TerminateProtected():
            pid = os.fork()
            if not pid:
                with TerminateProtected():
                    pass
        if not pid:
            send(SIGTERM)
            os._exit(9)
        equal(-15, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """
    )


def test_signal_between_fork_and_exec(passes) -> None:
    """A signal to a child between fork and exec ends that child."""
    passes(
        """
        import subprocess
        killer = GracefulKiller()
        for _ in range(5):
            try:
                child = subprocess.Popen(
                    ["/bin/true"], preexec_fn=lambda: send(SIGTERM)
                )
            except subprocess.SubprocessError:
                continue  # it died before it could tell of its exec
            equal(-15, child.wait())
        equal(False, killer.kill_now)
        killer.close()
        """
    )


def test_daemonising(program) -> None:
    """A double fork with closerange() and a new killer in the grandchild works."""
    child = program(
        """
        GracefulKiller().close()
        before = GracefulKiller()
        reader, writer = os.pipe()
        if os.fork():
            os.close(writer)
            pid = int(os.read(reader, 20))
            os.kill(pid, SIGTERM)
            equal(b"stopped SIGTERM", os.read(reader, 100))
            equal(b"", os.read(reader, 100))
            equal(False, before.kill_now)
            before.close()
            print("good")
            sys.exit()
        os.setsid()
        if os.fork():
            os._exit(0)
        out = os.dup2(writer, 200)
        os.closerange(0, 200)
        with GracefulKiller() as killer:
            os.write(out, str(os.getpid()).encode())
            killer.wait()
            os.write(out, b"stopped " + killer.reason.signal.name.encode())
        os._exit(0)
        """
    )
    done = child.finish()

    assert (done.status, done.out, done.err) == (0, "good\n", "")


@pytest.mark.slow
def test_forks_in_a_storm(program, handler_backend: str) -> None:
    """200 forks while signals arrive: no child hangs, the parent's counts are exact."""
    done = program(
        """
        killer = GracefulKiller(backend=sys.argv[1])
        killer.take("USR1")
        sent, over = 0, threading.Event()
        def shoot():
            global sent
            while not over.is_set():
                signal.pthread_kill(threading.get_ident(), SIGUSR1)
                sent += 1
        shooter = threading.Thread(target=shoot)
        shooter.start()
        for n in range(200):
            pid = os.fork()
            if not pid:
                os._exit(killer.kill_now)
            equal(0, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        over.set()
        shooter.join()
        equal(sent, killer.counts[SIGUSR1])
        killer.close()
        """,
        handler_backend,
    ).finish()

    assert (done.status, done.err) == (0, "")
