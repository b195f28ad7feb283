"""Rows whose features are made when they are read."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from parallel_ridge.sources._sparse import canonical

Positions = slice | NDArray[np.intp]
# Bytes of features to make at a time: a few MB per core of cache, and little beside a Gram matrix of
# so many columns that they are worth being made on the fly.
FEATURE_BYTES = 2**25


@dataclass(frozen=True)
class Features:
    """What makes features of samples.

    Attributes
    ----------
    make : callable
        ``make(samples, positions)``: an array or CSR matrix with a row of ``n_features`` finite numbers
        per sample. The positions are for error messages.
    n_features : int
    dtype : dtype
    sparse : bool
        Whether ``make`` returns CSR matrices.
    density : float
        Fraction of values that are stored, where ``make`` was tried.
    block_rows : int
        Samples to make features of at a time.
    """

    make: Callable[[Any, Positions], Any]
    n_features: int
    dtype: np.dtype[Any]
    sparse: bool = False
    density: float = 1.0
    block_rows: int = 2**62

    @property
    def rows_at_a_time(self) -> int:
        """Samples to make features of at a time, within `FEATURE_BYTES`."""
        fit = FEATURE_BYTES // max(1, self.n_features * self.dtype.itemsize)
        return max(1, min(self.block_rows, max(64, fit)))


@dataclass(frozen=True)
class _Kept:
    """Features of the rows that have been made."""

    features: NDArray[Any]
    made: NDArray[np.bool_]


@dataclass(frozen=True)
class FeaturesElsewhere:
    """Samples in a cluster, whose backend makes features of them where they are.

    Attributes
    ----------
    samples : object
        Rows of a kind that a backend reads.
    features : Features
    columns : tuple of str, or None
        Columns of the samples, of a table.
    """

    samples: Any
    features: Features
    columns: tuple[str, ...] | None = None


class FeatureRows:
    """A table whose rows are made of samples when they are asked for, and never all at once.

    It takes the place of an array of rows: it has a shape and a dtype, and can be indexed by slices and
    by arrays of positions.

    Parameters
    ----------
    samples : array-like
        Samples of any shape: an array of any dimension, a CSR matrix, a data frame, a list.
    features : Features
    """

    ndim = 2

    def __init__(self, samples: Any, features: Features) -> None:
        self.samples = samples
        self.features = features
        self.shape = n_samples(samples), features.n_features
        self.dtype = features.dtype
        self.sparse = features.sparse
        self.nnz = int(features.density * self.shape[0] * self.shape[1])
        self.block_rows = features.rows_at_a_time
        self._kept: _Kept | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Positions) -> Any:
        if isinstance(rows, slice):
            some = range(*rows.indices(len(self)))
            rows = slice(some.start, some.stop) if some.step == 1 else np.asarray(some)
        kept = self._kept
        if kept is not None and kept.made[rows].all():
            return kept.features[rows]
        if not (rows.stop > rows.start if isinstance(rows, slice) else len(rows)):
            empty = np.empty((0, self.shape[1]), self.dtype)
            return sp.csr_matrix(empty) if self.sparse else empty
        made = self.features.make(samples_at(self.samples, rows), rows)
        if self.sparse:
            return canonical(made)
        if kept is not None:
            kept.features[rows] = made
            kept.made[rows] = True
        return made

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(
            f"{self.shape[0]} rows of {self.shape[1]} features are made block by block, and cannot be "
            "one array."
        )

    @contextmanager
    def keeping(self, where: str | os.PathLike[str] | None) -> Iterator[None]:
        """Keep features that were made for the next pass over them.

        Parameters
        ----------
        where : "memory", path of a folder or None
            A file in the folder is deleted at the end. None keeps none.
        """
        if where is None:
            yield
            return
        if self.sparse:
            raise ValueError(
                "cache keeps dense features only, and these are sparse: set cache=None."
            )
        made = np.zeros(len(self), np.bool_)
        try:
            if where == "memory":
                self._kept = _Kept(np.empty(self.shape, self.dtype), made)
                yield
            else:
                with tempfile.TemporaryFile(dir=where, prefix="features-") as file:
                    # An empty file cannot be mapped.
                    size = max(1, self.shape[0] * self.shape[1])
                    flat = np.memmap(file, self.dtype, "w+", shape=(size,))
                    table = flat[: self.shape[0] * self.shape[1]].reshape(self.shape)
                    self._kept = _Kept(table, made)
                    yield
        finally:
            self._kept = None


def n_samples(samples: Any) -> int:
    """Number of samples.

    Raises
    ------
    TypeError
        If they cannot be counted and indexed by position.
    """
    shape = getattr(samples, "shape", None)
    if isinstance(shape, tuple) and shape:
        return int(shape[0])
    if isinstance(samples, list | tuple):
        return len(samples)
    raise TypeError(
        f"X is a {type(samples).__module__}.{type(samples).__name__}, whose samples cannot be picked by "
        "position: pass an array, a memory map, a CSR matrix, a data frame of pandas, or a list."
    )


def samples_at(samples: Any, rows: Positions) -> Any:
    """Some of the samples, of the same kind."""
    if hasattr(samples, "iloc"):
        return samples.iloc[rows]
    if isinstance(samples, list | tuple) and not isinstance(rows, slice):
        return [samples[row] for row in rows]
    return samples[rows]


def joined(parts: Any) -> Any:
    """Samples of several parts, in order; a value that has no samples is that of the first."""
    first = parts[0]
    if len(parts) == 1:
        return first
    if sp.issparse(first):
        return sp.vstack(parts, format="csr")
    if hasattr(first, "iloc"):
        import pandas as pd

        return pd.concat(parts)
    if isinstance(first, list):
        return [sample for part in parts for sample in part]
    if isinstance(first, np.ndarray):
        return np.concatenate(parts)
    return first
