"""Sufficient statistics: the additive algebra between the pass over the rows and the solve."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import IO, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import blas

from parallel_ridge.kernels import _triangle
from parallel_ridge.numerics import EPSILON, LARGEST_SUM, pairwise_sum
from parallel_ridge.sources import among, union_of_labels
from parallel_ridge.statistics import _archive
from parallel_ridge.statistics._packing import (
    as_float,
    pack_triangle,
    shortened,
    unpack_triangle,
)
from parallel_ridge.statistics._shift import common_shift

# Fields that copies share, because nothing modifies them.
SHARED = (
    "n_samples", "weight_sum", "classes", "dtype", "multilabel", "feature_names",
)  # fmt: skip


@dataclass(repr=False, eq=False)
class SufficientStatistics:
    """All that ridge classification needs to know about a set of weighted, labelled rows.

    The statistics of disjoint sets of rows add: ``a + b`` merges, ``a - b`` forgets, and the
    statistics of no rows are zero. Sums of integers without weights are int64, also of small ones in
    rows of floats, so every way to split or order the rows gives the same bits; int64 sums that could
    overflow become float64.

    :func:`parallel_ridge.sufficient_statistics` makes them from rows.

    Parameters
    ----------
    n_samples : int
        Number of rows.
    weight_sum : float
        Sum of the rows' weights.
    shift : ndarray of shape (d,), float64
        Subtracted from each row ``x`` before its products are formed: the sums below are about it.
    feature_sums : ndarray of shape (d,)
        Sum of ``w (x - shift)``.
    gram : ndarray of shape (d, d), int64 or float64
        Sum of ``w (x - shift)(x - shift)^T``; only the upper triangle is meaningful.
    classes : ndarray of shape (k,)
        Labels in ascending order; ``arange(k)`` for multilabel targets.
    class_counts : ndarray of shape (k,), int64
        Number of rows in each class.
    class_weights : ndarray of shape (k,), float64
        Sum of the weights of each class.
    class_sums : ndarray of shape (k, d)
        Sum of ``w (x - shift)`` over the rows of each class.
    rounding : ndarray of shape (d,), float64
        Estimated rounding error of the diagonal of ``gram``; that of element ``(i, j)`` is the
        square root of the product of elements ``i`` and ``j``. Zero for exact sums.
    dtype : dtype
        Floating dtype of coefficients solved from these statistics.
    multilabel : bool, default=False
        Whether a row may have any number of the classes.
    feature_names : ndarray of shape (d,) of str, or None
        Names of the columns, if the rows had them.

    Notes
    -----
    For targets coded +1 and -1, ``X^T W Y = 2 class_sums - feature_sums``, so no target matrix is
    needed. Moving the shift by ``t`` turns ``gram`` into ``gram - t s^T - s t^T + n t t^T``, with
    ``s`` the feature sums and ``n`` the sum of weights (Chan, Golub and LeVeque, 1983,
    doi:10.1080/00031305.1983.10483115, give the one-column case).
    """

    n_samples: int
    weight_sum: float
    shift: NDArray[np.float64]
    feature_sums: NDArray[Any]
    gram: NDArray[Any]
    classes: NDArray[Any]
    class_counts: NDArray[np.int64]
    class_weights: NDArray[np.float64]
    class_sums: NDArray[Any]
    rounding: NDArray[np.float64]
    dtype: np.dtype[Any]
    multilabel: bool = False
    feature_names: NDArray[Any] | None = None

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return len(self.feature_sums)

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def means(self) -> NDArray[np.float64]:
        """Weighted means of the columns; the shift if there is no weight."""
        n = self.weight_sum
        return self.shift + self.feature_sums / n if n > 0.0 else self.shift.copy()

    @property
    def exact(self) -> bool:
        """Whether the sums are exact integers."""
        return self.gram.dtype == np.int64

    def __repr__(self) -> str:
        kind = "multilabel" if self.multilabel else "classes"
        return (
            f"<SufficientStatistics: {self.n_samples} rows, {self.n_features} features, "
            f"{self.n_classes} {kind}, {self.gram.dtype}>"
        )

    def __eq__(self, other: object) -> bool:
        """Whether every field is equal; the lower triangles are ignored.

        Exact sums of integers never equal floating-point sums: solving them gives other bits.
        """
        if not isinstance(other, SufficientStatistics):
            return NotImplemented
        return self.exact == other.exact and all(
            a.shape == b.shape and all(np.array_equal(a[i, i:], b[i, i:]) for i in range(len(a)))
            if field.name == "gram"
            else np.array_equal(a, b)
            for field in fields(self)
            for a, b in [(getattr(self, field.name), getattr(other, field.name))]
        )

    __hash__ = None  # type: ignore[assignment]  # mutable arrays inside

    def __getstate__(self) -> dict[str, Any]:
        """Pickles hold only the meaningful triangle, with integers as short as possible."""
        return {**vars(self), "gram": shortened(pack_triangle(self.gram))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        triangle, d = state["gram"], len(state["feature_sums"])
        whole = np.int64 if triangle.dtype == np.int32 else triangle.dtype
        state["gram"] = unpack_triangle(triangle, d, np.zeros((d, d), whole))
        vars(self).update(state)

    def pack(self, overwrite: bool = False) -> list[NDArray[Any]]:
        """The numbers that add when statistics of the same classes about the same shift add.

        Parameters
        ----------
        overwrite : bool, default=False
            Pack into the memory of the Gram matrix; these statistics are then consumed.

        Returns
        -------
        list of ndarray
            The upper triangle of the Gram matrix, row by row (``d (d + 1) / 2`` numbers), and the
            sums of all rows and of each class (``d + k d``), both int64 or float64; the numbers of
            rows, total and per class (``1 + k``, int64); the weights, total and per class, followed
            by the rounding errors (``1 + k + d``, float64).
        """
        return [
            pack_triangle(self.gram, overwrite),
            np.concatenate([self.feature_sums, self.class_sums.ravel()]),
            np.concatenate([[self.n_samples], self.class_counts]),
            np.concatenate([[self.weight_sum], self.class_weights, self.rounding]),
        ]

    def unpack(self, arrays: list[NDArray[Any]]) -> SufficientStatistics:
        """Statistics like these with other numbers: the first arrays of a list made by `pack`.

        The arrays are removed from the list; the triangle may share the memory of the Gram matrix.
        """
        triangle, sums, counts, weights = (arrays.pop(0) for _ in range(4))
        d, k = self.n_features, self.n_classes
        own = self.gram if np.shares_memory(triangle, self.gram) else None
        return replace(
            self,
            n_samples=int(counts[0]),
            weight_sum=float(weights[0]),
            feature_sums=sums[:d],
            gram=unpack_triangle(triangle, d, own),
            class_counts=counts[1:],
            class_weights=weights[1 : 1 + k],
            class_sums=sums[d:].reshape(k, d),
            rounding=weights[1 + k :],
        )

    def copy(self) -> SufficientStatistics:
        """Copy that shares no array with this one."""
        arrays = [field.name for field in fields(self) if field.name not in SHARED]
        return replace(self, **{name: getattr(self, name).copy() for name in arrays})

    def __add__(self, other: SufficientStatistics) -> SufficientStatistics:
        """Statistics of both sets of rows."""
        if not isinstance(other, SufficientStatistics):
            return NotImplemented
        return self._combine(other, 1)

    def __sub__(self, other: SufficientStatistics) -> SufficientStatistics:
        """Forget rows that were added before; a class that loses its last rows is dropped."""
        if not isinstance(other, SufficientStatistics):
            return NotImplemented
        self._union(other, "subtract")
        theirs = other.classes[other.class_counts > 0]
        missing = theirs[~among(theirs, self.classes)[1]]
        if len(missing):
            raise ValueError(
                f"Cannot forget rows of classes {missing.tolist()}: these statistics hold none."
            )
        rest = self._combine(other, -1)
        if rest.n_samples < 0 or np.any(rest.class_counts < 0):
            raise ValueError(
                f"Cannot forget more rows than were added: {other.n_samples} rows with class counts "
                f"{other.class_counts.tolist()} from {self.n_samples} with "
                f"{self.class_counts.tolist()} (classes {rest.classes.tolist()})."
            )
        if other.n_samples:
            rest = rest._without_residue()
        if rest.multilabel:
            return rest
        _, gone = among(rest.classes, theirs)
        return rest.select_classes(rest.classes[~gone | (rest.class_counts > 0)])

    @staticmethod
    def sum(statistics: Iterable[SufficientStatistics]) -> SufficientStatistics:
        """Sum of one or more statistics, merged pairwise.

        Raises
        ------
        ValueError
            If there are none, because the number of features is then unknown.
        """
        items = list(statistics)
        if not items:
            raise ValueError(
                "Cannot sum an empty list of statistics: the number of features is unknown."
            )
        return pairwise_sum(items)

    def select_classes(self, classes: ArrayLike) -> SufficientStatistics:
        """Statistics with the given classes, in ascending order; new classes have no rows.

        Raises
        ------
        ValueError
            If a class with rows is left out, or if the classes are not distinct and ascending.
        """
        classes = np.asarray(classes)
        if np.array_equal(classes, self.classes):
            return self
        if classes.ndim != 1 or not (len(classes) < 2 or (classes[:-1] < classes[1:]).all()):
            raise ValueError(f"classes must be distinct and ascending; got {classes.tolist()}.")
        if classes.dtype.kind == "f" and np.isnan(classes).any():
            raise ValueError(f"classes must be labels; got {classes.tolist()}.")
        mine = self.classes[self.class_counts > 0]
        lost = mine[~among(mine, classes)[1]]
        if len(lost):
            raise ValueError(
                f"The statistics hold rows of classes {lost.tolist()}, not in {classes.tolist()}."
            )
        positions, known = among(classes, self.classes)
        position = positions[known]

        def spread(values: NDArray[Any]) -> NDArray[Any]:
            out = np.zeros((len(classes), *values.shape[1:]), dtype=values.dtype)
            out[known] = values[position]
            return out

        return replace(
            self,
            classes=classes,
            class_counts=spread(self.class_counts),
            class_weights=spread(self.class_weights),
            class_sums=spread(self.class_sums),
        )

    def reshift(
        self, shift: ArrayLike, *, overwrite: bool = False, floats: bool = False
    ) -> SufficientStatistics:
        """Copy of the statistics about another shift, derived exactly.

        Integer sums stay exact if the shift moves by integers.

        Parameters
        ----------
        shift : array-like of shape (d,)
            The new shift.
        overwrite : bool, default=False
            Reuse the Gram matrix instead of copying it; these statistics are then consumed.
        floats : bool, default=False
            Also round an exact Gram matrix to float64; the other sums stay exact.
        """
        shift = np.asarray(shift, dtype=np.float64)
        if shift.shape != self.shift.shape:
            raise ValueError(f"shift has shape {shift.shape}; expected {self.shift.shape}.")
        if not np.isfinite(shift).all():
            raise ValueError("shift must be finite.")
        move = shift - self.shift
        if not (move.any() or (floats and self.exact and move.size)):
            return self if overwrite else self.copy()
        squares = self.gram.diagonal() + move * (self.n_samples * move - 2.0 * self.feature_sums)
        fits = max(np.abs(move).max(), (squares.max() / 2**31)) < 2**31
        if self.exact and np.array_equal(move, np.rint(move)) and fits:
            step = move.astype(np.int64)
            gram = self.gram if overwrite else np.empty_like(self.gram)
            gram = gram.view(np.float64) if floats else gram
            sums, n = self.feature_sums, self.n_samples
            _triangle.move_shift(
                self.gram.view(np.uint64), step.view(np.uint64), sums.view(np.uint64), n, gram
            )
            return replace(
                self,
                shift=shift,
                gram=gram,
                feature_sums=sums - n * step,
                class_sums=self.class_sums - self.class_counts[:, None] * step,
                rounding=EPSILON * gram.diagonal() if floats else self.rounding,
            )
        sums = self.feature_sums.astype(np.float64)
        gram = as_float(self.gram, overwrite)
        terms = gram.diagonal() + np.abs(move) * (
            2.0 * np.abs(sums) + self.weight_sum * np.abs(move)
        )
        # The transpose of a C-ordered upper triangle is the lower one that BLAS updates in place.
        blas.dsyr2(
            -1.0, move, sums - 0.5 * self.weight_sum * move, a=gram.T, lower=1, overwrite_a=1
        )
        return replace(
            self,
            shift=shift,
            gram=gram,
            feature_sums=sums - self.weight_sum * move,
            class_sums=self.class_sums - self.class_weights[:, None] * move,
            rounding=np.hypot(self.rounding, np.where(move, EPSILON * terms, 0.0)),
        )

    def _union(self, other: SufficientStatistics, verb: str) -> NDArray[Any]:
        mine, theirs = self.classes, other.classes
        if mine.dtype == theirs.dtype and np.array_equal(mine, theirs):
            return mine
        try:
            return union_of_labels(mine, theirs)
        except ValueError as error:
            raise ValueError(
                f"Cannot {verb} statistics with labels {mine.tolist()} and {theirs.tolist()}: {error}"
            ) from error

    def _without_residue(self) -> SufficientStatistics:
        """Set sums of no rows to zero and clip negative weights, which rounding can leave."""
        empty = self.class_counts == 0
        weights = np.where(empty, 0.0, np.maximum(self.class_weights, 0.0))
        if self.multilabel:
            total = max(self.weight_sum, weights.max(initial=0.0)) if self.n_samples else 0.0
        else:
            total = float(weights.sum())
        rest = replace(
            self,
            weight_sum=total,
            class_weights=weights,
            class_sums=np.where(empty[:, None], 0, self.class_sums),
        )
        if self.n_samples:
            return rest
        zeros = np.zeros_like(self.feature_sums)
        return replace(
            rest,
            feature_sums=zeros,
            gram=np.zeros_like(self.gram),
            rounding=np.zeros(self.n_features),
        )

    def _check_combines(self, other: SufficientStatistics, verb: str) -> None:
        """Raise unless both have the same features and the same kind of targets."""
        if self.n_features != other.n_features:
            raise ValueError(
                f"Cannot {verb} statistics of {other.n_features} features and of {self.n_features}."
            )
        if self.multilabel != other.multilabel:
            raise ValueError(f"Cannot {verb} statistics of multilabel and of single-label targets.")
        if self.multilabel and self.n_classes != other.n_classes:
            raise ValueError(
                f"Cannot {verb} multilabel statistics of {other.n_classes} labels and of "
                f"{self.n_classes}."
            )
        mine, theirs = self.feature_names, other.feature_names
        if mine is not None and theirs is not None and not np.array_equal(mine, theirs):
            first = int(np.flatnonzero(mine != theirs)[0])
            raise ValueError(
                f"Cannot {verb} statistics of different features: column {first} is "
                f"{mine[first]!r} here and {theirs[first]!r} there."
            )

    def _combine(self, other: SufficientStatistics, sign: int) -> SufficientStatistics:
        joined, gram = self.beside(other, sign)
        return replace(joined, gram=joined.gram + gram if sign > 0 else joined.gram - gram)

    def beside(
        self, other: SufficientStatistics, sign: int = 1
    ) -> tuple[SufficientStatistics, NDArray[Any]]:
        """The sum or difference but for its Gram matrix: with that of these statistics, and the other."""
        verb = "merge" if sign > 0 else "subtract"
        self._check_combines(other, verb)
        classes = self._union(other, verb)
        a, b = self.select_classes(classes), other.select_classes(classes)
        if sign > 0 and a.n_samples + b.n_samples >= 2**63:
            raise ValueError(
                f"Cannot merge statistics of {a.n_samples} and {b.n_samples} rows: more than 2^63 cannot "
                "be counted."
            )
        shift = common_shift(a, b, sign)
        a, b = (s if np.array_equal(s.shift, shift) else s.reshift(shift) for s in (a, b))
        overflows = sign > 0 and a.exact and b.exact and a.largest() + b.largest() >= LARGEST_SUM
        if overflows:
            a, b = a.to_float(), b.to_float()
        combine = np.add if sign > 0 else np.subtract
        rounding = np.hypot(a.rounding, b.rounding)
        if not (a.exact and b.exact):  # addition rounds, unless one term is zero
            mine, theirs = a.gram.diagonal(), b.gram.diagonal()
            both = (mine != 0) & (theirs != 0)
            rounding = np.hypot(rounding, np.where(both, EPSILON * (mine + theirs), 0.0))
        joined = replace(
            a,
            n_samples=a.n_samples + sign * b.n_samples,
            weight_sum=a.weight_sum + sign * b.weight_sum,
            feature_sums=combine(a.feature_sums, b.feature_sums),
            class_counts=combine(a.class_counts, b.class_counts),
            class_weights=combine(a.class_weights, b.class_weights),
            class_sums=combine(a.class_sums, b.class_sums),
            rounding=rounding,
            dtype=np.promote_types(a.dtype, b.dtype),
            feature_names=b.feature_names if a.feature_names is None else a.feature_names,
        )
        return joined, b.gram

    def largest(self) -> int:
        """Bound on exact sums; 0 for float64 sums."""
        # |sum| <= the largest diagonal element, by Cauchy-Schwarz
        diagonal = self.gram.diagonal()
        return int(diagonal.max()) if self.exact and len(diagonal) else 0

    def to_float(self, *, overwrite: bool = False) -> SufficientStatistics:
        """The same statistics with sums in float64; other fields are shared.

        The Gram matrix is not copied if ``overwrite`` is set; these statistics are then consumed.
        """
        rounding = EPSILON * self.gram.diagonal() if self.exact else self.rounding
        return replace(
            self,
            feature_sums=self.feature_sums.astype(np.float64),
            gram=as_float(self.gram, overwrite),
            class_sums=self.class_sums.astype(np.float64),
            rounding=rounding,
        )

    def save(self, file: str | os.PathLike[str] | IO[bytes]) -> None:
        """Write the statistics to a file: arrays in a zip archive (``.npz``), nothing pickled.

        Parameters
        ----------
        file : path or binary file object
            A file at that path is replaced only once everything has been written.
        """
        _archive.save(file, self)

    @staticmethod
    def load(file: str | os.PathLike[str] | IO[bytes]) -> SufficientStatistics:
        """Read what :meth:`save` wrote. Nothing in the file is executed.

        Parameters
        ----------
        file : path or binary file object

        Raises
        ------
        ValueError
            If the file is damaged, truncated, inconsistent, of a newer version, or not a file of
            statistics.
        """
        version, attributes = _archive.load(file)
        statistics = SufficientStatistics(**attributes)
        return statistics._without_residue() if version == 1 else statistics
