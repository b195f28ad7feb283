"""Passes over rows: to sufficient statistics, to moments, and to an R factor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from parallel_ridge.backends import Backend, Request, described, get_backend, public_call
from parallel_ridge.exceptions import IllConditioned
from parallel_ridge.numerics import EPSILON, FAR, WORTH_A_PASS
from parallel_ridge.reductions import (
    SAMPLE_ROWS,
    ColumnForm,
    Columns,
    Moments,
    MomentsReduction,
    QRReduction,
    RowProductReduction,
    RowProducts,
    RowsReduction,
    StatisticsOptions,
    StatisticsReduction,
    choose_shift,
    column_source,
    fold_statistics,
)
from parallel_ridge.solvers import Problem, RowFactor, RowSystem, Solution, Spectrum, n_targets
from parallel_ridge.sources import ArraySource, Block, Labels, Source, Target
from parallel_ridge.statistics import SufficientStatistics

T = TypeVar("T")


def sufficient_statistics(
    X: Any,
    y: Any = None,
    *,
    sample_weight: ArrayLike | None = None,
    classes: ArrayLike | None = None,
    shift: ArrayLike | None = None,
    backend: str | Backend = "auto",
    n_jobs: int | None = None,
) -> SufficientStatistics:
    """Sufficient statistics of the rows of ``X`` with labels ``y``, in one pass.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n, d), or rows of another kind that a backend reads
        Rows; integers and booleans are used as they are, and summed exactly, also where floats hold
        them (if no row has a weight). ``n`` may be 0.
    y : array-like of shape (n,), or indicator matrix of shape (n, k)
        Labels. Omitted where an RDD holds both.
    sample_weight : array-like of shape (n,), default=None
        Non-negative weights.
    classes : array-like of shape (k,), default=None
        All labels there are; those of ``y`` when None.
    shift : array-like of shape (d,), default=None
        Shift to use. When None, the means of a sample of the rows in those columns whose mean exceeds
        their standard deviation (0 for exact integer rows), or the means of all rows where sums about
        the sample's have lost digits.
    backend : str or backend, default="auto"
        Where the pass runs.
    n_jobs : int, default=None
        Threads; None is all cores this process may use.

    Returns
    -------
    SufficientStatistics

    Raises
    ------
    ValueError
        If ``X`` holds NaN or infinity (the message names row and column), if lengths differ, or if
        ``y`` has labels that ``classes`` lacks.

    Examples
    --------
    >>> import numpy as np
    >>> from parallel_ridge import sufficient_statistics
    >>> X, y = np.arange(12, dtype=np.uint8).reshape(6, 2), np.array([0, 1, 1, 0, 1, 0])
    >>> top, rest = (sufficient_statistics(X[r], y[r]) for r in (slice(2), slice(2, 6)))
    >>> top + rest == sufficient_statistics(X, y)
    True
    """
    with public_call("sufficient_statistics"):
        engine = get_backend(backend, n_jobs, X)
        options = StatisticsOptions(shift=shift)
        source, target = engine.source(
            Request(
                X,
                y,
                sample_weight,
                classes,
                options=lambda: {"shift": described(None if shift is None else np.asarray(shift))},
                # With the caller's shift, whether sums are exact is known only with the rows.
                statistics=options if shift is None else None,
            )
        )
        reduction = StatisticsReduction.of(source, target, options)
        if shift is None:
            statistics, _ = fold_statistics(engine.reduce, reduction, source)
        else:
            statistics = engine.reduce(reduction, source)
    return replace(
        statistics, feature_names=None
    )  # arrays have no names, so that all sources give equal statistics


@dataclass
class WideRows:
    """All rows of a problem with fewer rows than features, in this process.

    Attributes
    ----------
    columns : ArraySource
        Their columns as rows.
    labels : Labels
    weights : ndarray of shape (n,)
        Weights of the rows, which also centre and scale the features.
    share : slice
        Columns that this process reduces.
    products : RowProducts, or None
        The products of all pairs of rows that `with_enough_digits` formed last.
    """

    columns: ArraySource
    labels: Labels
    weights: NDArray[np.float64]
    share: slice
    products: RowProducts | None = None

    @staticmethod
    def of(backend: Backend, source: Source) -> WideRows:
        """Collect the rows of a source."""
        blocks = backend.reduce(RowsReduction(), source)
        X = blocks[0].X
        if len(blocks) > 1:
            parts = [block.X for block in blocks]
            X = sp.vstack(parts, "csr") if sp.issparse(X) else np.concatenate(parts)
        own, n, d = source.local_rows, X.shape[0], X.shape[1]
        return WideRows(
            column_source(X),
            Labels.join([block.labels for block in blocks]),
            block_weights(blocks),
            slice(d * own.start // n, d * own.stop // n),
        )

    def form(self, problem: Problem) -> ColumnForm:
        """How the columns of the problem are centred and scaled."""
        return ColumnForm(self.weights, problem.fit_intercept, problem.standardize)

    def view(self, problem: Problem, n_threads: int) -> Columns:
        """The columns of the problem, for products with them."""
        return Columns(self.columns, self.form(problem), n_threads)

    def fold(self, backend: Backend, problem: Problem, double: bool = False) -> RowProducts:
        """Products of all pairs of rows."""
        reduction = RowProductReduction(self.columns, self.form(problem), double)
        some = self.columns
        if self.share != slice(0, some.n_rows):
            some = some.take(np.arange(self.share.start, self.share.stop))
        return backend.reduce(reduction, some)

    def with_enough_digits(
        self, backend: Backend, problem: Problem, use: Callable[[RowProducts], T]
    ) -> T:
        """``use(products)``, with products of float32 rows in float64 if float32 has too few digits.

        Raises
        ------
        IllConditioned
            If float64 has too few digits as well.
        """
        if self.products is None:
            self.products = self.fold(backend, problem)
        try:
            return use(self.products)
        except IllConditioned:
            if self.products.products != "float32":
                raise
        self.products = self.fold(backend, problem, double=True)
        return use(self.products)


def block_weights(blocks: Sequence[Block]) -> NDArray[np.float64]:
    """Weights of all rows."""
    return np.concatenate(
        [np.ones(b.X.shape[0]) if b.weights is None else b.weights for b in blocks]
    )


def _fold_factor(backend: Backend, source: Source, target: Target, problem: Problem) -> RowFactor:
    shift, variances = np.zeros(source.n_features), None
    k, first = len(target.classes), int(problem.fit_intercept)
    d = source.n_features
    if problem.fit_intercept:  # also for sparse rows, because their blocks are made dense
        shift = choose_shift(source.sample(SAMPLE_ROWS))
    elif problem.standardize:
        moments, _ = fold_moments(backend, source, k)
        variances = moments.variances
    R = backend.reduce(QRReduction(k, shift, bool(first)), source).R
    if problem.fit_intercept:
        with np.errstate(over="ignore"):
            squares, away = (R[1:, 1 : 1 + d] ** 2).sum(axis=0), R[0, 1 : 1 + d]
        # A rotation rounds by EPSILON times the size of the rows about the shift.
        far = EPSILON * np.abs(away) > WORTH_A_PASS["float64"] * np.sqrt(squares)
        if far.any() and R[0, 0] != 0.0:
            shift = np.where(far, shift + away / R[0, 0], shift)
            R = backend.reduce(QRReduction(k, shift, True), source).R
    R = np.hstack([R[:, : d + 1], R[:, d + 1 :][:, n_targets(k, target.multilabel)]])
    return RowFactor(R, shift, source.weight_sum(), variances)


def fold_moments(
    backend: Backend, source: Source, n_classes: int
) -> tuple[Moments, NDArray[np.float64]]:
    """Moments of a source about a shift that loses few digits; and the shift."""
    shift = choose_shift(source.sample(SAMPLE_ROWS))
    moments = backend.reduce(MomentsReduction(n_classes, shift), source)
    centred = moments.variances
    far = (EPSILON * moments.square_sums > WORTH_A_PASS["float64"] * centred) & (
        moments.square_sums > FAR * centred
    )
    if far.any() and moments.weight_sum > 0.0:
        shift = np.where(far, shift + moments.feature_sums / moments.weight_sum, shift)
        moments = backend.reduce(MomentsReduction(n_classes, shift), source)
    return moments, shift


def fold_spectrum(backend: Backend, source: Source, target: Target, problem: Problem) -> Spectrum:
    """Axes of the rows of a source, by QR: see `RowSystem`."""

    def solve(factor: RowFactor) -> Spectrum:
        return RowSystem(factor, problem).spectrum()

    return backend.map(solve, [_fold_factor(backend, source, target, problem)])[0]


def fold_path(
    backend: Backend, source: Source, target: Target, problem: Problem, alphas: Sequence[float]
) -> list[tuple[Solution, float]]:
    """Solutions for each penalty, by QR, and their estimated errors: see `RowSystem`."""

    def solve(factor: RowFactor) -> list[tuple[Solution, float]]:
        system = RowSystem(factor, problem)
        return [system.solve(alpha) for alpha in alphas]

    return backend.map(solve, [_fold_factor(backend, source, target, problem)])[0]
