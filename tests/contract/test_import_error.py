"""A package without its compiled part says so."""

from __future__ import annotations

import shutil
from pathlib import Path


def test_missing_core_gives_one_clear_sentence(
    start_child, root: Path, tmp_path: Path
) -> None:
    """Importing the bare sources fails with what to do, not with a riddle."""
    bare = tmp_path / "bare"
    (bare / "gracefulexit").mkdir(parents=True)
    for source in (root / "gracefulexit").glob("*.py"):
        shutil.copy(source, bare / "gracefulexit")

    done = start_child("import gracefulexit", env={"PYTHONPATH": str(bare)}).finish()
    last_line = done.err.splitlines()[-1]

    assert last_line.startswith("ImportError: ")
    assert "compiled part" in last_line
    assert "pip install" in last_line
    assert done.status == 1
