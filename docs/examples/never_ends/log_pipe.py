"""A log that goes into a pipe which nobody reads any more.

    log_pipe.py usual|ours

Who collected it has halted. The pipe is full, so the next line in the log waits for
ever, and has the lock of the log meanwhile: that of the stop is not written either.
"""

import contextlib
import logging
import os
import signal
import sys
import threading

from gracefulexit import GracefulKiller

collector, log_pipe = os.pipe()
os.set_blocking(log_pipe, False)
with contextlib.suppress(BlockingIOError):
    while True:
        os.write(log_pipe, bytes(4096))
os.set_blocking(log_pipe, True)
logging.basicConfig(stream=os.fdopen(log_pipe, "w"), level=logging.INFO)
log = logging.getLogger("service")


def usual():
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda signum, frame: stopping.set())
    print("ready", flush=True)
    stopping.wait()
    print("stopping", flush=True)
    log.info("stopping")


def ours():
    with GracefulKiller(grace=1) as killer:
        print("ready", flush=True)
        killer.wait()
        print("stopping", flush=True)
        log.info("stopping")
    killer.exit()


if __name__ == "__main__":
    {"usual": usual, "ours": ours}[sys.argv[1]]()
