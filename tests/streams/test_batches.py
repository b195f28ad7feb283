"""Batches: what iterates anew is fitted as one array; what iterates once says what it is enough for."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from _data.streams import Anew, batches, digits
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from parallel_ridge import ParallelRidgeClassifier, ParallelRidgeClassifierCV, sufficient_statistics

ALPHAS = np.logspace(0, 5, 6)


@settings(max_examples=25, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 300), max_size=6), read=st.sampled_from(["list", "anew", "once"])
)
def test_any_cut_of_the_rows_gives_the_same_bits(cuts, read):
    X, y = digits(n=300)
    edges = [0, *sorted(cuts), 300]
    items = [(X[a:b], y[a:b]) for a, b in itertools.pairwise(edges)]
    stream = {"list": list, "anew": Anew, "once": iter}[read](items)
    assert sufficient_statistics(stream) == sufficient_statistics(X, y)


def test_classes_that_come_late():
    X, y = digits()
    order = np.argsort(y, kind="stable")
    model = ParallelRidgeClassifier().fit(batches(X[order], y[order], size=50))
    assert_array_equal(model.coef_, ParallelRidgeClassifier().fit(X, y).coef_)


def test_sparse_batches_and_dense_ones_among_them():
    X, y = digits()
    X = X.astype(np.float64)
    items = [(sp.csr_matrix(a) if i % 2 else a, b) for i, (a, b) in enumerate(batches(X, y))]
    model = ParallelRidgeClassifierCV(ALPHAS, cv=5).fit(items)
    other = ParallelRidgeClassifierCV(ALPHAS, cv=5).fit(X, y)
    assert model.alpha_ == other.alpha_
    np.testing.assert_allclose(
        model.coef_, other.coef_, rtol=0, atol=1e-12 * np.abs(other.coef_).max()
    )


def test_dtypes_that_differ_are_promoted():
    X, y = digits()
    items = [
        (a.astype([np.uint8, np.float32, np.float64][i % 3]), b)
        for i, (a, b) in enumerate(batches(X / 2.0, y))
    ]
    whole = np.concatenate([a.astype(np.float64) for a, _ in items])
    model, other = ParallelRidgeClassifier().fit(items), ParallelRidgeClassifier().fit(whole, y)
    assert model.coef_.dtype == np.float64
    np.testing.assert_allclose(
        model.coef_, other.coef_, rtol=0, atol=1e-12 * np.abs(other.coef_).max()
    )


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "uint8"])
def test_a_loader_of_torch(dtype):
    torch = pytest.importorskip("torch")
    X, y = digits()
    rows = torch.tensor(X, requires_grad=False).to(getattr(torch, dtype))
    if dtype != "uint8":
        rows = (rows / 4).requires_grad_()
    data = torch.utils.data.TensorDataset(rows.detach(), torch.tensor(y))
    loader = torch.utils.data.DataLoader(data, batch_size=100)
    array = rows.detach().float().numpy() if dtype != "uint8" else X
    model = ParallelRidgeClassifierCV(ALPHAS, cv=4).fit(loader)
    other = ParallelRidgeClassifierCV(ALPHAS, cv=4).fit(array, y)
    assert model.alpha_ == other.alpha_
    np.testing.assert_allclose(
        model.coef_, other.coef_, rtol=0, atol=1e-5 * np.abs(other.coef_).max()
    )
    assert_array_equal(model.predict(loader), other.predict(array))
    # As a model makes them: part of a graph.
    embedded = Anew(
        [(X_ if dtype == "uint8" else (X_.requires_grad_() * 1), y_) for X_, y_ in loader]
    )
    again = ParallelRidgeClassifier().fit(embedded)
    np.testing.assert_allclose(
        again.coef_, ParallelRidgeClassifier().fit(array, y).coef_, rtol=0, atol=1e-5
    )


def test_a_shuffled_loader_fits_but_makes_no_folds():
    torch = pytest.importorskip("torch")
    X, y = digits()
    data = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(y))
    loader = torch.utils.data.DataLoader(data, batch_size=100, shuffle=True)
    model = ParallelRidgeClassifier().fit(loader)
    assert_array_equal(model.coef_, ParallelRidgeClassifier().fit(X, y).coef_)
    with pytest.raises(ValueError, match=r"other labels than in the first pass.*shuffle=False"):
        ParallelRidgeClassifierCV(ALPHAS, cv=5).fit(loader)


@pytest.mark.parametrize("solver", ["cholesky", "eigen", "auto"])
def test_an_iterator_is_enough_for_one_pass(solver):
    X, y = digits()
    model = ParallelRidgeClassifier(solver=solver).fit(iter(batches(X, y)))
    assert_array_equal(model.coef_, ParallelRidgeClassifier(solver=solver).fit(X, y).coef_)
    assert_array_equal(model.predict(x for x, _ in batches(X, y)), model.predict(X))
    assert model.score(iter(batches(X, y))) == model.score(X, y)


@pytest.mark.parametrize("estimator", [
    ParallelRidgeClassifier(solver="svd"), ParallelRidgeClassifier(solver="cg"),
    ParallelRidgeClassifierCV(ALPHAS), ParallelRidgeClassifierCV(ALPHAS, cv=3),
])  # fmt: skip
def test_an_iterator_is_not_enough_for_more(estimator):
    X, y = digits()
    with pytest.raises(ValueError, match=r"can be read once.*solver='eigen'"):
        estimator.fit(iter(batches(X, y)))
    assert not hasattr(estimator, "coef_")


def bad_batch(batch):
    X, y = digits()
    items = batches(X, y)
    return [*items[:2], batch(*items[2]), *items[3:]]


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (lambda X, y: (X[:, :-1], y), "63 features in batch 2, and 64 before"),
        (lambda X, y: (X, y[:-1]), r"Batch 2 \(rows from 274\): X has 137 rows and y has shape \(136,\)"),
        (lambda X, y: (X[0], y[0]), "Batch 2"),
        (lambda X, y: X, r"Batch 2.*a batch is \(X, y\) or"),
        (lambda X, y: (X, y, -1.0 * y), "Batch 2.*must be finite and not negative"),
        (lambda X, y: (X, y.astype(str)), "strings and numbers.*batch 2"),
        (lambda X, y: (X.astype(str), y), "batch 2: it must hold numbers"),
        (lambda X, y: (np.where(X.max() == X, np.nan, X), y), "NaN: row 27"),
        (lambda X, y: (X, y + 0.5), "Batch 2.*[Uu]nknown label type|Batch 2.*continuous"),
        (lambda X, y: (X[:, :, None], y), "batch 2: flatten each sample"),
    ],
)  # fmt: skip
def test_bad_batches_name_themselves_and_change_nothing(batch, message):
    X, y = digits()
    model = ParallelRidgeClassifier().fit(X, y)
    before = model.coef_.copy()
    with pytest.raises(ValueError, match=message):
        model.fit(Anew(bad_batch(batch)))
    assert_array_equal(model.coef_, before)
    stream = ParallelRidgeClassifier().partial_fit(X, y)
    with pytest.raises(ValueError, match=message):
        stream.partial_fit(Anew(bad_batch(batch)))
    assert stream.statistics_ == sufficient_statistics(X, y)


def test_an_error_of_the_loader_goes_through():
    def broken():
        yield from batches(*digits())[:2]
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        ParallelRidgeClassifier().fit(broken())


def test_no_rows_and_roles_beside_batches():
    X, y = digits()
    with pytest.raises(ValueError, match="There are no rows"):
        ParallelRidgeClassifier().fit(Anew([]))
    with pytest.raises(ValueError, match=r"sample_weight was given.*X, y, sample_weight"):
        ParallelRidgeClassifier().fit(Anew(batches(X, y)), None, np.ones(len(X)))
    with pytest.raises(ValueError, match=r"y was given"):
        ParallelRidgeClassifier().fit(Anew(batches(X, y)), y)


class Shuffled:
    """Batches in another order in each pass."""

    def __init__(self, X, y):
        self.X, self.y, self.rng = X, y, np.random.default_rng(0)

    def __iter__(self):
        order = self.rng.permutation(len(self.y))
        for rows in np.array_split(order, 4):
            yield self.X[rows], self.y[rows]


def test_rows_in_another_order_in_each_pass_are_refused_or_do_not_matter():
    rng = np.random.default_rng(1)
    y = np.arange(60) % 3
    for d in (8, 200):
        X = rng.normal(size=(60, d)) + 0.5 * rng.normal(size=(3, d))[y]
        for estimator in (ParallelRidgeClassifier(), ParallelRidgeClassifierCV(ALPHAS)):
            wanted = clone(estimator).fit(X, y)
            try:
                found = estimator.fit(Shuffled(X, y))
            except ValueError as error:
                assert d > 60 and "shuffle=False" in str(error)
            else:
                assert_allclose(found.coef_, wanted.coef_, rtol=1e-9, atol=1e-12)
