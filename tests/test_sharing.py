"""Labels keep their values, damaged matrices are refused, and threads share estimators."""

import threading

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

from parallel_ridge import (
    ParallelRidgeClassifier,
    ParallelRidgeClassifierCV,
    SufficientStatistics,
)
from parallel_ridge.kernels import _fold, _triangle

LARGE = [2**60, 2**60 + 1, 2**60 + 2]


@pytest.mark.parametrize("kind", ["i8", "u8", ">i8", ">u8"])
@pytest.mark.parametrize("classes", [LARGE, np.array(LARGE), np.array(LARGE, "u8")])
def test_labels_beyond_float64_meet_declared_classes(kind, classes):
    rng = np.random.default_rng(0)
    k = rng.integers(0, 3, 600)
    X, y = rng.normal(size=(600, 4)), np.array(LARGE, kind)[k]
    model = ParallelRidgeClassifier().partial_fit(X[:300], y[:300], classes=classes)
    model.partial_fit(X[300:], y[300:].astype("i8"), classes=classes)
    assert_array_equal(model.statistics_.class_counts, np.bincount(k))
    assert model.classes_.tolist() == LARGE
    assert set(model.predict(X).tolist()) <= set(LARGE)


@pytest.mark.filterwarnings("ignore:The best alpha", "ignore:A column-vector y was passed")
@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (LARGE, "Int64"),
        (LARGE, "UInt64"),
        (LARGE, "int64[pyarrow]"),
        ([2**63, 2**63 + 1, 2**64 - 1], "uint64[pyarrow]"),
        ([False, True], "boolean"),
        ([1.0, 2.0], "Float64"),
    ],
)
@pytest.mark.parametrize("shape", ["series", "array", "frame"])
def test_labels_of_pandas_own_types_keep_their_values(labels, kind, shape):
    rng = np.random.default_rng(0)
    X, k = rng.normal(size=(60, 4)), np.arange(60) % len(labels)
    y = pd.Series([labels[i] for i in k], dtype=kind)
    y = {"series": y, "array": y.array, "frame": y.to_frame("y")}[shape]
    models = [
        ParallelRidgeClassifier().fit(X, y),
        ParallelRidgeClassifier().partial_fit(X, y),
        ParallelRidgeClassifier().partial_fit(X, y, classes=pd.array(labels, dtype=kind)),
        ParallelRidgeClassifierCV([0.1, 1.0, 10.0], cv=3).fit(X, y),
        ParallelRidgeClassifierCV([0.1, 1.0, 10.0]).fit(X, y),
    ]
    for model in models:
        assert model.classes_.tolist() == labels
        predicted = model.predict(X)
        assert set(predicted.tolist()) <= set(labels)
        right = [one == labels[i] for one, i in zip(predicted.tolist(), k, strict=True)]
        assert model.score(X, y) == pytest.approx(np.mean(right))


def test_missing_labels_of_pandas_own_types_are_refused():
    y = pd.Series([1, 2, None, 1], dtype="Int64")
    with pytest.raises(ValueError, match="y contains NaN"):
        ParallelRidgeClassifier().fit(np.eye(4), y)


def test_dates_of_several_units_stay_what_they_are_or_are_refused():
    X = np.random.default_rng(0).normal(size=(12, 2))
    days = np.array(["2020-01-01", "2021-01-01"] * 6, "M8[D]")
    fine = np.array(["2022-01-01T00:00:00.000000001", "2020-01-01"] * 6, "M8[ns]")
    far = np.array(["9999-01-01", "2020-01-01"] * 6, "M8[D]")  # which nanoseconds do not reach
    both = SufficientStatistics.from_data(X, days) + SufficientStatistics.from_data(X, fine)
    assert_array_equal(both.classes, np.array([*days[:2], fine[0]]))
    assert_array_equal(both.class_counts, [12, 6, 6])
    model = ParallelRidgeClassifier().partial_fit(X, days).partial_fit(X, fine)
    assert_array_equal(model.classes_, both.classes)
    for first, second in ((far, fine), (fine, far)):
        with pytest.raises(ValueError, match="does not reach the label 9999-01-01"):
            _ = SufficientStatistics.from_data(X, first) + SufficientStatistics.from_data(X, second)
        with pytest.raises(ValueError, match="does not reach the label 9999-01-01"):
            ParallelRidgeClassifier().partial_fit(X, first).partial_fit(X, second)


def test_classes_that_no_dtype_holds_are_refused():
    X, y = np.eye(4), np.arange(4) % 2
    with pytest.raises(ValueError, match="have no integer dtype in common"):
        ParallelRidgeClassifier().partial_fit(X, y, classes=[-1, 0, 1, 2**63])
    with pytest.raises(ValueError, match="strings and numbers do not order"):
        ParallelRidgeClassifier().partial_fit(X, y, classes=["a", "b"])


