"""What a GPU does: ``python -m benchmarks.gpu`` (some 4 minutes).

``--quick`` is a trial, also without a GPU. Checks answers against the CPU first. Each part stands
alone: one that fails is named in the table, and the others go on. Writes ``benchmarks/gpu.json``, and
prints a table at the end.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
import traceback
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from parallel_ridge import (
    OpenMPBackend,
    ParallelRidgeClassifier,
    ParallelRidgeClassifierCV,
    TorchBackend,
    sufficient_statistics,
)
from parallel_ridge.solvers import Problem, solve_refined
from parallel_ridge.torch import _solves, _statistics

PAGE = Path(__file__).parents[1] / "docs" / "gpu_figures.inc"
PARTS: dict[str, Callable[[Bench], None]] = {}


def part(function: Callable[[Bench], None]) -> Callable[[Bench], None]:
    PARTS[function.__name__] = function
    return function


class Bench:
    """The device, the sizes, and the rows of the table so far."""

    def __init__(self, quick: bool) -> None:
        self.gpu = torch.cuda.is_available()
        self.device = torch.device("cuda", 0) if self.gpu else torch.device("cpu")
        self.backend = TorchBackend(device=self.device)
        self.small = quick or not self.gpu
        self.rows: list[dict[str, Any]] = []

    def size(self, full: int, quick: int) -> int:
        return quick if self.small else full

    def add(self, name: str, value: float, unit: str, note: str = "") -> None:
        self.rows.append({"name": name, "value": value, "unit": unit, "note": note})
        print(f"  {name}: {value:.4g} {unit}  {note}", flush=True)

    def wait(self) -> None:
        if self.gpu:
            torch.cuda.synchronize()

    def median(self, call: Callable[[], Any], times: int = 5) -> tuple[float, float]:
        """Seconds by the clock, and by events of the device: medians after one call to warm up."""
        call()
        self.wait()
        clock, events = [], []
        for _ in range(1 if self.small else times):
            start = time.perf_counter()
            if self.gpu:
                first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                first.record()
            call()
            if self.gpu:
                last.record()
            self.wait()
            clock.append(time.perf_counter() - start)
            events.append(first.elapsed_time(last) / 1e3 if self.gpu else clock[-1])
        return statistics.median(clock), statistics.median(events)

    def normal(self, n: int, d: int, dtype: torch.dtype) -> torch.Tensor:
        """Normal rows, made on the device in pieces."""
        X = torch.empty((n, d), dtype=dtype, device=self.device)
        for rows in X.split(2**18):
            rows.copy_(torch.randn(rows.shape, device=self.device))
        return X

    def labels(self, n: int, k: int) -> torch.Tensor:
        return torch.randint(k, (n,), device=self.device)


# ------------------------------------------------------------------------------------------- rates


@part
def rates(bench: Bench) -> None:
    """What the card reaches by itself."""
    n = bench.size(8192, 256)
    for name, dtype in (
        ("bfloat16", torch.bfloat16), ("float32", torch.float32), ("float64", torch.float64),
    ):  # fmt: skip
        a = torch.randn((n, n), device=bench.device).to(dtype)
        _, seconds = bench.median(lambda a=a: a @ a)
        bench.add(f"product of {n} x {n}, {name}", 2 * n**3 / seconds / 1e12, "TFLOP/s")
    a = torch.randint(-128, 127, (n, n), dtype=torch.int8, device=bench.device)
    _, seconds = bench.median(lambda: torch._int_mm(a, a.T))
    bench.add(f"product of {n} x {n}, int8", 2 * n**3 / seconds / 1e12, "TOP/s")
    if bench.gpu:
        host = torch.empty(2**30, dtype=torch.uint8, pin_memory=True)
        there = torch.empty(2**30, dtype=torch.uint8, device=bench.device)
        _, seconds = bench.median(lambda: there.copy_(host, non_blocking=True))
        bench.add("copy of pinned memory", 2**30 / seconds / 1e9, "GB/s")
        _, seconds = bench.median(lambda: there.clone())
        bench.add("copy on the device, read and written", 2**31 / seconds / 1e9, "GB/s")


# ------------------------------------------------------------------------------------- correctness


@part
def answers(bench: Bench) -> None:
    """Sums and fits against float64 on the CPU, on fresh random rows."""
    seed = int(time.time())
    rng = np.random.default_rng(seed)
    n, d = bench.size(60_000, 6_000), 200
    y = rng.integers(0, 7, n)
    for name in ("uint8", "int8", "bool", "int16"):
        info = (0, 1) if name == "bool" else (np.iinfo(name).min, np.iinfo(name).max)
        values = rng.integers(*info, (n, d), endpoint=True).astype(name)
        X = torch.from_numpy(values).to(bench.device)
        same = sufficient_statistics(X, y, backend=bench.backend) == sufficient_statistics(
            values, y
        )
        bench.add(f"integers of {name} equal to the bit", float(same), "")
        assert same, (name, seed)
    spread = np.geomspace(0.01, 100.0, d)
    for name in ("float64", "float32", "float16", "bfloat16"):
        X = torch.from_numpy((rng.normal(0.3, 1.0, (n, d)) * spread).astype(np.float32))
        X = X.to(bench.device).to(getattr(torch, name))
        exact = X.double().cpu().numpy()
        found = sufficient_statistics(X, y, backend=bench.backend)
        wanted = sufficient_statistics(exact, y, shift=found.shift)
        scale = np.sqrt(wanted.gram.diagonal())
        error = np.abs(np.triu((found.gram - wanted.gram) / np.outer(scale, scale))).max()
        bound = (found.rounding / wanted.gram.diagonal()).max()
        note = f"estimated {bound:.1e}, {error / bound:.2f} of it; seed {seed}"
        bench.add(f"error of sums of {name}", error, "relative", note)
        model = ParallelRidgeClassifier(backend=bench.backend).fit(X, y)
        reference = ParallelRidgeClassifier().fit(exact, y)
        off = np.abs(model.coef_ - reference.coef_).max() / np.abs(reference.coef_).max()
        bench.add(f"error of coefficients of {name}", off, "relative", model.solver_)
        agree = (model.predict(X).cpu().numpy() == reference.predict(exact)).mean()
        bench.add(f"predictions of {name} that agree", agree, "")
        assert agree > 0.99 and off < 1e-3, (name, seed)


# ------------------------------------------------------------------------------------------ sums


@part
def bytes_on_the_device(bench: Bench) -> None:
    """Statistics of the rows of MNIST's shape."""
    n = bench.size(60_000, 3_000)
    X = torch.randint(256, (n, 784), dtype=torch.uint8, device=bench.device)
    y = bench.labels(n, 10)
    clock, _ = bench.median(lambda: sufficient_statistics(X, y, backend=bench.backend), 11)
    bench.add(f"statistics of {n:,} x 784 uint8", 1e3 * clock, "ms", "target: 2 ms")
    values, labels = X.cpu().numpy(), y.cpu().numpy()
    clock, _ = bench.median(lambda: sufficient_statistics(values, labels))
    bench.add(f"  the same by this machine's CPU ({threads()} threads)", 1e3 * clock, "ms")
    clock, _ = bench.median(lambda: sufficient_statistics(values, labels, backend=bench.backend))
    bench.add("  the same from host memory through the device", 1e3 * clock, "ms")
    clock, _ = bench.median(lambda: ParallelRidgeClassifier(backend=bench.backend).fit(X, y))
    bench.add("  fit", 1e3 * clock, "ms")
    clock, _ = bench.median(lambda: ParallelRidgeClassifier().fit(values, labels))
    bench.add("  fit by the CPU", 1e3 * clock, "ms")


