"""What can be folded over blocks of rows, each as a zero, a step and a finish.

A backend runs any of these without knowing which: it makes a zero for each worker, adds blocks to
it, finishes it to a value, and adds the values of all workers.
"""

from __future__ import annotations

import math
import mmap
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from parallel_ridge.kernels import _fold, _triangle
from parallel_ridge.numerics import (
    CONSTANT,
    FAR,
    FEW_ROWS,
    FLOAT32_WEIGHTS,
    ROUNDING,
    WORTH_A_PASS,
)
from parallel_ridge.sources import Block, Labels, Source, Target, shifted
from parallel_ridge.statistics import SufficientStatistics, fold_rounding

# Rows of a block: enough to amortise its call (tens of microseconds), and not more than about a second
# of work for two cores with AVX-512, so that Ctrl-C is heard.
BLOCK_ROWS = 2048
BLOCK_PRODUCTS = 2**36
BLOCK_BYTES = 12 * 2**20  # of rows, which may have to be copied together first
LANE_BYTES = 24 * 2**20  # of Gram matrices, where there is more than one
MAX_LANES = 16
LARGE_PAGE = 2**21  # bytes
# Columns that suffice for sparse rows to be shared out by columns, to the Gram matrix of one lane.
CSR_STRIPED = 768
# Integers up to here have products whose sums over a chunk of rows are exact in float64.
EXACT_LIMIT = 2**21
SAMPLE_ROWS = 512
# Rows that are converted to float64 and multiplied twice at a time, and numbers: within a core's own
# cache, and so few that OpenBLAS multiplies them by thin matrices in half the time.
PRODUCT_ROWS = 64
PRODUCT_VALUES = 2**17
# Penalties from which on a few combine to all.
MANY_PENALTIES = 32
# Weights from which on float32 pays for a first look at the decision values.
MANY_WEIGHTS = 2**15
# Products that pay for one more thread: about the time it takes to wake one up.
THREAD_PRODUCTS = 2**20
# Sparse blocks with at least this part of their values go through the dense kernel, a block at a
# time: it skips runs of zeros too, and multiplies many times faster than single values scatter.
DENSE_FROM = 1 / 16


class Value(Protocol):
    """What a worker's fold gives: values of disjoint rows add.

    All can be pickled. Those that add number by number can also be packed: see `pack`.
    """

    def __add__(self, other: Self, /) -> Self:
        """Value of both sets of rows."""


def pack(value: Any) -> list[NDArray[Any]] | None:
    """The contiguous arrays of numbers that a value is, if values add by adding these.

    Arrays have these, and so have values with the methods ``pack`` and ``unpack``, and groups of
    such. The value is used up: its memory may be that of the arrays. None for values that add in
    another way.
    """
    if isinstance(value, np.ndarray):
        return [np.ascontiguousarray(value)]
    if isinstance(value, GroupValues):
        packed = [pack(one) for one in value]
        return None if None in packed else [array for arrays in packed for array in arrays or ()]
    if hasattr(value, "pack"):
        arrays: list[NDArray[Any]] = value.pack(overwrite=True)
        return arrays
    return None


def unpack(value: Any, arrays: list[NDArray[Any]]) -> Any:
    """A value like the one that was packed, with other numbers; takes the arrays from the list."""
    if isinstance(value, np.ndarray):
        return arrays.pop(0).reshape(value.shape)
    if isinstance(value, GroupValues):
        return GroupValues(unpack(one, arrays) for one in value)
    return value.unpack(arrays)


A = TypeVar("A")
V = TypeVar("V", bound=Value, covariant=True)


class Reduction(Protocol, Generic[A, V]):
    """A fold over blocks of rows.

    Attributes
    ----------
    block_rows : int
        Rows a block.
    shares_blocks : bool
        Whether threads share the work of a block, as the kernels' and LAPACK's do, and all blocks
        an accumulator. If not, blocks are spread over threads, and their values added in order.
    """

    block_rows: int
    shares_blocks: bool

    def zero(self, n_threads: int) -> A:
        """Accumulator of no rows."""

    def add(self, total: A, block: Block) -> None:
        """Add a block of rows to an accumulator, in place.

        Raises
        ------
        ValueError
            If the block holds NaN or infinity; the message names row and column.
        """

    def finish(self, total: A) -> V:
        """Value of the rows added so far; the accumulator is used up."""


class GroupValues(list[Any]):
    """Value of `GroupedReduction`: the values of the groups, which add one by one.

    None stands for a group without rows until `complete`: blocks, which hold rows of one group, have
    light values however many groups there are.
    """

    def __add__(self, other: GroupValues) -> GroupValues:  # type: ignore[override]
        """Values of both sets of rows."""
        pairs = zip(self, other, strict=True)
        return GroupValues(b if a is None else a if b is None else a + b for a, b in pairs)


@dataclass
class GroupTotals:
    """Accumulator of `GroupedReduction`: the values so far, and the total of the open group."""

    n_threads: int
    values: dict[int, Any] = field(default_factory=dict)
    group: int = -1
    total: Any = None


class GroupedReduction:
    """Rows in groups to a value for each group.

    One accumulator is open at a time: a source best gives its rows group by group.

    Parameters
    ----------
    reductions : sequence of Reduction
        For each group; alike in all but their parameters.
    """

    def __init__(self, reductions: Sequence[Reduction[Any, Any]]) -> None:
        self.reductions = reductions
        self.block_rows = min(reduction.block_rows for reduction in reductions)
        self.shares_blocks = reductions[0].shares_blocks

    def zero(self, n_threads: int) -> GroupTotals:
        """Accumulator of no rows."""
        return GroupTotals(n_threads)

    def add(self, total: GroupTotals, block: Block) -> None:
        """Add a block of rows of one group."""
        if block.group != total.group:
            self._close(total)
            total.group = block.group
            total.total = self.reductions[block.group].zero(total.n_threads)
        self.reductions[block.group].add(total.total, block)

    def finish(self, total: GroupTotals) -> GroupValues:
        """Values of all groups: None for those without rows."""
        self._close(total)
        return GroupValues(total.values.get(group) for group in range(len(self.reductions)))

    def _close(self, total: GroupTotals) -> None:
        group = total.group
        if group >= 0:
            value = self.reductions[group].finish(total.total)
            total.values[group] = total.values[group] + value if group in total.values else value
        total.group, total.total = -1, None


def complete(reduction: Reduction[Any, Any], value: Any) -> Any:
    """The value of a whole fold, with values for groups without rows too."""
    if not isinstance(reduction, GroupedReduction):
        return value
    return GroupValues(
        one.finish(one.zero(1)) if part is None else part
        for one, part in zip(reduction.reductions, value, strict=True)
    )


@dataclass
class Lanes:
    """Accumulator of `StatisticsReduction`: a few independent totals, which threads share out."""

    grams: list[NDArray[Any]]
    class_sums: NDArray[Any]
    class_counts: NDArray[np.int64]
    class_weights: NDArray[np.float64]
    n_threads: int
    n_samples: int = 0
    weight_sum: float = 0.0
    workspace: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))


