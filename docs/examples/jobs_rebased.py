"""The class of jobs_thread.py with another base class, and nothing else changed.

A `Worker` registers itself when it starts. The `shutdown_flag` that `Job` makes
in its `__init__` takes the place of the worker's own.
"""

import logging
import sys
import threading
import time

from gracefulexit import GracefulKiller, Worker

log = logging.getLogger("jobs")


class ServiceExit(Exception):
    """The service was asked to stop."""


class Job(Worker):
    def __init__(self, name):
        threading.Thread.__init__(self, name=name)
        self.shutdown_flag = threading.Event()

    def run(self):
        while not self.shutdown_flag.is_set():
            time.sleep(0.05)  # the work
        log.info("%s: cleaning up", self.name)
        time.sleep(1)
        log.info("%s: cleaned up", self.name)


def main():
    try:
        with GracefulKiller(raises=ServiceExit, escalate=()) as killer:
            for name in ("job-1", "job-2"):
                Job(name).start()
            print("ready", flush=True)
            while True:
                time.sleep(3600)
    except ServiceExit:
        log.info("main: ServiceExit")
    killer.exit()


if __name__ == "__main__":
    logging.basicConfig(
        level=logging.INFO, stream=sys.stdout, format="%(name)s: %(message)s"
    )
    main()
