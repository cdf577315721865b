"""SIGTERM as an exception: `finally`, `with` and `atexit` run.

    exception.py [EXIT_STATUS]

EXIT_STATUS is "signal" (the process dies of the signal; the default), "code"
(128 + its number, as shells write it) or a number.
"""

import atexit
import sys
import tempfile
import time

from gracefulexit import GracefulKiller


class Terminated(BaseException):
    """Like KeyboardInterrupt: `except Exception` does not catch it."""


def work():
    with tempfile.TemporaryDirectory() as folder:
        print("folder", folder)
        try:
            print("ready", flush=True)
            time.sleep(3600)
        finally:
            print("finally")


def main(exit_status="signal"):
    atexit.register(print, "atexit")
    try:
        with GracefulKiller(raises=Terminated, exit_status=exit_status) as killer:
            work()
    except Terminated:
        print("terminated by", killer.reason.signal.name)
        killer.exit()


if __name__ == "__main__":
    main(*(int(arg) if arg.isdigit() else arg for arg in sys.argv[1:]))
