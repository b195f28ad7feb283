"""Results in cells of tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any


def cell(values: Sequence[float], unit: str) -> str:
    """Median, least and greatest of some measurements."""
    if not values:
        return ""
    scale, digits = 1.0, 4
    if unit == "s":
        digits = 3
        if median(values) < 1:
            unit, scale = "ms", 1e3
    elif unit == "MiB":
        digits = 3
    numbers = [
        _figure(scale * value, digits) for value in (median(values), min(values), max(values))
    ]
    spread = f" ({numbers[1]} to {numbers[2]})" if len(values) > 1 else ""
    return f"{numbers[0]} {unit}".rstrip() + spread


def _figure(value: float, digits: int) -> str:
    """A number of so many significant digits, but never with a power of ten."""
    if value == 0:
        return "0"
    return f"{value:,.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def cells_of(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Cells of a grid with their ``speed_up`` and ``efficiency`` against one rank, one thread."""
    base = median(row["cells"][0]["times"])
    cells = []
    for cell in row["cells"]:
        workers = cell["ranks"] * cell["threads"]
        speed_up = base / median(cell["times"]) * (workers if row["scaled"] else 1)
        cells.append({**cell, "speed_up": speed_up, "efficiency": speed_up / workers})
    return cells
