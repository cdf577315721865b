"""A worker that swallows every exception, the one that shall end it too.

    swallowing_worker.py usual|ours

The jobs look at the flag, as they should, and leave by an exception.
"""

import signal
import sys
import threading
import time

from gracefulexit import GracefulKiller


def work(checkpoint):
    while True:
        try:
            checkpoint()  # raises SystemExit once the program is stopping
            time.sleep(0.05)
        except BaseException as error:  # noqa: BLE001, PERF203 -- the mistake
            print("swallowed", type(error).__name__, flush=True)
            time.sleep(0.05)


def usual():
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda signum, frame: stopping.set())

    def checkpoint():
        if stopping.is_set():
            raise SystemExit

    worker = threading.Thread(target=work, args=[checkpoint])
    worker.start()
    print("ready", flush=True)
    stopping.wait()
    print("stopping", flush=True)
    worker.join()


def ours():
    with GracefulKiller(grace=1) as killer:
        worker = threading.Thread(target=work, args=[killer.checkpoint])
        worker.start()
        print("ready", flush=True)
        killer.wait()
        print("stopping", flush=True)
        worker.join()
    killer.exit()


if __name__ == "__main__":
    {"usual": usual, "ours": ours}[sys.argv[1]]()
