"""Where the header for extension modules is."""

from __future__ import annotations

import os


def get_include() -> str:
    """The folder of ``gracefulexit.h``, for the build of an extension module.

    In setup.py: ``Extension(..., include_dirs=[gracefulexit.get_include()])``. From
    any thread; has nothing to do with a stop.

    >>> from pathlib import Path
    >>> Path(get_include(), "gracefulexit.h").exists()
    True
    """
    # Not by pathlib, whose import would cost each start and end.
    return os.path.join(os.path.dirname(__file__), "include")
