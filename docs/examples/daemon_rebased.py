"""The class of daemon_thread.py with another base class, and nothing else changed.

A `Worker` registers itself when it starts, so `killer.add()` is gone too. It does
not matter that `Collector` calls `threading.Thread.__init__()` itself.
"""

import logging
import sys
import threading

from gracefulexit import GracefulKiller, Worker

log = logging.getLogger("daemon")


class Collector(Worker):
    def __init__(self, *args, **kwargs):
        threading.Thread.__init__(self, *args, **kwargs)
        self._stop_event = threading.Event()

    def shutdown(self):
        self._stop_event.set()

    def run(self):
        while not self._stop_event.wait(3600):
            self.collect()
        log.info("%s: shut down", self.name)

    def collect(self):
        log.info("%s: collecting", self.name)


def main():
    with GracefulKiller(grace=25) as killer:
        for i in range(3):
            Collector(name=f"collector-{i}").start()
        print("ready", flush=True)
        killer.join()
    log.info("all joined")
    killer.exit()


if __name__ == "__main__":
    logging.basicConfig(
        level=logging.INFO, stream=sys.stdout, format="%(name)s: %(message)s"
    )
    main()
