"""An `atexit` function that waits for a thread which waits for it.

    atexit_deadlock.py usual|ours

Everything has ended well by then, and the interpreter is about to.
"""

import atexit
import signal
import sys
import threading

from gracefulexit import GracefulKiller

lock = threading.Lock()
closing = threading.Event()


def send():
    with lock:
        print("ready", flush=True)
        closing.wait()


@atexit.register
def close():
    with lock:  # which send() keeps until it is told
        closing.set()


thread = threading.Thread(target=send, daemon=True)


def usual():
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda signum, frame: stopping.set())
    thread.start()
    stopping.wait()
    print("stopping", flush=True)


def ours():
    with GracefulKiller(grace=1) as killer:
        thread.start()
        killer.wait()
        print("stopping", flush=True)
    killer.exit()


if __name__ == "__main__":
    {"usual": usual, "ours": ours}[sys.argv[1]]()
