"""Commands from other processes, each a real-time signal with a number:

    /bin/kill --queue 6 --signal RTMIN+1 PID    # go on with 6 workers

Prints a line for each that is obeyed, and ends at SIGTERM.
"""

import os

from gracefulexit import GracefulKiller

# sigwait: one thread takes the signals, so the last command sent is the last obeyed.
with GracefulKiller(grace=25, backend="sigwait") as killer:

    @killer.on("SIGRTMIN+1")
    def resize(info):
        print(f"{info.si_value} workers, by pid {info.si_pid}", flush=True)

    print(f"ready: {os.getpid()}", flush=True)
    killer.wait()
    print(killer.report(), flush=True)
killer.exit()
