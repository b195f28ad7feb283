"""What this installation is made of, for bug reports."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import joblib
from threadpoolctl import threadpool_info

from parallel_ridge.kernels import _fold


def show_versions() -> None:
    """Print the system, versions of dependencies, the kernels' CPU level and the thread pools."""
    from parallel_ridge.threads import default_threads

    facts: dict[str, Any] = {
        "python": sys.version.replace("\n", " "),
        "machine": f"{platform.platform()}, {joblib.cpu_count()} usable cores",
    }
    for name in (
        "parallel-ridge", "numpy", "scipy", "scikit-learn", "joblib", "threadpoolctl",
        "matplotlib", "Pillow", "mpi4py", "pyspark", "torch",
    ):  # fmt: skip
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            facts[name] = "not installed"
    facts["kernel"] = f"{_fold.level()} (of {', '.join(_fold.levels())})"
    threads = f"yes, {default_threads()} threads"
    facts["OpenMP"] = threads if _fold.has_openmp() else "no: built without, so one thread"
    for number, pool in enumerate(threadpool_info(), start=1):
        facts[f"thread pool {number}"] = (
            f"{pool['user_api']}: {pool['prefix']} {pool['version'] or ''}, {pool['num_threads']} threads"
        )
    width = max(map(len, facts))
    for name, fact in facts.items():
        print(f"{name:>{width}}: {fact}")
