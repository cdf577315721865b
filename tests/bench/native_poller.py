"""Runs the loops of poll_native.c. For poll_native.py: LIBRARY as argument; lines in,
nanoseconds out:

NAME NUMBER    that loop, a pass
stop           a killer, "ready", and when a loop has seen its SIGTERM
"""

from __future__ import annotations

import ctypes
import sys

from gracefulexit import GracefulKiller


def main(path: str) -> None:
    library = ctypes.CDLL(path)
    for name in ("loop_empty", "loop_header", "loop_call", "loop_lock", "until_stop"):
        getattr(library, name).restype = ctypes.c_int64
    with GracefulKiller("HUP") as killer:
        library.use_flag(ctypes.c_void_p(killer.flag_address))
    for line in sys.stdin:
        if line == "stop\n":
            with GracefulKiller():
                print("ready", flush=True)
                print(library.until_stop(), flush=True)
            continue
        name, number = line.split()
        took = getattr(library, name)(ctypes.c_int64(int(number)))
        print(took / int(number), flush=True)


main(*sys.argv[1:])
