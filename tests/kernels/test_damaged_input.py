"""Damaged matrices and arguments that do not fit are refused."""

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

from parallel_ridge import (
    ParallelRidgeClassifier,
    ParallelRidgeClassifierCV,
    sufficient_statistics,
)
from parallel_ridge.kernels import _fold, _lapack, _triangle


def damaged(how, index=np.int32, form="csr"):
    """A compressed matrix of 30 rows and 8 columns, damaged along its compressed axis."""
    X = sp.random(30, 8, density=0.3, format=form, random_state=0)
    X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
    if how == "beyond":
        X.indices[X.indptr[4]] = 30
    elif how == "negative":
        X.indices[X.indptr[4]] = -1
    elif how == "far beyond":
        X.indices[X.indptr[4]] = 10**8
    elif how == "decreasing":
        X.indptr[5] = X.indptr[4] - 1
    elif how == "too long":
        X.indptr[-1] += 5
    return X


def calls_with(X, y, fitted):
    """Every road that sparse rows take into the library."""
    return [
        lambda: ParallelRidgeClassifier().fit(X, y),
        lambda: ParallelRidgeClassifier(solver="svd").fit(X, y),
        lambda: ParallelRidgeClassifierCV().fit(X, y),
        lambda: ParallelRidgeClassifierCV(cv=3).fit(X, y),
        lambda: fitted.partial_fit(X, y),
        lambda: fitted.predict(X),
        lambda: fitted.decision_function(X),
        lambda: fitted.score(X, y),
        lambda: sufficient_statistics(X, y),
    ]


HOWS = ["beyond", "negative", "far beyond", "decreasing", "too long"]


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("form", ["csr", "csc", "bsr"])
@pytest.mark.parametrize("how", HOWS)
def test_a_damaged_compressed_matrix_is_refused_before_it_is_read(how, form, index):
    y = np.arange(30) % 2
    fitted = ParallelRidgeClassifier(store_statistics=True).fit(damaged("not at all", index), y)
    before = fitted.coef_.copy()
    inside = "beyond" in how or how == "negative"
    words = r"(row|column) 4\b.*30 rows and 8 columns" if inside else "damaged"
    for call in calls_with(damaged(how, index, form), y, fitted):
        with pytest.raises(ValueError, match=f"X is a damaged {form.upper()} matrix.*"):
            call()
        with pytest.raises(ValueError, match=words):
            call()
    assert_array_equal(fitted.coef_, before)


@pytest.mark.parametrize("form", ["coo", "lil", "dok"])
def test_damage_in_other_formats_is_refused(form):
    y = np.arange(30) % 2
    good = damaged("not at all")
    fitted = ParallelRidgeClassifier(store_statistics=True).fit(good, y)
    X = good.asformat(form)
    if form == "coo":
        X.col[2] = 10**8
    elif form == "lil":
        X.rows[4][0] = 10**8
    else:
        X._dict[(4, 10**8)] = 1.0
    for call in calls_with(X, y, fitted):
        with pytest.raises(ValueError, match="matrix"):
            call()


@pytest.mark.parametrize("form", ["csr", "csc", "coo"])
def test_damaged_sparse_targets_are_refused(form):
    X = np.random.default_rng(0).normal(size=(30, 4))
    y = sp.random(30, 3, density=0.4, format="csr", random_state=0).astype(bool).astype(int)
    fitted = ParallelRidgeClassifier().fit(X, y)
    y = y.asformat(form)
    (y.col if form == "coo" else y.indices)[2] = 10**8
    for call in (
        lambda: ParallelRidgeClassifier().fit(X, y),
        lambda: ParallelRidgeClassifierCV(cv=3).fit(X, y),
        lambda: ParallelRidgeClassifier().partial_fit(X, y),
        lambda: fitted.score(X, y),
        lambda: sufficient_statistics(X, y),
    ):
        with pytest.raises(ValueError, match=f"y is a damaged {form.upper()} matrix"):
            call()


def arguments(**changes):
    """Arguments of `fold_dense` that fit each other, but for some."""
    d, k = 5, 3
    grams = changes.pop("grams", [np.zeros((d, d))])
    need = _fold.workspace_bytes(np.dtype("f8"), False, d, 1, 1) + 64
    memory = np.empty(need, np.uint8)
    start = -memory.ctypes.data % 64
    given = {
        "X": np.ones((8, d)),
        "shift": np.zeros(d),
        "weights": np.ones(8),
        "labels": np.zeros(8, np.int32),
        "label_ptr": None,
        "grams": grams,
        "class_sums": np.zeros((1, k, d)),
        "workspace": memory[start : start + need - 64],
        "n_threads": 1,
    }
    return list((given | changes).values())


BAD_DENSE = {
    "shift": {"shift": np.zeros(4)},
    "weights": {"weights": np.ones(7)},
    "labels": {"labels": np.zeros(7, np.int32)},
    "class": {"labels": np.full(8, 3, np.int32)},
    "negative class": {"labels": np.full(8, -1, np.int32)},
    "label_ptr length": {"label_ptr": np.arange(8)},
    "label_ptr order": {"label_ptr": np.array([0, 3, 2, 3, 4, 5, 6, 7, 8])},
    "label_ptr end": {"label_ptr": np.arange(9) + 1},
    "gram": {"grams": [np.zeros((4, 4))]},
    "not square": {"grams": [np.zeros((5, 4))]},
    "no gram": {"grams": []},
    "many grams": {"grams": [np.zeros((5, 5))] * 17, "class_sums": np.zeros((17, 3, 5))},
    "lanes": {"grams": [np.zeros((5, 5))] * 2},
    "columns": {"class_sums": np.zeros((1, 3, 4))},
    "no class": {"class_sums": np.zeros((1, 0, 5))},
    "workspace": {"workspace": np.empty(64, np.uint8)},
    "threads": {"n_threads": 0},
    "strides": {"X": np.ones((8, 10))[:, ::2]},
}


