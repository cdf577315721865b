"""The program under stress: threads that write records of two parts, each record in
a protected section, until a signal ends the program.

    writer.py FOLDER SEED FORM MAIN THREADS COUNT

FORM     who is told of the signals, and how the program ends: see FORMS
MAIN     where the main thread is meanwhile: see PLACES
COUNT    of the form "handler": after so many signals it ends
"""

from __future__ import annotations

import faulthandler
import os
import random
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from gracefulexit import GracefulKiller, TerminateProtected

SIGNALS = (signal.SIGTERM, signal.SIGINT)
ENOUGH = 7  # the exit status of the form "handler"

folder = Path(sys.argv[1])
seed, form, place = sys.argv[2:5]
threads, count = map(int, sys.argv[5:7])
shared_section = TerminateProtected(name="shared")
shared_lock, database_lock = threading.Lock(), threading.Lock()
shared_file = os.open(folder / "shared", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
# Each insert is a transaction of its own, so only the section holds two together.
database = sqlite3.connect(
    folder / "database", isolation_level=None, check_same_thread=False
)
database.execute("PRAGMA journal_mode=WAL")
database.execute("PRAGMA synchronous=OFF")
database.execute("CREATE TABLE parts (record TEXT, part INTEGER)")
going: Callable[[], bool]


def always() -> bool:
    return True


main_goes_on: Callable[[], bool] = always


# ---- the records


def linger(rng: random.Random) -> None:
    kind = rng.random()
    if kind < 0.4:
        time.sleep(rng.uniform(0, 0.003))
    elif kind < 0.7:
        sum(range(rng.randrange(5000)))


def to_file(fd: int, record: str, rng: random.Random) -> None:
    os.write(fd, f"{record} 1\n".encode())
    linger(rng)
    os.write(fd, f"{record} 2\n".encode())


def to_shared_file(record: str, rng: random.Random) -> None:
    with shared_lock:
        to_file(shared_file, record, rng)


def to_database(record: str, rng: random.Random) -> None:
    insert = "INSERT INTO parts VALUES (?, ?)"
    with database_lock:
        database.execute(insert, (record, 1))
        linger(rng)
        database.execute(insert, (record, 2))


def write_records(index: int) -> None:
    rng = random.Random(f"{seed} {index}")
    own = os.open(folder / f"own-{index}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    number = 0
    while going() if index < threads else main_goes_on():
        record = f"{index}.{number}"
        number += 1
        kind = rng.random()
        section = shared_section if kind < 0.5 else TerminateProtected()
        with section:
            if kind < 0.6:
                to_file(own, record, rng)
            elif kind < 0.8:
                with section:
                    to_shared_file(record, rng)
            else:
                to_database(record, rng)
        linger(rng)


# ---- where main is


def in_bytecode() -> None:
    while main_goes_on():
        pass


def in_read() -> None:
    os.read(os.pipe()[0], 1)  # nobody writes


def in_join() -> None:
    for thread in workers:
        thread.join()


def in_sections() -> None:
    write_records(threads)


PLACES = {
    "bytecode": in_bytecode,
    "read": in_read,
    "join": in_join,
    "sections": in_sections,
}


# ---- who is told


def end_with_parent() -> None:
    os.read(0, 1)  # nobody writes
    os._exit(1)


class Told(Exception):
    pass


def start() -> None:
    for thread in workers:
        thread.start()
    os.write(1, b"ready\n")


def with_killer() -> None:
    """A killer, and workers that listen to it."""
    global going, main_goes_on
    # Only an exception brings main out of a system call.
    killer = GracefulKiller(raises=Told if place == "read" else None)
    going = main_goes_on = lambda: not killer.kill_now
    for thread in workers:
        killer.add(thread, stop=lambda: None)
    try:
        start()
        PLACES[place]()
    except Told:
        pass
    killer.exit()


def with_hurry() -> None:
    """A killer, and workers that do not listen: a second Ctrl-C ends them."""
    global going
    going = always
    killer = GracefulKiller()  # noqa: F841
    start()
    PLACES[place]()


def without_killer() -> None:
    """The signals' own: GracefulExit, KeyboardInterrupt. Then the workers leave."""
    global going
    # Not for main: up to CPython 3.12 an exception in is_alive(), as in join(),
    # marks the thread as ended, and for main the others are not waited for then.
    going = threading.main_thread().is_alive
    start()
    PLACES[place]()


def without_end() -> None:
    """The default action of SIGTERM, and workers that do not listen."""
    global going
    going = always
    start()
    PLACES[place]()


def remind_main() -> None:
    main = threading.main_thread().ident
    while main is not None:
        time.sleep(2.0)
        signal.pthread_kill(main, signal.SIGWINCH)


def with_handler() -> None:
    """A handler in Python, which counts."""
    global going
    going = threading.main_thread().is_alive
    left = count

    def handler(*_: object) -> None:
        nonlocal left
        left -= 1
        os.write(1, b"handled\n")
        if left == 0:
            sys.exit(ENOUGH)

    for signum in SIGNALS:
        signal.signal(signum, handler)
    # CPython by itself misses a signal that falls between its last look and the
    # system call it goes back to, until the next one: the same program without
    # a section does so too. What is still not handled after this is lost.
    signal.signal(signal.SIGWINCH, lambda *_: None)
    threading.Thread(target=remind_main, daemon=True).start()
    start()
    PLACES[place]()


FORMS = {
    "killer": with_killer,
    "hurry": with_hurry,
    "default": without_killer,
    "drain": without_end,
    "handler": with_handler,
}


if __name__ == "__main__":
    # Whatever the parent was started with.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    faulthandler.register(signal.SIGUSR2, all_threads=True)
    threading.Thread(target=end_with_parent, daemon=True).start()
    workers = [
        threading.Thread(target=write_records, args=[i], name=f"writer-{i}")
        for i in range(threads)
    ]
    FORMS[form]()
