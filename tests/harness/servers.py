"""Application servers as child processes, and requests that stay open."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from child_process import LIMIT, Child
from examples import EXAMPLES

HERE = Path(__file__).parent
URL = re.compile(r"http://127\.0\.0\.1:(\d+)")
STOPS = pytest.mark.parametrize(
    "signum", [signal.SIGTERM, signal.SIGINT], ids=lambda s: s.name
)
# `chain` and `raises` need a handler, so not every back end has them.
HANDLER_BACKENDS = pytest.mark.parametrize("backend", ["futex", "pipe"])
BODY = "half"


def module(
    start_child: Callable[..., Child], backend: str, *args: object, **kwargs: Any
) -> Child:
    """`python -m ARG...`, which finds modules in docs/examples, in this folder and in
    its own directory."""
    env = {"PYTHONPATH": f".:{EXAMPLES}:{HERE}", **kwargs.pop("env", {})}
    return start_child(Path("run_module.py"), backend, *args, env=env, **kwargs)


def port_of(child: Child) -> int:
    """The port that the server says it listens on, where it was asked for any."""
    __tracebackhide__ = True
    while True:
        found = URL.search(child.wait_line("", stream="err"))
        if found:
            return int(found[1])


class Upload:
    """A POST request whose second half is sent when the answer is asked for: until
    then it is in flight, as soon as the application reads it."""

    def __init__(self, port: int, path: str = "/") -> None:
        head = [
            f"POST {path} HTTP/1.1",
            "Host: test",
            f"Content-Length: {2 * len(BODY)}",
            "Connection: close",
        ]
        self._socket = socket.create_connection(("127.0.0.1", port), LIMIT)
        self._socket.sendall(("\r\n".join(head) + f"\r\n\r\n{BODY}").encode())

    def finish(self) -> tuple[int, str]:
        """Send the rest; see answer()."""
        self._socket.sendall(BODY.encode())
        return self.answer()

    def answer(self) -> tuple[int, str]:
        """Status and body, or (0, "") if the connection is closed without any."""
        received = b""
        with self._socket as connection:
            try:
                while data := connection.recv(65536):
                    received += data
            except ConnectionResetError:
                pass
        head, _, body = received.decode().partition("\r\n\r\n")
        return int(head.split()[1]) if head else 0, _unchunked(head, body)


def _unchunked(head: str, body: str) -> str:
    if "transfer-encoding: chunked" not in head.lower():
        return body
    return "".join(body.split("\r\n")[1::2])


ANSWERED = (200, f"{2 * len(BODY)} bytes")
