"""A program that does not stop in time, and what is reported of it.

    slow_stop.py [json]

The writer waits for an answer that does not come, in a protected section.
"""

import json
import logging
import sys
import threading

from gracefulexit import GracefulKiller, TerminateProtected, Worker


class Reader(Worker):
    def run(self):
        self.wait()


class Mailer(Worker):
    def run(self):
        self.wait()
        raise OSError("no mail server")


class Writer(Worker):
    def run(self):
        with TerminateProtected(name="ledger"):
            print("ready", flush=True)
            self.wait()
            self.flush()

    def flush(self):
        threading.Event().wait()


def wake_clients():
    pass


def close_database():
    pass


def main():
    with GracefulKiller(grace=10) as killer:
        killer.on_stop(wake_clients)
        killer.on_exit(close_database)
        killer.start(Reader(name="reader"), Mailer(name="mailer"))
        killer.start(Writer(name="writer"))
        killer.wait()
        killer.join(1)  # who ends in time has ended by then
        report = killer.report()
        if "json" in sys.argv:
            print(json.dumps(report.to_dict(), indent=1), flush=True)
        else:
            print(report, flush=True)
    killer.exit()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    threading.excepthook = lambda args: None  # the package logs it
    main()
