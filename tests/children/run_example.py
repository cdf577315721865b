"""run_example.py BACKEND FILE [ARG...]: run an example as if its killers had been
made with backend=BACKEND.

An example takes the default back end, as users do. Here the default is another
one; all else is as in `python FILE ARG...`.
"""

import runpy
import sys

from gracefulexit import GracefulKiller

_, backend, path, *args = sys.argv
GracefulKiller.__init__.__kwdefaults__["backend"] = backend
sys.argv[:] = [path, *args]
runpy.run_path(path, run_name="__main__")
