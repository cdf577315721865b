"""Celery workers with a pool of threads, and a broker in memory."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from signal import SIGTERM

import pytest
from child_process import Finished
from examples import Example
from servers import HANDLER_BACKENDS, STOPS, module

# A task that waits for its input, sent when the worker is ready.
TASK = """
import os
from celery.signals import worker_ready
from {application} import app

app.conf.worker_redirect_stdouts = False
app.conf.broker_transport_options = {{"polling_interval": 0.1}}

@app.task
def slow():
    print("task: begun", flush=True)
    os.read(0, 1)
    print("task: done", flush=True)

@worker_ready.connect
def send(**_):
    slow.delay()
"""
PLAIN = 'from celery import Celery\n\napp = Celery("plain", broker="memory://")\n'
EXAMPLE = Example.path("celery_app.py").stem
QUIET = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
POOL = ["--pool", "threads", "--concurrency", "2"]


class Work:
    """A worker process with a task in flight."""

    def __init__(self, start_child, folder: Path, backend: str, name: str) -> None:
        (folder / "plain.py").write_text(PLAIN)
        (folder / "work.py").write_text(TASK.format(application=name))
        args = ["celery", "-A", "work", "worker", *POOL, *QUIET]
        self.child = module(start_child, backend, *args, stdin=subprocess.PIPE)
        self.child.wait_line("task: begun")

    def finish(self) -> Finished:
        self.child.stdin.write(b"x")
        self.child.stdin.flush()
        done = self.child.finish()
        assert done.out.count("task: done") == 1
        return done


@pytest.fixture
def work(start_child, tmp_path) -> Callable[..., Work]:
    return lambda backend, name=EXAMPLE: Work(start_child, tmp_path, backend, name)


def stop(running: Work, signum: int) -> Finished:
    """The worker thread hears at once: the task is still running."""
    running.child.signal(signum)
    running.child.wait_line("mailer: stopped")
    done = running.finish()
    assert done.out.count("closed") == 1
    return done


def test_worker(work) -> None:
    """The example finishes its task and its worker thread on SIGTERM."""
    assert stop(work("auto"), SIGTERM).status == 0


@pytest.mark.long
@pytest.mark.slow
@STOPS
@HANDLER_BACKENDS
def test_worker_on_each_back_end(work, backend: str, signum: int) -> None:
    """So it does on SIGINT, and Celery ends as it does without us. What a second Ctrl-C
    does is Celery's: it takes SIGINT again at the first."""
    plain = work("auto", "plain")
    plain.child.signal(signum)
    plain.child.wait_line("worker: Warm shutdown")
    done = stop(work(backend), signum)

    assert done.status == plain.finish().status
    assert "taken over: SIGTERM" not in done.err


# --- a killer from before Celery's handlers

EARLY = """
import re, logging
from celery import Celery
from celery.signals import worker_ready, worker_shutdown
from gracefulexit import GracefulKiller
from probe import until

app = Celery("early", broker="memory://")
killer = GracefulKiller(grace=25, chain=True)
killer.on_stop(print, "told", flush=True)
killer.on_exit(print, "closed", flush=True)
lines = []

class Keep(logging.Handler):
    def emit(self, record):
        lines.append(record.getMessage())

logging.getLogger("gracefulexit").addHandler(Keep())

@worker_ready.connect
def look(**_):
    print("armed", killer.armed, flush=True)
    killer.report()
    until(lambda: "SIGTERM" in str(lines) and "SIGINT" in str(lines), "the log")
    print(*lines, sep="\\n", flush=True)
    {then}

@worker_shutdown.connect
def shut(**_):
    print("heard", killer.reason, flush=True)
"""


@pytest.mark.long
@pytest.mark.slow
@HANDLER_BACKENDS
@pytest.mark.parametrize("rearm", [False, True])
def test_early(work, tmp_path, backend: str, rearm: bool) -> None:
    """A killer that the application makes when it is loaded loses its signals to
    Celery, for good, which the log says once; rearm() takes them back, and with
    chain=True Celery hears as well."""
    then = "killer.rearm()" if rearm else ""
    (tmp_path / "early.py").write_text(EARLY.format(then=then))
    running = work(backend, "early")
    running.child.signal(SIGTERM)
    running.child.wait_line("told" if rearm else "worker: Warm shutdown")
    done = running.finish()

    assert done.status == 0
    assert "armed False\n" in done.out
    taker = "celery.apps.worker._shutdown_handler.<locals>._handle_request"
    [line] = re.findall("^taken over.*$", done.out, re.MULTILINE)
    assert line.startswith(f"taken over: SIGINT, SIGTERM by {taker};")
    assert line.endswith("make the killer in worker_ready, with chain=True")
    assert ("heard SIGTERM" in done.out) == rearm
    assert ("heard None" in done.out) == (not rearm)
    assert done.out.count("told\n") == int(rearm)
    assert done.out.count("closed\n") == 1
