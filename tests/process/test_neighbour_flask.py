"""Flask's development server, which is werkzeug's."""

from __future__ import annotations

import os
from collections.abc import Callable
from signal import SIGABRT, SIGINT, SIGTERM

import pytest
from child_process import Child
from examples import Example, said, until_asleep
from servers import ANSWERED, HANDLER_BACKENDS, STOPS, Upload, module, port_of

OF_COMMAND = """
from werkzeug.serving import ThreadedWSGIServer

ThreadedWSGIServer.daemon_threads = False
killer = GracefulKiller(grace=25, raises=KeyboardInterrupt)
Mailer().start()
"""
FIND = {"PYTHONPATH": f".:{Example.path('')}"}
APP = """
import os
from contextlib import suppress
from flask_run import Mailer, app
from gracefulexit import GracefulKiller
"""


def in_flight(child: Child) -> Upload:
    upload = Upload(port_of(child))
    child.wait_line("receiving")
    return upload


def stop_run(child: Child, signum: int) -> None:
    """The worker beside the requests hears at once: one is still open."""
    upload = in_flight(child)
    # An exception while it accepts would make werkzeug close that connection.
    until_asleep(child.pid, [child.pid])
    child.signal(signum)
    child.wait_line("mailer: stopped")
    assert upload.finish() == ANSWERED
    done = child.finish()

    assert done.status == -signum, done.err
    assert "Traceback" not in done.err
    assert done.out.count("closed") == 1


def test_run(start_child) -> None:
    """The example with app.run() finishes the open request on SIGTERM."""
    stop_run(Example(start_child, "auto")("flask_run.py"), SIGTERM)


@pytest.mark.slow
@STOPS
@HANDLER_BACKENDS
def test_run_on_each_back_end(start_child, backend: str, signum: int) -> None:
    """So it does on SIGINT, and on every back end."""
    stop_run(Example(start_child, backend)("flask_run.py"), signum)


@pytest.mark.slow
@STOPS
def test_server_without_an_exception(start_child, backend: str, signum: int) -> None:
    """The example with a hook that shuts the server down finishes the open request."""
    child = Example(start_child, backend)("flask_server.py")
    upload = in_flight(child)
    child.signal(signum)
    assert upload.finish() == ANSWERED
    done = child.finish()

    assert done.status == -signum
    assert "Traceback" not in done.err
    assert done.out.count("closed") == 1


@pytest.mark.slow
@STOPS
def test_without_us(start_child, signum: int) -> None:
    """Without us app.run() leaves open requests behind, on SIGINT too."""
    child = start_child(APP + "app.run(port=0)", env=FIND)
    upload = in_flight(child)
    child.signal(signum)

    assert upload.answer() == (0, "")
    # On SIGINT it may be aborted, as such a thread holds a lock of Python's.
    assert child.finish().status in (
        (-SIGTERM,) if signum == SIGTERM else (0, -SIGABRT)
    )


@pytest.mark.slow
@HANDLER_BACKENDS
@STOPS
def test_command(start_child, tmp_path, backend: str, signum: int) -> None:
    """`flask run` ends on SIGTERM as it does on SIGINT, with a killer that the
    application makes when it is loaded."""
    (tmp_path / "own.py").write_text(APP + OF_COMMAND)
    child = module(start_child, backend, "flask", "--app", "own", "run", "--port", "0")
    upload = in_flight(child)
    until_asleep(child.pid, [child.pid])
    child.signal(signum)
    child.wait_line("mailer: stopped")
    assert upload.finish() == ANSWERED
    done = child.finish()

    assert done.status == 0
    assert "Traceback" not in done.err


# --- the reloader

RELOADED = """
if __name__ == "__main__":
    with GracefulKiller(grace=25, raises=KeyboardInterrupt) as killer:
        Mailer().start()
        killer.on_exit(print, "closed", flush=True)
        @app.before_request
        def look():
            killer.report()
            print("armed", killer.armed, os.getpid(), flush=True)
        with suppress(KeyboardInterrupt):
            app.run(port=0, use_reloader=True)
    killer.exit()
"""


@pytest.fixture
def reloaded(start_child: Callable[..., Child], tmp_path) -> Callable[..., Child]:
    (tmp_path / "own.py").write_text(APP + RELOADED)
    return lambda: start_child("", options=["own.py"], env=FIND)


@pytest.mark.slow
def test_reloaded_process(reloaded) -> None:
    """The reloader takes SIGTERM; its sys.exit() leaves the block, and so workers are
    stopped and hooks are run, in the process that serves and in the one above."""
    child = reloaded()
    assert Upload(port_of(child)).finish() == ANSWERED
    _, armed, pid = child.wait_line("armed").split()
    assert (armed, int(pid) != child.pid) == ("False", True)
    while "SIGTERM by werkzeug." not in child.wait_line("", stream="err"):
        pass
    os.kill(int(pid), SIGTERM)  # a child of our child: it is still there
    done = child.finish()

    assert done.status == 0
    assert said(done.out, "mailer") == ["stopped", "stopped"]
    assert done.out.count("closed") == 2


@pytest.mark.slow
def test_reloader_and_terminal(reloaded) -> None:
    """Ctrl-C in the terminal ends both processes, the one above by the signal."""
    child = reloaded()
    assert Upload(port_of(child)).finish() == ANSWERED
    os.killpg(child.pid, SIGINT)  # not yet waited for: nobody else's number
    done = child.finish()

    assert done.status == -SIGINT
    assert "closed" in done.out
