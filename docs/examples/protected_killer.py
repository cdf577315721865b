"""A protected section in a worker, with a killer: the stop waits for the section.

    protected_killer.py FILE

Not even a second Ctrl-C, which ends the program early, tears the record.
"""

import logging
import sys

from gracefulexit import GracefulKiller, TerminateProtected, Worker


class Copier(Worker):
    def __init__(self, killer, source, target):
        super().__init__()
        self.killer = killer
        self.source = source
        self.target = target

    def run(self):
        while not self.killer.kill_now and (first := self.source.readline()):
            with TerminateProtected(name="record") as section:
                self.target.write(first)
                self.target.flush()
                print("ready", flush=True)  # half of the record is in the file
                self.target.write(self.source.readline())
                self.target.flush()
                print("asked to stop:", section.pending, flush=True)


def main(path):
    with open(path, "w") as target, GracefulKiller() as killer:
        killer.start(Copier(killer, sys.stdin, target))
        killer.join()
    killer.exit()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
    main(sys.argv[1])
