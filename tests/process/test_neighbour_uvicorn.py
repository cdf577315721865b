"""uvicorn: in a worker of ours, around a killer and inside one."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from signal import SIGINT, SIGTERM

import pytest
from child_process import Child, Finished
from examples import Example
from servers import ANSWERED, HANDLER_BACKENDS, STOPS, Upload, module, port_of

# An application in the child's own directory, which reads a request to its end.
PLAIN = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    print("receiving", flush=True)
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%d bytes" % size})
"""


@pytest.fixture
def cli(start_child: Callable[..., Child]) -> Callable[..., Child]:
    """`python -m uvicorn` with a file's app, on a port of its own."""

    def start(backend: str, app: str) -> Child:
        return module(start_child, backend, "uvicorn", "--port", "0", app)

    return start


def in_flight(child: Child) -> Upload:
    upload = Upload(port_of(child))
    child.wait_line("receiving")
    return upload


def stop_within(child: Child, signum: int) -> None:
    """The worker beside the server hears at once: the request is still open."""
    upload = in_flight(child)
    child.signal(signum)
    child.wait_line("mailer: stopped")

    assert upload.finish() == ANSWERED


def without_us(cli: Callable[..., Child], folder: Path, signum: int) -> int:
    (folder / "plain.py").write_text(PLAIN)
    child = cli("auto", "plain:app")
    upload = in_flight(child)
    child.signal(signum)
    assert upload.finish() == ANSWERED
    return child.finish().status


# --- in a worker


def test_worker(start_child) -> None:
    """The example with uvicorn in a worker finishes the open request on SIGTERM."""
    child = Example(start_child, "auto")("uvicorn_worker.py")
    stop_within(child, SIGTERM)
    done = child.finish()

    assert done.status == -SIGTERM
    assert done.out.count("closed") == 1


@pytest.mark.slow
@STOPS
def test_worker_on_each_back_end(start_child, backend: str, signum: int) -> None:
    """So it does on SIGINT, and on every back end."""
    child = Example(start_child, backend)("uvicorn_worker.py")
    stop_within(child, signum)
    done = child.finish()

    assert done.status == -signum
    assert done.out.count("closed") == 1


@pytest.mark.slow
def test_second_ctrl_c_in_a_worker(start_child) -> None:
    """A second Ctrl-C ends the program without waiting for the open request."""
    child = Example(start_child, "auto")("uvicorn_worker.py")
    upload = in_flight(child)
    child.signal(SIGINT)
    child.wait_line("mailer: stopped")
    time.sleep(0.6)  # sooner it is taken for the same Ctrl-C
    child.signal(SIGINT)

    assert child.finish().status == -SIGINT
    assert upload.answer() == (0, "")


@pytest.mark.slow
def test_worker_that_cannot_start(start_child, tmp_path) -> None:
    """uvicorn that cannot have its port ends the example, with status 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        child = start_child(
            f"""
            import runpy, sys, uvicorn
            config = uvicorn.Config
            uvicorn.Config = lambda *a, **k: config(*a, **{{**k, "port": {port}}})
            runpy.run_path(sys.argv[1], run_name="__main__")
            """,
            Example.path("uvicorn_worker.py"),
        )
        done = child.finish()

    assert done.status == 1
    assert "uvicorn did not start" in done.err
    assert done.out == "mailer: stopped\nclosed\n"


# --- a killer inside uvicorn


def test_lifespan(cli) -> None:
    """A killer that is made in the lifespan hears at once, and uvicorn does too."""
    child = cli("auto", "uvicorn_lifespan:app")
    stop_within(child, SIGTERM)
    done = child.finish()

    assert done.status == -SIGTERM
    assert done.out.count("closed") == 1


@pytest.mark.slow
@STOPS
@HANDLER_BACKENDS
def test_lifespan_on_each_back_end(cli, tmp_path, backend: str, signum: int) -> None:
    """With a killer in the lifespan uvicorn ends as it does without us."""
    child = cli(backend, "uvicorn_lifespan:app")
    stop_within(child, signum)
    done = child.finish()

    assert done.status == without_us(cli, tmp_path, signum)
    assert done.out.count("closed") == 1
    assert "taken over" not in done.err


@pytest.mark.slow
def test_second_ctrl_c_with_a_lifespan(cli) -> None:
    """A second Ctrl-C ends the process; uvicorn's own would wait for connections."""
    child = cli("auto", "uvicorn_lifespan:app")
    upload = in_flight(child)
    child.signal(SIGINT)
    child.wait_line("INFO:     Waiting for connections", stream="err")
    time.sleep(0.6)  # sooner it is taken for the same Ctrl-C
    child.signal(SIGINT)

    # uvicorn has heard it, too, and gives up the connection: 0 where it is through
    # with that before the process is ended.
    assert child.finish().status in (-SIGINT, 0)
    assert upload.answer()[0] in (0, 500)


