"""A daemon with long-running workers, written for gracefulexit.

The main thread sleeps in `join()` and the workers in `wait()`: while nothing
happens, no thread of the process wakes up. SIGTERM or Ctrl-C asks all workers
at once, the block waits for them, and the process dies of that signal, as its
supervisor expects.
"""

import logging
import sys

from gracefulexit import GracefulKiller, Worker

log = logging.getLogger("daemon")


class Collector(Worker):
    def run(self):
        while not self.wait(3600):
            self.collect()
        log.info("%s: shut down", self.name)

    def collect(self):
        log.info("%s: collecting", self.name)


def main():
    with GracefulKiller(grace=25) as killer:
        for i in range(3):
            killer.start(Collector(name=f"collector-{i}"))
        print("ready", flush=True)
        killer.join()
    log.info("all joined")
    killer.exit()


if __name__ == "__main__":
    logging.basicConfig(
        level=logging.INFO, stream=sys.stdout, format="%(name)s: %(message)s"
    )
    main()
