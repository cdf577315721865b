"""A picture of a benchmark: a bar to the median of each, a line to the 99 %."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
from harness import FLOOR, OTHER, OURS, Row
from matplotlib.figure import Figure
from page import says_where

if TYPE_CHECKING:
    from run import Result

# Text as text, and the same names in the file each time: a small file and a small
# difference.
SVG = {"svg.fonttype": "none", "svg.hashsalt": "gracefulexit"}
# Told apart without colours, too: by their brightness.
COLOURS = {OURS: "#00506b", FLOOR: "#6f6f6f", OTHER: "#d9a24a"}
BAR, AROUND = 0.22, 0.9  # inches


def draw(result: Result, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    cases = [(case, list(rows)) for case, rows in groupby(result.rows, _case)]
    heights = [BAR * len(rows) + AROUND for _, rows in cases]
    figure = Figure(figsize=(9, sum(heights) + AROUND), layout="constrained")
    axes = figure.subplots(len(cases), height_ratios=heights, squeeze=False)
    for axis, (case, rows) in zip(axes[:, 0], cases, strict=True):
        medians = [row.median for row in rows]
        up = [max(0.0, row.p99 - row.median) for row in rows]
        axis.barh(
            [row.who for row in rows],
            medians,
            xerr=([0.0] * len(rows), up),
            color=[COLOURS[row.kind] for row in rows],
            error_kw={"elinewidth": 0.8, "ecolor": "#303030"},
        )
        axis.invert_yaxis()
        if min(medians) > 0:
            axis.set_xscale("log")
        axis.set_title(case, fontsize=9)
        axis.set_xlabel(rows[0].unit, fontsize=8)
        axis.tick_params(labelsize=8)
    figure.suptitle(result.title, fontsize=11)
    figure.supxlabel(says_where(result.machine), fontsize=6)
    path = folder / f"{result.name}.svg"
    with matplotlib.rc_context(SVG):
        # Without the time of day, so that equal figures are an equal file.
        figure.savefig(path, metadata={"Date": None})
    return path


def _case(row: Row) -> str:
    return row.case
