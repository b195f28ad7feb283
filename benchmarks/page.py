"""The page of results: what the machine is, and a table a group."""

from __future__ import annotations

import inspect
import math
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import joblib
import numpy as np  # noqa: F401  # for its BLAS
import scipy.linalg  # noqa: F401  # for its BLAS
from threadpoolctl import threadpool_info

from benchmarks.measure import PAUSE, Group
from parallel_ridge.backends.openmp import default_threads
from parallel_ridge.kernels import _fold

YES, NO, NOT_HERE = "yes", "**no**", "not measurable on this CPU"
LIBRARIES = ("parallel-ridge", "numpy", "scipy", "scikit-learn")

INTRODUCTION = f"""\
# Benchmarks

Measured by `python -m benchmarks`, which rewrites this page; the raw figures are in
`benchmarks/results.json`.

Each comparison is one run in which both sides take turns on the same data (A B A B ...), on all
cores, after a warm-up of each and with {PAUSE} s between two measurements, in which idle threads come
to rest. Cells hold the median and, in brackets, the least and the greatest of the measurements; the
ratio is the peer's median over ours, rounded down, so that more than 1 is in our favour. Targets
are the project's own, set before; one that is stated for another kind of CPU than this one is
"not measurable on this CPU".
"""

QUICK = """
**A quick run**: few repetitions and smaller problems, to see that the benchmarks work. Not for
quoting.
"""


def machine() -> dict[str, str]:
    """What the results depend on besides the code."""
    facts = {
        "CPU": f"{_cpu()}, {joblib.cpu_count()} usable cores",
        "CPU level of the kernels": f"{_fold.level()} (of {', '.join(_fold.levels())})",
        "threads of the kernels": str(default_threads()) if _fold.has_openmp() else "1, no OpenMP",
        "memory": _memory(),
        "system": _system(),
        "Python": platform.python_version(),
    }
    facts |= {name: version(name) for name in LIBRARIES}
    for pool in sorted(threadpool_info(), key=lambda pool: str(pool["filepath"])):
        if pool["user_api"] == "blas":
            owner = Path(pool["filepath"]).parent.name.split(".")[0]
            kernel = f" for {pool['architecture']}" if pool.get("architecture") else ""
            facts[f"BLAS in {owner}"] = (
                f"{pool['internal_api']} {pool['version']}{kernel}, {pool['num_threads']} threads"
            )
    return facts


def _cpu() -> str:
    """The processor's name, with the numbers that tell its generation where the name does not."""
    info: dict[str, str] = {}
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            info.setdefault(key.strip(), value.strip())
    if "model name" not in info:
        return platform.processor() or platform.machine()
    return f"{info['model name']} (family {info.get('cpu family')}, model {info.get('model')})"


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"
    except (AttributeError, OSError, ValueError):
        return "unknown"


def _system() -> str:
    kernel = f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}"
    try:
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {kernel}"
    except (AttributeError, OSError, KeyError):
        return kernel


def render(results: Mapping[str, Any], groups: Mapping[str, Group]) -> str:
    """The page, from results by group as JSON holds them."""
    present = [name for name in groups if name in results]
    parts = [INTRODUCTION]
    if any(results[name]["quick"] for name in present):
        parts.append(QUICK)
    if present:
        common = results[present[0]]["machine"]
        parts.append(f"\n{_summary([results[name] for name in present])}\n")
        parts.append("\n## The machine\n\n" + _table(("", ""), list(common.items())))
    for name in present:
        parts.append(_section(results[name], groups[name], common))
    return "".join(parts)


def _rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [row for row in result["rows"] if "ours" in row]


def _summary(results: Sequence[Mapping[str, Any]]) -> str:
    verdicts = [verdict(row, result["machine"]) for result in results for row in _rows(result)]
    return (
        f"Of the targets below, {verdicts.count(YES)} were reached, {verdicts.count(NO)} were not, "
        f"and {verdicts.count(NOT_HERE)} are {NOT_HERE}."
    )


def verdict(row: Mapping[str, Any], facts: Mapping[str, str]) -> str:
    """Whether a row's target was reached."""
    target = row["target"]
    if target is None:
        return ""
    if target["level"] and target["level"] not in _levels(facts):
        return NOT_HERE
    if not row["ours"]:
        return "not measured"
    value = ratio(row) if target["of"] == "ratio" else median(row["ours"])
    reached = value <= target["bound"] if target["at_most"] else value >= target["bound"]
    return YES if reached else NO


def _levels(facts: Mapping[str, str]) -> list[str]:
    return facts["CPU level of the kernels"].partition("(of ")[2].rstrip(")").split(", ")


