"""Transformers and samples that tests of pipelines share."""

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin


def make_series(n=90, length=24, seed=0):
    """Time series of shape (n, 1, length) with labels that their frequency decides."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    time = np.arange(length)
    X = np.sin((y[:, None] + 1.0) * time / 3 + rng.uniform(0, 6, n)[:, None])
    return (X + 0.3 * rng.normal(size=X.shape))[:, None, :], np.array(["a", "b", "c"])[y]


class Spectrum(TransformerMixin, BaseEstimator):
    """Magnitudes of the Fourier coefficients of series, scaled by what `fit` saw."""

    def __init__(self, seen=None):
        self.seen = seen

    def __sklearn_clone__(self):
        return Spectrum(self.seen)  # clones share the list

    def fit(self, X, y=None):
        self.n_fit_ = len(X)
        self.scale_ = np.abs(X).max()
        return self

    def transform(self, X):
        assert X.ndim == 3
        if self.seen is not None:
            self.seen.append(len(X))
        return np.abs(np.fft.rfft(X[:, 0] / self.scale_, axis=1))


class Faulty(TransformerMixin, BaseEstimator):
    """Passes rows through, but for a fault in blocks that hold a row whose first value is `where`."""

    def __init__(self, fault="none", where=0.0):
        self.fault = fault
        self.where = where

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        X = np.array(X, dtype=np.float64)
        bad = np.flatnonzero(X[:, 0] == self.where)
        if not len(bad):
            return X
        if self.fault == "nan":
            X[bad[0], 1] = np.nan
        elif self.fault == "infinity":
            X[bad[0], 1] = -np.inf
        elif self.fault == "columns":
            return X[:, :-1]
        elif self.fault == "rows":
            return X[:-1]
        elif self.fault == "shape":
            return X[:, :, None]
        elif self.fault == "text":
            return X.astype(str)
        elif self.fault == "error":
            raise LookupError("the table has no such entry")
        elif self.fault == "large":
            X[bad[0], 1] = 1e300
        return X


class Counting(TransformerMixin, BaseEstimator):
    """Keeps the running sum of rows; records every call in a list that all clones share."""

    def __init__(self, calls=None):
        self.calls = calls

    def __sklearn_clone__(self):
        return Counting(self.calls)

    def partial_fit(self, X, y=None):
        self.calls.append(("partial_fit", len(X)))
        self.total_ = getattr(self, "total_", 0.0) + X.sum(axis=0)
        return self

    def fit(self, X, y=None):
        self.calls.append(("fit", len(X)))
        self.total_ = X.sum(axis=0)
        return self

    def transform(self, X):
        self.calls.append(("transform", len(X)))
        return np.asarray(X, dtype=np.float64)
