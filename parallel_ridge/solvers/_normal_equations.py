"""The normal equations of given statistics, and their rounding error."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas

from parallel_ridge.exceptions import IllConditioned
from parallel_ridge.kernels import _lapack, _triangle
from parallel_ridge.numerics import (
    ACCURACY,
    CONSTANT,
    EPSILON,
    FLOAT32_ROUNDING,
    REPEATED,
    SEARCH_ACCURACY,
    SEARCH_LIMIT,
    SOLVE_ROUNDING,
    UNRELATED,
)
from parallel_ridge.solvers._band import Band, BandedForm
from parallel_ridge.solvers._cholesky import CholeskyFactor, cholesky
from parallel_ridge.solvers._problem import Problem, n_targets
from parallel_ridge.solvers._spectrum import Spectrum
from parallel_ridge.statistics import SufficientStatistics


class NormalEquations:
    """The system ``(G + alpha P) W = B`` of given statistics, with diagonal ``P``.

    Parameters
    ----------
    statistics : SufficientStatistics
        Statistics of at least one row.
    problem : Problem
    overwrite : bool, default=False
        Whether the statistics' Gram matrix may be destroyed, to save a copy.

    Notes
    -----
    With an intercept, ``G`` and ``B`` are about the weighted means. ``P`` is the identity, or the
    features' variances if features are standardised: penalising the coefficients of ``x / s`` by
    ``alpha`` is penalising those of ``x`` by ``alpha s^2``.
    """

    def __init__(
        self, statistics: SufficientStatistics, problem: Problem, overwrite: bool = False
    ) -> None:
        n = statistics.weight_sum
        shift = statistics.shift
        variances = None
        if not problem.fit_intercept:
            shift = np.zeros(statistics.n_features)
            if problem.standardize:  # about the shift, which cancels less than sums about zero
                variances, unknown = _variances(statistics)
        elif statistics.exact:  # the integers next to the means, which round nothing
            shift = np.rint(shift + statistics.feature_sums / statistics.n_samples)
        moved = statistics.reshift(shift, overwrite=overwrite, floats=True)
        gram = moved.gram
        sums = moved.feature_sums.astype(np.float64)
        targets = n_targets(statistics.n_classes, statistics.multilabel)
        class_sums = moved.class_sums[targets].astype(np.float64)
        class_weights = moved.class_weights[targets]

        uncentred = gram.diagonal().copy()
        self.rounding = np.hypot(moved.rounding, EPSILON * uncentred)
        # What sums of repeated values have lost before any centring, as any sums in float32 do.
        summed = np.divide(
            moved.rounding, uncentred, out=np.zeros(len(sums)), where=uncentred > 0.0
        )
        self.summed = min(float(summed.max(initial=0.0)), REPEATED)
        if problem.fit_intercept:
            # The transpose of a C-ordered upper triangle is the lower one that BLAS updates.
            blas.dsyr(-1.0 / n, sums, a=gram.T, lower=1, overwrite_a=1)
            variances, unknown = _known_variances(
                uncentred - sums * (sums / n), self.rounding, moved.shift + sums / n, statistics
            )
            gram.flat[:: len(gram) + 1] = variances
            self.means = moved.shift + sums / n
            self.offset = sums - n * (self.means - moved.shift)
            self.rhs = 2.0 * (class_sums - np.outer(class_weights / n, sums))
        else:
            self.means, self.offset = np.zeros((2, len(sums)))
            self.rhs = 2.0 * class_sums - sums
            if variances is None:
                unknown = (uncentred <= CONSTANT * self.rounding) & (self.rounding > 0.0)
        self.squares = gram.diagonal().copy()
        self.unknown = unknown
        # Rounding of sums of products with +1 and -1; what columns of unknown variance may hide.
        self.rhs_rounding = EPSILON * np.sqrt(uncentred) * n**0.5
        self.rhs_rounding[unknown] = np.sqrt(CONSTANT * self.rounding[unknown]) * n**0.5
        self.varies = self.squares > 0.0
        # Constant columns get no coefficient; their products with other columns are rounding.
        kept = np.flatnonzero(self.varies)
        _triangle.select(gram, kept)
        self.gram = gram.reshape(-1)[: len(kept) ** 2].reshape(len(kept), len(kept))
        self.target_means = 2.0 * class_weights / n - 1.0
        self.weight_sum = n
        self.kind = "exact" if statistics.exact else str(statistics.dtype)
        self.wide = statistics.n_samples < statistics.n_features
        self.problem = problem
        self.penalties = np.ones(len(self.gram))
        if problem.standardize:
            assert variances is not None
            self.penalties = np.where(variances > 0.0, variances / n, 1.0)[self.varies]

    def lost(self, alpha: float) -> float:
        """Relative rounding error of the system, or of its right-hand sides if that is larger.

        Both are scaled to a unit diagonal. For columns that may be constant, only a bound is known:
        their sums of squares are below their rounding. A penalty that outweighs it makes them
        harmless.
        """
        penalty = np.full(len(self.varies), self.penalty(alpha), np.float64)
        penalty[self.varies] *= self.penalties
        if self.problem.standardize:
            penalty[self.unknown] = 0.0
        rounding = np.where(
            self.unknown, CONSTANT * self.rounding, np.where(self.varies, self.rounding, 0.0)
        )
        total = self.squares + penalty
        with np.errstate(divide="ignore", invalid="ignore"):
            lost = np.where(rounding > 0.0, rounding / total, 0.0).max(initial=0.0)
            used = self.varies | self.unknown
            scale = np.sqrt(total[used])
            scaled = self.rhs[:, used] / scale
            sides = np.abs(scaled).max(initial=0.0)
            if sides > 0.0:
                sides *= np.linalg.norm(scaled / sides, axis=1).max()
                explained = np.sqrt(self.squares[used] / total[used]).max(initial=0.0)
                sides = max(sides, UNRELATED * explained * self.weight_sum**0.5)
                lost = max(lost, (self.rhs_rounding[used] / scale).max() / sides)
        return float(lost)

    def limit(self, alpha: float) -> float:
        """Largest condition number at which coefficients are accurate without refinement."""
        lost = self.lost(alpha)
        return ACCURACY[self._kind(lost)] / (SOLVE_ROUNDING + lost)

    def accurate(self, factor: CholeskyFactor, coef: NDArray[np.float64]) -> bool:
        """Whether the solution of a factor is accurate without refinement."""
        accuracy = ACCURACY[self._kind(factor.lost)]
        return (
            factor.condition * (SOLVE_ROUNDING + factor.lost) <= accuracy
            and factor.error(coef) <= accuracy
        )

    def _kind(self, lost: float) -> str:
        few, many = FLOAT32_ROUNDING
        many = max(many, 2.0 * self.summed)
        if self.kind == "float32" and (self.wide or not few < lost < many):
            return "float32 with more digits"
        return self.kind

    def search_limit(self, alpha: float) -> float:
        """Largest condition number at which decision values of a search are accurate enough."""
        lost = self.lost(alpha)
        sums = (SEARCH_ACCURACY[self.kind] / lost) ** 2 if lost > 0.0 else np.inf
        return min(SEARCH_LIMIT[self.kind], sums)

    def banded(self, overwrite: bool = False) -> BandedForm:
        """The system in banded form, in the penalty's metric; ``2/3 d^3`` multiplications."""
        root = np.sqrt(self.penalties)
        band = Band(self._metric(root, overwrite))
        return BandedForm(self, root, band, band.rotate((self.rhs[:, self.varies] / root).T))

    def spectrum(self, overwrite: bool = False) -> Spectrum:
        """Axes from an eigendecomposition in the penalty's metric; ``9 d^3`` multiplications.

        The error of small values is relative to the largest one.
        """
        vectors = self._metric(np.sqrt(self.penalties), overwrite)
        values = np.empty(len(vectors))
        if _lapack.eigenvectors(vectors, values):
            raise np.linalg.LinAlgError("The eigendecomposition did not converge.")
        lost = (self.rounding[self.varies] / self.penalties).max(initial=0.0)
        noise = max(len(values) * EPSILON * values.max(initial=0.0), CONSTANT * float(lost))
        values[values <= noise] = 0.0
        return self._spectrum(values, 0.0, vectors, noise)

    def spectrum_of_factor(self, alpha: float, limit: float | None = None) -> Spectrum:
        """Axes from singular values of the Cholesky factor, for penalties from ``alpha`` up.

        The error of small values is relative to the root of the condition number: about twice the
        work of `spectrum`, for half as many digits lost.

        Raises
        ------
        IllConditioned
            If the condition number after scaling exceeds ``limit`` (`search_limit(alpha)` if None).

        References
        ----------
        Demmel and Veselic (1992), Jacobi's method is more accurate than QR, doi:10.1137/0613074,
        which starts from the Cholesky factor.
        """
        limit = self.search_limit(alpha) if limit is None else limit
        factor = self.factorise(alpha, False, limit)
        lower = np.tril(factor.lower)
        lower /= (factor.scale * np.sqrt(self.penalties))[:, None]
        # SciPy's svd holds the GIL, and so would block the threads of other folds.
        vectors, values, _ = np.linalg.svd(lower)
        return self._spectrum(values**2, self.penalty(alpha), vectors, 0.0)

    def penalty(self, alpha: float) -> float:
        """The penalty of the summed loss."""
        return self.problem.penalty(alpha, self.weight_sum)

    def condition_bound(self, alpha: float) -> float:
        """An upper bound on the condition number in the metric of the penalty."""
        penalty = self.penalty(alpha)
        trace = float((self.gram.diagonal() / self.penalties).sum())  # no eigenvalue is larger
        return trace / penalty + 1.0 if penalty else np.inf

    def condition(self, alpha: float) -> float:
        """Estimated condition number in the metric of the penalty; ``d^3 / 6`` multiplications."""
        system = self._metric(np.sqrt(self.penalties)).T
        system.flat[:: len(system) + 1] += self.penalty(alpha)
        magnitudes = np.abs(np.triu(system))
        norm = magnitudes.sum(axis=0) + magnitudes.sum(axis=1) - magnitudes.diagonal()
        try:
            return cholesky(system, norm, np.inf)[1]
        except IllConditioned:
            return np.inf

    def factorise(self, alpha: float, overwrite: bool, limit: float) -> CholeskyFactor:
        """Cholesky factorisation of the system scaled to a unit diagonal.

        The condition number after scaling, which is estimated, governs the error (Higham, Accuracy
        and Stability of Numerical Algorithms, 2nd ed., section 10.1). The cost is d^3 / 6
        multiplications.

        Raises
        ------
        IllConditioned
            If the condition number exceeds ``limit``.
        """
        penalty = self.penalty(alpha) * self.penalties
        scale = 1.0 / np.sqrt(self.gram.diagonal() + penalty)
        system = self.gram if overwrite else np.empty_like(self.gram)
        norm = np.zeros(len(system))
        _triangle.scale(self.gram, scale, system, norm)
        lost = self.lost(alpha)
        try:
            lower, condition = cholesky(system, norm, limit)
        except IllConditioned as error:
            raise IllConditioned(error.condition, lost) from None
        penalties = np.zeros(len(self.varies))
        penalties[self.varies] = penalty
        return CholeskyFactor(
            lower,
            scale,
            condition,
            lost,
            self.varies,
            self.squares,
            penalties,
            self.means,
            self.offset,
            self.target_means,
            self.problem,
        )

    def _metric(self, root: NDArray[np.float64], overwrite: bool = False) -> NDArray[np.float64]:
        """Lower triangle of the system without penalty, in units of the roots of the penalties."""
        system = self.gram if overwrite else self.gram.copy()
        if self.problem.standardize:
            for rows in _row_blocks(len(system)):
                system[rows] /= root[rows, None] * root
        return system.T

    def _spectrum(
        self, values: NDArray[np.float64], base: float, vectors: NDArray[np.float64], noise: float
    ) -> Spectrum:
        if self.problem.standardize:
            vectors /= np.sqrt(self.penalties)[:, None]
        axes = vectors
        if not self.varies.all():
            axes = np.zeros((len(self.varies), len(values)), order="F")
            axes[self.varies] = vectors
        return Spectrum(
            values,
            base,
            axes,
            self.rhs @ axes,
            self.means,
            self.target_means,
            self.squares,
            self.weight_sum,
            self.problem,
            noise,
        )


