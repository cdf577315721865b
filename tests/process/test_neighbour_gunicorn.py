"""gunicorn: sync and gthread workers, with and without preload."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from signal import SIGINT, SIGTERM

import pytest
from child_process import Child, Finished
from examples import Example, said
from servers import ANSWERED, HANDLER_BACKENDS, Upload, module, port_of

CONF = "gunicorn_conf.py"
APP = f"{Example.path('gunicorn_app.py').stem}:app"
GTHREAD = ["-k", "gthread", "--threads", "2"]
FORMS = pytest.mark.parametrize(
    "form",
    [[], GTHREAD, ["--preload"], ["--preload", *GTHREAD]],
    ids=["sync", "gthread", "preload sync", "preload gthread"],
)


@pytest.fixture
def gunicorn(start_child: Callable[..., Child]) -> Callable[..., Child]:
    """`python -m gunicorn`, on a port of its own."""

    def start(backend: str, *args: object) -> Child:
        here = ["--bind", "127.0.0.1:0", "--no-control-socket"]
        return module(start_child, backend, "gunicorn", *here, *args)

    return start


def example(gunicorn: Callable[..., Child], backend: str, *args: object) -> Child:
    return gunicorn(backend, "-c", Example.path(CONF), *args, APP)


def in_flight(child: Child) -> Upload:
    upload = Upload(port_of(child))
    child.wait_line("receiving")
    return upload


def quiet(done: Finished) -> bool:
    """No worker ended by a signal or with a status."""
    return not re.search("exited with code|was sent", done.err)


def wait_err(child: Child, what: str) -> None:
    while what not in child.wait_line("", stream="err"):
        pass


def stop(child: Child, signum: int = SIGTERM) -> None:
    """The worker beside the requests hears at once: one is still open."""
    upload = in_flight(child)
    child.signal(signum)
    child.wait_line("mailer: stopped")

    assert upload.finish() == ANSWERED


# --- a killer in the worker process, from the configuration


def test_conf(gunicorn) -> None:
    """The example finishes the open request and its worker on SIGTERM."""
    child = example(gunicorn, "auto")
    stop(child)
    done = child.finish()

    assert (done.status, quiet(done)) == (0, True), done.err
    assert done.out.count("closed") == 1


@pytest.mark.slow
@FORMS
@HANDLER_BACKENDS
def test_conf_in_each_form(gunicorn, backend: str, form: list[str]) -> None:
    """So it does with every kind of worker, with preload and without."""
    child = example(gunicorn, backend, *form)
    stop(child)
    done = child.finish()

    assert (done.status, quiet(done)) == (0, True), done.err
    assert done.out.count("closed") == 1
    assert "taken over" not in done.err


@pytest.mark.slow
@pytest.mark.parametrize("ours", [False, True], ids=["without us", "ours"])
@pytest.mark.parametrize("who", ["master", "terminal"])
@FORMS
def test_interrupt(gunicorn, ours: bool, who: str, form: list[str]) -> None:
    """On Ctrl-C gunicorn cuts the request of a sync worker and finishes that of a
    gthread one, with us as without us; workers beside them are stopped and joined."""
    if ours:
        child = example(gunicorn, "auto", *form)
    else:
        child = gunicorn("auto", *form, APP)
    upload = in_flight(child)
    if who == "terminal":
        os.killpg(child.pid, SIGINT)  # not yet waited for: nobody else's number
    else:
        child.signal(SIGINT)
    wait_err(child, "Handling signal: int")
    if "gthread" in form:
        assert upload.finish() == ANSWERED
    else:
        assert upload.answer()[0] == 500
    done = child.finish()

    assert (done.status, quiet(done)) == (0, True), done.err
    assert said(done.out, "mailer") == ["stopped"] * ours
    assert done.out.count("closed") == int(ours)


@pytest.mark.slow
@FORMS
def test_worker_that_ends_by_itself(gunicorn, form: list[str]) -> None:
    """A worker process that is replaced after its last request stops what runs beside
    the requests, without any signal."""
    child = example(gunicorn, "auto", *form, "--max-requests", "1")
    port = port_of(child)
    upload = Upload(port)
    assert upload.finish() == ANSWERED
    child.wait_line("mailer: stopped")
    child.wait_line("closed")
    last = Upload(port)
    child.wait_line("receiving")
    child.signal(SIGTERM)
    child.wait_line("mailer: stopped")
    assert last.finish() == ANSWERED
    done = child.finish()

    assert (done.status, quiet(done)) == (0, True), done.err
    assert done.out.count("closed") == 2
