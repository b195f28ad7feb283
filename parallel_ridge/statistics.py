"""Sufficient statistics: the additive algebra between the pass over rows and the solve."""

from __future__ import annotations

import io
import json
import math
import os
import uuid
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import NoneType
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import blas

from parallel_ridge.kernels import _triangle
from parallel_ridge.labels import among, union_of_labels
from parallel_ridge.numerics import EPSILON, LEAST, ROUNDING

if TYPE_CHECKING:
    from parallel_ridge.backends import Backend

FORMAT = "parallel_ridge.SufficientStatistics"
VERSION = 2
# Members of a file. Those of version 1 had text as NumPy's strings, which lose NUL at the end.
MEMBERS = (
    "header", "shift", "feature_sums", "triangle", "classes", "class_counts", "class_weights",
    "class_sums", "rounding", "feature_names",
)  # fmt: skip
# Fields that copies share, since nothing changes them.
SHARED = (
    "n_samples", "weight_sum", "classes", "dtype", "multilabel", "feature_names",
)  # fmt: skip


@dataclass(repr=False, eq=False)
class SufficientStatistics:
    """All that ridge classification needs to know of a set of weighted, labelled rows.

    The statistics of disjoint sets of rows add: ``a + b`` merges, ``a - b`` forgets, and the
    statistics of no rows are zero. Integer rows without weights are held as int64, so that every
    way to split or order them gives the same bits; int64 sums that could overflow go on as float64.

    Use :meth:`from_data` to make one.

    Parameters
    ----------
    n_samples : int
        Rows.
    weight_sum : float
        Sum of the rows' weights.
    shift : ndarray of shape (d,), float64
        What was subtracted from each row ``x`` before its products: sums below are about it.
    feature_sums : ndarray of shape (d,)
        Sum of ``w (x - shift)``.
    gram : ndarray of shape (d, d), int64 or float64
        Sum of ``w (x - shift)(x - shift)^T``; only the upper triangle is meaningful.
    classes : ndarray of shape (k,)
        Labels in ascending order; ``arange(k)`` for multilabel targets.
    class_counts : ndarray of shape (k,), int64
        Rows of each class.
    class_weights : ndarray of shape (k,), float64
        Sum of the weights of each class.
    class_sums : ndarray of shape (k, d)
        Sum of ``w (x - shift)`` over the rows of each class.
    rounding : ndarray of shape (d,), float64
        Estimated rounding error of the diagonal of ``gram``; that of element ``(i, j)`` is the root of
        the product of two of these. Zero for exact sums.
    dtype : dtype
        Floating dtype that coefficients solved from these statistics have.
    multilabel : bool, default=False
        Whether a row may have any number of the classes.
    feature_names : ndarray of shape (d,) of str, or None
        Names of the columns, where the rows had them.

    Notes
    -----
    For targets coded +1 and -1, ``X^T W Y = 2 class_sums - feature_sums``, so no target matrix is
    needed. Moving the shift by ``t`` takes ``gram`` to ``gram - t s^T - s t^T + n t t^T`` with ``s``
    the feature sums and ``n`` the sum of weights (Chan, Golub and LeVeque, 1983,
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

    @staticmethod
    def from_data(
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        classes: ArrayLike | None = None,
        shift: ArrayLike | None = None,
        backend: str | Backend = "auto",
        n_jobs: int | None = None,
    ) -> SufficientStatistics:
        """Statistics of the rows of ``X`` with labels ``y``, in one pass.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n, d)
            Rows; integers and booleans are used as they are. ``n`` may be 0.
        y : array-like of shape (n,), or indicator matrix of shape (n, k)
            Labels. Left out where an RDD holds both.
        sample_weight : array-like of shape (n,), default=None
            Non-negative weights.
        classes : array-like of shape (k,), default=None
            All labels there are; those of ``y`` when None.
        shift : array-like of shape (d,), default=None
            Shift to use; when None, the means of a sample of the rows, in those columns whose mean
            exceeds their standard deviation (0 for exact integer rows), or of all rows, where sums
            about these have lost digits.
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
            If ``X`` holds NaN or infinity (the message names row and column), if lengths differ,
            or if ``y`` has labels that ``classes`` lacks.

        Examples
        --------
        >>> import numpy as np
        >>> from parallel_ridge import SufficientStatistics
        >>> X, y = np.arange(12, dtype=np.uint8).reshape(6, 2), np.array([0, 1, 1, 0, 1, 0])
        >>> top, rest = (SufficientStatistics.from_data(X[r], y[r]) for r in (slice(2), slice(2, 6)))
        >>> top + rest == SufficientStatistics.from_data(X, y)
        True
        """
        # The algebra itself needs none of these, and they need it.
        from parallel_ridge.backends import get_backend, public_call
        from parallel_ridge.backends._base import Plan
        from parallel_ridge.reductions import StatisticsReduction, fold_statistics
        from parallel_ridge.sources import described

        with public_call("SufficientStatistics.from_data"):
            engine = get_backend(backend, n_jobs, X)
            # With a shift of one's own, sums of integers are not exact: known when the rows are.
            plan = Plan(statistics=shift is None)
            source, target = engine.planned(plan).source(
                X,
                y,
                sample_weight=sample_weight,
                classes=classes,
                options=lambda: {"shift": described(None if shift is None else np.asarray(shift))},
            )
            reduction = StatisticsReduction.of(source, target, shift=shift)
            if shift is None:
                statistics, _ = fold_statistics(engine.fold, reduction, source)
            else:
                statistics = engine.fold(reduction, source)
        return replace(statistics, feature_names=None)  # some sources know them, and arrays do not

    @property
    def n_features(self) -> int:
        """Columns of the rows."""
        return len(self.feature_sums)

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def means(self) -> NDArray[np.float64]:
        """Weighted means of the columns; the shift where there is no weight."""
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
        """Equal values in every field; the lower triangles do not count.

        Exact sums of integers never equal floating-point ones: they go on to other bits.
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
        """Pickles hold the triangle that is meaningful, of integers that are as short as they may be."""
        return {**vars(self), "gram": _shortened(pack_triangle(self.gram))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        triangle, d = state["gram"], len(state["feature_sums"])
        whole = np.int64 if triangle.dtype == np.int32 else triangle.dtype
        state["gram"] = unpack_triangle(triangle, d, np.zeros((d, d), whole))
        vars(self).update(state)

    def pack(self, overwrite: bool = False) -> list[NDArray[Any]]:
        """All that adds when statistics of the same classes about the same shift add.

        Parameters
        ----------
        overwrite : bool, default=False
            Pack into the memory of the Gram matrix; these statistics are then used up.

        Returns
        -------
        list of ndarray
            The upper triangle of the Gram matrix, row by row, ``d (d + 1) / 2`` numbers; the sums of
            all rows and of each class, ``d + k d``, both int64 or float64; the numbers of rows, of all
            and of each class (int64), and their weights (float64), ``1 + k``, with the rounding
            errors behind them, ``d``.
        """
        return [
            pack_triangle(self.gram, overwrite),
            np.concatenate([self.feature_sums, self.class_sums.ravel()]),
            np.concatenate([[self.n_samples], self.class_counts]),
            np.concatenate([[self.weight_sum], self.class_weights, self.rounding]),
        ]

    def unpack(self, arrays: list[NDArray[Any]]) -> SufficientStatistics:
        """Statistics like these with other numbers: the first of the list, which `pack` gives.

        The arrays are taken from the list; the triangle may lie in the memory of the Gram matrix.
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
        """Forget rows that were added before; a class whose last rows go, goes with them."""
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
            If there are none: the number of features would be unknown.
        """
        items = list(statistics)
        if not items:
            raise ValueError("Cannot sum no statistics: the number of features is unknown.")
        while len(items) > 1:
            items = [
                items[i] + items[i + 1] if i + 1 < len(items) else items[i]
                for i in range(0, len(items), 2)
            ]
        return items[0]

    def select_classes(self, classes: ArrayLike) -> SufficientStatistics:
        """Statistics with these classes, ascending; new ones have no rows.

        Raises
        ------
        ValueError
            If a class that has rows is left out, or if they are not distinct and ascending.
        """
        classes = np.asarray(classes)
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
        if np.array_equal(classes, self.classes):
            return self
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
        """Copy of the statistics about another shift, exactly derived.

        Integer sums stay exact where the shift moves by integers.

        Parameters
        ----------
        shift : array-like of shape (d,)
            The new shift.
        overwrite : bool, default=False
            Take over the Gram matrix instead of copying it; these statistics are then used up.
        floats : bool, default=False
            Round an exact Gram matrix to float64 on the way; the other sums stay exact.
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
        try:
            return union_of_labels(self.classes, other.classes)
        except ValueError as error:
            raise ValueError(
                f"Cannot {verb} statistics with labels {self.classes.tolist()} and "
                f"{other.classes.tolist()}: {error}"
            ) from error

    def _without_residue(self) -> SufficientStatistics:
        """Sums of no rows are zero and weights are not negative, whatever rounding left of them."""
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

    def _combine(self, other: SufficientStatistics, sign: int) -> SufficientStatistics:
        verb = "merge" if sign > 0 else "subtract"
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
        classes = self._union(other, verb)
        a, b = self.select_classes(classes), other.select_classes(classes)
        if sign > 0 and a.n_samples + b.n_samples >= 2**63:
            raise ValueError(
                f"Cannot merge statistics of {a.n_samples} and {b.n_samples} rows: more than 2^63 cannot "
                "be counted."
            )
        shift = _common_shift(a, b, sign)
        a, b = (s if np.array_equal(s.shift, shift) else s.reshift(shift) for s in (a, b))
        overflows = sign > 0 and a.exact and b.exact and a.largest() + b.largest() >= 2**62
        if overflows:
            a, b = a.to_float(), b.to_float()
        combine = np.add if sign > 0 else np.subtract
        rounding = np.hypot(a.rounding, b.rounding)
        if not (a.exact and b.exact):  # which rounds, but where there is nothing to add
            mine, theirs = a.gram.diagonal(), b.gram.diagonal()
            both = (mine != 0) & (theirs != 0)
            rounding = np.hypot(rounding, np.where(both, EPSILON * (mine + theirs), 0.0))
        return replace(
            a,
            n_samples=a.n_samples + sign * b.n_samples,
            weight_sum=a.weight_sum + sign * b.weight_sum,
            feature_sums=combine(a.feature_sums, b.feature_sums),
            gram=combine(a.gram, b.gram),
            class_counts=combine(a.class_counts, b.class_counts),
            class_weights=combine(a.class_weights, b.class_weights),
            class_sums=combine(a.class_sums, b.class_sums),
            rounding=rounding,
            dtype=np.promote_types(a.dtype, b.dtype),
            feature_names=b.feature_names if a.feature_names is None else a.feature_names,
        )

    def largest(self) -> int:
        """Bound of exact sums, 0 for others."""
        # |sum| <= the largest diagonal element, by Cauchy and Schwarz
        diagonal = self.gram.diagonal()
        return int(diagonal.max()) if self.exact and len(diagonal) else 0

    def to_float(self) -> SufficientStatistics:
        """The same statistics with sums in float64; what else they hold is shared."""
        return replace(
            self,
            feature_sums=self.feature_sums.astype(np.float64),
            gram=self.gram.astype(np.float64),
            class_sums=self.class_sums.astype(np.float64),
            rounding=EPSILON * self.gram.diagonal() if self.exact else self.rounding,
        )

    def save(self, file: str | os.PathLike[str] | IO[bytes]) -> None:
        """Write the statistics to a file: arrays in a zip archive (``.npz``), nothing pickled.

        Parameters
        ----------
        file : path or binary file object
            A path is replaced only once all has been written.
        """
        classes = self.classes
        text = classes.dtype.kind in "OU"
        if text and not all(isinstance(label, str) for label in classes):
            raise ValueError(
                f"Cannot save labels that are neither numbers, strings nor dates: {classes.tolist()}"
            )
        names = self.feature_names
        header = {
            "format": FORMAT,
            "version": VERSION,
            "n_samples": self.n_samples,
            "weight_sum": float(self.weight_sum),
            "dtype": np.dtype(self.dtype).str,
            "multilabel": self.multilabel,
            "labels_are_objects": classes.dtype == object,
            "labels": classes.tolist() if text else None,
            "feature_names": None if names is None else [str(name) for name in names],
        }
        arrays: dict[str, Any] = {
            "header": np.frombuffer(json.dumps(header).encode(), dtype=np.uint8),
            "shift": self.shift,
            "feature_sums": self.feature_sums,
            "triangle": pack_triangle(self.gram),
            "class_counts": self.class_counts,
            "class_weights": self.class_weights,
            "class_sums": self.class_sums,
            "rounding": self.rounding,
        }
        if not text:
            arrays["classes"] = classes
        if not isinstance(file, str | os.PathLike):
            np.savez(file, **arrays)
            return
        path = Path(file)
        temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
        try:
            with open(temporary, "xb") as stream:
                np.savez(stream, **arrays)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    @staticmethod
    def load(file: str | os.PathLike[str] | IO[bytes]) -> SufficientStatistics:
        """Read what :meth:`save` wrote. Nothing in the file is executed.

        Parameters
        ----------
        file : path or binary file object

        Raises
        ------
        ValueError
            If the file is damaged, truncated, inconsistent, of a newer version or of another kind.
        """
        name = repr(os.fspath(file)) if isinstance(file, str | os.PathLike) else "the stream"
        if isinstance(file, str | os.PathLike):
            with open(file, "rb") as stream:
                return SufficientStatistics._load(stream, name)
        return SufficientStatistics._load(file, name)

    @staticmethod
    def _load(stream: IO[bytes], name: str) -> SufficientStatistics:
        try:
            arrays = _read_members(stream)
            header = json.loads(arrays.pop("header").tobytes())
            if header["format"] != FORMAT:
                raise ValueError(f"its format is {header['format']!r}")
            _check_header(header)
            if header["version"] > VERSION:
                raise ValueError(
                    f"its version {header['version']} is newer than {VERSION}, "
                    "the newest this parallel_ridge reads"
                )
            return _from_arrays(header, arrays)
        except Exception as error:  # whatever zipfile, numpy and json make of damage
            raise ValueError(
                f"Cannot load sufficient statistics from {name}: {error}. The file is damaged, "
                "truncated, or was not written by SufficientStatistics.save."
            ) from error


def _common_shift(
    a: SufficientStatistics, b: SufficientStatistics, sign: int
) -> NDArray[np.float64]:
    """The shift about which two sets of statistics combine.

    Where they have the same shift it stays, so that sums about one that was agreed before remain plain
    sums. Elsewhere the mean of the result: then centring the result cancels nothing, wherever the rows
    went meanwhile. Integers stay about integers.
    """
    if a.n_samples == 0 or b.n_samples == 0:
        return (b if a.n_samples == 0 else a).shift
    same = a.shift == b.shift
    if same.all():
        return a.shift
    weight = a.weight_sum + sign * b.weight_sum
    if not weight > 0.0:
        return a.shift
    mean = (a.weight_sum * a.means + sign * b.weight_sum * b.means) / weight
    if a.exact and b.exact:
        mean = np.rint(mean)
    return np.where(same | ~np.isfinite(mean), a.shift, mean)


def _as_saved(classes: NDArray[Any], as_objects: bool) -> NDArray[Any]:
    if as_objects:
        return classes.astype(object)
    return classes.astype(np.str_) if classes.dtype == object else classes


def _check_sums(
    arrays: dict[str, NDArray[Any]],
    diagonal: NDArray[Any],
    rounding: NDArray[np.float64],
    n_samples: int,
    weight_sum: float,
    multilabel: bool,
) -> None:
    """Raise where sums contradict each other by more than rounding can make them."""
    weights, counts = arrays["class_weights"], arrays["class_counts"]
    slack = 1e-6 * weight_sum
    if (weights < -slack).any() or (weights > weight_sum + slack).any():
        raise ValueError("the weights of the classes are negative, or more than that of all rows")
    if not multilabel and abs(weights.sum() - weight_sum) > slack:
        raise ValueError("the weights of the classes do not add up to that of all rows")
    exact = diagonal.dtype == np.int64
    if exact and (weight_sum != n_samples or not np.array_equal(weights, counts)):
        raise ValueError("the sums are of integers, and the weights are not the numbers of rows")
    squares = diagonal.astype(np.float64)
    if (squares < -1e3 * rounding).any():
        raise ValueError("a sum of squares is negative")
    # By Cauchy and Schwarz; divided, since the squares of sums may overflow.
    sums = np.abs(arrays["feature_sums"].astype(np.float64))
    bound = np.sqrt(np.maximum(squares, 0.0) + 1e3 * rounding) * weight_sum**0.5
    if (sums > (1.0 + 1e-4) * bound + 1e-290).any():
        raise ValueError("sums of a column are larger than its sum of squares allows")


def _shortened(numbers: NDArray[Any]) -> NDArray[Any]:
    """Integers in 32 bits where all of them fit."""
    if numbers.dtype == np.int64 and len(numbers):
        short = np.iinfo(np.int32)
        if short.min <= numbers.min() and numbers.max() <= short.max:
            return numbers.astype(np.int32)
    return numbers


def fold_rounding(
    gram: NDArray[Any], class_sums: NDArray[Any], n_samples: int, dtype: np.dtype[Any]
) -> NDArray[np.float64]:
    """Estimated rounding error of the diagonal of a Gram matrix of float rows: see `numerics`.

    Parameters
    ----------
    dtype : dtype
        Of the products.
    """
    name, n = str(dtype), max(1, n_samples)
    relative = ROUNDING[name] / (n**0.5 if name == "float32" else 1.0)
    rounding = relative * gram.diagonal() + LEAST[name] * n
    # Columns of zeros, or of constants that were shifted to zeros, are exact.
    rounding[(gram.diagonal() == 0.0) & ~class_sums.any(axis=0)] = 0.0
    return rounding


def pack_triangle(matrix: NDArray[Any], overwrite: bool = False) -> NDArray[Any]:
    """Upper triangle of a square matrix, row by row.

    Parameters
    ----------
    overwrite : bool, default=False
        Use the matrix's own memory; it must be C-contiguous.
    """
    d = len(matrix)
    n = d * (d + 1) // 2
    packed = matrix.reshape(-1)[:n] if overwrite else np.empty(n, matrix.dtype)
    if d:
        _triangle.pack(matrix, packed)
    return packed


def unpack_triangle(packed: NDArray[Any], d: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Square matrix with an upper triangle that was packed.

    Parameters
    ----------
    out : ndarray of shape (d, d), default=None
        Where to put it, what is below then meaningless; ``packed`` may be the front of its memory.
    """
    matrix = np.zeros((d, d), packed.dtype) if out is None else out
    if d:
        _triangle.unpack(packed, matrix)
    return matrix


def as_float(gram: NDArray[Any], overwrite: bool = False) -> NDArray[np.float64]:
    """A matrix of 8-byte numbers as float64: a copy, or the same memory."""
    if not overwrite:
        return gram.astype(np.float64, order="C")
    floats = gram.view(np.float64)
    if gram.dtype != np.float64:
        for row, integers in zip(floats, gram, strict=True):
            row[:] = integers
    return floats


def _read_members(stream: IO[bytes]) -> dict[str, NDArray[Any]]:
    """The arrays of a file, of the names that are expected; sizes are checked before they are read."""
    if not stream.seekable():
        stream = io.BytesIO(stream.read())
    length = stream.seek(0, os.SEEK_END)
    arrays = {}
    with zipfile.ZipFile(stream) as archive:
        names = archive.namelist()
        for name in MEMBERS:
            member = f"{name}.npy"
            if names.count(member) > 1:
                raise ValueError(f"it has two members {name!r}")
            if member not in names:
                continue
            info = archive.getinfo(member)
            if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
                raise ValueError(f"its member {name!r} is compressed")
            if info.header_offset + info.file_size > length:
                raise ValueError(
                    f"its member {name!r} is said to have {info.file_size} bytes, and the file has "
                    f"{length}"
                )
            with archive.open(info) as content:
                version = np.lib.format.read_magic(content)
                read = {
                    (1, 0): np.lib.format.read_array_header_1_0,
                    (2, 0): np.lib.format.read_array_header_2_0,
                }.get(version)
                if read is None:
                    raise ValueError(f"its member {name!r} has the format {version}")
                shape, fortran, dtype = read(content)
                n_bytes = math.prod(shape) * dtype.itemsize
                if dtype.hasobject or content.tell() + n_bytes != info.file_size:
                    raise ValueError(
                        f"its member {name!r} has {info.file_size} bytes, which are no array of shape "
                        f"{shape} and {dtype}"
                    )
                data = np.frombuffer(bytearray(content.read()), dtype)
            arrays[name] = data.reshape(shape, order="F" if fortran else "C")
    return arrays


def _check_header(header: dict[str, Any]) -> None:
    """Raise unless each entry has its type; a flag is no number."""
    kinds: dict[str, tuple[type, ...]] = {
        "version": (int,),
        "n_samples": (int,),
        "weight_sum": (int, float),
        "dtype": (str,),
        "multilabel": (bool,),
        "labels_are_objects": (bool,),
    }
    if header.get("version") != 1:
        kinds |= {"labels": (list, NoneType), "feature_names": (list, NoneType)}
    for name, types in kinds.items():
        value = header[name]
        if type(value) not in types:
            raise ValueError(f"its header's {name} is {value!r}")
        if isinstance(value, list) and not all(isinstance(one, str) for one in value):
            raise ValueError(f"its header's {name} are not strings only: {value[:5]}")


def _from_arrays(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> SufficientStatistics:
    """Check everything that the rest of the package takes for granted, then build."""
    if header["version"] > 1 and header["labels"] is not None:
        arrays["classes"] = np.array(header["labels"], dtype=object)
    names = arrays.get("feature_names")
    if header["version"] > 1:
        given = header["feature_names"]
        names = None if given is None else np.array(given, dtype=object)
    d, k = len(arrays["shift"]), len(arrays["classes"])
    if d == 0:
        raise ValueError("it has no features")
    expected = {
        "shift": (d,),
        "feature_sums": (d,),
        "triangle": (d * (d + 1) // 2,),
        "classes": (k,),
        "class_counts": (k,),
        "class_weights": (k,),
        "class_sums": (k, d),
    }
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            raise ValueError(f"{name} has shape {arrays[name].shape}; expected {shape}")
    kinds = {"shift": "f", "class_counts": "i", "class_weights": "f"}
    totals = arrays["triangle"].dtype
    if totals not in (np.dtype(np.int64), np.dtype(np.float64)):
        raise ValueError(f"the sums are {totals}")
    for name, kind in kinds.items():
        if arrays[name].dtype != np.dtype(kind + "8"):
            raise ValueError(f"{name} is {arrays[name].dtype}")
    for name in ("feature_sums", "class_sums"):
        if arrays[name].dtype != totals:
            raise ValueError(f"{name} is {arrays[name].dtype} and the Gram matrix {totals}")
    for name in ("shift", "feature_sums", "triangle", "class_weights", "class_sums"):
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name} is not finite")
    classes, counts = arrays["classes"], arrays["class_counts"]
    if classes.dtype.kind not in "biufOUSmM" or not (classes[:-1] < classes[1:]).all():
        raise ValueError("classes are not distinct labels in ascending order")
    if classes.dtype.kind in "fmM" and np.isnan(classes).any():
        raise ValueError("one of the classes is not a number, or no time")
    n_samples, weight_sum = header["n_samples"], float(header["weight_sum"])
    if not 0 <= n_samples < 2**63:
        raise ValueError(f"there cannot be {n_samples} rows")
    if (counts < 0).any() or not (counts <= n_samples).all() or not 0 <= weight_sum < np.inf:
        raise ValueError("the numbers of rows and the sums of weights contradict each other")
    if not header["multilabel"] and counts.sum() != n_samples:
        raise ValueError(f"the class counts do not add up to {n_samples} rows")
    dtype = np.dtype(header["dtype"])
    if dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"coefficients cannot be {dtype}")
    if names is not None and names.shape != (d,):
        raise ValueError(f"feature_names has shape {names.shape}; expected {(d,)}")
    gram = unpack_triangle(arrays["triangle"], d)
    rounding = arrays.get("rounding")
    if header["version"] == 1:  # which held no estimate, and differences with what rounding left
        squares = gram.diagonal().astype(np.float64)
        least = fold_rounding(gram, arrays["class_sums"], n_samples, dtype)
        rounding = np.maximum(np.where(totals == np.float64, least, 0.0), np.maximum(-squares, 0.0))
    elif rounding is None:
        raise ValueError("there are no rounding errors")
    elif rounding.shape != (d,) or rounding.dtype != np.float64:
        raise ValueError("the rounding errors are not numbers, one for each feature")
    elif not (np.isfinite(rounding) & (rounding >= 0.0)).all():
        raise ValueError("the rounding errors are not finite and positive")
    else:
        _check_sums(arrays, gram.diagonal(), rounding, n_samples, weight_sum, header["multilabel"])
    statistics = SufficientStatistics(
        n_samples=n_samples,
        weight_sum=weight_sum,
        shift=arrays["shift"],
        feature_sums=arrays["feature_sums"],
        gram=gram,
        classes=_as_saved(classes, header["labels_are_objects"]),
        class_counts=counts,
        class_weights=arrays["class_weights"],
        class_sums=arrays["class_sums"],
        rounding=rounding,
        dtype=dtype,
        multilabel=header["multilabel"],
        feature_names=None if names is None else names.astype(object),
    )
    return statistics._without_residue() if header["version"] == 1 else statistics
