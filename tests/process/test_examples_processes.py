"""The examples with processes, stopped as a terminal does it: by a signal to all of
the group."""

from __future__ import annotations

import os
import signal
import urllib.request

import pytest
from child_process import LIMIT
from examples import EXAMPLES


@pytest.fixture
def example(start_child):
    return lambda name: start_child(EXAMPLES / name)


@pytest.mark.parametrize("to_all", [True, False], ids=["Ctrl-C", "to main"])
def test_a_server_in_a_process(example, to_all: bool) -> None:
    """The server answers, and is closed before the program ends."""
    child = example("process_server.py")
    port = child.wait_line("ready").split()[1]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=LIMIT) as answer:
        assert answer.read() == b"hello"
    (os.killpg if to_all else os.kill)(child.pid, signal.SIGINT)
    done = child.finish()

    assert done.status == -signal.SIGINT
    assert "Traceback" not in done.err
    assert done.out.splitlines()[1:] == ["server closed", "all ended"]


def test_a_pool_of_processes(example) -> None:
    """The batch in hand is finished, and no child has anything to say."""
    child = example("process_pool.py")
    child.wait_line("ready")
    os.killpg(child.pid, signal.SIGINT)
    done = child.finish()

    assert done.status == -signal.SIGINT
    assert done.err == ""
    assert done.out.splitlines()[-1] == "whole batches: True"
