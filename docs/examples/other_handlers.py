"""Beside other code that handles signals: each keeps the signals that are its own.

SIGUSR2 dumps all stacks, by faulthandler. The loop below sleeps in select(), where
signal.set_wakeup_fd() wakes it; the killer's signals wake it too, by add_wakeup_fd().
"""

import faulthandler
import selectors
import signal
import socket

from gracefulexit import GracefulKiller, lowlevel


def loop(killer, reader):
    selector = selectors.DefaultSelector()
    selector.register(reader, selectors.EVENT_READ)
    print("ready", flush=True)
    while not killer.kill_now:
        selector.select()
        for number in reader.recv(4096):
            print("woken by", signal.Signals(number).name, flush=True)


def main():
    faulthandler.register(signal.SIGUSR2)
    signal.signal(signal.SIGUSR1, lambda signum, frame: None)
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno())
    with GracefulKiller(grace=25) as killer:
        lowlevel.add_wakeup_fd(writer)
        loop(killer, reader)
        lowlevel.remove_wakeup_fd(writer)
    killer.exit()


if __name__ == "__main__":
    main()
