"""A service that Debian's start-stop-daemon starts and stops.

    start-stop-daemon --start --background --make-pidfile --pidfile service.pid \\
        --exec /usr/bin/python3 -- /usr/local/bin/init_script.py service.state
    start-stop-daemon --stop --pidfile service.pid --retry TERM/10/KILL/5

`grace` is a little shorter than the ten seconds after which SIGKILL comes: the
program ends by itself, and can say what it was waiting for.
"""

import sys
from pathlib import Path

from gracefulexit import GracefulKiller, Worker


class Service(Worker):
    interval = 60.0

    def step(self):
        """The work."""


def main(path):
    with GracefulKiller(grace=9) as killer:
        service = Service()

        @killer.on_exit
        def save_state():
            alive = service.is_alive()
            path.write_text(f"{killer.reason.signal.name} worker alive: {alive}\n")

        killer.start(service)
        print("ready", flush=True)
        killer.join()
    killer.exit()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
