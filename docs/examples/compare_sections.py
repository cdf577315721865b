"""Four ways to say "do not interrupt this block", and ours, put to the test.

    compare_sections.py

Each cell of the table that is printed is a process of its own, which writes a
record of two parts in such a block while it gets a real signal:

    whole       both parts were written, then the signal was obeyed
    torn        only one part was: the signal came through
    lost        this signal, or one that comes later, is never obeyed
    deaf child  SIGTERM does not end a process that was started in the block
    others      the exception that came instead
"""

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from inspect import CO_GENERATOR
from signal import SIGINT, SIGTERM

from gracefulexit import TerminateProtected

SIGNALS = (SIGINT, SIGTERM)
LIMIT = 60  # seconds for one process; none needs more than one


# ---- the forms --------------------------------------------------------------


class Delay:
    """A handler keeps the signal, and the end hands it to the one before."""

    def __enter__(self):
        self.kept = None
        self.before = {}
        for signum in SIGNALS:
            self.before[signum] = signal.signal(signum, self.keep)

    def keep(self, signum, frame):
        self.kept = (signum, frame)

    def __exit__(self, *error):
        for signum, handler in self.before.items():
            signal.signal(signum, handler)
        if self.kept is not None:
            self.before[self.kept[0]](*self.kept)


@contextlib.contextmanager
def ignore():
    before = {s: signal.signal(s, signal.SIG_IGN) for s in SIGNALS}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextlib.contextmanager
def flag():
    came = []

    def note(signum, frame):
        came.append(signum)

    before = {s: signal.signal(s, note) for s in SIGNALS}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
        for signum in came:
            signal.raise_signal(signum)


@contextlib.contextmanager
def mask():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


FORMS = {
    "class that delays": Delay,
    "`SIG_IGN` pair": ignore,
    "flag pair": flag,
    "mask pair": mask,
    "`TerminateProtected`": TerminateProtected,
}


# ---- the situations ---------------------------------------------------------


def say(line):
    os.write(1, f"{line}\n".encode())


def wait_for_signal():
    """The parent sends it when it reads this line, and then lets us go on."""
    say("ready")
    os.read(0, 1)


