"""Data and comparisons that tests of statistics share."""

import copy
import itertools
from dataclasses import replace

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from parallel_ridge import sufficient_statistics

INTEGERS = ["bool", "uint8", "int8", "int16", "uint16", "int64"]


FLOATS = ["float32", "float64"]


laws = settings(deadline=None, max_examples=40)


class Table:
    """Rows, labels and perhaps weights, that can be split and ordered anew."""

    def __init__(self, X, y, weights=None):
        self.X, self.y, self.weights = X, y, weights

    def __len__(self):
        return len(self.X)

    def __getitem__(self, rows):
        return Table(
            self.X[rows], self.y[rows], None if self.weights is None else self.weights[rows]
        )

    def __repr__(self):
        return f"Table({self.X!r}, {self.y!r}, {self.weights!r})"

    def cuts(self, where):
        bounds = [0, *sorted(int(cut * len(self)) for cut in where), len(self)]
        return [self[slice(*pair)] for pair in itertools.pairwise(bounds)]


def make_table(n, d=4, dtype="float64", seed=0, n_classes=4, weighted=False, multilabel=False):
    rng, dtype = np.random.default_rng(seed), np.dtype(dtype)
    if dtype.kind == "f":
        X = (rng.normal(size=(n, d)) + rng.normal(size=d)).astype(dtype)
    elif dtype.kind == "b":
        X = rng.random((n, d)) < 0.5
    else:
        low, high = max(np.iinfo(dtype).min, -(2**20)), min(np.iinfo(dtype).max, 2**20)
        X = rng.integers(low, high, size=(n, d), dtype=dtype, endpoint=True)
    y = rng.random((n, n_classes)) < 0.4 if multilabel else rng.integers(n_classes, size=n)
    return Table(X, y.astype(int), rng.exponential(size=n) + 0.01 if weighted else None)


@st.composite
def tables(draw, dtypes=(*INTEGERS, *FLOATS), min_rows=0, weighted=None, multilabel=None, d=None):
    dtype = draw(st.sampled_from(dtypes))
    if weighted is None:
        weighted = np.dtype(dtype).kind == "f" and draw(st.booleans())
    if multilabel is None:
        multilabel = draw(st.booleans())
    return make_table(
        draw(st.integers(min_rows, 30)),
        d or draw(st.integers(1, 6)),
        dtype,
        draw(st.integers(0, 1000)),
        weighted=weighted,
        multilabel=multilabel,
    )


CUT = st.lists(st.floats(0, 1), min_size=1, max_size=1)


def of(table, **kwargs):
    """Statistics of the classes that occur, about zero unless asked otherwise."""
    classes = np.arange(table.y.shape[1]) if table.y.ndim == 2 else np.unique(table.y)
    options = {"classes": classes, "shift": np.zeros(table.X.shape[1]), "n_jobs": 1} | kwargs
    return sufficient_statistics(table.X, table.y, sample_weight=table.weights, **options)


def assert_close(a, b, rtol=1e-12, squares=0.0):
    """Check all sums to a tolerance relative to the rows' own size, or to a sum of squares."""
    assert (a.n_samples, a.n_features, a.multilabel) == (b.n_samples, b.n_features, b.multilabel)
    assert a.dtype == b.dtype
    assert_array_equal(a.classes, b.classes)
    assert_array_equal(a.class_counts, b.class_counts)
    assert_allclose(a.weight_sum, b.weight_sum, rtol=rtol)
    assert_allclose(a.class_weights, b.class_weights, rtol=rtol, atol=rtol * a.weight_sum)
    assert_array_equal(a.shift, b.shift)
    upper = np.triu_indices(a.n_features)
    scale = np.sqrt(np.abs(a.gram.diagonal()).max(initial=squares))
    assert_allclose(a.gram[upper], b.gram[upper], rtol=rtol, atol=rtol * scale**2)
    atol = rtol * scale * np.sqrt(a.weight_sum)
    assert_allclose(a.feature_sums, b.feature_sums, rtol=rtol, atol=atol)
    assert_allclose(a.class_sums, b.class_sums, rtol=rtol, atol=atol)


def snapshot(statistics):
    return copy.deepcopy(statistics)


def _difference():
    """Sums that are nothing but rounding."""
    table = make_table(30, d=4)
    return of(table) + of(table[:7]) - of(table[:29])


def named(statistics, names):
    return replace(statistics, feature_names=np.array(names, dtype=object))


def labelled(values, dtype=None):
    table = make_table(40, dtype="uint8", n_classes=len(values))
    return of(Table(table.X, np.array(values, dtype=dtype)[table.y]))


SAVED = {
    "integers": lambda: of(make_table(9, dtype="uint8")),
    "float64": lambda: of(make_table(9, weighted=True), shift=None),
    "float32": lambda: of(make_table(9, dtype="float32"), shift=None),
    "no rows": lambda: of(make_table(0)),
    "multilabel": lambda: of(make_table(9, multilabel=True)),
    "names": lambda: named(of(make_table(9)), ["a", "ü", "", "a long name"]),
    "strings": lambda: labelled(["no", "yes", "vielleicht", "ja ‱"]),
    "object strings": lambda: labelled(["no", "yes", "maybe"], object),
    "booleans": lambda: labelled([False, True]),
    "floats": lambda: labelled([-1.0, 0.0, 2.0]),
    "uint64": lambda: labelled([1, 2**64 - 1], np.uint64),
    "NUL at the end": lambda: named(
        labelled(["a", "a\0", "a\0\0"], object), ["x", "x\0", "", "\0"]
    ),
    "dates": lambda: labelled(["2017-05-01", "2026-11-26"], "M8[D]"),
    "durations": lambda: labelled([1, 60], "m8[s]"),
    "one column": lambda: of(make_table(9, d=1)),
    "difference": lambda: _difference(),
}
