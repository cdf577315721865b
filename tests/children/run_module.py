"""run_module.py BACKEND MODULE [ARG...]: `python -m MODULE ARG...`, as if the killers
in it had been made with backend=BACKEND.

For the programs of others, such as servers, that load an application of ours.
"""

import runpy
import sys

from gracefulexit import GracefulKiller

_, backend, module, *args = sys.argv
GracefulKiller.__init__.__kwdefaults__["backend"] = backend
sys.argv[:] = [module, *args]
runpy.run_module(module, run_name="__main__", alter_sys=True)
