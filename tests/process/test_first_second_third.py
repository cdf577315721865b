"""The first signal asks, the second hurries, the third changes nothing."""

from __future__ import annotations

import pytest

HOLDS = {
    "C call with the interpreter": "ctypes.PyDLL(None).pause()",
    "C call without": "ctypes.CDLL(None).pause()",
    "join": "stuck.join()",
    "wait": "killer.wait() and never.wait()",
    "busy": "None",
}


@pytest.mark.slow
@pytest.mark.parametrize("section", [False, True], ids=["no section", "in a section"])
@pytest.mark.parametrize("hold", HOLDS)
def test_three_in_a_row(passes, handler_backend: str, hold: str, section: bool) -> None:
    """Wherever main is: the first Ctrl-C leaves the process alive, the second ends it;
    in an open section neither the second nor the third does, and SIGQUIT does."""
    passes(
        """
        import contextlib, ctypes, resource
        from forks import fork_to, reap
        from gracefulexit import lowlevel
        hold, backend, section = sys.argv[1], sys.argv[2], sys.argv[3] == "True"
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        never = threading.Event()
        reader, writer = os.pipe2(os.O_NONBLOCK)
        os.set_blocking(reader, True)

        def be_held():
            killer = GracefulKiller(backend=backend)
            stuck = threading.Thread(target=never.wait, daemon=True)
            stuck.start()
            lowlevel.add_wakeup_fd(writer)
            with TerminateProtected() if section else contextlib.nullcontext():
                os.write(writer, b"r")
                while True:
                    eval(hold, globals(), {"stuck": stuck, "killer": killer})

        def hit(byte):
            os.kill(pid, SIGINT)
            equal(byte, os.read(reader, 1))
            return time.monotonic()

        pid = fork_to(be_held)
        os.close(writer)
        equal(b"r", os.read(reader, 1))
        heard = hit(bytes([SIGINT]))
        until(lambda: time.monotonic() > heard + 0.6, "it is not the same Ctrl-C")
        equal((0, 0), os.waitpid(pid, os.WNOHANG))
        if section:
            for _ in range(2):
                heard = hit(bytes([SIGINT]))
                until(lambda: time.monotonic() > heard + 0.6, "time for the third")
                equal((0, 0), os.waitpid(pid, os.WNOHANG))
            os.kill(pid, signal.SIGQUIT)
            equal(-signal.SIGQUIT, reap(pid))
        else:
            os.kill(pid, SIGINT)
            equal(-SIGINT, reap(pid))
        """,
        HOLDS[hold],
        handler_backend,
        section,
    )