@pytest.mark.filterwarnings("ignore:The best alpha")
@pytest.mark.parametrize("kind", [">f8", ">i8", "<f4", ">u2", "i1", "?", "u8"])
def test_labels_come_back_in_their_dtype(kind):
    X, y = np.random.default_rng(0).normal(size=(60, 3)), (np.arange(60) % 2).astype(kind)
    for model in (
        ParallelRidgeClassifier().fit(X, y),
        ParallelRidgeClassifier().partial_fit(X, y),
        ParallelRidgeClassifierCV([0.1, 1.0, 10.0]).fit(X, y),
    ):
        assert model.classes_.dtype == np.unique(y).dtype
        assert model.classes_.dtype.byteorder == np.unique(y).dtype.byteorder
        assert model.predict(X).dtype == model.classes_.dtype


# ------------------------------------------------------------------------------------------------
# Damage
# ------------------------------------------------------------------------------------------------


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
        lambda: SufficientStatistics.from_data(X, y),
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
        lambda: SufficientStatistics.from_data(X, y),
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
U8 = np.uint64


@pytest.mark.parametrize(
    "call",
    [
        lambda: _triangle.add(SQUARE, np.zeros((4, 4))),
        lambda: _triangle.add(OBLONG, OBLONG),
        lambda: _triangle.pack(SQUARE, np.zeros(14)),
        lambda: _triangle.unpack(np.zeros(16), SQUARE),
        lambda: _triangle.move_shift(
            SQUARE.astype(U8), np.zeros(4, U8), FIVE.astype(U8), 1, SQUARE
        ),
        lambda: _triangle.select(SQUARE.copy(), np.array([0, 5])),
        lambda: _triangle.select(SQUARE.copy(), np.array([2, 1])),
        lambda: _triangle.scale(SQUARE, np.zeros(4), SQUARE.copy(), FIVE),
        lambda: _triangle.eigenvectors(np.asfortranarray(OBLONG), FIVE),
        lambda: _triangle.eigenvectors(np.asfortranarray(SQUARE), np.zeros(4)),
        lambda: _triangle.tridiagonal(np.asfortranarray(SQUARE), FIVE, np.zeros(4), FIVE),
        lambda: _triangle.rotate(
            np.asfortranarray(SQUARE), FIVE, np.zeros((4, 2), order="F"), False
        ),
        lambda: _triangle.cholesky(np.asfortranarray(OBLONG), 2),
        lambda: _triangle.cholesky(np.asfortranarray(SQUARE), 0),
    ],
)
def test_triangles_check_what_they_are_given(call):
    with pytest.raises(ValueError, match="do not fit"):
        call()


# ------------------------------------------------------------------------------------------------
# Threads
# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: ParallelRidgeClassifier(store_statistics=True),
        lambda: ParallelRidgeClassifierCV([1.0], probability=True),
    ],
    ids=["one", "search"],
)
def test_of_threads_that_fit_one_estimator_the_last_wins_whole(make):
    rng = np.random.default_rng(0)
    data = [(rng.normal(size=(40, d)), np.arange(40) % k) for d, k in ((3, 2), (6, 4))]
    alone = [vars(make().fit(X, y)) for X, y in data]
    model, errors, barrier = make(), [], threading.Barrier(8)

    def work(number):
        try:
            barrier.wait()
            for i in range(25):
                model.fit(*data[(number + i) % 2])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    expected = next(a for a in alone if a["n_features_in_"] == model.n_features_in_)
    found = vars(model)
    assert found.keys() == expected.keys()
    for name in ("coef_", "intercept_", "classes_"):
        assert_array_equal(found[name], expected[name])
    if "statistics_" in expected:
        assert found["statistics_"] == expected["statistics_"]


def test_options_that_are_set_during_a_fit_stay_set():
    X, y = np.eye(6), np.arange(6) % 2
    model = ParallelRidgeClassifier()

    class Labels(np.ndarray):
        def __array_finalize__(self, other):
            model.set_params(alpha=7.0)

    model.fit(X, y.view(Labels))
    assert model.alpha == 7.0 and hasattr(model, "coef_")


def test_readers_see_one_fit_whole_while_others_fit():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4))
    targets = [np.array([f"{c}{k}" for k in np.arange(60) % n]) for c, n in (("a", 2), ("b", 5))]
    fitted = [ParallelRidgeClassifierCV([1.0], probability=True).fit(X, y) for y in targets]
    model = ParallelRidgeClassifierCV([1.0], probability=True, store_statistics=True)
    model.fit(X, targets[0])
    calls = {
        "predict": lambda m: m.predict(X),
        "decision_function": lambda m: m.decision_function(X),
        "predict_proba": lambda m: m.predict_proba(X),
        "predict_log_proba": lambda m: m.predict_log_proba(X),
        "coef_path": lambda m: m.coef_path([0.1, 10.0])[0],
        "score": lambda m: m.score(X, targets[0]),
    }
    for one, y in zip(fitted, targets, strict=True):
        one.set_params(store_statistics=True).fit(X, y)
    expected = {name: [call(one) for one in fitted] for name, call in calls.items()}
    errors, done = [], threading.Event()

    def read():
        try:
            while not done.is_set():
                for name, call in calls.items():
                    found = call(model)
                    assert any(np.array_equal(found, one) for one in expected[name]), name
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for i in range(40):
        model.fit(X, targets[i % 2])
    done.set()
    for thread in threads:
        thread.join()
    assert not errors
