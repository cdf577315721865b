"""A signal while its killer is closed: is it ever lost, or heard twice?

    python tests/stress/uninstall.py --rounds 10000

In each round a new process makes a killer, closes it, and is sent one signal about
then: later after a round in which the killer has heard it, earlier after one in which
it has not, as the moment in question is short. Either the killer has heard it, which
shows in all that the killer tells, or whoever had the signal before: never both, never
neither.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import multiprocessing
import os
import random
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from gracefulexit import GracefulKiller

LIMIT = 60.0  # seconds for a process; it takes some milliseconds
BATCH = 50  # rounds for one call of the pool, all of one form
PAUSE = 0.0005  # seconds until it is closed
AIM = 0.00004  # seconds, from one round's signal to the next one's
# What a process ends with; by the signal itself where that had its default action.
BY_KILLER, BY_OWNER, CONTRADICTION = 7, 8, 9
FAULTS = ("lost", "wrong")
FORMS = list(
    itertools.product(
        ("default", "handler"),
        ("main", "thread"),
        ("futex", "pipe", "sigwait"),
        (signal.SIGTERM, signal.SIGINT),
    )
)


def spin(seconds: float) -> None:
    """Sleeping would round the moment up."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def child(form: tuple[str, str, str, int], ready: int) -> int:
    owner, closer, backend, signum = form
    heard: list[int] = []
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signum])
    signal.signal(
        signum,
        signal.SIG_DFL if owner == "default" else lambda *_: heard.append(signum),
    )
    killer = GracefulKiller(signum, escalate=(), backend=backend)
    os.write(ready, b"x")
    spin(PAUSE)
    if closer == "main":
        killer.close()
    else:
        thread = threading.Thread(target=killer.close)
        thread.start()
        thread.join()
    while not killer.kill_now and not heard:
        time.sleep(0.001)
    told = {
        killer.kill_now,
        killer.event.is_set(),
        killer.counts[signal.Signals(signum)] == 1,
        killer.reason is not None and killer.reason.signum == signum,
    }
    if told != {not heard} or len(heard) > 1:
        print(f"{told=} {heard=}", file=sys.stderr, flush=True)
        return CONTRADICTION
    return BY_OWNER if heard else BY_KILLER


def in_process(form: tuple[str, str, str, int], pause: float) -> str:
    """One round: who has heard it, or a fault."""
    signum = form[3]
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            os.close(reader)
            status = child(form, writer)
        finally:
            os._exit(status)
    os.close(writer)
    os.read(reader, 1)
    spin(pause)
    os.kill(pid, signum)
    # The other end closes when the process ends.
    over, _, _ = select.select([reader], [], [], LIMIT)
    os.close(reader)
    if not over:
        os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if not over:
        return "lost"
    by_owner = -signum if form[0] == "default" else BY_OWNER
    return {BY_KILLER: "by killer", by_owner: "by owner"}.get(status, "wrong")


def batch(name: str, rounds: int) -> list[tuple[str, str]]:
    rng = random.Random(name)
    form = rng.choice(FORMS)
    pause = PAUSE
    found = []
    for _ in range(rounds):
        who = in_process(form, rng.gauss(pause, AIM))
        pause += AIM if who == "by killer" else -AIM
        found.append((" ".join(map(str, form)), who))
    return found


def batches(seed: str, rounds: int) -> Iterator[tuple[str, int]]:
    for first in range(0, rounds, BATCH):
        yield f"{seed}:{first}", min(BATCH, rounds - first)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10000, help="default: 10000")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--seed", default=str(random.randrange(10**6)))
    args = parser.parse_args()
    print(f"seed {args.seed}", flush=True)
    total: collections.Counter[str] = collections.Counter()
    # Spawned: what forks has no threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.jobs, context) as pool:
        work = zip(*batches(args.seed, args.rounds), strict=True)
        for found in pool.map(batch, *work):
            for form, who in found:
                total[who] += 1
                if who in FAULTS:
                    print(f"{who}: {form}", flush=True)
    told = ("by killer", "by owner", *FAULTS)
    print(f"all: rounds={total.total()}", *(f"{w}={total[w]}" for w in told))
    return any(total[fault] for fault in FAULTS)


if __name__ == "__main__":
    sys.exit(main())
