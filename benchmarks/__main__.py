"""Measure, and write the page of results: ``python -m benchmarks`` in the folder of the checkout.

A group of benchmarks is a function that yields comparisons (see `benchmarks.measure`); a module
lists its own in ``GROUPS``, and `MODULES` lists the modules. Results are kept by group, so that one
can be measured again and the page still holds all.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.figures import draw, draw_overview
from benchmarks.measure import Group, Options
from benchmarks.page import lines, machine, render

MODULES = (
    "single_machine",
    "search",
    "shapes",
    "peers",
    "study",
    "scale",
    "streams",
    "features",
    "mpi",
    "spark",
)

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "benchmarks" / "results.json", ROOT / "docs" / "benchmarks.md"
# A quick run must not take the place of the figures that are published.
QUICK_RESULTS, QUICK_PAGE = ROOT / "build" / "benchmarks.json", ROOT / "build" / "benchmarks.md"


def find_groups() -> dict[str, Group]:
    """All groups by name, in the order of the page."""
    groups: dict[str, Group] = {}
    for name in MODULES:
        groups |= importlib.import_module(f"benchmarks.{name}").GROUPS
    return groups


def measure(group: Group, options: Options) -> dict[str, Any]:
    """Results of a group; each row is printed as it comes."""
    facts, rows = machine(), []
    for row in group(options):
        result = row.measure(options.repetitions)
        rows.append(result)
        for cells in lines(result, facts):
            print("  " + " | ".join(cells), flush=True)
    return {"quick": options.quick, "machine": facts, "rows": rows}


def write(
    results: dict[str, Any], groups: dict[str, Group], page: Path, changed: Iterable[str]
) -> None:
    """The page, and the figures of the groups that changed."""
    page.write_text(render(results, groups))
    draw({name: results[name] for name in changed}, page.parent / "figures")
    present = {name: results[name] for name in groups if name in results}
    draw_overview(present, groups, page.parent / "figures")


def main() -> None:
    """Run the command line."""
    groups = find_groups()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure, and write the page of results."
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"a check of the benchmarks; writes {QUICK_PAGE.relative_to(ROOT)} instead",
    )
    parser.add_argument(
        "--only", metavar="NAME", nargs="+", choices=groups, help=f"some of {', '.join(groups)}"
    )
    parser.add_argument("--scratch", type=Path, help="folder for temporary files of 4 GiB")
    parser.add_argument(
        "--render", action="store_true", help="write the page only, measure nothing"
    )
    arguments = parser.parse_args()

    # An exit like any other, which deletes temporary files.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    options = Options(arguments.quick, arguments.scratch)
    store, page = (QUICK_RESULTS, QUICK_PAGE) if options.quick else (RESULTS, PAGE)
    results = json.loads(store.read_text()) if store.exists() else {}
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > 0.2 * (os.cpu_count() or 1) and not arguments.render:
        print(f"This machine is busy (load {load:.1f}): figures will be noise.")
    for folder in {store.parent, page.parent}:
        folder.mkdir(exist_ok=True)
    for name in [] if arguments.render else arguments.only or groups:
        print(f"{name}:", flush=True)
        start = time.perf_counter()
        results[name] = measure(groups[name], options)
        print(f"  took {time.perf_counter() - start:.0f} s", flush=True)
        store.write_text(json.dumps(results, indent=1) + "\n")
        write(results, groups, page, [name])  # each time, lest a later group fails
    if arguments.render:
        write(results, groups, page, results)
    print(f"Wrote {page.relative_to(ROOT)} from {store.relative_to(ROOT)}.")


if __name__ == "__main__":
    main()
