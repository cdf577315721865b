"""Where the header for extension modules is."""

from __future__ import annotations

from pathlib import Path


def get_include() -> str:
    """The folder of ``gracefulexit.h``, for the build of an extension module.

    In setup.py: ``Extension(..., include_dirs=[gracefulexit.get_include()])``. From
    any thread; has nothing to do with a stop.

    >>> from pathlib import Path
    >>> Path(get_include(), "gracefulexit.h").exists()
    True
    """
    return str(Path(__file__).with_name("include"))
