"""A gevent service, with threading not patched: greenlets wait for a descriptor."""

import gevent
import gevent.socket

from gracefulexit import GracefulKiller


def work(killer, name):
    """Rounds that are finished, with a pause for the other greenlets."""
    while not killer.kill_now:
        gevent.sleep(0.01)
    print(f"{name} ended after a whole round", flush=True)


def main():
    with GracefulKiller(grace=25) as killer:
        workers = [gevent.spawn(work, killer, name) for name in ("first", "second")]
        print("ready", flush=True)
        gevent.socket.wait_read(killer.fileno())
        gevent.joinall(workers)
    killer.exit()


if __name__ == "__main__":
    main()
