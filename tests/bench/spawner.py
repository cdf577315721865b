"""Starts a process for each line, and prints how many microseconds it took.

python spawner.py nothing|signal|futex|pipe|sigwait
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import ExitStack

from gracefulexit import GracefulKiller


def main(way: str) -> None:
    with ExitStack() as stack:
        if way == "signal":
            for signum in (signal.SIGTERM, signal.SIGINT):
                signal.signal(signum, lambda signum, frame: None)
        elif way != "nothing":
            stack.enter_context(GracefulKiller(backend=way))
        for _ in sys.stdin:
            start = time.perf_counter_ns()
            subprocess.run(["true"], check=True)
            print((time.perf_counter_ns() - start) / 1000, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
