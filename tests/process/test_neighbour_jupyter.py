"""A killer in the cells of a notebook, run by a real kernel.

The kernel has SIGINT ignored between cells and sets `default_int_handler` for each
cell, whatever the cell before has left; its stop button sends SIGINT.
"""

from __future__ import annotations

import pytest

# Above every child. Its argument is the back end.
COMMON = """
from kernel import Kernel
backend = sys.argv[1]
from textwrap import dedent
BEGIN = f'''
import os, signal, time
from signal import SIGINT, SIGTERM
from gracefulexit import *
from probe import log_lines
backend = {backend!r}
told = log_lines("taken over:")
'''
WAIT = '''
with GracefulKiller(backend=backend) as killer:
    print("ready", flush=True)
    killer.wait(100)
    print(killer.reason.signal.name, killer.armed)
'''
"""


def test_a_killer_in_a_cell(beside) -> None:
    """In a cell that makes a killer the stop button and SIGTERM are its stop; the next
    cell is as any other, and so is the end of the kernel."""
    beside(
        """
        with Kernel() as kernel:
            pid = kernel.pid
            def terminate():
                os.kill(pid, SIGTERM)
            equal(("", ""), kernel.run(BEGIN))
            for _ in range(2):
                found = kernel.run(WAIT, at={"ready": kernel.manager.interrupt_kernel})
                equal(("ready\\nSIGINT True\\n", ""), found)
                found = kernel.run(WAIT, at={"ready": terminate})
                equal(("ready\\nSIGTERM True\\n", ""), found)
            owners = "print(signal.getsignal(SIGINT) is signal.default_int_handler)"
            equal(("True\\n", ""), kernel.run(owners))
            owners = "print(signal.getsignal(SIGTERM) is signal.SIG_DFL)"
            equal(("True\\n", ""), kernel.run(owners))
            sleep = "print('ready', flush=True); time.sleep(20)"
            found = kernel.run(sleep, at={"ready": kernel.manager.interrupt_kernel})
            equal(("ready\\n", "KeyboardInterrupt"), found)
            assert kernel.manager.is_alive()
        equal(False, kernel.manager.is_alive())
        """
    )


@pytest.mark.slow
def test_a_killer_for_several_cells(beside_in_main) -> None:
    """A killer that outlives its cell loses SIGINT to the kernel, which the log says
    once, with what to do; it goes on hearing SIGTERM."""
    beside_in_main(
        """
        WAIT_MORE = '''
        print(killer.armed, flush=True)
        killer.wait(0.01)
        for _ in range(2000):
            if told: break
            time.sleep(0.01)
        killer.wait(0.01)
        print(len(told), "make the killer in the cell" in told[0])
        killer.rearm()
        print(killer.armed)
        '''
        AGAIN = '''
        print(killer.armed)
        print("ready", flush=True)
        time.sleep(20)
        '''
        END = '''
        os.kill(os.getpid(), SIGTERM)
        print(killer.wait(100), killer.reason.signal.name)
        killer.close()
        print(signal.getsignal(SIGTERM) is signal.SIG_DFL)
        print(signal.getsignal(SIGINT) is signal.default_int_handler)
        '''
        ONLY_TERM = '''
        killer = GracefulKiller("TERM", backend=backend)
        '''
        stop = {"ready": lambda: kernel.manager.interrupt_kernel()}
        with Kernel() as kernel:
            kernel.run(BEGIN)
            equal(("", ""), kernel.run("killer = GracefulKiller(backend=backend)"))
            equal(("False\\n1 True\\nTrue\\n", ""), kernel.run(dedent(WAIT_MORE)))
            found = kernel.run(dedent(AGAIN), at=stop)
            equal(("False\\nready\\n", "KeyboardInterrupt"), found)
            found = kernel.run(dedent(END))
            equal(("True SIGTERM\\nTrue\\nTrue\\n", ""), found)
            equal(("", ""), kernel.run(dedent(ONLY_TERM)))
            found = kernel.run(dedent(AGAIN), at=stop)
            equal(("True\\nready\\n", "KeyboardInterrupt"), found)
            found = kernel.run(dedent(END))
            equal(("True SIGTERM\\nTrue\\nTrue\\n", ""), found)
        equal(False, kernel.manager.is_alive())
        """
    )