def ratio(row: Mapping[str, Any]) -> float:
    """The peer's median over ours."""
    return float(median(row["peer"]) / median(row["ours"]))


def lines(row: Mapping[str, Any], facts: Mapping[str, str]) -> list[list[str]]:
    """Lines of the table for a row of results, in cells."""
    if "cells" in row:
        return _grid(row)
    if "lines" in row:
        return [row["head"], *row["lines"]]
    return _steps(row) if "series" in row else [_line(row, facts)]


def _line(row: Mapping[str, Any], facts: Mapping[str, str]) -> list[str]:
    unit, target = row["unit"], row["target"]
    goal = ""
    if target:
        sign = "at most" if target["at_most"] else "at least"
        goal = f"{sign} {target['bound']:g}" + ("" if target["of"] == "ratio" else f" {unit}")
        if target["level"] and target["level"] not in row["name"]:
            goal += f" ({target['level']})"
    measured = bool(row["ours"] and row["peer"])
    return [
        row["name"],
        cell(row["ours"], unit),
        ": ".join(filter(None, (row["against"], cell(row["peer"], unit)))),
        _rounded_down(ratio(row)) if measured and unit else "",
        goal.strip(),
        verdict(row, facts),
    ]


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


def _rounded_down(value: float) -> str:
    digits = 2 if value < 10 else 1
    return f"{math.floor(value * 10**digits) / 10**digits:.{digits}f}"


def _section(result: Mapping[str, Any], group: Group, common: Mapping[str, str]) -> str:
    title, _, text = inspect.cleandoc(group.__doc__ or "").partition("\n")
    parts = [f"\n## {title.rstrip('.')}\n\n{text.strip()}\n\n"]
    facts = result["machine"]
    other = [
        f"{key}: {facts.get(key)}" for key in facts | common if facts.get(key) != common.get(key)
    ]
    if other:
        parts.append(f"Measured with {'; '.join(other)}.\n\n")
    compared = _rows(result)
    if compared:
        head = ["", "parallel_ridge", "against", "ratio", "target", "reached"]
        parts.append(_table(head, [_line(row, facts) for row in compared]))
    series = [row for row in result["rows"] if "series" in row]
    if series:
        head = ["", series[0]["worker"], "time", "speed-up", "efficiency"]
        parts.append(_table(head, [cells for row in series for cells in _steps(row)]))
    grids = [row for row in result["rows"] if "cells" in row]
    if grids:
        head = ["", "ranks", "threads a rank", "time", "speed-up", "efficiency"]
        parts.append(_table(head, [cells for row in grids for cells in _grid(row)]))
        parts.extend(f"\n![{row['name']}](figures/{figure_name(row)})\n" for row in grids)
    for row in result["rows"]:
        if "lines" in row:
            parts.append(f"\n{row['name'].capitalize()}:\n\n" + _table(row["head"], row["lines"]))
    notes = dict.fromkeys(row["note"] for row in compared if row["note"])
    parts.extend(f"\n{note}\n" for note in notes)
    return "".join(parts)


def cells_of(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Cells of a grid with their ``speed_up`` and ``efficiency`` against one rank, one thread."""
    base = median(row["cells"][0]["times"])
    cells = []
    for cell in row["cells"]:
        workers = cell["ranks"] * cell["threads"]
        speed_up = base / median(cell["times"]) * (workers if row["scaled"] else 1)
        cells.append({**cell, "speed_up": speed_up, "efficiency": speed_up / workers})
    return cells


def figure_name(row: Mapping[str, Any]) -> str:
    """File of a grid's heat map."""
    return "mpi_" + row["name"].replace(",", "").replace(" ", "_") + ".png"


def _grid(row: Mapping[str, Any]) -> list[list[str]]:
    lines = []
    for cells in cells_of(row):
        line = [
            str(cells["ranks"]),
            str(cells["threads"]),
            cell(cells["times"], "s"),
            f"{cells['speed_up']:.2f}",
            f"{cells['efficiency']:.0%}",
        ]
        if cells["oversubscribed"]:
            line = [f"({text})" for text in line]
        lines.append([row["name"], *line])
    return lines


def _steps(row: Mapping[str, Any]) -> list[list[str]]:
    base = median(next(iter(row["series"].values())))
    lines = []
    for workers, times in row["series"].items():
        speed_up = base / median(times)
        efficiency = f"{speed_up / int(workers):.0%}"
        lines.append([row["name"], workers, cell(times, "s"), f"{speed_up:.2f}", efficiency])
    return lines


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
