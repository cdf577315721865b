"""It does not matter which thread gets the signal, nor what the main thread does.

On Linux a signal mostly goes to the main thread; on FreeBSD to any thread. Here
the main thread is blocked in one of these, and the workers are told all the same:

    any_thread.py pause     signal.pause(), which returns at the signal; one that
                            comes just before the call is missed, as in any
                            program with pause(): killer.wait() misses none
    any_thread.py join      Thread.join()
    any_thread.py sleep     a C function that has released the GIL
    any_thread.py read      os.read(), which goes on after a signal: it needs a
                            hook that wakes it
    any_thread.py gil-sleep a C function that holds the GIL
    any_thread.py gil-read  the same, and signals do not end it; it waits for stdin

With a second argument, a line on stdin makes a worker send the signal:

    thread   signal.pthread_kill(), directed at another worker
    process  os.kill(), at its own process
"""

import ctypes
import logging
import os
import signal
import sys
import threading

from gracefulexit import GracefulKiller

log = logging.getLogger("any")


def wait_for_stop(killer):
    killer.wait()
    log.info("%s: told", threading.current_thread().name)


def send(how, other):
    sys.stdin.readline()
    if how == "thread":
        signal.pthread_kill(other.ident, signal.SIGTERM)
    else:
        os.kill(os.getpid(), signal.SIGTERM)


def block(killer, how, worker):
    if how == "pause":
        signal.pause()
    elif how == "join":
        worker.join()
    elif how == "sleep":
        ctypes.CDLL(None).sleep(3600)
    elif how == "read":
        reader, writer = os.pipe()
        killer.on_stop(os.close, writer)
        os.read(reader, 1)
    elif how == "gil-sleep":
        ctypes.PyDLL(None).sleep(10)
    elif how == "gil-read":
        ctypes.PyDLL(None).read(0, ctypes.create_string_buffer(1), 1)
    log.info("main: kill_now is %s", killer.kill_now)


def main(how, sender=None):
    with GracefulKiller() as killer:
        workers = [
            threading.Thread(target=wait_for_stop, args=(killer,), name=f"worker-{i}")
            for i in range(2)
        ]
        if sender:
            workers.append(threading.Thread(target=send, args=(sender, workers[0])))
        for worker in workers:
            worker.start()
        print("ready", workers[0].native_id, flush=True)
        block(killer, how, workers[0])
        for worker in workers:
            worker.join()
    killer.exit()


if __name__ == "__main__":
    logging.basicConfig(
        level=logging.INFO, stream=sys.stdout, format="%(name)s: %(message)s"
    )
    main(*sys.argv[1:])
