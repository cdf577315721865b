"""A `ProcessPoolExecutor` that Ctrl-C on the terminal does not tear: the batch in
hand is finished, and no child prints a traceback."""

import itertools
import time
from concurrent.futures import ProcessPoolExecutor

from gracefulexit import GracefulKiller, ignore_interrupt


def work(number):
    time.sleep(0.01)
    return number * number


def main():
    numbers = itertools.count()
    results = []
    with (
        GracefulKiller(grace=25) as killer,
        ProcessPoolExecutor(2, initializer=ignore_interrupt) as pool,
    ):
        while not killer.kill_now:
            batch = list(itertools.islice(numbers, 8))
            results += pool.map(work, batch)
            if len(results) == 8:
                print("ready", flush=True)
    print("whole batches:", len(results) % 8 == 0)
    killer.exit()


if __name__ == "__main__":
    main()