def largest(value: Any) -> list[int]:
    """Bound of the exact sums in a value, or in each of a group's: 0 where there are none."""
    if isinstance(value, GroupValues):
        return [bound for one in value for bound in largest(one)]
    return [value.largest() if isinstance(value, SufficientStatistics) else 0]


def in_floats(value: Any, which: Sequence[bool]) -> Any:
    """A value, or each of a group's, with exact sums as float64 where told."""
    if isinstance(value, GroupValues):
        return GroupValues(in_floats(one, [too]) for one, too in zip(value, which, strict=True))
    return value.to_float() if which[0] else value


class StatisticsReduction:
    """Rows to `SufficientStatistics`.

    Parameters
    ----------
    target : Target
        Classes of the labels.
    n_features : int
    dtype : dtype
        Of the rows.
    sparse, weighted : bool
        Whether rows come as CSR, and whether they have weights.
    exact : bool
        Whether integer rows wider than 16 bits are small enough for exact sums.
    shift : array-like of shape (n_features,)
        Subtracted from each row; zero for exact rows.
    double : bool, default=False
        Whether to form products of float32 rows in float64.
    centre : bool, default=True
        Whether sums about the means will be wanted.
    feature_names : ndarray of str, or None
    """

    shares_blocks = True

    def __init__(
        self,
        target: Target,
        n_features: int,
        dtype: np.dtype[Any],
        *,
        sparse: bool,
        weighted: bool,
        exact: bool,
        shift: ArrayLike,
        double: bool = False,
        centre: bool = True,
        feature_names: NDArray[Any] | None = None,
    ) -> None:
        self.target = target
        self.centre = centre
        self._make = partial(
            StatisticsReduction, target, n_features, dtype, sparse=sparse, weighted=weighted,
            exact=exact, centre=centre, feature_names=feature_names,
        )  # fmt: skip
        self.n_features = n_features
        self.sparse = sparse
        self.exact = exact and not weighted and not sparse
        # Products of sparse rows, of which few are formed, are float64 in either kernel.
        self.work_dtype = _work_dtype(dtype, self.exact, double or sparse)
        self.dtype = coefficient_dtype(dtype)
        self.shift = np.asarray(
            shift, dtype=self.work_dtype if self.work_dtype.kind == "f" else "d"
        )
        self.feature_names = feature_names
        # Of multilabel rows the sums over all rows cannot be had from the classes': one more class
        # that every row has.
        self.n_sums = len(target.classes) + target.multilabel
        # Lanes let each thread have rows of its own; a power of two is shared out evenly most often.
        lanes = max(1, min(MAX_LANES, LANE_BYTES // (8 * n_features**2 + 1)))
        self.n_lanes = 1 << (lanes.bit_length() - 1)
        self.lane_rows = _fold.piece_rows(self.work_dtype, self.exact, n_features)
        rows = self.n_lanes * self.lane_rows
        rows *= max(1, BLOCK_BYTES // (rows * n_features * self.work_dtype.itemsize + 1))
        most = int(BLOCK_PRODUCTS / (n_features**2 / 2 + 1))
        self.block_rows = max(64, min(most // 64 * 64, rows))

    @classmethod
    def of(
        cls,
        source: Source,
        target: Target,
        *,
        shift: ArrayLike | None = None,
        near: NDArray[np.float64] | None = None,
        centre: bool = True,
        double: bool = False,
        weighted: bool = False,
        feature_names: NDArray[Any] | None = None,
    ) -> StatisticsReduction:
        """The reduction that suits a source.

        Parameters
        ----------
        shift : array-like of shape (d,), default=None
            The shift to use; when None, `choose_shift` of a sample of the rows, or zero if sums are
            not to be centred.
        near : ndarray of shape (d,), default=None
            The shift of earlier rows, which columns keep that it suits.
        centre : bool, default=True
            Whether sums about the means will be wanted.
        double : bool, default=False
            Whether to form products of float32 rows in float64.
        weighted : bool, default=False
            Whether the rows will be folded with weights, although those of the source are one.
        """
        if shift is not None:
            shift = np.ascontiguousarray(shift, dtype=np.float64)
            if shift.shape != (source.n_features,) or not np.isfinite(shift).all():
                raise ValueError(
                    f"shift must be {source.n_features} finite numbers, one a feature; got an array of "
                    f"shape {shift.shape}: {shift!r}."
                )
        exact = not weighted and _exact(source) and not np.any(shift)
        if shift is None and centre and not exact and source.n_rows > 0:
            shift = choose_shift(source.sample(SAMPLE_ROWS), near)
        return cls(
            target,
            source.n_features,
            source.dtype,
            sparse=source.sparse,
            weighted=weighted or source.weighted,
            exact=exact,
            shift=np.zeros(source.n_features) if shift is None else shift,
            double=double
            or source.n_rows < max(FEW_ROWS, source.n_features)
            or not float32_holds(source.weight_range()),
            centre=centre,
            feature_names=feature_names,
        )

    def better(self, parts: Sequence[SufficientStatistics]) -> StatisticsReduction | None:
        """The reduction that loses less of rows with these statistics in all; None if this one does.

        A shift that came from few rows may lie far from the means of all (rows of great weight,
        rows that drift), and products of tiny float32 numbers underflow: now both are known.
        """
        if self.exact or all(part.exact for part in parts):
            return None
        shift = parts[0].shift
        if not all(np.array_equal(part.shift, shift) for part in parts):
            parts = [SufficientStatistics.sum(parts)]
            shift = parts[0].shift
        weight = sum(part.weight_sum for part in parts)
        if not weight > 0.0:
            return None
        about = sum(part.gram.diagonal() for part in parts)
        sums = sum(part.feature_sums for part in parts)
        rounding = sum(part.rounding for part in parts)
        away = sums / weight
        centred = np.maximum(about - sums * away, 0.0)
        kept = centred if self.centre else about
        products = str(self.work_dtype)
        bad = rounding > WORTH_A_PASS[products] * kept
        far = bad & (about > FAR * centred)
        # What underflow takes does not shrink with the sum.
        tiny = bad & ~far & (products == "float32")
        if not (far.any() or tiny.any()):
            return None
        move = far | (about > 2.0 * np.maximum(centred, CONSTANT * rounding))
        shift = np.where(move & far.any(), shift + away, shift)
        return self._make(shift=shift, double=bool(tiny.any()) or products == "float64")

    def zero(self, n_threads: int) -> Lanes:
        """Accumulator of no rows."""
        d, totals = self.n_features, np.int64 if self.exact else np.float64
        k = len(self.target.classes)
        # Exact sums are the same over any number of lanes.
        n_lanes = min(self.n_lanes, n_threads) if self.exact else self.n_lanes
        return Lanes(
            grams=[_zeros((d, d), totals)],
            class_sums=np.zeros((n_lanes, self.n_sums, d), totals),
            class_counts=np.zeros(k, np.int64),
            class_weights=np.zeros(k),
            n_threads=n_threads,
        )

    def add(self, total: Lanes, block: Block) -> None:
        """Add a block of rows."""
        codes, indptr = self._codes(block.labels)
        X, weights = block.X, block.weights
        if self.exact and weights is not None:
            raise ValueError("Rows with weights cannot be folded into exact sums of integers.")
        # A thread that would have less to do costs more than it brings.
        work = block.X.shape[0] * self.n_features**2 // 2
        n_threads = max(1, min(total.n_threads, work // THREAD_PRODUCTS))
        scattered = self.sparse and X.nnz < DENSE_FROM * X.shape[0] * self.n_features
        n_lanes = max(1, min(len(total.class_sums), block.X.shape[0] // self.lane_rows))
        if scattered:
            n_lanes = min(n_lanes, max(1, CSR_STRIPED // self.n_features))
        while len(total.grams) < n_lanes:
            total.grams.append(_zeros(total.grams[0].shape, total.grams[0].dtype))
        grams = total.grams[:n_lanes]
        if scattered:
            X = shifted(X, self.shift)
            _fold.fold_csr(
                X.indptr,
                X.indices,
                X.data.astype(self.work_dtype, copy=False),
                self.n_features,
                weights,
                codes,
                indptr,
                grams,
                total.class_sums,
                n_threads,
            )
        else:
            X = X.astype(np.float64).toarray() if self.sparse else self._rows(X)
            need = _fold.workspace_bytes(X.dtype, self.exact, self.n_features, n_lanes, n_threads)
            if total.workspace.nbytes < need:
                total.workspace = _aligned(need)
            _fold.fold_dense(
                X,
                self.shift if self.shift.any() else None,
                weights,
                codes,
                indptr,
                grams,
                total.class_sums,
                total.workspace,
                n_threads,
            )
        # A sum is finite only if all its terms are: the check costs nothing more of the rows.
        if not self.exact and not np.isfinite(total.class_sums).all():
            raise_not_finite(block)
        m, k = len(block.labels), len(self.target.classes)
        total.n_samples += m
        total.weight_sum += m if weights is None else float(weights.sum())
        labels = block.labels
        if weights is not None and labels.indptr is not None:
            weights = np.repeat(weights, np.diff(labels.indptr))
        total.class_counts += np.bincount(labels.codes, minlength=k)
        total.class_weights += np.bincount(labels.codes, weights, minlength=k)

    def finish(self, total: Lanes) -> SufficientStatistics:
        """Statistics of the rows added; lanes are combined in a fixed tree."""
        total.workspace = np.empty(0, np.uint8)
        gram, class_sums = _sum_triangles(total.grams), _tree_sum(total.class_sums)
        if not self.exact and not np.isfinite(gram.diagonal()).all():
            column = int(np.flatnonzero(~np.isfinite(gram.diagonal()))[0])
            raise ValueError(
                f"Column {column} of X has values too large for sums of squares in "
                f"{self.work_dtype}: scale it"
                + (", or pass X as float64." if self.work_dtype == np.float32 else ".")
            )
        k = len(self.target.classes)
        return SufficientStatistics(
            n_samples=total.n_samples,
            weight_sum=total.weight_sum,
            shift=self.shift.astype(np.float64),
            feature_sums=class_sums[k] if self.target.multilabel else class_sums.sum(axis=0),
            gram=gram,
            classes=self.target.classes,
            class_counts=total.class_counts,
            class_weights=total.class_weights,
            class_sums=class_sums[:k],
            rounding=np.zeros(self.n_features)
            if self.exact
            else fold_rounding(gram, class_sums, total.n_samples, self.work_dtype),
            dtype=self.dtype,
            multilabel=self.target.multilabel,
            feature_names=self.feature_names,
        )

    def _rows(self, X: NDArray[Any]) -> NDArray[Any]:
        """Rows in the dtype of the kernel and with unit column stride; a view where they are."""
        if X.dtype == np.bool_:
            X = X.view(np.uint8)
        in_place = (
            X.dtype == self.work_dtype
            and X.dtype.isnative
            and X.flags.aligned
            and X.strides[1] == X.itemsize
            and X.strides[0] > 0
            and X.strides[0] % X.itemsize == 0
        )
        if in_place:
            return X
        return np.require(X, self.work_dtype, ["C", "A"])

    def _codes(self, labels: Labels) -> tuple[NDArray[np.int32], NDArray[np.int64] | None]:
        """Labels for the kernel, with the extra class of multilabel rows."""
        if labels.indptr is None:
            return labels.codes, None
        everyone = np.int32(len(self.target.classes))
        codes = np.insert(labels.codes, labels.indptr[1:], everyone)
        return codes, labels.indptr + np.arange(len(labels.indptr))


def fold_statistics(
    fold: Callable[[Any, Source], Any],
    reduction: StatisticsReduction,
    source: Source,
    n_groups: int = 0,
) -> tuple[Any, StatisticsReduction]:
    """Statistics of a source, or a list of those of its groups, if their number is given.

    Folded once more where that mends what the first fold has lost; and the last reduction.
    """

    def of(reduction: StatisticsReduction) -> Any:
        if not n_groups:
            return fold(reduction, source)
        return fold(GroupedReduction([reduction] * n_groups), source)

    found = of(reduction)
    better = reduction.better(found if n_groups else [found])
    return (found, reduction) if better is None else (of(better), better)


def coefficient_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Floating dtype of coefficients fitted to rows of ``dtype``: float32 for float16 and float32."""
    return np.dtype(np.float32 if dtype.kind == "f" and dtype.itemsize <= 4 else np.float64)


def _work_dtype(dtype: np.dtype[Any], exact: bool, double: bool) -> np.dtype[Any]:
    """The kernel's dtype for rows of ``dtype``."""
    if exact and dtype.itemsize == 1:
        return np.dtype(np.int8 if dtype.kind == "i" else np.uint8)
    if dtype.kind == "f" and not double:
        return coefficient_dtype(dtype)
    return np.dtype(np.float64)


def _exact(source: Source) -> bool:
    """Whether integer sums over a source are exact: always up to 16 bits, then by its values."""
    if source.weighted or source.sparse or source.dtype.kind not in "bui":
        return False
    if source.dtype.itemsize <= 2 or source.n_rows == 0:
        return True
    largest = source.magnitude()
    return largest <= EXACT_LIMIT and source.n_rows * largest**2 < 2**62


def choose_shift(sample: Any, near: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Shift for rows like these: the mean of each column whose mean exceeds its deviation, else 0.

    A mean of at most a standard deviation costs centred sums one bit at most, and zeros that stay
    zeros are skipped by the kernels. The mean is taken about the first row, so that a constant
    column is shifted to exact zeros.

    Parameters
    ----------
    sample : {ndarray, CSR matrix} of shape (m, d)
        A column of sparse rows has such a mean only where more than half of its values are stored:
        shifting those fills in few.
    near : ndarray of shape (d,), default=None
        Another shift, kept in the columns whose mean lies within a standard deviation of it.
    """
    if not isinstance(sample, np.ndarray):
        shift = np.zeros(sample.shape[1])
        stored = np.bincount(sample.indices, minlength=sample.shape[1])
        full = np.flatnonzero(2 * stored > sample.shape[0])
        if near is not None:
            full = np.union1d(full, np.flatnonzero(near))
        some = sample[:, full].toarray() if len(full) else np.empty((1, 0))
        shift[full] = choose_shift(some, None if near is None else near[full])
        return shift
    away = sample.astype(np.float64, order="C")  # whatever the layout, the same bits
    first = away[0].copy()
    with np.errstate(all="ignore"):  # rows that are not finite are reported by the pass
        away -= first
        mean = away.mean(axis=0)
        variance = np.einsum("ij,ij->j", away, away) / len(away) - mean**2
        mean += first
        shift = np.where(mean**2 > variance, mean, 0.0)
        if near is not None:
            shift = np.where((mean - near) ** 2 <= variance, near, shift)
    return np.where(np.isfinite(shift), shift, 0.0)


def float32_holds(weight_range: tuple[float, float]) -> bool:
    """Whether float32 has room for products of rows with weights from the one to the other."""
    return FLOAT32_WEIGHTS[0] <= weight_range[0] and weight_range[1] <= FLOAT32_WEIGHTS[1]


def raise_not_finite(block: Block) -> None:
    """Raise the error for a block that holds NaN or infinity, with its first row and column."""
    if isinstance(block.X, np.ndarray):
        rows, columns = np.nonzero(~np.isfinite(block.X))
    else:
        X = block.X.tocoo()
        bad = ~np.isfinite(X.data)
        rows, columns = X.row[bad], X.col[bad]
    if not len(rows):
        raise ValueError(
            f"Sums over rows {block.position(0)} to {block.position(block.X.shape[0] - 1)} of X "
            "overflow: its values are too large, or their weights. Scale them."
        )
    row, column = int(rows[0]), int(columns[0])
    kind = "NaN" if np.isnan(block.X[row, column]) else "infinity"
    raise ValueError(
        f"Input X contains {kind}: row {block.position(row)}, column {column} (and "
        f"{len(rows) - 1} more in this block of rows). ParallelRidge estimators do not accept "
        "missing values: impute them (sklearn.impute) or drop the rows."
    )


def check_range(squares: NDArray[np.float64], what: str = "Column") -> None:
    """Raise if sums of squares overflow; the message names the first column."""
    bad = np.flatnonzero(~np.isfinite(squares))
    if len(bad):
        raise ValueError(
            f"{what} {bad[0]} of X has values too large, with its weights, for sums of squares in "
            "float64: scale X, or the weights."
        )


def _tree_sum(lanes: NDArray[Any]) -> NDArray[Any]:
    """Sum over the first axis in a fixed binary tree; in place."""
    n = len(lanes)
    while n > 1:
        half = n // 2
        lanes[:half] += lanes[n - half : n]
        n -= half
    return lanes[0] if len(lanes) == 1 else lanes[0].copy()


def _sum_triangles(grams: list[NDArray[Any]]) -> NDArray[Any]:
    """Sum of upper triangles in a fixed binary tree; in place, and the list is used up."""
    while len(grams) > 1:
        half = len(grams) // 2
        for gram, other in zip(grams[:half], grams[-half:], strict=True):
            _triangle.add(gram, other)
        del grams[-half:]
    return grams[0]


def _zeros(shape: tuple[int, ...], dtype: np.dtype[Any] | type) -> NDArray[Any]:
    """Zeros that take memory where they are first written, by the thread that does, in large pages."""
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if n_bytes < LARGE_PAGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.zeros(shape, dtype)
    whole_pages = -(-n_bytes // LARGE_PAGE) * LARGE_PAGE
    memory = mmap.mmap(-1, whole_pages, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without them
        memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, dtype, math.prod(shape)).reshape(shape)


def _aligned(n_bytes: int) -> NDArray[np.uint8]:
    buffer = _zeros((n_bytes + 64,), np.uint8)
    start = -buffer.ctypes.data % 64
    return buffer[start : start + n_bytes]


def dense_rows(block: Block) -> NDArray[np.float64]:
    """Rows of a block as a new float64 array, checked to be finite."""
    X = block.X if isinstance(block.X, np.ndarray) else block.X.toarray()
    rows: NDArray[np.float64] = np.array(X, dtype=np.float64, order="C")
    if not np.isfinite(rows).all():
        raise_not_finite(block)
    return rows


@dataclass
class Triangle:
    """Value of `QRReduction`: an upper trapezoidal factor; factors add by a QR of both.

    Attributes
    ----------
    R : ndarray of shape (r, 1 + d + k), r <= p, float64
        Factor of the first p columns, and the others in the same rows.
    p : int
    """

    R: NDArray[np.float64]
    p: int

    def __add__(self, other: Triangle) -> Triangle:
        """Factor of both sets of rows."""
        return Triangle(_factor(_sorted(np.vstack([self.R, other.R])), self.p), self.p)


class QRReduction:
    """Rows to the R factor of ``sqrt(w) [1, X - shift, Y]``, whose condition number is not squared.

    With the column of ones in front, the rows of R below the first pose the centred least-squares
    problem; without an intercept it stands behind X, as one more target.

    Parameters
    ----------
    n_classes : int
    shift : ndarray of shape (d,)
    fit_intercept : bool

    References
    ----------
    Demmel, Grigori, Hoemmen and Langou (2012), Communication-optimal parallel and sequential QR and
    LU factorizations, doi:10.1137/080731992.
    """

    shares_blocks = False  # threads do little for one factorisation

    def __init__(self, n_classes: int, shift: NDArray[np.float64], fit_intercept: bool) -> None:
        self.n_classes = n_classes
        self.shift = shift
        self.fit_intercept = fit_intercept
        d = len(shift)
        self.block_rows = max(1024, min(4 * d, d + 4096))  # a block well outweighs the factor

    def zero(self, n_threads: int) -> Triangle:
        """Factor of no rows."""
        p = len(self.shift) + self.fit_intercept
        return Triangle(np.zeros((0, len(self.shift) + 1 + self.n_classes)), p)

    def add(self, total: Triangle, block: Block) -> None:
        """Add a block of rows: the factor of the old factor on top of them."""
        r, d = len(total.R), len(self.shift)
        stack = np.empty((r + block.X.shape[0], d + 1 + self.n_classes), order="F")
        stack[:r] = total.R
        rows = stack[r:]
        first = int(self.fit_intercept)
        X = block.X if isinstance(block.X, np.ndarray) else block.X.toarray()
        np.subtract(X, self.shift, out=rows[:, first : first + d])
        if not np.isfinite(rows[:, first : first + d]).all():
            raise_not_finite(block)
        rows[:, 0 if first else d] = 1.0
        rows[:, d + 1 :] = block.labels.indicator(self.n_classes)
        if block.weights is not None:
            rows *= np.sqrt(block.weights)[:, None]
            stack = _sorted(stack)
        total.R = _factor(stack, total.p)

    def finish(self, total: Triangle) -> Triangle:
        """The factor."""
        return total


def _sorted(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows in descending order of size, so that a QR rounds each relative to its own.

    Cox and Higham (1998), Stability of Householder QR factorization for weighted least squares problems.
    """
    order = np.argsort(-np.abs(rows).max(axis=1), kind="stable")
    return np.asfortranarray(rows[order])


def _factor(rows: NDArray[np.float64], p: int) -> NDArray[np.float64]:
    """R factor of the first p columns; rows in Fortran order are used up."""
    (R,) = scipy.linalg.qr(rows, mode="r", overwrite_a=True, check_finite=False)
    return R[: min(p, len(R))].copy()


class RowsReduction:
    """Rows to rows: where n < d they are smaller than their Gram matrix, and the dual needs them."""

    block_rows = 512
    shares_blocks = True

    def zero(self, n_threads: int) -> list[Block]:
        """No rows."""
        return []

    def add(self, total: list[Block], block: Block) -> None:
        """Add a block of rows: a view, not a copy."""
        values = block.X if isinstance(block.X, np.ndarray) else block.X.data
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise_not_finite(block)
        total.append(block)

    def finish(self, total: list[Block]) -> list[Block]:
        """The rows."""
        return total


@dataclass
class Moments:
    """Value of `MomentsReduction`: sums of rows, of their squares and of each class's rows."""

    n_samples: int
    weight_sum: float
    class_weights: NDArray[np.float64]
    feature_sums: NDArray[np.float64]
    square_sums: NDArray[np.float64]
    class_sums: NDArray[np.float64]

    @property
    def variances(self) -> NDArray[np.float64]:
        """Sums of squares about the means; zero where they may be nothing but rounding."""
        centred = self.square_sums - self.feature_sums * (self.feature_sums / self.weight_sum)
        rounding = ROUNDING["float64"] * self.square_sums
        centred[centred <= CONSTANT * rounding] = 0.0
        return centred

    def __add__(self, other: Moments) -> Moments:
        """Moments of both sets of rows."""
        return Moments(
            self.n_samples + other.n_samples,
            self.weight_sum + other.weight_sum,
            self.class_weights + other.class_weights,
            self.feature_sums + other.feature_sums,
            self.square_sums + other.square_sums,
            self.class_sums + other.class_sums,
        )

    def pack(self, overwrite: bool = False) -> list[NDArray[Any]]:
        """The numbers, by dtype."""
        floats = (
            [self.weight_sum],
            self.class_weights,
            self.feature_sums,
            self.square_sums,
            self.class_sums.ravel(),
        )
        return [np.array([self.n_samples]), np.concatenate(floats)]

    def unpack(self, arrays: list[NDArray[Any]]) -> Moments:
        """Moments like these with other numbers."""
        (n_samples,), floats = arrays.pop(0), arrays.pop(0)
        k, d = self.class_sums.shape
        weights, sums, squares, class_sums = np.split(floats[1:], np.cumsum([k, d, d]))
        return Moments(
            int(n_samples), float(floats[0]), weights, sums, squares, class_sums.reshape(k, d)
        )


class MomentsReduction:
    """Rows to `Moments` about a shift: what iterative solves need to centre and scale.

    Parameters
    ----------
    n_classes : int
    shift : ndarray of shape (d,)
    """

    block_rows = BLOCK_ROWS
    shares_blocks = False

    def __init__(self, n_classes: int, shift: NDArray[np.float64]) -> None:
        self.n_classes = n_classes
        self.shift = shift

    def zero(self, n_threads: int) -> Moments:
        """Moments of no rows."""
        d, k = len(self.shift), self.n_classes
        return Moments(0, 0.0, np.zeros(k), np.zeros(d), np.zeros(d), np.zeros((k, d)))

    def add(self, total: Moments, block: Block) -> None:
        """Add a block of rows."""
        X = shifted_rows(block, self.shift)
        m = X.shape[0]
        weights = np.ones(m) if block.weights is None else block.weights
        members = (block.labels.indicator(self.n_classes) > 0) * weights[:, None]
        total.n_samples += m
        total.weight_sum += float(weights.sum())
        total.class_weights += members.sum(axis=0)
        with np.errstate(over="ignore", invalid="ignore"):
            total.feature_sums += X.T @ weights
            total.square_sums += (X.multiply(X) if hasattr(X, "multiply") else X * X).T @ weights
            total.class_sums += (X.T @ members).T
        check_range(total.square_sums)

    def finish(self, total: Moments) -> Moments:
        """The moments."""
        return total


class NormalProductReduction:
    """Rows to ``Z^T W (Z V)`` with ``Z = (X - mean) / scale``: one step of an iterative solve.

    Parameters
    ----------
    V : ndarray of shape (d, t)
    mean, scale : ndarray of shape (d,)
        Sparse rows are not centred but corrected for it, except in `full` columns.
    full : ndarray of shape (d,), bool, default=None
        Columns that sparse rows store nearly all values of, far from zero: see `choose_shift`.
    centred : bool, default=True
        Whether dense rows are centred. float64 rows whose means are not far from zero need not be,
        nor copied.
    target_means : ndarray of shape (t,), default=None
        If given, the value is that of the residuals, ``Z^T W (Y - target_means - Z V)``.
    offset : ndarray of shape (d,), default=None
        What the mean lacks of the true one, since it is rounded: it is taken out of the product.
    n_classes : int
    targets : slice
        The classes that are targets.
    """

    block_rows = BLOCK_ROWS
    shares_blocks = False

    def __init__(
        self,
        V: NDArray[np.float64],
        mean: NDArray[np.float64],
        scale: NDArray[np.float64],
        centred: bool = True,
        target_means: NDArray[np.float64] | None = None,
        n_classes: int = 0,
        targets: slice = slice(None),
        full: NDArray[np.bool_] | None = None,
        offset: NDArray[np.float64] | None = None,
    ) -> None:
        self.offset = offset
        self.V = V / scale[:, None]
        self.mean = mean
        self.far = np.zeros(len(mean)) if full is None else np.where(full, mean, 0.0)
        self.scale = scale
        self.centred = centred
        self.target_means = target_means
        self.n_classes = n_classes
        self.targets = targets

    def zero(self, n_threads: int) -> NDArray[np.float64]:
        """Product of no rows; below, sums of the products of centred, uncentred and sparse rows."""
        return np.zeros((len(self.V) + 3, self.V.shape[1]))

    def add(self, total: NDArray[np.float64], block: Block) -> None:
        """Add a block of rows."""
        aims = None
        if self.target_means is not None:
            aims = block.labels.indicator(self.n_classes)[:, self.targets] - self.target_means

        def weighted(products: NDArray[np.float64], rows: slice) -> NDArray[np.float64]:
            if aims is not None:
                np.subtract(aims[rows], products, out=products)
            if block.weights is not None:
                products *= block.weights[rows, None]
            return products

        if not isinstance(block.X, np.ndarray):
            X = shifted(block.X, self.far)
            products = weighted(X @ self.V - (self.mean - self.far) @ self.V, slice(None))
            total[:-3] += X.T @ products
            total[-1] += products.sum(axis=0)
            return
        offset = self.mean @ self.V
        step = max(16, min(PRODUCT_ROWS, PRODUCT_VALUES // len(self.V)))
        buffer = np.empty((min(step, len(block.X)), len(self.V)))
        for first in range(0, len(block.X), step):
            some = slice(first, min(first + step, len(block.X)))
            rows = block.X[some]
            if self.centred or rows.dtype != np.float64:
                rows = np.subtract(rows, self.mean, out=buffer[: len(rows)])
                products = weighted(rows @ self.V, some)
                kind = -3
            else:
                products = weighted(rows @ self.V - offset, some)
                kind = -2
            total[:-3] += rows.T @ products
            total[kind] += products.sum(axis=0)

    def finish(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """The product, in the scaled features."""
        zero = np.zeros(len(self.mean))
        away = np.stack([zero, self.mean, self.mean - self.far], axis=1)
        if self.offset is not None:
            away += self.offset[:, None]
        return (total[:-3] - away @ total[-3:]) / self.scale[:, None]


def shifted_rows(block: Block, shift: NDArray[np.float64]) -> Any:
    """Rows of a block in float64, less the shift; checked to be finite."""
    if isinstance(block.X, np.ndarray):
        return dense_rows(block) - shift
    if not np.isfinite(block.X.data).all():
        raise_not_finite(block)
    return shifted(block.X, shift)


class Decisions(ABC):
    """Held-out decision values of rows, for each of several penalties.

    Attributes
    ----------
    shape : tuple of int
        (penalties, targets).
    """

    shape: tuple[int, int]

    @abstractmethod
    def __call__(self, block: Block) -> NDArray[Any]:
        """Values of shape (m, *shape)."""

    def classes(self, block: Block) -> NDArray[np.intp]:
        """Codes of the classes that rows are predicted as, shape (m, penalties)."""
        return _classes(self(block))


def _classes(values: NDArray[Any]) -> NDArray[np.intp]:
    if values.shape[2] == 1:
        return (values[:, :, 0] > 0).astype(np.intp)
    return np.asarray(values.argmax(axis=2))


class PathDecisions(Decisions):
    """Decision values of rows that weights have not seen.

    Weights vary smoothly with the penalty: those of many penalties are combinations of a few, to
    rounding, and so are their decision values.

    Parameters
    ----------
    coefs : ndarray of shape (p, t, d)
        Weights for p penalties and t targets.
    intercepts : ndarray of shape (p, t)
    """

    def __init__(self, coefs: NDArray[Any], intercepts: NDArray[Any]) -> None:
        self.shape = intercepts.shape
        p, t, d = coefs.shape
        self.combination: NDArray[Any] | None = None
        if p >= MANY_PENALTIES and coefs.any():
            few, combination = _interpolation(coefs.reshape(p, t * d))
            if len(few) * (d + p) < p * d:
                self.combination, coefs = combination.astype(coefs.dtype), coefs[few]
        self.weights = np.ascontiguousarray(coefs.reshape(-1, d).T)
        self.intercepts = intercepts

    def __call__(self, block: Block) -> NDArray[Any]:
        """Values of shape (m, p, t)."""
        return self._checked(block, block.X)

    def classes(self, block: Block) -> NDArray[np.intp]:
        """Codes of the classes that rows are predicted as, shape (m, p).

        Many float64 values are first formed in float32, which takes half the time. Rows whose class
        the error of that might change for any penalty are looked at again.
        """
        single = isinstance(block.X, np.ndarray) and self.weights.dtype == np.float64
        few = self.combination is not None or self.weights.size < MANY_WEIGHTS
        if not single or few or self.shape[1] == 1:
            return super().classes(block)
        weights, magnitudes, least = self._single
        with np.errstate(all="ignore"):  # whatever float32 cannot hold is looked at again
            X = block.X.astype(np.float32)
            values = (X @ weights).reshape(-1, *self.shape) + self.intercepts
            codes = _classes(values)
            best = np.take_along_axis(values, codes[:, :, None], axis=2)
            reach = (X if block.X.dtype.kind in "bu" else np.abs(X)) @ magnitudes + least
            reach += 4.0 * np.finfo(np.float64).eps * np.abs(best[:, :, 0])  # of the intercepts
            near = values >= best - 2.0 * reach[:, :, None]
        close = near.reshape(len(X), -1).sum(axis=1) != self.shape[0]  # but for the best themselves
        close |= ~np.isfinite(values).reshape(len(X), -1).all(axis=1)
        if close.any():
            codes[close] = _classes(self._checked(block, block.X[close]))
        return codes

    def _checked(self, block: Block, X: Any) -> NDArray[Any]:
        """Values of rows of a block."""
        if isinstance(X, np.ndarray):
            X = X.astype(np.result_type(X.dtype, self.weights.dtype), copy=False)
        values: NDArray[Any] = (X @ self.weights).reshape(X.shape[0], -1, self.shape[1])
        if self.combination is not None:
            values = self.combination @ values
        if not np.isfinite(values).all():
            raise_not_finite(block)
        values += self.intercepts
        return values

    @cached_property
    def _single(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
        """Weights in float32, and a bound of the error of their products, for each penalty.

        That is, for all targets: the magnitudes of a row times a matrix, and a constant. Rounding the
        factors and adding up terms in any order changes a sum by at most d + 2 times ``2^-24`` of the
        terms' magnitudes (Higham, 2002, section 3.1), and what underflows by at most the least normal
        number times the other factor, or once.
        """
        d, single = len(self.weights), np.finfo(np.float32)
        largest = np.abs(self.weights).reshape(d, *self.shape).max(axis=2)
        terms = 1.01 * (d + 8)  # the bound itself is rounded
        with np.errstate(all="ignore"):
            return (
                self.weights.astype(np.float32),
                (terms * (0.5 * single.eps * largest + single.tiny)).astype(np.float32),
                terms * float(single.tiny) * (1.0 + largest.sum(axis=0)),
            )


def _interpolation(rows: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """A few of the rows, not all zero, and the combinations of them that all are, to rounding.

    References
    ----------
    Cheng, Gimbutas, Martinsson and Rokhlin (2005), On the compression of low rank matrices,
    doi:10.1137/030602678: the interpolative decomposition, by a QR with pivots.
    """
    lengths = np.linalg.norm(rows, axis=1)
    lengths[lengths == 0.0] = 1.0
    scaled = (rows / lengths[:, None]).astype(np.float64)
    R, order = scipy.linalg.qr(scaled.T, mode="r", pivoting=True, check_finite=False)
    sizes = np.abs(R.diagonal())
    rank = int((sizes > np.finfo(rows.dtype).eps * sizes[0]).sum())
    combination = np.empty((len(rows), rank))
    combination[order[:rank]] = np.eye(rank)
    combination[order[rank:]] = scipy.linalg.solve_triangular(R[:rank, :rank], R[:rank, rank:]).T
    return order[:rank], combination * lengths[:, None] / lengths[order[:rank]]


@dataclass(frozen=True)
class Leverages:
    """Diagonals, in the principal axes, that give leverages and decision values; (p, m) each.

    Attributes
    ----------
    fitted : ndarray
        One over sum of squares and penalty.
    left_out : ndarray, or None
        Where the rows can be interpolated (as many axes as rows): what fits leave of each axis, so
        that nothing is lost where the leverage is close to 1.
    rounding : float
        Estimated error of a leverage that is formed in float32.
    """

    fitted: NDArray[np.float64]
    left_out: NDArray[np.float64] | None
    rounding: float


class LeaveOneOutDecisions(Decisions):
    """Decision value of each row by the weights of all the others, in closed form.

    With leverage ``h = w (a^T D a + 1 / W)``, where ``a`` are the row's coordinates in the principal
    axes and ``D`` is diagonal, the error of a row left out is its error divided by ``1 - h``.

    Parameters
    ----------
    axes : ndarray of shape (d, m)
    means : ndarray of shape (d,)
    diagonals : Leverages
        ``D``, for p penalties.
    rotated : ndarray of shape (t, m)
        Right-hand sides in the axes.
    target_means : ndarray of shape (t,)
    targets : slice
        The classes that are targets.
    n_classes : int
    mean_leverage : float
        ``1 / W``, or 0 without an intercept.
    dtype : dtype
        To compute values in: float32 for float32 rows, but for those with leverages close to 1.
    full : ndarray of shape (d,), bool, default=False
        See `NormalProductReduction`.

    Notes
    -----
    Leverages are most of the work unless penalties are many, and an error of a small one hardly counts
    in ``1 - h``. So they are formed in float32 for float64 values too, where they are small and lose
    little by it.

    References
    ----------
    Cook and Weisberg (1982), Residuals and Influence in Regression, section 2.2; Rifkin and Lippert
    (2007), Notes on regularized least squares, section 3.
    """

    def __init__(
        self,
        axes: NDArray[np.float64],
        means: NDArray[np.float64],
        diagonals: Leverages,
        rotated: NDArray[np.float64],
        target_means: NDArray[np.float64],
        targets: slice,
        n_classes: int,
        mean_leverage: float,
        dtype: np.dtype[Any],
        full: NDArray[np.bool_] | bool = False,
    ) -> None:
        p, t, m = len(diagonals.fitted), len(rotated), len(axes.T)
        self.shape = (p, t)
        double, single = np.dtype(np.float64), np.dtype(np.float32)
        self.dtype = double if diagonals.left_out is not None else dtype
        small = self.dtype == single or diagonals.rounding <= LEVERAGE_ROUNDING
        self.leverage_dtype = single if small else double
        coefs = axes @ (diagonals.fitted[:, None] * rotated).reshape(p * t, m).T
        # Of sparse rows only columns far from zero are centred, of which hardly any value is zero.
        self.far = np.where(full, means, 0.0)
        self.coordinates = _CentredProduct(axes, means - self.far, {double, self.leverage_dtype})
        if diagonals.left_out is not None:
            self.filtered = (diagonals.left_out[:, None] * rotated).reshape(p * t, m).T
        self.fitted = _CentredProduct(coefs, means - self.far, {double, self.dtype})
        self.means = means
        self.diagonals = diagonals
        self.target_means = target_means
        self.targets = targets
        self.n_classes = n_classes
        self.mean_leverage = mean_leverage

    def __call__(self, block: Block) -> NDArray[Any]:
        """Values of shape (m, p, t)."""
        y = block.labels.indicator(self.n_classes)[:, self.targets]
        dense = isinstance(block.X, np.ndarray)
        rows = block.X - self.means if dense else shifted(block.X, self.far)
        leverage_dtype = self.leverage_dtype if dense else self.dtype
        values, left = self._left_out(rows, block.weights, y, self.dtype, leverage_dtype)
        if not np.isfinite(values).all():
            raise_not_finite(block)
        if leverage_dtype != np.float64:
            least = CLOSE_TO_ONE if self.dtype == np.float32 else 1.0 - LARGEST_ROUNDED
            close = left.min(axis=1, initial=1.0) < least
            if close.any():
                weights = None if block.weights is None else block.weights[close]
                double = np.dtype(np.float64)
                values[close], _ = self._left_out(rows[close], weights, y[close], double, double)
        if self.diagonals.left_out is not None and block.weights is not None:
            # Rows without weight take no part in the interpolation.
            none = block.weights == 0.0
            if none.any():
                values[none] = self._fitted(rows[none], self.dtype)
        return values

    def _left_out(
        self,
        rows: Any,
        weights: NDArray[np.float64] | None,
        y: NDArray[np.float64],
        dtype: np.dtype[Any],
        leverage_dtype: np.dtype[Any],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Values, and one less the leverages, shape (m, p)."""
        a = self.coordinates(rows, leverage_dtype)
        diagonal = self.diagonals.left_out
        if diagonal is None:
            errors = y[:, None] - self._fitted(rows, dtype)
        else:
            errors = (a @ self.filtered).reshape(-1, *self.shape)
        np.multiply(a, a, out=a)
        if diagonal is None:
            part = (a @ self.diagonals.fitted.T.astype(a.dtype)).astype(np.float64, copy=False)
            part += self.mean_leverage
        else:
            part = a @ diagonal.T
        if weights is not None:
            part *= weights[:, None]
        if diagonal is None:
            # A row that alone decides its own value has leverage 1, less or more by rounding.
            left = np.maximum(1.0 - part, np.finfo(np.float64).eps)
        else:
            left = np.where(part > 0.0, part, 1.0)
        return y[:, None] - errors / left[:, :, None], left

    def _fitted(self, rows: Any, dtype: np.dtype[Any]) -> NDArray[np.float64]:
        """Values by the weights of all rows."""
        values = self.fitted(rows, dtype).reshape(-1, *self.shape).astype(np.float64, copy=False)
        return values + self.target_means


class _CentredProduct:
    """Centred rows times a matrix, in any of some precisions.

    Dense rows come centred, so that those far from zero keep their digits in float32; sparse ones are
    centred by what they lack in the product.
    """

    def __init__(
        self, matrix: NDArray[np.float64], means: NDArray[np.float64], dtypes: set[np.dtype[Any]]
    ) -> None:
        self.matrices = {dtype: matrix.astype(dtype, copy=False) for dtype in dtypes}
        self.offset = means @ matrix

    def __call__(self, rows: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
        matrix = self.matrices[dtype]
        if isinstance(rows, np.ndarray):
            return np.asarray(rows.astype(dtype, copy=False) @ matrix)
        return np.asarray(rows @ matrix - self.offset, dtype=dtype)


# Of one less a leverage; below, float32 has too few digits left.
CLOSE_TO_ONE = 1e-2
# Estimated error of leverages up to which float32 does for them, and their size up to which it does: on
# data made to be bad, the error of values was at most 1e-8 of the residuals, as a root mean square.
LEVERAGE_ROUNDING = 1e-9
LARGEST_ROUNDED = 0.1
# Rows whose decision values for all penalties are formed at a time, and values: a thread's cache.
DECISION_ROWS = 512
# Cells of a table of confusion counts that stays in a core's cache.
CONFUSION_TABLE = 2**15
DECISION_VALUES = 2**18


class AccuracyReduction:
    """Rows to how many are predicted right, for each penalty.

    The value has shape (p + 1,): rows, or their weight, of right predictions, and last of all.

    Parameters
    ----------
    decisions : Decisions
        Of single-label targets.
    weighted : bool
        Whether to count by the rows' weights.
    """

    shares_blocks = False

    def __init__(self, decisions: Decisions, weighted: bool) -> None:
        self.decisions = decisions
        self.weighted = weighted
        self.block_rows = decision_rows(decisions)

    def zero(self, n_threads: int) -> NDArray[Any]:
        """Counts of no rows."""
        return np.zeros(self.decisions.shape[0] + 1, np.float64 if self.weighted else np.int64)

    def add(self, total: NDArray[Any], block: Block) -> None:
        """Count a block of rows."""
        right = self.decisions.classes(block) == block.labels.codes[:, None]
        if self.weighted and block.weights is not None:
            total[:-1] += block.weights @ right
            total[-1] += block.weights.sum()
        else:
            total[:-1] += right.sum(axis=0)
            total[-1] += len(right)

    def finish(self, total: NDArray[Any]) -> NDArray[Any]:
        """The counts."""
        return total


@dataclass
class Confusion:
    """Value of `ConfusionReduction`: the cells of its table that are not zero.

    Attributes
    ----------
    shape : tuple of int
        (p, k, k): penalty, true class, predicted class.
    cells : ndarray of int64, ascending
        Positions in the flat table.
    counts : ndarray of int64, or of float64 for weights
    """

    shape: tuple[int, int, int]
    cells: NDArray[np.int64]
    counts: NDArray[Any]

    def __add__(self, other: Confusion) -> Confusion:
        """Counts of both sets of rows."""
        return Confusion.of(
            self.shape,
            np.concatenate([self.cells, other.cells]),
            np.concatenate([self.counts, other.counts]),
        )

    @staticmethod
    def of(
        shape: tuple[int, int, int], cells: NDArray[np.int64], counts: NDArray[Any]
    ) -> Confusion:
        """Counts of cells that may come more than once."""
        found, where = np.unique(cells, return_inverse=True)
        sums = np.zeros(len(found), counts.dtype)
        np.add.at(sums, where, counts)
        return Confusion(shape, found, sums)

    def of_penalty(self, j: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[Any]]:
        """True and predicted classes that met for a penalty, and how often."""
        size = self.shape[1] * self.shape[2]
        some = slice(*np.searchsorted(self.cells, [j * size, (j + 1) * size]))
        true, predicted = np.divmod(self.cells[some] - j * size, self.shape[2])
        return true.astype(np.intp), predicted.astype(np.intp), self.counts[some]


class ConfusionReduction:
    """Rows to confusion counts: how often each class was predicted as each, for each penalty.

    The counts are int64, or float64 sums of weights if rows have weights. Many classes meet in few of
    their pairs: a block's own pairs are kept, and not a table.

    Parameters
    ----------
    decisions : Decisions
        Of single-label targets.
    n_classes : int
    weighted : bool
        Whether to count by the rows' weights.
    """

    shares_blocks = False

    def __init__(self, decisions: Decisions, n_classes: int, weighted: bool) -> None:
        self.decisions = decisions
        self.n_classes = n_classes
        self.weighted = weighted
        self.block_rows = decision_rows(decisions)

    def zero(self, n_threads: int) -> list[Confusion]:
        """Counts of no rows."""
        k, dtype = self.n_classes, np.float64 if self.weighted else np.int64
        shape = self.decisions.shape[0], k, k
        return [Confusion(shape, np.empty(0, np.int64), np.empty(0, dtype))]

    def add(self, total: list[Confusion], block: Block) -> None:
        """Count a block of rows."""
        codes = self.decisions.classes(block)
        p, k = self.decisions.shape[0], self.n_classes
        cells = ((np.arange(p) * k + block.labels.codes[:, None]) * k + codes).ravel()
        dtype = total[0].counts.dtype
        weights = np.ones(len(cells), dtype)
        if self.weighted and block.weights is not None:
            weights = np.repeat(block.weights, p)
        if p * k * k <= CONFUSION_TABLE:  # counting costs less than sorting
            table = np.bincount(cells, weights, minlength=p * k * k)
            found = np.flatnonzero(table)
            total[0] += Confusion(total[0].shape, found, table[found].astype(dtype))
        else:
            total[0] += Confusion.of(total[0].shape, cells, weights)

    def finish(self, total: list[Confusion]) -> Confusion:
        """The counts."""
        return total[0]


class SquaredErrorReduction:
    """Rows to weighted squared errors of their decision values, for each penalty.

    The value has shape (p + 1, t + 1). A row for each penalty: sums of ``w e^2`` for each target, and
    last the sum of squares of ``w e^2`` averaged over the targets. The last row: sums of ``w y`` for
    each target, and last the sum of ``w``.

    Parameters
    ----------
    decisions : Decisions
    n_classes : int
    targets : slice
        The classes that are targets.
    """

    shares_blocks = False

    def __init__(self, decisions: Decisions, n_classes: int, targets: slice) -> None:
        self.decisions = decisions
        self.n_classes = n_classes
        self.targets = targets
        self.block_rows = decision_rows(decisions)

    def zero(self, n_threads: int) -> NDArray[np.float64]:
        """Errors of no rows."""
        p, t = self.decisions.shape
        return np.zeros((p + 1, t + 1))

    def add(self, total: NDArray[np.float64], block: Block) -> None:
        """Add the errors of a block of rows."""
        y = block.labels.indicator(self.n_classes)[:, self.targets]
        weights = np.ones(len(y)) if block.weights is None else block.weights
        errors = (self.decisions(block) - y[:, None]) ** 2
        if block.weights is not None:
            errors *= weights[:, None, None]
        total[:-1, :-1] += errors.sum(axis=0)
        with np.errstate(over="ignore"):  # of weights beyond 1e150; there is no deviation then
            total[:-1, -1] += (errors.mean(axis=2) ** 2).sum(axis=0)
        total[-1, :-1] += weights @ y
        total[-1, -1] += weights.sum()

    def finish(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """The errors."""
        return total


@dataclass
class HeldOut:
    """Rows without their features: all that a score is made from.

    Attributes
    ----------
    values : ndarray of shape (m, p, t)
        Held-out decision values.
    labels : Labels
    weights : ndarray of shape (m,), or None
    """

    values: NDArray[Any]
    labels: Labels
    weights: NDArray[np.float64] | None

    @staticmethod
    def join(parts: Sequence[HeldOut]) -> HeldOut:
        """All rows, in order."""
        weights = None
        if any(part.weights is not None for part in parts):
            weights = np.concatenate(
                [np.ones(len(p.values)) if p.weights is None else p.weights for p in parts]
            )
        values = np.concatenate([part.values for part in parts])
        return HeldOut(values, Labels.join([part.labels for part in parts]), weights)


class DecisionReduction:
    """Rows to their decision values: a list of `HeldOut`, in row order."""

    shares_blocks = False

    def __init__(self, decisions: Decisions) -> None:
        self.decisions = decisions
        self.block_rows = decision_rows(decisions)

    def zero(self, n_threads: int) -> list[HeldOut]:
        """Values of no rows."""
        return []

    def add(self, total: list[HeldOut], block: Block) -> None:
        """Add the values of a block of rows."""
        total.append(HeldOut(self.decisions(block), block.labels, block.weights))

    def finish(self, total: list[HeldOut]) -> list[HeldOut]:
        """The values."""
        return total


def decision_rows(decisions: Decisions) -> int:
    """Rows a block, for all of its decision values to stay in a thread's cache."""
    return max(64, min(DECISION_ROWS, DECISION_VALUES // (decisions.shape[0] * decisions.shape[1])))
