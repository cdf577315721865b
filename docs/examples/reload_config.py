"""SIGHUP reloads the configuration; the program goes on.

reload_config.py FILE
"""

import json
import sys
from pathlib import Path

from gracefulexit import GracefulKiller

config = {}


def load(path):
    """Replaced as a whole, so nobody sees half of the old and half of the new."""
    global config
    config = json.loads(path.read_text())
    print("level", config["level"], flush=True)


def main(path):
    load(path)
    with GracefulKiller() as killer:

        @killer.on("HUP")
        def reload(info):
            try:
                load(path)
            except (OSError, ValueError, KeyError) as error:
                print("kept the old configuration:", type(error).__name__, flush=True)

        print("ready", flush=True)
        killer.wait()
    print("last level", config["level"])
    killer.exit()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
