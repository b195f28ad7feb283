"""Figures of the page: curves, splits by Amdahl's law, heat maps of grids and of jobs on shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.cells import cells_of
from benchmarks.limits import JOBS
from benchmarks.page import (
    MAP_TITLE,
    OVERVIEW,
    amdahl,
    exponent,
    figure_name,
    heading,
    map_name,
    ratio,
    ratios,
    split_name,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, which colour-blind readers can tell apart; marks differ too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKS = "osD^vP"
FARTHEST = 2.0
"""Decimal logarithm of the ratios whose colours are the darkest of a map."""


def draw(results: Mapping[str, Any], folder: Path) -> None:
    """Draw all figures of the results; nothing where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    folder.mkdir(parents=True, exist_ok=True)

    def save(figure: Figure, name: str) -> None:
        figure.savefig(folder / name, dpi=100, metadata={"Software": None})

    for key, result in results.items():
        for row in result["rows"]:
            if "curves" in row:
                figure = Figure(figsize=(7, 4), layout="constrained")
                _curves(figure.subplots(), row)
            elif "cells" in row:
                figure = Figure(figsize=(7, 3), layout="constrained")
                _heat_maps(figure, row)
            else:
                continue
            save(figure, figure_name(key, row))
        splits = [row for row in result["rows"] if "split" in row]
        if splits:
            figure = Figure(figsize=(8.5, 3), layout="constrained")
            figure.get_layout_engine().set(wspace=0.08)
            _splits(figure.subplots(1, len(splits), squeeze=False)[0], splits)
            save(figure, split_name(key))
        jobs = [row for row in result["rows"] if "job" in row]
        if jobs:
            shapes = len({row["name"] for row in jobs})
            figure = Figure(figsize=(9, 1.4 + 0.29 * shapes), layout="constrained")
            _map(figure.subplots(), jobs)
            save(figure, map_name(key))


