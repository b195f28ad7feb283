"""Heat maps of the grids over ranks x threads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.page import cells_of, figure_name


def draw(results: Mapping[str, Any], folder: Path) -> None:
    """Draw each grid of the results; nothing where matplotlib is not installed."""
    grids = [(group, row) for group in results for row in results[group]["rows"] if "cells" in row]
    if not grids:
        return
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    folder.mkdir(exist_ok=True)
    for _, row in grids:
        ranks = sorted({cell["ranks"] for cell in row["cells"]})
        threads = sorted({cell["threads"] for cell in row["cells"]})
        figure = Figure(figsize=(7, 3), layout="constrained")
        figure.suptitle(row["name"])
        axes = figure.subplots(1, 2)
        for axis, field, title in zip(
            axes, ("speed_up", "efficiency"), ("speed-up", "efficiency"), strict=True
        ):
            values = np.full((len(threads), len(ranks)), np.nan)
            for cell in cells_of(row):
                at = threads.index(cell["threads"]), ranks.index(cell["ranks"])
                values[at] = cell[field]
                text = f"{cell[field]:.2f}" if field == "speed_up" else f"{cell[field]:.0%}"
                mark = "\n(over-\nsubscribed)" if cell["oversubscribed"] else ""
                axis.text(*at[::-1], text + mark, ha="center", va="center", fontsize=9)
            # A light part of the colours, on which the figures can be read.
            axis.imshow(values, cmap="YlGn", vmin=0, vmax=1.8 * np.nanmax(values), origin="lower")
            axis.set(title=title, xlabel="ranks", ylabel="threads a rank")
            axis.set_xticks(range(len(ranks)), ranks)
            axis.set_yticks(range(len(threads)), threads)
        figure.savefig(folder / figure_name(row), dpi=100, metadata={"Software": None})
