"""The page of results: what the machine is, and a table a group."""

from __future__ import annotations

import inspect
import math
import os
import platform
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import joblib
import numpy as np
from scipy.optimize import nnls  # scipy.linalg, for its BLAS, comes with it
from threadpoolctl import threadpool_info

from benchmarks.cells import cell, cells_of
from benchmarks.limits import FIT, FOLDED, HALF, JOBS, LEFT_OUT, WHY, WORTH_A_WORD
from benchmarks.measure import ENOUGH, LEAST, LONG, PAUSE, Group
from benchmarks.published import published
from parallel_ridge.kernels import _fold
from parallel_ridge.threads import default_threads

SHOWN = 9
"""Lines of a table of points, at most."""

YES, NO, NOT_HERE = "yes", "**no**", "not measurable on this CPU"
LIBRARIES = ("parallel-ridge", "numpy", "scipy", "scikit-learn")
PEERS = ("scikit-learn-intelex", "himalaya", "mpi4py", "pyspark")
"""Libraries that only some of the benchmarks need."""

INTRODUCTION = f"""\
# Benchmarks

Measured by `python -m benchmarks`, which rewrites this page; the raw figures are in
`benchmarks/results.json`.

Each comparison is one run in which both sides take turns on the same data (A B A B ...), on all
cores, after a warm-up of each (none, where a call takes {LONG:g} s) and with {PAUSE} s between two
measurements, in which idle threads come to rest. There are seven of each; where they take more
than {ENOUGH:g} s, as few as {LEAST}, and where the text says so, one. Cells hold the median and, in
brackets, the least and the greatest; the
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
    for name in PEERS:
        with suppress(PackageNotFoundError):
            facts[name] = version(name)
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
        parts.append("\n" + _overview({name: results[name] for name in present}, groups))
        parts.append("\n## The machine\n\n" + _table(("", ""), list(common.items())))
        parts.append("\n" + published(results))
    for name in present:
        parts.append(_section(name, results[name], groups[name], common))
    return "".join(parts)


def _rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [row for row in result["rows"] if "ours" in row]


def _summary(results: Sequence[Mapping[str, Any]]) -> str:
    verdicts = [verdict(row, result["machine"]) for result in results for row in _rows(result)]
    return (
        f"Of the targets below, {verdicts.count(YES)} were reached, {verdicts.count(NO)} were not, "
        f"and {verdicts.count(NOT_HERE)} are {NOT_HERE}."
    )


def ratios(result: Mapping[str, Any]) -> list[float]:
    """Ratios of the times of a group's comparisons, ascending."""
    rows = [row for row in _rows(result) if row["unit"] == "s" and row["ours"] and row["peer"]]
    return sorted(ratio(row) for row in rows)


def heading(group: Group) -> str:
    """Title of a group's section."""
    return inspect.cleandoc(group.__doc__ or "").partition("\n")[0].rstrip(".")


def _overview(results: Mapping[str, Any], groups: Mapping[str, Group]) -> str:
    """A table of all groups, and the figure of their ratios."""
    table = []
    for name, result in results.items():
        found = ratios(result)
        if not found:
            continue
        verdicts = [verdict(row, result["machine"]) for row in _rows(result)]
        judged = [one for one in verdicts if one in (YES, NO)]
        title = heading(groups[name])
        anchor = re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")
        table.append(
            [
                f"[{title}](#{anchor})",
                str(len(found)),
                *(_rounded_down(value) for value in (found[0], median(found), found[-1])),
                f"{judged.count(YES)} of {len(judged)}" if judged else "",
            ]
        )
    if not table:
        return ""
    head = ["", "comparisons", "lowest ratio", "median", "highest", "targets reached"]
    return (
        "## Summary\n\n"
        "Ratios of times, per section: the peer's median over ours, so that more than 1 is in our "
        "favour. Some sections compare with a part of the same job, or with a limit, where 1 cannot be "
        "reached.\n\n" + _table(head, table) + f"\n![{OVERVIEW_TITLE}](figures/{OVERVIEW})\n"
    )


