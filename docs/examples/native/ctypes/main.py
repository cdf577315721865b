"""Stops in the middle of a loop in a C library, which is given the address of the flag.
Build the library first: collatz.c says how."""

import ctypes
from pathlib import Path

from gracefulexit import GracefulKiller

library = ctypes.CDLL(str(Path(__file__).with_name("libcollatz.so")))
library.search.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_ulonglong)]
library.search.restype = ctypes.c_uint

with GracefulKiller(grace=25) as killer:
    print("searching", flush=True)
    checked = ctypes.c_ulonglong()
    # ctypes releases the interpreter lock meanwhile.
    most = library.search(killer.flag_address, ctypes.byref(checked))
    print(f"checked {checked.value} numbers, at most {most} steps", flush=True)
killer.exit()