def run_in_threads(*functions):
    def reporting(function):
        try:
            function()
        except Exception as error:  # noqa: BLE001 -- the cell of the table
            say(f"found {type(error).__name__}")
            os._exit(0)

    threads = [threading.Thread(target=reporting, args=[f]) for f in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def in_main(form):
    with form():
        say("part 1")
        wait_for_signal()
        say("part 2")


def nested(form):
    with form():
        say("part 1")
        with form():
            wait_for_signal()
        say("part 2")


def in_worker(form):
    run_in_threads(lambda: in_main(form))


def in_worker_to_itself(form):
    def work():
        with form():
            say("part 1")
            signal.pthread_kill(threading.get_ident(), SIGTERM)
            say("part 2")

    run_in_threads(work)


def in_two_workers(form):
    entered, both_in, one_left = (threading.Event() for _ in range(3))

    def first():
        with form():
            entered.set()
            both_in.wait()
        one_left.set()

    def second():
        entered.wait()
        with form():
            say("part 1")
            both_in.set()
            one_left.wait()
            wait_for_signal()
            say("part 2")

    run_in_threads(first, second)


def taken_elsewhere(form):
    begun, sent = threading.Event(), threading.Event()

    def helper():
        begun.wait()
        # Where all other threads block it, this one has it when kill() returns.
        os.kill(os.getpid(), SIGINT)
        sent.set()

    threading.Thread(target=helper).start()
    with form():
        say("part 1")
        begun.set()
        sent.wait()
        say("part 2")


def section_of(form):
    """A task or a generator has a section open while others go on."""
    with form():
        yield


def overlapping(form):
    first, second = section_of(form), section_of(form)
    next(first)
    next(second)
    say("part 1")
    next(first, None)
    wait_for_signal()
    say("part 2")
    next(second, None)


def after_overlapping(form):
    first, second = section_of(form), section_of(form)
    next(first)
    next(second)
    next(first, None)
    next(second, None)
    wait_for_signal()


def with_child(form):
    with form():
        status = subprocess.call(["sh", "-c", "kill -TERM $$"])
    if status != -SIGTERM:
        say("found deaf child")
    wait_for_signal()


def around_asyncio(form):
    async def write():
        say("part 1")
        wait_for_signal()
        await asyncio.sleep(0)
        say("part 2")

    with form():
        asyncio.run(write())


class Stop(Exception):
    pass


def stop(signum, frame):
    raise Stop


def obeys(signum):
    try:
        signal.raise_signal(signum)
    except Stop:
        return True
    return False


def at_call(number, signum, form, *, entering):
    """The signal comes at that call or return of the form's own code; what becomes
    of it, and of the signals that come later?"""
    calls = 0

    def count(frame, event, arg):
        nonlocal calls
        if event in ("call", "return") and frame.f_code.co_flags & CO_GENERATOR:
            return  # it may be being closed: then Python looks for no signals
        calls += 1
        if calls == number:
            sys.setprofile(None)
            signal.raise_signal(signum)

    obeyed = False
    for s in SIGNALS:
        signal.signal(s, stop)
    try:
        sys.setprofile(count if entering else None)
        with form():
            sys.setprofile(None if entering else count)
        sys.setprofile(None)
    except Stop:
        obeyed = True
    if calls < number:
        return "no such call"
    return "whole" if obeyed and all(map(obeys, SIGNALS)) else "lost"


def at_every_call(form, *, entering):
    found = {"whole"}
    for number in itertools.count(1):
        for signum in SIGNALS:
            reader, writer = os.pipe()
            if os.fork() == 0:  # what one signal leaves behind is not for the next
                what = at_call(number, signum, form, entering=entering)
                os.write(writer, what.encode())
                os._exit(0)
            os.close(writer)
            found.add(os.read(reader, 100).decode())
            os.close(reader)
            os.wait()
        if "no such call" in found:
            break
    say("found lost" if "lost" in found else "found " + min(found - {"no such call"}))


def while_entering(form):
    at_every_call(form, entering=True)


def while_leaving(form):
    at_every_call(form, entering=False)


SITUATIONS = {
    "main thread, Ctrl-C": (in_main, SIGINT),
    "main thread, SIGTERM with its default action": (in_main, SIGTERM),
    "one block in the other": (nested, SIGINT),
    "`asyncio.run()` in the block": (around_asyncio, SIGINT),
    "worker thread, the signal to that thread": (in_worker_to_itself, SIGTERM),
    "worker thread, the signal to the process": (in_worker, SIGTERM),
    "two worker threads, the first in is the first out": (in_two_workers, SIGTERM),
    "main thread, another thread takes the signal": (taken_elsewhere, SIGINT),
    "two tasks, the signal after the first has left": (overlapping, SIGTERM),
    "two tasks, the signal after both have left": (after_overlapping, SIGTERM),
    "the signal at any call while entering": (while_entering, SIGTERM),
    "the signal at any call while leaving": (while_leaving, SIGTERM),
    "a process is started in the block": (with_child, SIGTERM),
}


# ---- parent and child -------------------------------------------------------


def child(situation, form):
    # Whatever the parent was started with.
    signal.signal(SIGINT, signal.default_int_handler)
    signal.signal(SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    try:
        SITUATIONS[situation][0](FORMS[form])
    except Exception as error:  # noqa: BLE001 -- the cell of the table
        say(f"found {type(error).__name__}")
    else:
        say("end")


def cell(situation, form):
    signum = SITUATIONS[situation][1]
    process = subprocess.Popen(
        [sys.executable, __file__, situation, form],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    limit = threading.Timer(LIMIT, process.kill)
    limit.start()
    said = []
    for line in process.stdout:
        said.append(line.rstrip("\n"))
        if said[-1] == "ready":
            process.send_signal(signum)
            break
    with contextlib.suppress(BrokenPipeError):
        out, err = process.communicate("g")
    limit.cancel()
    said += out.splitlines()
    for line in said:
        if line.startswith("found "):
            return line.removeprefix("found ")
    if "part 1" in said and "part 2" not in said:
        return "torn"
    if "end" in said:
        return "lost"
    if process.returncode != -signum:
        print(situation, form, said, err, sep="\n", file=sys.stderr)
        return f"status {process.returncode}"
    return "whole"


def main():
    pairs = list(itertools.product(SITUATIONS, FORMS))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        cells = iter(list(pool.map(cell, *zip(*pairs, strict=True))))
    print("| |", " | ".join(FORMS), "|")
    print("|---" * (1 + len(FORMS)) + "|")
    for situation in SITUATIONS:
        print("|", situation, "|", " | ".join(next(cells) for _ in FORMS), "|")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        child(*sys.argv[1:])
    else:
        main()