OVERVIEW, OVERVIEW_TITLE = "overview.png", "Ratios of all comparisons of times, by section"


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
    if "curves" in row:
        return _points(row)[1:]
    if "split" in row:
        return _split(row)
    if "job" in row:
        return [[row["job"], *_job(row, facts, {})]]
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
    scores = [f", accuracy {score:.4f}" for score in row.get("accuracies", ())] or ["", ""]
    return [
        row["name"],
        cell(row["ours"], unit) + scores[0],
        ": ".join(filter(None, (row["against"], cell(row["peer"], unit)))) + scores[1],
        _rounded_down(ratio(row)) if measured and unit else "",
        goal.strip(),
        verdict(row, facts),
    ]


def _rounded_down(value: float) -> str:
    digits = 2 if value < 10 else 1
    return f"{math.floor(value * 10**digits) / 10**digits:.{digits}f}"


def _section(key: str, result: Mapping[str, Any], group: Group, common: Mapping[str, str]) -> str:
    text = inspect.cleandoc(group.__doc__ or "").partition("\n")[2]
    parts = [f"\n## {heading(group)}\n\n{text.strip()}\n\n"]
    facts = result["machine"]
    other = [
        f"{key}: {facts.get(key)}" for key in facts | common if facts.get(key) != common.get(key)
    ]
    if other:
        parts.append(f"Measured with {'; '.join(other)}.\n\n")
    parts.extend(_jobs(key, result))
    compared = [row for row in _rows(result) if "job" not in row]
    if compared:
        head = ["", "parallel_ridge", "against", "ratio", "target", "reached"]
        parts.append(_table(head, [_line(row, facts) for row in compared]))
    series = [row for row in result["rows"] if "series" in row]
    if series:
        head = ["", series[0]["worker"], "time", "speed-up", "efficiency"]
        parts.append(_table(head, [cells for row in series for cells in _steps(row)]))
    grids = [row for row in result["rows"] if "cells" in row]
    if grids:
        head = ["", "ranks", "threads per rank", "time", "speed-up", "efficiency"]
        parts.append(_table(head, [cells for row in grids for cells in _grid(row)]))
        parts.extend(_picture(key, row) for row in grids)
    for row in result["rows"]:
        if "curves" in row:
            head, *points = _points(row)
            parts.append(f"\n{row['name']}:\n\n" + _table(head, points) + _picture(key, row))
            if row["note"]:
                parts.append(f"\n{row['note']}\n")
    splits = [row for row in result["rows"] if "split" in row]
    if splits:
        head = ["", "threads", "time", "overhead", "parallel part", "speed-up", "at most"]
        parts.append(_table(head, [cells for row in splits for cells in _split(row)]))
        parts.append(f"\n![{SPLIT_TITLE}](figures/{split_name(key)})\n")
    for row in result["rows"]:
        if "lines" in row:
            parts.append(f"\n{row['name'].capitalize()}:\n\n" + _table(row["head"], row["lines"]))
            if row.get("note"):
                parts.append(f"\n{row['note']}\n")
    notes = dict.fromkeys(row["note"] for row in compared if row["note"])
    parts.extend(f"\n{note}\n" for note in notes)
    return "".join(parts)


def _jobs(key: str, result: Mapping[str, Any]) -> list[str]:
    """A table a job, the map of all ratios, and what the map says in short."""
    rows = [row for row in result["rows"] if "job" in row]
    if not rows:
        return []
    fits = {row["name"]: median(row["ours"]) for row in rows if row["job"] == FIT}
    parts = []
    for job in JOBS:
        lines = [_job(row, result["machine"], fits) for row in rows if row["job"] == job]
        head = [
            "",
            "parallel_ridge",
            "own fits",
            "against",
            "ratio",
            "of the limit",
            "memory added",
        ]
        head += ["target", "reached"]
        kept = [i for i in range(len(head)) if i == 0 or any(line[i] for line in lines)]
        table = [[line[i] for i in kept] for line in lines]
        if lines:
            parts.append(f"{job}:\n\n{_table([head[i] for i in kept], table)}\n")
    found = {f"{row['name']}, {row['job']}": ratio(row) for row in rows if row["peer"]}
    mean = math.exp(float(np.mean(np.log(list(found.values())))))
    below = [name for name, value in found.items() if value < 1]
    parts.append(
        f"![{MAP_TITLE}](figures/{map_name(key)})\n\n"
        f"The geometric mean of the {len(found)} ratios is {_rounded_down(mean)}; "
        f"{len(below) or 'none'} of them {'is' if len(below) < 2 else 'are'} below 1"
        f"{': ' * bool(below)}{'; '.join(below)}.\n\n"
    )
    return parts


