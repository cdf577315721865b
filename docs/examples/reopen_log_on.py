"""SIGUSR1 reopens a log file that logrotate has renamed: in a callback.

    reopen_log_on.py FILE

`on()` calls `reopen()` on a thread of its own, so a lock keeps it away from a
line that is being written. See reopen_log_take.py for a way without a lock.
"""

import sys
import threading

from gracefulexit import GracefulKiller


class LogFile:
    def __init__(self, path):
        self.path = path
        self.lock = threading.Lock()
        self.file = open(path, "a")  # noqa: SIM115

    def write(self, line):
        with self.lock:
            self.file.write(f"{line}\n")
            self.file.flush()

    def reopen(self, info):
        with self.lock:
            self.file.close()
            self.file = open(self.path, "a")  # noqa: SIM115
        print("reopened for", info.signal.name, flush=True)

    def close(self):
        self.file.close()


def main(path):
    with GracefulKiller() as killer:
        log = LogFile(path)
        killer.on_exit(log.close)
        killer.on("USR1", log.reopen)
        print("ready", flush=True)
        number = 0
        while not killer.wait(0.005):
            number += 1
            log.write(number)
    print("written", number)
    killer.exit()


if __name__ == "__main__":
    main(sys.argv[1])
