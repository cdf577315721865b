"""One cell of a notebook: the stop button ends the loop after a whole round."""

import time

from gracefulexit import GracefulKiller

with GracefulKiller() as killer:
    print("ready", flush=True)
    while not killer.kill_now:
        time.sleep(0.01)  # stands for a step that must not be torn
print("stopped by", killer.reason.signal.name, "after a whole round")