def _variances(
    statistics: SufficientStatistics,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Sums of squares of the columns about their means, and which columns have unknown variance."""
    n = statistics.weight_sum
    about, sums = statistics.gram.diagonal(), statistics.feature_sums
    if statistics.exact:  # Python's integers do not overflow
        rows = statistics.n_samples
        exact = [rows * int(a) - int(b) ** 2 for a, b in zip(about, sums, strict=True)]
        return np.array([value / rows for value in exact]), np.zeros(len(about), np.bool_)
    rounding = np.hypot(statistics.rounding, EPSILON * about)
    return _known_variances(about - sums * (sums / n), rounding, statistics.means, statistics)


def _known_variances(
    variances: NDArray[np.float64],
    rounding: NDArray[np.float64],
    means: NDArray[np.float64],
    statistics: SufficientStatistics,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Variances, zero where they may be pure rounding error; and where that may hide a real one.

    A column is constant if all of its values are within a few roundings of the mean.
    """
    known = np.where(variances > CONSTANT * rounding, variances, 0.0)
    smallest = 4.0 * float(np.finfo(statistics.dtype).eps) * np.abs(means)
    hidden = CONSTANT * rounding > statistics.weight_sum * smallest * smallest
    return known, (known == 0.0) & hidden


def _row_blocks(n: int, size: int = 256) -> list[slice]:
    return [slice(i, min(i + size, n)) for i in range(0, n, size)]
