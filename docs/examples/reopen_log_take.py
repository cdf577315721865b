"""SIGUSR1 reopens a log file that logrotate has renamed: at a safe point.

    reopen_log_take.py FILE

The writer itself asks `take()` whether the signal has come, between two lines.
"""

import sys

from gracefulexit import GracefulKiller


def main(path):
    with GracefulKiller() as killer:
        number = 0
        killer.take("USR1")  # from now on it is heard
        print("ready", flush=True)
        while not killer.kill_now:
            with open(path, "a") as log:
                print("opened", flush=True)
                while not killer.take("USR1"):
                    number += 1
                    log.write(f"{number}\n")
                    log.flush()
                    if killer.wait(0.005):
                        break
    print("written", number)
    killer.exit()


if __name__ == "__main__":
    main(sys.argv[1])
