"""An executor that waits for a job without a time limit.

    executor.py usual|ours

The end of its block waits for all jobs, and there is no argument for a limit. After
`shutdown(wait=False)` the interpreter would wait for them at its end.
"""

import signal
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from gracefulexit import GracefulKiller

sock, silent_peer = socket.socketpair()


def usual():
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda signum, frame: stopping.set())
    with ThreadPoolExecutor() as executor:
        executor.submit(sock.recv, 1)
        print("ready", flush=True)
        stopping.wait()
        print("stopping", flush=True)


def ours():
    with GracefulKiller(grace=1) as killer, ThreadPoolExecutor() as executor:
        executor.submit(sock.recv, 1)
        print("ready", flush=True)
        killer.wait()
        print("stopping", flush=True)
    killer.exit()


if __name__ == "__main__":
    {"usual": usual, "ours": ours}[sys.argv[1]]()
