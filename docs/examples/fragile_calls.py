"""A C library that does not repeat an interrupted call, in the main thread.

With backend="sigwait" no signal interrupts it: the transfer below is written
whole although SIGTERM comes in the middle. With the other back ends write()
would end early, and a library that does not look at the count would go on as if
all had been written.
"""

import ctypes
import os
import threading

from gracefulexit import GracefulKiller

SIZE = 1_000_000
libc = ctypes.CDLL(None, use_errno=True)


def receive(fd, killer):
    received = len(os.read(fd, 1000))
    print("transferring", flush=True)
    killer.wait()  # a slow receiver: the stop comes while much is to be written
    while data := os.read(fd, 65536):
        received += len(data)
    print("received", received, "of", SIZE)


def main():
    with GracefulKiller(grace=25, backend="sigwait") as killer:
        source, sink = os.pipe()
        receiver = threading.Thread(target=receive, args=(source, killer))
        receiver.start()
        written = libc.write(sink, bytes(SIZE), SIZE)
        os.close(sink)
        receiver.join()
        print("written in one call:", written == SIZE)
    killer.exit()


main()