def test_the_dense_kernel_takes_what_fits():
    _fold.fold_dense(*arguments())


@pytest.mark.parametrize("what", BAD_DENSE)
def test_the_dense_kernel_checks_what_it_is_given(what):
    with pytest.raises(ValueError):
        _fold.fold_dense(*arguments(**BAD_DENSE[what]))


def csr_arguments(**changes):
    given = {
        "indptr": np.array([0, 2, 3], np.int32),
        "indices": np.array([0, 4, 2], np.int32),
        "data": np.ones(3),
        "n_columns": 5,
        "weights": np.ones(2),
        "labels": np.zeros(2, np.int32),
        "label_ptr": None,
        "grams": [np.zeros((5, 5))],
        "class_sums": np.zeros((1, 3, 5)),
        "n_threads": 1,
    }
    return list((given | changes).values())


@pytest.mark.parametrize(
    "changes",
    [
        {"indices": np.array([0, 5, 2], np.int32)},
        {"indices": np.array([-1, 4, 2], np.int32)},
        {"indices": np.array([4, 0, 2], np.int32)},
        {"indices": np.array([0, 0, 2], np.int32)},
        {"indptr": np.array([0, 4, 3], np.int32)},
        {"indptr": np.array([1, 2, 3], np.int32)},
        {"indptr": np.array([0, 2, 9], np.int32)},
        {"data": np.ones(2)},
        {"labels": np.full(2, 3, np.int32)},
        {"weights": np.ones(1)},
        {"grams": [np.zeros((4, 4))]},
        {"class_sums": np.zeros((1, 3, 4))},
        {"n_threads": -1},
    ],
    ids=str,
)
def test_the_sparse_kernel_checks_what_it_is_given(changes):
    _fold.fold_csr(*csr_arguments())
    with pytest.raises(ValueError):
        _fold.fold_csr(*csr_arguments(**changes))


SQUARE, OBLONG, FIVE = np.zeros((5, 5)), np.zeros((5, 4)), np.zeros(5)
TRIANGLES = np.zeros((2, 2, 2), order="F")


U8 = np.uint64


@pytest.mark.parametrize(
    "call",
    [
        lambda: _triangle.add(SQUARE, np.zeros((4, 4))),
        lambda: _triangle.add(OBLONG, OBLONG),
        lambda: _triangle.pour(SQUARE, np.zeros((4, 4))),
        lambda: _triangle.pour(OBLONG, OBLONG),
        lambda: _triangle.pack(SQUARE, np.zeros(14)),
        lambda: _triangle.unpack(np.zeros(16), SQUARE),
        lambda: _triangle.move_shift(
            SQUARE.astype(U8), np.zeros(4, U8), FIVE.astype(U8), 1, SQUARE
        ),
        lambda: _triangle.select(SQUARE.copy(), np.array([0, 5])),
        lambda: _triangle.select(SQUARE.copy(), np.array([2, 1])),
        lambda: _triangle.scale(SQUARE, np.zeros(4), SQUARE.copy(), FIVE),
        lambda: _lapack.eigenvectors(np.asfortranarray(OBLONG), FIVE),
        lambda: _lapack.eigenvectors(np.asfortranarray(SQUARE), np.zeros(4)),
        lambda: _lapack.solve(np.asfortranarray(SQUARE), np.zeros((4, 2), order="F")),
        lambda: _lapack.banded(np.asfortranarray(OBLONG), np.zeros((2, 2, 2), order="F")),
        lambda: _lapack.banded(np.asfortranarray(SQUARE), np.zeros((2, 2, 1), order="F")),
        lambda: _lapack.banded(np.asfortranarray(SQUARE), np.zeros((2, 3, 2), order="F")),
        lambda: _lapack.rotate(
            np.asfortranarray(SQUARE), TRIANGLES, np.zeros((4, 2), order="F"), False
        ),
        lambda: _lapack.rotate(
            np.asfortranarray(SQUARE), TRIANGLES, np.zeros((5, 2), order="F"), True, True
        ),
        lambda: _lapack.invert_triangles(np.zeros((2, 3, 2))),
        lambda: _lapack.solution_squares(
            np.zeros((2, 5)), np.zeros((1, 2, 2, 2)), np.zeros((1, 2, 2, 2)), np.zeros((2, 1))
        ),
        lambda: _lapack.solution_squares(
            np.zeros((2, 4)), np.zeros((1, 2, 2, 2)), np.zeros((1, 1, 2, 2)), np.zeros((2, 1))
        ),
        lambda: _lapack.cholesky(np.asfortranarray(OBLONG), 2),
        lambda: _lapack.cholesky(np.asfortranarray(SQUARE), 0),
    ],
)
def test_triangles_check_what_they_are_given(call):
    with pytest.raises(ValueError, match="do not match"):
        call()