def draw_overview(results: Mapping[str, Any], groups: Mapping[str, Any], folder: Path) -> None:
    """Draw the ratios of all comparisons of times, a line per section."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    found = {heading(groups[name]): ratios(result) for name, result in results.items()}
    found = {title: values for title, values in found.items() if values}
    if not found:
        return
    figure = Figure(figsize=(8, 0.8 + 0.28 * len(found)), layout="constrained")
    axes = figure.subplots()
    for i, values in enumerate(found.values()):
        axes.plot(values, [i] * len(values), "o", color=COLOURS[0], alpha=0.6, markersize=5)
        axes.plot(median(values), i, "|", color=COLOURS[1], markersize=14, markeredgewidth=2)
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(found)), list(found))
    axes.invert_yaxis()
    axes.set(
        xscale="log", xlabel="the peer's time over ours (a dot per comparison, a bar at the median)"
    )
    axes.set_xticks([0.1, 1, 10, 100, 1000], ["0.1", "1", "10", "100", "1,000"])
    axes.grid(axis="x", alpha=0.3)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / OVERVIEW, dpi=100, metadata={"Software": None})


def _curves(axes: Axes, row: Mapping[str, Any]) -> None:
    """Medians, with bars from the least to the greatest, in one colour and mark a curve."""
    for i, (name, curve) in enumerate(row["curves"].items()):
        x = [float(key) for key in curve]
        middle = np.array([median(values) for values in curve.values()])
        spread = [
            middle - [min(values) for values in curve.values()],
            [max(values) for values in curve.values()] - middle,
        ]
        label = name.replace("`", "")
        if row["slopes"]:
            label += f", exponent {exponent(curve):.2f}"
        axes.errorbar(
            x,
            middle,
            spread,
            label=label,
            color=COLOURS[i % len(COLOURS)],
            marker=MARKS[i % len(MARKS)] if len(x) < 20 else "",
            markersize=5,
            capsize=2,
        )
    unit = {"s": "seconds"}.get(row["unit"], row["unit"])
    axes.set(title=row["name"], xlabel=row["x"], ylabel=f"{row['y']} ({unit})")
    if row["log"]:
        axes.set(xscale="log", yscale="log")
        ticks = sorted({float(key) for curve in row["curves"].values() for key in curve})
        axes.set_xticks(ticks, [f"{tick:,.6g}" for tick in ticks])
        axes.set_xticks([], minor=True)
        # Whole decades, so that at least two of the ticks bear a plain number.
        values = [
            value for curve in row["curves"].values() for some in curve.values() for value in some
        ]
        axes.set_ylim(10 ** np.floor(np.log10(min(values))), 10 ** np.ceil(np.log10(max(values))))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
        axes.yaxis.set_minor_formatter(lambda value, _: "")
    else:
        # From 0, that what is flat looks flat, with room above.
        highest = max(max(values) for curve in row["curves"].values() for values in curve.values())
        axes.set_ylim(0, 1.25 * highest)
        axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if len(row["curves"]) > 1:
        axes.legend(frameon=False)


def _splits(all_axes: Sequence[Axes], rows: Sequence[Mapping[str, Any]]) -> None:
    """A bar a number of threads, of what the law says, and what was measured."""
    for axes, row in zip(all_axes, rows, strict=True):
        overhead, parallel = amdahl(row)
        threads = np.array([int(p) for p in row["split"]])
        where = np.arange(len(threads))
        times = [median(values) for values in row["split"].values()]
        scale, unit = (1e3, "ms") if max(times) < 1 else (1.0, "s")
        shared = scale * parallel / threads
        axes.bar(where, shared, 0.6, color=COLOURS[5], label="parallel part")
        fixed = np.full(len(threads), scale * overhead)
        axes.bar(where, fixed, 0.6, shared, color=COLOURS[1], hatch="//", label="overhead")
        axes.plot(where, scale * np.array(times), "ko", mfc="white", ms=6, label="measured")
        axes.set_xticks(where, threads)
        axes.set(title=row["name"].replace("`", ""), xlabel="threads", ylabel=f"time ({unit})")
        axes.title.set_fontsize(10)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = all_axes[0].get_legend_handles_labels()
    figure = all_axes[0].figure
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)


def _heat_maps(figure: Any, row: Mapping[str, Any]) -> None:
    """Speed-up and efficiency of a grid."""
    ranks = sorted({cell["ranks"] for cell in row["cells"]})
    threads = sorted({cell["threads"] for cell in row["cells"]})
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
        axis.set(title=title, xlabel="ranks", ylabel="threads per rank")
        axis.set_xticks(range(len(ranks)), ranks)
        axis.set_yticks(range(len(threads)), threads)


def _map(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    """Ratios by shape and job; colours are those of their logarithm, white where both are as fast."""
    names = list(dict.fromkeys(row["name"] for row in rows))
    jobs = [job for job in JOBS if any(row["job"] == job for row in rows)]
    values = np.full((len(names), len(jobs)), np.nan)
    for row in rows:
        if row["ours"] and row["peer"]:
            values[names.index(row["name"]), jobs.index(row["job"])] = ratio(row)
    logs = np.log10(values)
    # Beyond these all are as dark; PuOr is told apart by colour-blind readers.
    image = axes.imshow(logs, cmap="PuOr", vmin=-FARTHEST, vmax=FARTHEST, aspect="auto")
    for at, value in np.ndenumerate(values):
        text = "" if np.isnan(value) else f"{value:.2f}" if value < 10 else f"{value:,.0f}"
        dark = abs(logs[at]) > 0.6 * FARTHEST
        colour = "white" if dark else "black"
        axes.text(at[1], at[0], text, ha="center", va="center", fontsize=9, color=colour)
    axes.set_yticks(range(len(names)), [name.replace("`", "") for name in names], fontsize=9)
    axes.set_xticks(range(len(jobs)), [job.replace("`", "") for job in jobs], fontsize=8)
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    axes.spines[:].set_visible(False)
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.6, label=MAP_TITLE.partition(",")[0])
    ticks = (0.01, 0.1, 1, 10, 100)
    bar.set_ticks(list(np.log10(ticks)), labels=[f"{tick:g}" for tick in ticks])
