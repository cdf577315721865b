"""Stops in the middle of a native loop. Build the module first: setup.py says how."""

import collatz

from gracefulexit import GracefulKiller

with GracefulKiller(grace=25) as killer:
    print("searching", flush=True)
    checked, most = collatz.search()
    print(f"checked {checked} numbers, at most {most} steps", flush=True)
killer.exit()