@part
def halves_on_the_device(bench: Bench) -> None:
    """Statistics of embeddings in bfloat16, by tile and rows per sum."""
    n, d = bench.size(10_000_000, 20_000), 768
    X, y = bench.normal(n, d, torch.bfloat16), bench.labels(n, 10)
    before = _statistics.TILES, _statistics.HALF_ROWS
    try:
        for tile, rows in ((256, 4096), (384, 4096), (256, 8192), (256, 2048)):
            _statistics.TILES, _statistics.HALF_ROWS = ((1024, tile),), rows
            for size in (2**26, 2**28, 2**30) if (tile, rows) == (256, 4096) else (2**28,):
                backend = TorchBackend(device=bench.device, block_bytes=size)
                clock, events = bench.median(
                    lambda backend=backend: sufficient_statistics(X, y, backend=backend), 3
                )
                note = f"{2 * n * d * d / clock / 1e12:.0f} TFLOP/s as if all were multiplied"
                name = f"statistics of {n:,} x {d} bfloat16, tile {tile}, "
                name += f"{rows} rows per sum, {size >> 20} MiB"
                bench.add(name, 1e3 * clock, "ms", f"{note}; events {1e3 * events:.1f}")
    finally:
        _statistics.TILES, _statistics.HALF_ROWS = before
    clock, _ = bench.median(lambda: ParallelRidgeClassifier(backend=bench.backend).fit(X, y), 3)
    bench.add(f"fit to {n:,} x {d} bfloat16", 1e3 * clock, "ms")


