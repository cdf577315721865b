"""Every signal there is, from outside, each to a process of its own."""

from __future__ import annotations

import pytest

# Nobody can handle them, or they report a fault of the program itself.
REFUSED = ["KILL", "STOP", "SEGV", "BUS", "FPE", "ILL", "TRAP", "SYS"]


@pytest.mark.slow
@pytest.mark.parametrize("role", ["stops", "does not stop"])
def test_every_signal_from_outside(passes, backend: str, role: str) -> None:
    """Each signal that a program can handle reaches a fresh process from outside, is
    counted once, names its sender, and is what the process ends by."""
    done = passes(
        """
        import resource, traceback
        from forks import HEARD, reap
        backend, stops, refused = sys.argv[1], sys.argv[2] == "stops", sys.argv[3:]
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        tried = signal.valid_signals() - {signal.Signals["SIG" + s] for s in refused}
        if stops:
            tried -= {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
            tried -= {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}

        def told(info):
            return info.signum, info.si_pid

        def stop(signum, ready):
            killer = GracefulKiller(signum, backend=backend, escalate=())
            ready()
            assert killer.wait(LIMIT)
            equal((signum, os.getppid()), told(killer.reason))
            equal(1, killer.counts[signum])
            killer.exit()

        def be_called(signum, ready):
            killer = GracefulKiller((), backend=backend)
            calls, called = [], threading.Event()
            killer.on(signum, lambda info: (calls.append(info), called.set()))
            ready()
            assert called.wait(LIMIT)
            equal([(signum, os.getppid())], [told(info) for info in calls])
            equal((1, False), (killer.counts[signum], killer.kill_now))
            killer.close()
            os._exit(HEARD)

        children = []
        for signum in tried:
            reader, writer = os.pipe()
            pid = os.fork()
            if not pid:
                # Python ignores two of them, and what is ignored stays so.
                signal.signal(signum, SIG_DFL)
                ready = lambda: os.write(writer, b"r")
                try:
                    (stop if stops else be_called)(signum, ready)
                except Exception:
                    traceback.print_exc()
                    os._exit(97)
            os.close(writer)
            children.append((pid, reader, signum))
        for pid, reader, signum in children:
            equal(b"r", os.read(reader, 1))
            os.kill(pid, signum)
        for pid, reader, signum in children:
            equal((signum, -signum if stops else HEARD), (signum, reap(pid)))
        print("tried", len(tried))
        """,
        backend,
        role,
        *REFUSED,
    )

    assert int(done.out.split()[1]) > (40 if role == "stops" else 50)
