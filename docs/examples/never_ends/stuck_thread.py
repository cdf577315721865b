"""A thread that waits for an answer without a time limit, and is no daemon.

    stuck_thread.py usual|ours

The main thread hears of the stop and returns. Then the interpreter waits for the
other thread.
"""

import signal
import socket
import sys
import threading

from gracefulexit import GracefulKiller

sock, silent_peer = socket.socketpair()
thread = threading.Thread(target=sock.recv, args=[1])


def usual():
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda signum, frame: stopping.set())
    thread.start()
    print("ready", flush=True)
    stopping.wait()
    print("stopping", flush=True)


def ours():
    with GracefulKiller(grace=1) as killer:
        thread.start()
        print("ready", flush=True)
        killer.wait()
        print("stopping", flush=True)
    killer.exit()


if __name__ == "__main__":
    {"usual": usual, "ours": ours}[sys.argv[1]]()
