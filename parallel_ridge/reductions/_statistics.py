"""Reduction of rows to sufficient statistics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parallel_ridge.kernels import _fold
from parallel_ridge.numerics import (
    CONSTANT,
    FAR,
    FEW_ROWS,
    FLOAT32_WEIGHTS,
    LARGEST_SUM,
    WORTH_A_PASS,
)
from parallel_ridge.reductions._accumulators import (
    PartialSums,
    Spare,
    aligned,
    sum_lanes,
    sum_triangles,
)
from parallel_ridge.reductions._base import (
    GroupedReduction,
    check_finite,
    coefficient_dtype,
)
from parallel_ridge.reductions._integers import (
    as_integers,
    exact_dtype,
    in_rows,
    in_wide_rows,
    promises_integers,
)
from parallel_ridge.reductions._shift import (
    SAMPLE_ROWS,
    Earlier,
    choose_shift,
    repeated_rounding,
)
from parallel_ridge.sources import Block, Labels, Source, Target, shifted
from parallel_ridge.statistics import SufficientStatistics, fold_rounding

BLOCK_PRODUCTS = 2**36
BLOCK_BYTES = 12 * 2**20  # of rows, which may have to be gathered (copied) first
# The same where rows may turn out to be bytes, which the kernels take in taller blocks: on 60,000
# dense rows of 784 float64 integers, a fold takes 10 % longer with blocks of 12 MB (2 cores, AVX2).
WIDE_BLOCK_BYTES = 64 * 2**20
LANE_BYTES = 24 * 2**20  # of Gram matrices, if there is more than one
MAX_LANES = 16
# Most columns of sparse rows, summed over lanes: with many columns, threads divide those of one
# Gram matrix instead.
CSR_STRIPED = 768
# Multiply-adds a thread must have to be worth waking: about one wake-up time.
THREAD_PRODUCTS = 2**20
# Sparse blocks that store at least this fraction of their values go through the dense kernel, one
# block at a time: it also skips runs of zeros, and is many times faster than scattering values.
DENSE_FROM = 1 / 16


@dataclass(frozen=True)
class StatisticsOptions:
    """How to form statistics.

    Attributes
    ----------
    shift : array-like of shape (d,), or None
        The shift to use. If None, `choose_shift` takes it from a sample of the rows, or it is zero
        if sums will not be centred.
    near : Earlier, or None
        The earlier rows whose shift is kept in the columns that it suits.
    centre : bool
        Whether sums about the means will be needed.
    double : bool
        Whether to form products of float32 rows in float64.
    weighted : bool
        Whether the rows will be folded with weights, although the source's weights are all one.
    feature_names : ndarray of str, or None
    spare : Spare, or None
        Memory to use.
    """

    shift: ArrayLike | None = None
    near: Earlier | None = None
    centre: bool = True
    double: bool = False
    weighted: bool = False
    feature_names: NDArray[Any] | None = None
    spare: Spare | None = None

    @property
    def floats(self) -> bool:
        """Whether sums will be floats, even of integers: about a shift, or to be weighted."""
        return self.weighted or (self.shift is not None and bool(np.any(self.shift)))

    def given_shift(self, n_features: int) -> NDArray[np.float64] | None:
        """The shift to use, if there is one.

        Raises
        ------
        ValueError
            If it is not one finite number per feature.
        """
        if self.shift is None:
            return None
        shift = np.ascontiguousarray(self.shift, dtype=np.float64)
        if shift.shape != (n_features,) or not np.isfinite(shift).all():
            raise ValueError(
                f"shift must be {n_features} finite numbers, one per feature; got an array of shape "
                f"{shift.shape}: {shift!r}."
            )
        return shift


class StatisticsReduction:
    """Reduce rows to `SufficientStatistics`.

    Parameters
    ----------
    target : Target
        Classes of the labels.
    n_features : int
    dtype : dtype
        Dtype of the rows.
    sparse, weighted : bool
        Whether rows are CSR matrices, and whether they have weights.
    exact : bool
        Whether all rows are integers that the kernels sum exactly.
    shift : array-like of shape (n_features,)
        Subtracted from each row; zero for exact rows.
    integers : bool, default=False
        Whether to look for blocks that hold small integers only. They are summed apart, exactly
        and about zero, and the two sums added at the end if there are other blocks.
    double : bool, default=False
        Whether to form products of float32 rows in float64.
    centre : bool, default=True
        Whether sums about the means will be needed.
    feature_names : ndarray of str, or None
    near : Earlier, default=None
        The rows that these will be added to.
    spare : Spare, default=None
        Memory to use, and to leave the workspace in; fresh memory if None.
    repeated : ndarray of shape (n_features,), default=None
        What `repeated_rounding` says of the rows.
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
        integers: bool = False,
        double: bool = False,
        centre: bool = True,
        feature_names: NDArray[Any] | None = None,
        near: Earlier | None = None,
        spare: Spare | None = None,
        repeated: NDArray[np.float64] | None = None,
    ) -> None:
        self.target = target
        self.centre = centre
        self.near = near
        self.spare = spare
        self._make = partial(
            StatisticsReduction, target, n_features, dtype, sparse=sparse, weighted=weighted,
            exact=exact, integers=integers, centre=centre, feature_names=feature_names,
            near=near, repeated=repeated,
        )  # fmt: skip
        self.n_features = n_features
        self.sparse = sparse
        self.exact = exact and not weighted and not sparse
        # Products of sparse rows are few, so either kernel forms them in float64.
        self.work_dtype = _work_dtype(dtype, self.exact, double or sparse)
        self.repeated = repeated if self.work_dtype == np.float32 else None
        self.dtype = coefficient_dtype(dtype)
        self.half = dtype == np.float16
        self.shift = np.asarray(
            shift, dtype=self.work_dtype if self.work_dtype.kind == "f" else "d"
        )
        self.feature_names = feature_names
        # Multilabel class sums do not add up to the total, so append a pseudo-class that contains
        # every row.
        self.n_sums = len(target.classes) + target.multilabel
        # Partial sums give each thread its own rows; a power of two divides evenly among the usual
        # thread counts.
        lanes = max(1, min(MAX_LANES, LANE_BYTES // (8 * n_features**2 + 1)))
        self.n_lanes = 1 << (lanes.bit_length() - 1)
        self.lane_rows = _fold.piece_rows(self.work_dtype, self.exact, n_features)
        rows = self.n_lanes * self.lane_rows
        rows *= max(1, BLOCK_BYTES // (rows * n_features * self.work_dtype.itemsize + 1))
        most = int(BLOCK_PRODUCTS / (n_features**2 / 2 + 1))
        self.integers: StatisticsReduction | None = None
        if integers and not (self.exact or weighted or sparse):
            tall = self.n_lanes * _fold.piece_rows(np.dtype(np.uint8), True, n_features)
            times = tall * n_features * dtype.itemsize // WIDE_BLOCK_BYTES
            rows = max(rows, tall >> times.bit_length())
            self.integers = StatisticsReduction(
                target, n_features, dtype, sparse=False, weighted=False, exact=True,
                shift=np.zeros(n_features), feature_names=feature_names, spare=spare,
            )  # fmt: skip
        self.block_rows = max(64, min(most // 64 * 64, rows))

    @classmethod
    def of(
        cls,
        source: Source,
        target: Target,
        options: StatisticsOptions = StatisticsOptions(),  # frozen
    ) -> StatisticsReduction:
        """The reduction suited to a source."""
        shift = options.given_shift(source.n_features)
        plain = not (options.floats or source.weighted or source.sparse)
        exact = plain and exact_dtype(source.dtype)
        integers = plain and not exact
        centre = options.centre and shift is None and not exact
        single = coefficient_dtype(source.dtype) == np.float32
        repeated = None
        if source.n_rows > 0 and (integers or centre or single):
            rows = SAMPLE_ROWS if options.near is None else SAMPLE_ROWS // 4
            sample = source.sample(rows)
            integers = integers and promises_integers(sample)
            if centre:
                shift = choose_shift(sample, options.near, source.weight_sum())
                if integers and options.near is None:
                    shift = np.rint(shift)  # exact sums stay so if they move there
            if single:
                repeated = repeated_rounding(sample, 0.0 if shift is None else shift)
        return cls(
            target,
            source.n_features,
            source.dtype,
            sparse=source.sparse,
            weighted=options.weighted or source.weighted,
            exact=exact,
            integers=integers,
            shift=np.zeros(source.n_features) if shift is None else shift,
            double=options.double
            or source.n_rows < max(FEW_ROWS, source.n_features)
            or not float32_holds(source.weight_range()),
            centre=options.centre,
            feature_names=options.feature_names,
            near=options.near,
            spare=options.spare,
            repeated=repeated,
        )

    def better(self, parts: Sequence[SufficientStatistics]) -> StatisticsReduction | None:
        """A reduction that loses fewer digits of the rows in these statistics; None if not needed.

        A shift taken from few rows may lie far from the means of all rows (heavy rows, drift), and
        products of tiny float32 numbers underflow. The statistics reveal both.
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
        if self.repeated is not None:  # which another shift does not change
            rounding = rounding - self.repeated * about
        away = sums / weight
        # Rows that will be added to others need only the digits that the whole keeps.
        others = 0.0 if self.near is None else self.near.squares
        with np.errstate(over="ignore"):  # the sum of all rows will be refused
            centred = np.maximum(about - sums * away, 0.0) + others
            kept = centred if self.centre else about + others
        products = str(self.work_dtype)
        bad = rounding > WORTH_A_PASS[products] * kept
        far = bad & (about / FAR > centred)
        # Losses from underflow do not shrink with the sum. Products of halves do not underflow.
        tiny = bad & ~far & (products == "float32" and not self.half)
        if not (far.any() or tiny.any()):
            return None
        move = far | (about / 2.0 > np.maximum(centred, CONSTANT * rounding))
        shift = np.where(move & far.any(), shift + away, shift)
        return self._make(shift=shift, double=bool(tiny.any()) or products == "float64")

    def zero(self, n_threads: int) -> PartialSums:
        """Accumulator of no rows."""
        d, totals = self.n_features, np.int64 if self.exact else np.float64
        k = len(self.target.classes)
        # Exact sums are the same for any number of lanes.
        n_lanes = min(self.n_lanes, n_threads) if self.exact else self.n_lanes
        spare = self.spare or Spare()
        return PartialSums(
            grams=[],
            class_sums=np.zeros((n_lanes, self.n_sums, d), totals),
            class_counts=np.zeros(k, np.int64),
            class_weights=np.zeros(k),
            n_threads=n_threads,
            workspace=spare.take_workspace(),
        )

    def add(self, total: PartialSums, block: Block) -> None:
        """Add a block of rows."""
        if self.integers is not None and block.weights is None:
            block = replace(block, X=in_wide_rows(block.X))
            if self._add_exactly(total, block):
                return
        codes, indptr = self._codes(block.labels)
        X, weights = block.X, block.weights
        if self.exact and weights is not None:
            raise ValueError("Rows with weights cannot be folded into exact sums of integers.")
        if self.exact and X.dtype.kind in "iu" and X.dtype.itemsize == 2:
            self._check_bound(total, X)
        # A thread with less work costs more than it saves.
        work = block.X.shape[0] * self.n_features**2 // 2
        n_threads = max(1, min(total.n_threads, work // THREAD_PRODUCTS))
        scattered = self.sparse and X.nnz < DENSE_FROM * X.shape[0] * self.n_features
        lane_rows = self.lane_rows
        if not self.sparse:
            X = self._rows(X)
            lane_rows = _fold.piece_rows(X.dtype, self.exact, self.n_features)
        n_lanes = max(1, min(len(total.class_sums), block.X.shape[0] // lane_rows))
        if scattered:
            n_lanes = min(n_lanes, max(1, CSR_STRIPED // self.n_features))
        while len(total.grams) < n_lanes:
            total.grams.append(self._gram(total))
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
            X = X.astype(np.float64).toarray() if self.sparse else X
            need = _fold.workspace_bytes(X.dtype, self.exact, self.n_features, n_lanes, n_threads)
            if total.workspace.nbytes < need:
                total.workspace = aligned(need)
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
        # NaN and infinity reach the diagonal whatever the weight, so the check reads the rows only if it
        # must: squares that overflow are no fault of this block alone.
        if not self.exact and not all(np.isfinite(gram.diagonal()).all() for gram in grams):
            check_finite(block)
        m, k = len(block.labels), len(self.target.classes)
        total.n_samples += m
        total.weight_sum += m if weights is None else float(weights.sum())
        counts = block.labels.counts(k)
        total.class_counts += counts
        total.class_weights += counts if weights is None else block.labels.counts(k, weights)

    def finish(self, total: PartialSums) -> SufficientStatistics:
        """Statistics of the rows added so far; lanes are combined in a fixed tree."""
        if self.integers is None:
            return self._finish(total)
        exact = self.integers.finish(total.exact or self.integers.zero(1))
        if not total.n_samples:
            return exact
        floats = self._finish(total)
        return floats + self.to_float(exact) if exact.n_samples else floats

    def to_float(self, statistics: SufficientStatistics) -> SufficientStatistics:
        """Statistics as float64 sums about this reduction's shift; they are consumed."""
        moved = statistics.reshift(self.shift.astype(np.float64), overwrite=True)
        return moved.to_float(overwrite=True)

    def _add_exactly(self, total: PartialSums, block: Block) -> bool:
        """Add a block to the exact sums if it holds small integers only; return whether it does."""
        assert self.integers is not None
        if total.exact is None:
            total.exact = self.integers.zero(total.n_threads)
        exact, X = total.exact, block.X
        if exact.rows.size < X.size:
            exact.rows = np.empty(X.size, np.uint8)
        found = as_integers(X, total.n_threads, exact.rows[: X.size].reshape(X.shape))
        if found is None:
            return False
        X, largest = found
        bound = exact.bound + len(X) * largest**2
        if bound >= LARGEST_SUM:
            return False
        exact.bound = bound
        self.integers.add(exact, replace(block, X=X))
        return True

    def _check_bound(self, total: PartialSums, X: NDArray[Any]) -> None:
        """Raise before sums of 16-bit integers can overflow; those of bytes do not in any memory."""
        limits = np.iinfo(X.dtype)
        total.bound += len(X) * max(-limits.min, limits.max) ** 2
        if total.bound >= LARGEST_SUM:
            raise ValueError(
                f"Sums over more than {LARGEST_SUM // 2**32} rows of {X.dtype} may overflow: add the "
                "rows in batches (partial_fit), whose sums continue in float64, or pass float64."
            )

    def _finish(self, total: PartialSums) -> SufficientStatistics:
        if self.spare is not None:
            self.spare.keep_workspace(total.workspace)
        total.workspace = total.rows = np.empty(0, np.uint8)
        if not total.grams:
            total.grams.append(self._gram(total))
        gram, class_sums = sum_triangles(total.grams), sum_lanes(total.class_sums)
        if not self.exact and not np.isfinite(gram.diagonal()).all():
            column = int(np.flatnonzero(~np.isfinite(gram.diagonal()))[0])
            raise ValueError(
                f"Column {column} of X has values too large for sums of squares in "
                f"{self.work_dtype}: scale it"
                + (", or pass X as float64." if self.work_dtype == np.float32 else ".")
            )
        if not self.exact and not np.isfinite(class_sums).all():
            raise ValueError("Sums over the rows of X overflow: scale X or the weights.")
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
            rounding=self._rounding(gram, class_sums, total.n_samples),
            dtype=self.dtype,
            multilabel=self.target.multilabel,
            feature_names=self.feature_names,
        )

    def _rounding(
        self, gram: NDArray[Any], class_sums: NDArray[Any], n_samples: int
    ) -> NDArray[np.float64]:
        """Estimated rounding error of the diagonal."""
        if self.exact:
            return np.zeros(self.n_features)
        rounding = fold_rounding(gram, class_sums, n_samples, self.work_dtype)
        return rounding if self.repeated is None else rounding + self.repeated * gram.diagonal()

    def _gram(self, total: PartialSums) -> NDArray[Any]:
        """One more matrix of zeros to add to."""
        return (self.spare or Spare()).take_gram(self.n_features, total.class_sums.dtype)

    def _rows(self, X: NDArray[Any]) -> NDArray[Any]:
        """Rows in the kernel's dtype with unit column stride; not copied if they already are."""
        if X.dtype == np.bool_:
            X = X.view(np.uint8)
        if self.exact:
            return in_rows(X, X.dtype if X.dtype.itemsize == 1 else np.dtype(np.float64))
        return in_rows(X, self.work_dtype)

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
    """Statistics of a source, or of each of its groups if their number is given; and the reduction.

    Fold a second time, with a better reduction, if the first fold has lost too much; the reduction
    returned is the last one used.
    """

    def of(reduction: StatisticsReduction) -> Any:
        if not n_groups:
            return fold(reduction, source)
        return fold(GroupedReduction([reduction] * n_groups), source)

    found = of(reduction)
    better = reduction.better(found if n_groups else [found])
    return (found, reduction) if better is None else (of(better), better)


def _work_dtype(dtype: np.dtype[Any], exact: bool, double: bool) -> np.dtype[Any]:
    """The kernel's dtype for rows of ``dtype``."""
    if exact and dtype.itemsize == 1:
        return np.dtype(np.int8 if dtype.kind == "i" else np.uint8)
    if dtype.kind == "f" and not double:
        return coefficient_dtype(dtype)
    return np.dtype(np.float64)


def float32_holds(weight_range: tuple[float, float]) -> bool:
    """Whether float32 can hold products of rows whose weights lie in this range."""
    return FLOAT32_WEIGHTS[0] <= weight_range[0] and weight_range[1] <= FLOAT32_WEIGHTS[1]
