"""A C call that never returns, and keeps the interpreter lock.

    c_call.py usual|ours

The C library waits for a lock of its own that it has already. No Python code runs
any more in any thread, a signal handler in Python least of all.
"""

import ctypes
import signal
import sys
import threading

from gracefulexit import GracefulKiller

library = ctypes.PyDLL(None)  # its calls keep the interpreter lock
mutex = ctypes.create_string_buffer(128)  # zeros: a pthread_mutex_t that is free


def work():
    library.pthread_mutex_lock(mutex)
    print("ready", flush=True)
    library.pthread_mutex_lock(mutex)


def usual():
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda signum, frame: stopping.set())
    while not stopping.is_set():
        work()


def ours():
    with GracefulKiller(grace=1) as killer:
        while not killer.kill_now:
            work()
    killer.exit()


if __name__ == "__main__":
    {"usual": usual, "ours": ours}[sys.argv[1]]()