@part
def streamed(bench: Bench) -> None:
    """Statistics of rows that come from the host's memory."""
    n, d = bench.size(4_000_000, 20_000), 768
    X = torch.empty((n, d), dtype=torch.bfloat16, pin_memory=bench.gpu)
    some = torch.randn((2**16, d)).bfloat16()
    for rows in X.split(len(some)):
        rows.copy_(some[: len(rows)])
    y = np.arange(n) % 10
    clock, _ = bench.median(lambda: sufficient_statistics(X, y, backend=bench.backend), 3)
    rate = X.nbytes / clock / 1e9
    bench.add(
        f"statistics of {n:,} x {d} bfloat16, pinned", rate, "GB/s", "target: 0.8 of the copy"
    )
    n //= 4
    values = np.tile(some.float().numpy(), (-(-n // len(some)), 1))[:n]
    y = y[:n]
    clock, _ = bench.median(lambda: sufficient_statistics(values, y, backend=bench.backend), 3)
    bench.add(f"statistics of {n:,} x {d} float32, pageable", values.nbytes / clock / 1e9, "GB/s")
    cpu, _ = bench.median(lambda: sufficient_statistics(values, y), 3)
    bench.add("  through the device", 1e3 * clock, "ms")
    bench.add(f"  by this machine's CPU ({threads()} threads)", 1e3 * cpu, "ms")


# ------------------------------------------------------------------------------------------ fits


def by_hand(X: torch.Tensor, y: torch.Tensor, k: int, alpha: float) -> torch.Tensor:
    """What one writes in torch: float32, centred by the means, Cholesky."""
    X = X.float()
    Y = 2.0 * torch.nn.functional.one_hot(y, k).float() - 1.0
    mean, target_mean = X.mean(0), Y.mean(0)
    G = X.T @ X - len(X) * torch.outer(mean, mean)
    B = X.T @ Y - len(X) * torch.outer(mean, target_mean)
    G.diagonal().add_(alpha)
    return torch.cholesky_solve(B, torch.linalg.cholesky(G)).T.cpu()


@part
def fits(bench: Bench) -> None:
    """Fits against torch by hand."""
    shapes = [(4_000_000, 768, torch.float32), (4_000_000, 768, torch.bfloat16)]
    shapes += [(1_000_000, 768, torch.float32), (400_000, 4096, torch.float32)]
    shapes += [(10_000_000, 768, torch.float32)]
    for n, d, dtype in shapes:
        n, d = bench.size(n, 10_000), bench.size(d, 100)
        X, y = bench.normal(n, d, dtype), bench.labels(n, 10)
        model = ParallelRidgeClassifier(backend=bench.backend)
        ours, _ = bench.median(lambda model=model, X=X, y=y: model.fit(X, y), 3)
        sums, _ = bench.median(
            lambda X=X, y=y: sufficient_statistics(X, y, backend=bench.backend), 3
        )
        hand, _ = bench.median(lambda X=X, y=y: by_hand(X, y, 10, 1.0), 3)
        off = (torch.from_numpy(model.coef_) - by_hand(X, y, 10, 1.0)).abs().max()
        name = f"fit to {n:,} x {d} {str(dtype)[6:]}"
        bench.add(name, 1e3 * ours, "ms", f"by hand {hand / ours:.2f} times as long")
        bench.add("  statistics", 1e3 * sums, "ms")
        bench.add("  by hand in float32", 1e3 * hand, "ms", f"differs by {float(off):.0e}")
        del X, y


@part
def searches(bench: Bench) -> None:
    """Five folds and ten penalties, and leave-one-out."""
    n, d, k = bench.size(1_000_000, 5_000), bench.size(768, 50), bench.size(1000, 20)
    alphas = np.logspace(-2, 6, 10)
    for dtype, cv, classes in (
        (torch.bfloat16, 5, k), (torch.float32, 5, k), (torch.float32, None, 10),
    ):  # fmt: skip
        X, y = bench.normal(n, d, dtype), bench.labels(n, classes)
        if bench.gpu:
            torch.cuda.reset_peak_memory_stats()
        search = ParallelRidgeClassifierCV(alphas, cv=cv, backend=bench.backend, verbose=1)
        start = time.perf_counter()
        search.fit(X, y)
        seconds = time.perf_counter() - start
        note = f"{classes} classes"
        if bench.gpu:
            peak = torch.cuda.max_memory_allocated() / 2**30
            note += f"; peak {peak:.2f} GiB, of which rows {X.nbytes / 2**30:.2f}"
        what = "leave-one-out" if cv is None else f"{cv} folds"
        bench.add(f"{what} x 10 penalties, {n:,} x {d} {str(dtype)[6:]}", seconds, "s", note)
        del X, y


@part
def predictions(bench: Bench) -> None:
    """Predictions for rows on the device."""
    n, d = bench.size(1_000_000, 5_000), bench.size(768, 50)
    X, y = bench.normal(n, d, torch.bfloat16), bench.labels(n, 100)
    model = ParallelRidgeClassifier(backend=bench.backend).fit(X, y)
    clock, _ = bench.median(lambda: model.predict(X), 3)
    bench.add(f"predict {n:,} x {d} bfloat16, 100 classes", 1e3 * clock, "ms")


@part
def solves(bench: Bench) -> None:
    """Solves of given sums, here and on the device."""
    _solves.LEAST_ORDER = 1  # the table shows from which order on it pays
    for d in (512, 768, 1024, 2048, 4096, 8192):
        d = bench.size(d, 100)
        X, y = bench.normal(2 * d, d, torch.float64), bench.labels(2 * d, 10)
        sums = sufficient_statistics(X, y, backend=bench.backend)
        solve = partial(solve_refined, alpha=10.0, problem=Problem())
        coefs = [each.map(solve, [sums])[0][0].coef for each in (bench.backend, OpenMPBackend())]
        off = np.abs(coefs[0] - coefs[1]).max() / np.abs(coefs[1]).max()
        assert off < 1e-9, (d, off)
        for name, backend in (("the device", bench.backend), ("the CPU", OpenMPBackend())):
            clock, _ = bench.median(
                lambda backend=backend, sums=sums, solve=solve: backend.map(solve, [sums]), 3
            )
            bench.add(f"solve {d} equations, {name}", 1e3 * clock, "ms")


def threads() -> int:
    return TorchBackend().solve_threads()


def table(results: dict[str, Any]) -> str:
    """What the page on tensors shows of some results."""
    lines = [
        f"Measured on an {results['card']} with torch {results['torch']}; beside it, a CPU of "
        f"{results['host']}.",
        "",
        "| what | measured | |",
        "| --- | --- | --- |",
    ]
    last = ""
    for row in results["rows"]:
        last = row["name"] if not row["name"].startswith("  ") else last
        name = row["name"].strip()
        if name != last:
            name = f"{last}: {name}"
        note = row["note"].partition("; seed")[0]
        lines.append(f"| {name} | {row['value']:.4g} {row['unit']} | {note} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--json", type=Path, default=Path(__file__).with_name("gpu.json"))
    arguments.add_argument(
        "--render", action="store_true", help="write the page's table, measure nothing"
    )
    arguments.add_argument("parts", nargs="*", choices=[[], *PARTS], help="all if none is given")
    options = arguments.parse_args()
    if options.render:
        PAGE.write_text(table(json.loads(options.json.read_text())))
        return
    warnings.filterwarnings("ignore", "The best alpha")
    bench = Bench(options.quick)
    name = torch.cuda.get_device_name(0) if bench.gpu else "no GPU"
    host = f"{platform.processor() or platform.machine()}, {threads()} threads"
    failed = {}
    for name_of, function in PARTS.items():
        if options.parts and name_of not in options.parts:
            continue
        print(f"{name_of}:", flush=True)
        start = time.perf_counter()
        try:
            function(bench)
        except Exception:
            failed[name_of] = traceback.format_exc()
            print(failed[name_of], flush=True)
        if bench.gpu:
            torch.cuda.empty_cache()
        print(f"  ({time.perf_counter() - start:.1f} s)", flush=True)
        results = {
            "card": name, "host": host, "torch": torch.__version__, "rows": bench.rows, "failed": failed,
        }  # fmt: skip
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    print(f"\n{name}; torch {torch.__version__}; {host}")
    width = max((len(row["name"]) for row in bench.rows), default=0)
    for row in bench.rows:
        print(f"{row['name']:{width}}  {row['value']:10.4g} {row['unit']:8} {row['note']}")
    for name_of, text in failed.items():
        print(f"FAILED {name_of}: {text.splitlines()[-1]}")


if __name__ == "__main__":
    main()
