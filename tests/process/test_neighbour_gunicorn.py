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
FORMS = {
    "sync": [],
    "gthread": GTHREAD,
    "preload sync": ["--preload"],
    "preload gthread": ["--preload", *GTHREAD],
}
SYNC = ["sync", "preload sync"]
KINDS = pytest.mark.parametrize("form", ["sync", "gthread"])
ALL = pytest.mark.parametrize("form", FORMS)


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
@ALL
@HANDLER_BACKENDS
def test_conf_in_each_form(gunicorn, backend: str, form: str) -> None:
    """So it does with every kind of worker, with preload and without."""
    child = example(gunicorn, backend, *FORMS[form])
    stop(child)
    done = child.finish()

    assert (done.status, quiet(done)) == (0, True), done.err
    assert done.out.count("closed") == 1
    assert "taken over" not in done.err


@pytest.mark.slow
@pytest.mark.parametrize("ours", [False, True], ids=["without us", "ours"])
@pytest.mark.parametrize("who", ["master", "terminal"])
# Not a gthread worker, which may lock itself up at the master's SIGQUIT, without us
# as well: its handler takes a lock.
@pytest.mark.parametrize("form", SYNC)
def test_interrupt(gunicorn, ours: bool, who: str, form: str) -> None:
    """On SIGINT gunicorn cuts the request of a sync worker, with us as without us;
    workers beside it are stopped and joined."""
    if ours:
        child = example(gunicorn, "auto", *FORMS[form])
    else:
        child = gunicorn("auto", *FORMS[form], APP)
    upload = in_flight(child)
    if who == "terminal":
        os.killpg(child.pid, SIGINT)  # not yet waited for: nobody else's number
    else:
        child.signal(SIGINT)
    wait_err(child, "Handling signal: int")
    # By both signals at once even the answer that says so may be cut.
    assert upload.answer()[0] in ((500,) if who == "master" else (500, 0))
    done = child.finish()

    assert (done.status, quiet(done)) == (0, True), done.err
    assert said(done.out, "mailer") == ["stopped"] * ours
    assert done.out.count("closed") == int(ours)


@pytest.mark.slow
@ALL
def test_worker_that_ends_by_itself(gunicorn, form: str) -> None:
    """A worker process that is replaced after its last request stops what runs beside
    the requests, without any signal."""
    child = example(gunicorn, "auto", *FORMS[form], "--max-requests", "1")
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


# --- a killer that the application makes

APPLICATION = """
from gunicorn_app import app
from gunicorn_conf import Mailer
from gracefulexit import GracefulKiller

killer = GracefulKiller(grace=500, chain={chain})
killer.on_exit(print, "closed", flush=True)
"""


@pytest.mark.slow
@KINDS
@HANDLER_BACKENDS
def test_application(gunicorn, tmp_path, backend: str, form: str) -> None:
    """Without preload, an application's own killer with chain=True does as well."""
    source = APPLICATION.format(chain=True) + "killer.start(Mailer())\n"
    (tmp_path / "own.py").write_text(source)
    child = gunicorn(backend, *FORMS[form], "own:app")
    stop(child)
    done = child.finish()

    assert (done.status, quiet(done)) == (0, True), done.err
    assert done.out.count("closed") == 1


@pytest.mark.slow
@KINDS
def test_application_without_chain(gunicorn, tmp_path, form: str) -> None:
    """Without chain=True it keeps the signal from gunicorn, which then kills."""
    source = APPLICATION.format(chain=False) + "killer.start(Mailer())\n"
    (tmp_path / "own.py").write_text(source)
    child = gunicorn("auto", *FORMS[form], "--graceful-timeout", "1", "own:app")
    stop(child)
    done = child.finish()

    assert done.status == 0
    assert "Worker exiting" not in done.err
    assert "closed" not in done.out


PRELOADED_CONF = """
import logging, re, sys
from probe import until

taken = []

def taken_over(record):
    text = record.getMessage()
    taken.extend(re.findall(r"SIG(?:INT|TERM)\\b", text))
    # Unless it looks while gunicorn sets the default action, and then its own.
    assert "post_worker_init" in text or "default action" in text, text

def post_fork(server, worker):
    log = logging.getLogger("gracefulexit")
    log.addFilter(taken_over)
    log.propagate = False

def post_worker_init(worker):
    from own import killer, Mailer
    killer.report()
    until(lambda: len(taken) >= 2, "the log")
    print("armed", killer.armed, *sorted(taken), flush=True)
    {then}
"""


@pytest.mark.slow
@KINDS
@HANDLER_BACKENDS
@pytest.mark.parametrize("rearm", [False, True])
def test_preloaded(gunicorn, tmp_path, backend: str, form: str, rearm: bool) -> None:
    """A killer that was made with the preloaded application is fresh in the worker, and
    has no signal there, which the log says once; rearm() gets them, and with chain=True
    gunicorn hears as well."""
    (tmp_path / "own.py").write_text(APPLICATION.format(chain=True))
    then = "killer.rearm(); killer.start(Mailer())" if rearm else ""
    (tmp_path / "conf.py").write_text(PRELOADED_CONF.format(then=then))
    child = gunicorn(backend, "-c", "conf.py", "--preload", *FORMS[form], "own:app")
    if rearm:
        stop(child)
    else:
        upload = in_flight(child)
        child.signal(SIGTERM)
        assert upload.finish() == ANSWERED
    done = child.finish()

    assert (done.status, quiet(done)) == (0, True), done.err
    assert done.out.startswith("armed False SIGINT SIGTERM\n")
    assert done.out.count("closed") == 2  # each process has its own


# --- a killer in the master

MASTER_CONF = """
from gunicorn_conf import *

in_master = ExitStack()

def when_ready(server):
    killer = in_master.enter_context(GracefulKiller(chain=True, on_fork="reset"))
    killer.on_stop(print, "master: told", flush=True)
    killer.on_exit(print, "master: left", flush=True)

def on_exit(server):
    in_master.close()
"""


@pytest.mark.slow
@ALL
@HANDLER_BACKENDS
def test_master(gunicorn, tmp_path, backend: str, form: str) -> None:
    """A killer of the master's with on_fork="reset" hears at once, beside those of the
    worker processes."""
    (tmp_path / "conf.py").write_text(MASTER_CONF)
    child = gunicorn(backend, "-c", "conf.py", *FORMS[form], APP)
    upload = in_flight(child)
    child.signal(SIGTERM)
    child.wait_line("m")  # the two
    child.wait_line("m")  # in any order
    assert upload.finish() == ANSWERED
    done = child.finish()

    assert (done.status, quiet(done)) == (0, True), done.err
    assert said(done.out, "master") == ["left", "told"]
    assert said(done.out, "mailer") == ["stopped"]
    assert done.out.count("closed") == 1
