"""Two jobs in infinite loops, and an exception that ends the main thread's.

SIGTERM and SIGINT raise `ServiceExit` in the main thread, once. The `with` block
waits until each job has cleaned up. `escalate=()`: an impatient second Ctrl-C
does not cut the clean-up short.
"""

import logging
import sys
import time

from gracefulexit import GracefulKiller, Worker

log = logging.getLogger("jobs")


class ServiceExit(Exception):
    """The service was asked to stop."""


class Job(Worker):
    def run(self):
        while not self.stopping:
            time.sleep(0.05)  # the work
        log.info("%s: cleaning up", self.name)
        time.sleep(1)
        log.info("%s: cleaned up", self.name)


def main():
    try:
        with GracefulKiller(raises=ServiceExit, escalate=()) as killer:
            killer.start(Job(name="job-1"), Job(name="job-2"))
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
