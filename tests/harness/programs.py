"""What stands above the source of every child of tests/process."""

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