def _job(row: Mapping[str, Any], facts: Mapping[str, str], fits: Mapping[str, float]) -> list[str]:
    name, ours, against, *rest = _line(row, facts)
    own = ""
    if row["job"] in (LEFT_OUT, FOLDED) and row["ours"] and row["name"] in fits:
        own = f"{median(row['ours']) / fits[row['name']]:,.1f}"
    peaks = [cell([peak], "MiB") for peak in row["peaks"]]
    memory = ", peer ".join(peaks)
    return [name, ours, own, against, rest[0], of_the_limit(row), memory, *rest[1:]]


def of_the_limit(row: Mapping[str, Any]) -> str:
    """Share of a job's time that it needs at least, and the rate that sets it; if far from it, why."""
    if not (row["limit"] and row["ours"]):
        return ""
    seconds = median(row["ours"])
    share = row["limit"] / seconds
    text = f"{share:.0%} ({row['bound']})"
    if share < HALF and seconds > WORTH_A_WORD:
        text += f": {WHY.get((row['name'], row['job']), 'not explained yet')}"
    return text


MAP_TITLE = "The peer's time over ours, for each shape and job"


def map_name(key: str) -> str:
    """File of the map of a group's jobs."""
    return f"{key}_map.png"


SPLIT_TITLE = "Overhead and parallel part"


def figure_name(key: str, row: Mapping[str, Any]) -> str:
    """File of the figure of a row of a group."""
    return (
        "_".join(re.findall("[a-z0-9]+", f"{key} {row['name'].split(' of ')[0]}".lower())) + ".png"
    )


def split_name(key: str) -> str:
    """File of the figure of all splits of a group."""
    return f"{key}.png"


def _picture(key: str, row: Mapping[str, Any]) -> str:
    return f"\n![{row['name']}](figures/{figure_name(key, row)})\n"


def exponent(curve: Mapping[str, Sequence[float]]) -> float:
    """Slope of the straight line through the logarithms of the medians."""
    x = np.log([float(key) for key in curve])
    y = np.log([median(values) for values in curve.values()])
    return float(np.polyfit(x, y, 1)[0])


def _points(row: Mapping[str, Any]) -> list[list[str]]:
    """A head, and a line an x; below them the exponents."""
    curves = row["curves"]
    x = sorted({key for curve in curves.values() for key in curve}, key=float)
    lines = [[row["x"], *curves]]
    if len(x) > SHOWN:  # a figure shows them all
        x = [x[round(i * (len(x) - 1) / (SHOWN - 1))] for i in range(SHOWN)]
    for key in x:
        cells = [cell(curve.get(key, ()), row["unit"]) for curve in curves.values()]
        lines.append([f"{float(key):,.6g}", *cells])
    if row["slopes"]:
        lines.append(["exponent", *(f"{exponent(curve):.2f}" for curve in curves.values())])
    return lines


def amdahl(row: Mapping[str, Any]) -> tuple[float, float]:
    """Overhead and parallel part, in seconds: `t(p) = overhead + parallel / p` to the medians."""
    threads = np.array([int(p) for p in row["split"]])
    times = np.array([median(values) for values in row["split"].values()])
    found, _ = nnls(np.column_stack([np.ones(len(threads)), 1 / threads]), times)
    return float(found[0]), float(found[1])


def _split(row: Mapping[str, Any]) -> list[list[str]]:
    overhead, parallel = amdahl(row)
    base = median(next(iter(row["split"].values())))
    most = f"{(overhead + parallel) / overhead:.1f}" if overhead else "no limit seen"
    return [
        [
            row["name"],
            p,
            cell(times, "s"),
            cell([overhead], "s"),
            cell([parallel / int(p)], "s"),
            f"{base / median(times):.2f}",
            most,
        ]
        for p, times in row["split"].items()
    ]


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