# --- a killer around uvicorn

AROUND = """
import asyncio, uvicorn
sys.path.insert(0, "")
from plain import app

logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
config = dict(port=0, lifespan="off")
ways = {
    "uvicorn.run": lambda: uvicorn.run(app, **config),
    "Server.serve": lambda: asyncio.run(
        uvicorn.Server(uvicorn.Config(app, **config)).serve()
    ),
}
_, backend, way, chain = sys.argv
with GracefulKiller(backend=backend, chain=bool(chain)) as killer:
    killer.on_stop(print, "on_stop", flush=True)
    killer.on_exit(print, "on_exit", flush=True)

    def look():
        for line in sys.stdin:
            eval(line)
            print("armed", killer.armed, killer.kill_now, flush=True)

    threading.Thread(target=look, daemon=True).start()
    ways[way]()
    equal(True, killer.kill_now)
    equal(True, killer.armed)
    print("heard", killer.reason.signum, killer.counts[killer.reason.signal])
killer.exit()
"""


class Around:
    """A killer with a server in its block."""

    def __init__(self, program, folder: Path, *args: object) -> None:
        (folder / "plain.py").write_text(PLAIN)
        self.child = program(AROUND, *args, stdin=subprocess.PIPE)
        self.upload = in_flight(self.child)

    def see(self, call: str, expected: str) -> None:
        self.child.stdin.write(f"{call}\n".encode())
        self.child.stdin.flush()
        assert self.child.wait_line("armed") == expected

    def stop(self, signum: int, expected: str) -> Finished:
        """Also says what the killer knows while the request is open."""
        self.child.signal(signum)
        self.child.wait_line("INFO:     Waiting for connections", stream="err")
        self.see("None", expected)
        assert self.upload.finish() == ANSWERED
        return self.child.finish()


@pytest.mark.slow
@STOPS
@pytest.mark.parametrize("way", ["uvicorn.run", "Server.serve"])
def test_killer_around(program, tmp_path, backend: str, signum: int, way: str) -> None:
    """A killer made before uvicorn has no signal while the server runs, which one line
    in the log says, and hears it once the server has shut down."""
    around = Around(program, tmp_path, backend, way, "")
    around.see("killer.wait(0)", "armed False False")
    around.see("killer.report()", "armed False False")
    done = around.stop(signum, "armed False False")

    assert done.status == -signum
    assert f"heard {signum:d} 1\n" in done.out
    assert (done.out.count("on_stop"), done.out.count("on_exit")) == (1, 1)
    [line] = re.findall("^gracefulexit: .*taken over.*$", done.err, re.MULTILINE)
    taker = "uvicorn.server.Server.handle_exit"
    assert line.startswith(f"gracefulexit: taken over: SIGINT, SIGTERM by {taker};")
    assert "ours again when the server has shut down" in line


@pytest.mark.slow
@STOPS
@HANDLER_BACKENDS
def test_rearm(program, tmp_path, backend: str, signum: int) -> None:
    """With chain=True, rearm() while the server runs has both hear at once; what
    uvicorn raises again at its end is counted, and stops nothing twice."""
    around = Around(program, tmp_path, backend, "uvicorn.run", "chain")
    around.see("killer.rearm()", "armed True False")
    done = around.stop(signum, "armed True True")

    assert done.status == -signum
    assert f"heard {signum:d} 2\n" in done.out
    assert (done.out.count("on_stop"), done.out.count("on_exit")) == (1, 1)
