"""A daemon with long-running workers whose class existed before gracefulexit.

`Collector` is a plain `threading.Thread` with a flag and a method of its own. It
is not changed: `killer.add()` finds `shutdown()` and calls it at the stop.
"""

import logging
import sys
import threading

from gracefulexit import GracefulKiller

log = logging.getLogger("daemon")


class Collector(threading.Thread):
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
            collector = Collector(name=f"collector-{i}")
            killer.add(collector)
            collector.start()
        print("ready", flush=True)
        killer.join()
    log.info("all joined")
    killer.exit()


if __name__ == "__main__":
    logging.basicConfig(
        level=logging.INFO, stream=sys.stdout, format="%(name)s: %(message)s"
    )
    main()
