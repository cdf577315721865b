"""What stands above the source of every child of tests/process."""

from __future__ import annotations

import textwrap

PRELUDE = """\
import logging, os, select, signal, sys, threading, time
from signal import SIG_DFL, SIG_IGN, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2
import gracefulexit
from gracefulexit import *
from probe import *
"""

# A check that fails in main must not wait for the workers that it leaves.
AT_ONCE = """\
def _end_at_once(*error):
    sys.__excepthook__(*error)
    sys.stderr.flush()
    os._exit(1)
sys.excepthook = _end_at_once
"""

WORKERS = "from process_workers import *\n"

# What stands below the source of a child that is a file.
CALL_MAIN = (
    "\nif __name__ == '__main__':\n"
    + textwrap.indent(AT_ONCE, "    ")
    + """\
    main(*sys.argv[1:])
    os.write(1, b"main has returned\\n")
"""
)
