"""Stop multi-threaded programs gracefully and exactly.

``GracefulKiller`` hears the signals, ``TerminateProtected`` finishes what must
not be torn, ``Worker`` threads stop when asked. See the README and docs/.
"""

# The layout: public names are re-exported here and nowhere defined here. Each
# _module.py holds one subject; which may import which is a table in
# tests/contract/test_layers.py. Importing has no effect on signals, threads or
# descriptors.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._version import __version__ as __version__

try:
    # Not `from . import _core`, whose error speaks of a circular import.
    from ._core import Flag as _Flag  # noqa: F401  # the import is the test
except ImportError as _error:
    raise ImportError(
        f"gracefulexit's compiled part (_core) cannot be imported from {__path__[0]} "
        f"({_error}); install the package with `python -m pip install gracefulexit`, "
        "or, in its source tree, with `python -m pip install .`, and then start "
        "Python there with -I, so that it does not look at the sources first"
    ) from _error

from ._errors import GracefulExit as GracefulExit
from ._include import get_include as get_include
from ._info import SignalInfo as SignalInfo
from ._interrupt import ignore_interrupt as ignore_interrupt
from ._killer import GracefulKiller as GracefulKiller
from ._killer import current as current
from ._protect import TerminateProtected as TerminateProtected
from ._report import Report as Report
from ._workers import Worker as Worker
from ._workers import WorkerGroup as WorkerGroup

if TYPE_CHECKING:
    from ._popen import Popen as Popen
    from ._processes import ProcessWorker as ProcessWorker

# What is imported when it is first asked for, as it imports more of the standard
# library than most programs need.
_LATER = {"Popen": "._popen", "ProcessWorker": "._processes"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = getattr(import_module(_LATER[name], __name__), name)
    globals()[name] = found  # once is enough
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "GracefulExit",
    "GracefulKiller",
    "Popen",
    "ProcessWorker",
    "Report",
    "SignalInfo",
    "TerminateProtected",
    "Worker",
    "WorkerGroup",
    "__version__",
    "current",
    "get_include",
    "ignore_interrupt",
]
