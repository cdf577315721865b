"""A main loop that is not ours and ends on Ctrl-C: now on SIGTERM too.

`raises=KeyboardInterrupt` raises in the main thread what the loop knows already.
"""

import time

from gracefulexit import GracefulKiller


def run_app():
    """Stands for `app.run()` of a framework."""
    try:
        print("ready", flush=True)
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        print("the app has cleaned up")


def main():
    with GracefulKiller(raises=KeyboardInterrupt) as killer:
        run_app()
        print("stopped by", killer.reason.signal.name)
    killer.exit()


if __name__ == "__main__":
    main()
