"""What a job must take at least: the operations that it needs, at the rates of this machine.

Formulas count multiply-adds, for n rows, d features, t targets (one for two classes, otherwise one per
class), m = min(n, d), p penalties and F folds:

- a triangle of the Gram matrix of order m: ``n d m / 2``; of sparse rows ``sum(nonzeros² / 2)``, over
  rows if n >= d, otherwise over columns;
- ``fit``: the triangle, a Cholesky factorisation ``m³ / 6`` and, if n < d, the coefficients from
  those of the dual system, ``n d t``;
- leave-one-out: a fit, the eigenvectors ``4/3 m³`` and, if n >= d, decision values for all penalties
  ``n d t p`` and leverages ``n d m``; otherwise ``n² (t + p)``;
- folds: the triangle, ``F p`` factorisations of order ``m'`` and one of order m, and decision values
  ``n m t p``; ``m' = d``, or ``4/5 n`` if n < d;
- ``predict``: ``n d t``.

Factorisations and eigenvectors run at the rate of float64's GEMM, triangles at that of the rows'
numbers (our integer kernel's if these are integers), other products at that of GEMM in the rows'
dtype (float32 for integers). With n d replaced by the number of nonzeros, the formulas hold for
sparse rows. No job takes less time than one read of its rows. The sums over the rows can beat this
limit where rows have runs of zeros, which the formulas do not leave out for dense rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks.measure import Table
from parallel_ridge import sufficient_statistics

FIT, LEFT_OUT, FOLDED, PREDICT, ONE_ROW = (
    "`fit`",
    "leave-one-out x 10",
    "5 folds x 10",
    "`predict`",
    "`predict`, one row",
)
JOBS = (FIT, LEFT_OUT, FOLDED, PREDICT, ONE_ROW)
N_FOLDS, N_PENALTIES = 5, 10

RATE_NAMES = {"float32": "`sgemm`", "float64": "`dgemm`", "integers": "integer kernel"}
READING = "reading"
"""What the rates are called beside a share of the limit."""

WORTH_A_WORD, HALF = 0.05, 0.5
"""Seconds from which on a job says why it is so far from its limit, and the share that is far."""

_BANDED = "the banded form, its axes and what bounds the error run at half the rate of `dgemm`"
_SMALL = "factorisations of so small an order run far below the rate of `dgemm`"
_FEW_ROWS = (
    "sums of so few rows, columns that are centred and transposed twice, small factorisations"
)
_THIN = "reading, packing and labels take longer than the products of so few columns"
_VALUES = "squares, or comparisons, of all decision values take as long as the products"
_LEVERAGES = "products for leverages, about half of it, run below the rate of `sgemm`"
_PIECES = "two thirds are sums and decisions, the rest gathering rows by fold and small solves"
_MNIST, _FEW = "MNIST, 500 x 784 `uint8`, 10 classes", "500 x 784 `float32`, 10 classes"
_TEXT, _COUNTS = (
    "text, 1,000 x 60,000 `float64`, 10 classes",
    "counts, 50,000 x 200 `int32`, 5 classes",
)
WHY: dict[tuple[str, str], str] = {
    **{
        (name, LEFT_OUT): _BANDED
        for name in (
            _FEW,
            _MNIST,
            "1,000 x 10,000 `float64`, 5 classes",
            "2,000 x 20,000 `float32`, 5 classes",
            "bytes, 2,000 x 12,288 `uint8`, 10 classes",
            "3,000 x 2,000 `float64`, 10 classes",
            "12,000 x 6,000 `float32`, 10 classes",
            _TEXT,
        )
    },
    **{(name, FOLDED): _SMALL for name in (_FEW, _MNIST, _TEXT)},
    **{("300 x 10,000 `float32`, 4 classes", job): _FEW_ROWS for job in (LEFT_OUT, FOLDED)},
    **{("20,000 x 64 `float32`, 100 classes", job): _VALUES for job in (LEFT_OUT, FOLDED)},
    **{(name, LEFT_OUT): _LEVERAGES for name in ("50,000 x 300 `float32`, 2 classes", _COUNTS)},
    **{(name, FOLDED): _PIECES for name in ("50,000 x 300 `float32`, 2 classes", _COUNTS)},
    ("30,000 x 768 `float32`, 10 classes", LEFT_OUT): (
        "a quarter of it is an eigendecomposition, the rest mostly products for leverages"
    ),
    **{
        (name, job): text
        for name in (
            "200,000 x 10 `float64`, 2 classes",
            "2,000,000 x 28 `float32`, 2 classes",
            "5,000,000 x 28 `float32`, 2 classes",
        )
        for job, text in (
            (FIT, _THIN),
            (LEFT_OUT, "steps of a few ns per row: centring, leverages, errors"),
            (FOLDED, "scikit-learn's splitter, gathering rows by fold, decisions"),
        )
    },
    **{
        (f"MNIST, 60,000 x 784 `{dtype}`, 10 classes", PREDICT): (
            "decision values of these rows are float64; the limit counts float32 products"
        )
        for dtype in ("float64", "int64")
    },
    (_TEXT, FIT): "Cholesky, sums and conversions take 10 to 30 ms each",
    ("text, 20,000 x 50,000 `float64`, 20 classes", PREDICT): "the product is SciPy's",
}
"""Why a job takes more than twice its limit, by shape and job, from profiles of these or like shapes."""


@dataclass(frozen=True)
class Rates:
    """What this machine does in a second, on all threads.

    Parameters
    ----------
    float32, float64 : float
        Multiply-adds of a matrix product.
    integers : float
        Multiply-adds of one triangle of the Gram matrix of dense bytes, by our kernel.
    memory : float
        Bytes read.
    """

    float32: float
    float64: float
    integers: float
    memory: float

    @classmethod
    def measured(cls, quick: bool = False) -> Rates:
        """The best of several runs of each."""
        rng = np.random.default_rng(0)
        order, n_rows, n_numbers = (500, 2_000, 2**22) if quick else (2_000, 30_000, 2**27)
        A, B = rng.standard_normal((2, order, order))
        A32, B32 = A.astype(np.float32), B.astype(np.float32)
        X, y = rng.integers(1, 256, (n_rows, 784), dtype=np.uint8), rng.integers(0, 10, n_rows)
        numbers = np.ones(n_numbers)
        return cls(
            order**3 / _least(lambda: A32 @ B32),
            order**3 / _least(lambda: A @ B),
            X.size * X.shape[1] / 2 / _least(lambda: sufficient_statistics(X, y)),
            numbers.nbytes / _least(lambda: numbers @ numbers),
        )

    @property
    def table(self) -> Table:
        """The rates in words."""
        unit = "billion multiply-adds a second"
        rates = {
            "GEMM, `float32`": f"{self.float32 / 1e9:,.1f} {unit}",
            "GEMM, `float64`": f"{self.float64 / 1e9:,.1f} {unit}",
            "our integer kernel, dense bytes": f"{self.integers / 1e9:,.1f} {unit}",
            "memory, read by a dot product": f"{self.memory / 1e9:,.1f} GB/s",
        }
        lines = [list(items) for items in rates.items()]
        return Table("Rates of this run, from which limits are formed", ["", "rate"], lines)


def _least(call: Callable[[], object], times: int = 5) -> float:
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return min(taken)


@dataclass(frozen=True)
class Work:
    """What a shape's jobs must compute.

    Parameters
    ----------
    n, d, t : int
        Rows, features and targets.
    numbers : {"float32", "float64", "integers"}
        Which rate the triangle runs at.
    products : {"float32", "float64"}
        Which rate products with coefficients run at.
    values : int
        Numbers that are stored: n d, or nonzeros.
    triangle : float
        Multiply-adds of one triangle of the Gram matrix.
    n_bytes : int
        Bytes of the rows.
    """

    n: int
    d: int
    t: int
    numbers: str
    products: str
    values: int
    triangle: float
    n_bytes: int

    @classmethod
    def of(cls, X: Any, n_classes: int, integers: bool) -> Work:
        """Work on some rows; whether all their numbers are small integers must be told."""
        n, d = X.shape
        targets = 1 if n_classes == 2 else n_classes
        numbers = "integers" if integers else str(X.dtype)
        products = "float32" if integers else str(X.dtype)
        if not sp.issparse(X):
            triangle = n * d * min(n, d) / 2
            return cls(n, d, targets, numbers, products, n * d, triangle, X.nbytes)
        counts = np.bincount(X.nonzero()[0 if n >= d else 1]).astype(np.float64)
        n_bytes = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
        return cls(n, d, targets, numbers, products, X.nnz, float(counts @ counts) / 2, n_bytes)

    def limit(self, job: str, rates: Rates) -> float | None:
        """Seconds that a job takes at least; None for what has no formula."""
        parts = self.parts(job, rates)
        if parts is None:
            return None
        memory = parts.pop(READING)
        return max(sum(parts.values()), memory)

    def bound(self, job: str, rates: Rates) -> str:
        """The rate that most of the limit is due to; empty for what has no formula."""
        parts = self.parts(job, rates)
        if parts is None:
            return ""
        memory = parts.pop(READING)
        if memory > sum(parts.values()):
            return READING
        return max(parts, key=lambda name: parts[name])

    def parts(self, job: str, rates: Rates) -> dict[str, float] | None:
        """Seconds of a job at each rate; None for what has no formula."""
        if job == ONE_ROW:
            return None
        triangle, double, products = self.operations(job)
        seconds = dict.fromkeys(RATE_NAMES.values(), 0.0)
        for rate, operations in (
            (self.numbers, triangle),
            ("float64", double),
            (self.products, products),
        ):
            seconds[RATE_NAMES[rate]] += float(operations) / getattr(rates, rate)
        return seconds | {READING: self.n_bytes / rates.memory}

    def operations(self, job: str) -> tuple[float, float, float]:
        """Multiply-adds of the triangle, those that need float64, and those of other products."""
        n, d, t, m = self.n, self.d, self.t, min(self.n, self.d)
        dual = n < d
        factor, back = m**3 / 6, self.values * t if dual else 0
        if job == FIT:
            return self.triangle, factor, back
        if job == LEFT_OUT:
            double, products = factor + 4 / 3 * m**3, back
            if dual:
                double += n**2 * (t + N_PENALTIES)
            else:
                products = self.values * (t * N_PENALTIES + m)
            return self.triangle, double, products
        if job == FOLDED:
            one = ((1 - 1 / N_FOLDS) * n if dual else d) ** 3 / 6
            return self.triangle, N_FOLDS * N_PENALTIES * one + factor, n * m * t * N_PENALTIES
        return 0.0, 0.0, self.values * t
