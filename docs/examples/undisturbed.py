"""Code that knows nothing of signals is not disturbed by one.

No exception, no EINTR, no short sleep: a plain `sock.recv()` loop, a C function
that does not repeat an interrupted `recv()`, and `time.sleep()` go on as if
nothing had happened, whichever thread the signal comes to.
"""

import ctypes
import logging
import os
import socket
import sys
import threading
import time

from gracefulexit import GracefulKiller

log = logging.getLogger("undisturbed")


def receive(sock):
    while data := sock.recv(100):
        log.info("recv: %s", data.decode())


def receive_in_c(sock):
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(100)
    while (size := libc.recv(sock.fileno(), buffer, 100, 0)) > 0:
        log.info("C recv: %s", buffer.raw[:size].decode())
    if size < 0:
        log.error("C recv: %s", os.strerror(ctypes.get_errno()))


def sleep():
    start = time.monotonic()
    time.sleep(1)
    slept = time.monotonic() - start
    name = threading.current_thread().name
    log.info("%s: %s", name, "slept" if slept >= 1 else f"slept only {slept} s")


def main():
    with GracefulKiller() as killer:
        ours, theirs = socket.socketpair()
        ours_c, theirs_c = socket.socketpair()
        workers = [
            threading.Thread(target=receive, args=(theirs,)),
            threading.Thread(target=receive_in_c, args=(theirs_c,)),
            threading.Thread(target=sleep, name="worker"),
        ]
        for worker in workers:
            worker.start()
        print("ready", *(worker.native_id for worker in workers), flush=True)
        sleep()
        killer.wait()
        for sock in (ours, ours_c):
            sock.sendall(b"last words")
            sock.close()
        for worker in workers:
            worker.join()
    killer.exit()


if __name__ == "__main__":
    logging.basicConfig(
        level=logging.INFO, stream=sys.stdout, format="%(name)s: %(message)s"
    )
    threading.current_thread().name = "main"
    main()
