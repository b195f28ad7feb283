"""A fit to a stream is the fit to the array of its rows: the same bits for integers, 1e-12 for floats."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

pytest.importorskip("pyarrow")

import pyarrow as pa
from _data.streams import FORMS, Anew, batches, digits, hdf5, table, wide_table, zarr_array
from sklearn.model_selection import GroupKFold, KFold, PredefinedSplit, ShuffleSplit

from parallel_ridge import (
    OpenMPBackend,
    ParallelRidgeClassifier,
    ParallelRidgeClassifierCV,
    sufficient_statistics,
)

DTYPES = [np.uint8, np.float32, np.float64]
ALPHAS = np.logspace(0, 5, 6)


def assert_same(model, other, dtype):
    if np.dtype(dtype).kind in "iu":
        assert_array_equal(model.coef_, other.coef_)
        assert_array_equal(model.intercept_, other.intercept_)
    else:
        # Sums of float32 products depend on the shift, which comes from other rows.
        tolerance = 1e-12 if dtype == np.float64 else 1e-5
        scale = np.abs(other.coef_).max()
        assert_allclose(model.coef_, other.coef_, rtol=0, atol=tolerance * scale)
    assert model.coef_.dtype == other.coef_.dtype
    assert_array_equal(model.classes_, other.classes_)


def real(X, dtype):
    """Rows of floats that are no integers."""
    if np.dtype(dtype).kind == "f":
        X = X + np.random.default_rng(1).normal(1.0, 0.5, X.shape)
    return X.astype(dtype)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("make", [table, wide_table])
def test_fits_scores_and_predictions_of_tables(form, make, tmp_path):
    X, y = digits()
    rows = FORMS[form](make(X, y, name=[f"row {i}" for i in range(len(X))]), tmp_path)
    model, other = ParallelRidgeClassifier().fit(rows, "label"), ParallelRidgeClassifier().fit(X, y)
    assert_same(model, other, X.dtype)
    assert_array_equal(model.predict(rows), other.predict(X))
    assert_array_equal(model.decision_function(rows), other.decision_function(X))
    assert model.score(rows, "label") == other.score(X, y)
    assert model.n_features_in_ == 64
    if make is wide_table:
        assert model.feature_names_in_.tolist() == [f"x{j}" for j in range(64)]
    assert sufficient_statistics(rows, "label") == sufficient_statistics(X, y)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("class_weight", [None, "balanced", {3: 2.0, 5: 0.5}])
def test_weights_and_class_weights(dtype, weighted, class_weight, tmp_path):
    X, y = digits()
    X = real(X, dtype)
    w = np.random.default_rng(0).uniform(0, 2, len(X)) if weighted else None
    rows = table(X, y, **({} if w is None else {"w": w}))
    other = ParallelRidgeClassifier(class_weight=class_weight).fit(X, y, w)
    plain = w is None and class_weight is None
    exact = np.dtype(dtype) if plain or dtype == np.float32 else np.float64
    arrays = tmp_path / "arrays"
    arrays.mkdir()
    folder = tmp_path / "tables"
    folder.mkdir()
    model = ParallelRidgeClassifier(class_weight=class_weight)
    for stream, y_, w_ in (
        (FORMS["folder"](rows, folder), "label", None if w is None else "w"),
        (rows, y, w),
        (batches(X, y, w), None, None),
        (hdf5(X, arrays), y, w),
    ):
        model.fit(stream, y_, w_)
        assert_same(model, other, exact)
        assert model.score(stream, y_, w_) == pytest.approx(other.score(X, y, w), abs=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "cv",
    [None, 5, KFold(3), KFold(4, shuffle=True, random_state=1), ShuffleSplit(3, random_state=0)],
)
@pytest.mark.parametrize("kind", ["folder", "batches", "zarr"])
def test_searches(dtype, cv, kind, tmp_path):
    X, y = digits()
    X = real(X, dtype)
    stream, label = {
        "folder": lambda: (FORMS["folder"](table(X, y), tmp_path), "label"),
        "batches": lambda: (Anew(batches(X, y)), None),
        "zarr": lambda: (zarr_array(X, tmp_path), y),
    }[kind]()
    model = ParallelRidgeClassifierCV(ALPHAS, cv=cv).fit(stream, label)
    other = ParallelRidgeClassifierCV(ALPHAS, cv=cv).fit(X, y)
    assert model.alpha_ == other.alpha_
    for name in ("mean_test_score", "std_test_score"):
        assert_allclose(model.cv_results_[name], other.cv_results_[name], rtol=1e-6, atol=1e-9)
    assert_same(model, other, dtype)


def test_columns_of_groups_and_of_folds(tmp_path):
    X, y = digits()
    groups = np.arange(len(X)) // 50
    rows = FORMS["folder"](
        table(X, y, subject=groups, fold=[f"f{g % 4}" for g in groups]), tmp_path
    )
    features = OpenMPBackend(features="pixels")
    model = ParallelRidgeClassifierCV(ALPHAS, cv=GroupKFold(4), backend=features)
    model.fit(rows, "label", groups="subject")
    other = ParallelRidgeClassifierCV(ALPHAS, cv=GroupKFold(4)).fit(X, y, groups=groups)
    assert_array_equal(model.cv_results_["mean_test_score"], other.cv_results_["mean_test_score"])
    model = ParallelRidgeClassifierCV(ALPHAS, cv="fold", backend=features).fit(rows, "label")
    other = ParallelRidgeClassifierCV(ALPHAS, cv=PredefinedSplit(groups % 4)).fit(X, y)
    assert_array_equal(model.cv_results_["mean_test_score"], other.cv_results_["mean_test_score"])
    assert_array_equal(model.coef_, other.coef_)


@pytest.mark.parametrize("solver", ["cholesky", "eigen", "svd", "cg", "dual"])
def test_solvers(solver, tmp_path):
    X, y = digits(n=300)
    X = real(X, np.float64)
    other = ParallelRidgeClassifier(solver=solver).fit(X, y)
    for stream, label in ((FORMS["folder"](table(X, y), tmp_path), "label"), (batches(X, y), None)):
        model = ParallelRidgeClassifier(solver=solver).fit(stream, label)
        assert_allclose(model.coef_, other.coef_, rtol=0, atol=1e-7 * np.abs(other.coef_).max())


def test_fewer_rows_than_features(tmp_path):
    X, y = digits(n=40)
    X = np.hstack([real(X, np.float64)] * 2)
    stream = FORMS["folder"](table(X, y), tmp_path)
    for estimator in (ParallelRidgeClassifier(), ParallelRidgeClassifierCV(ALPHAS)):
        model, other = estimator.fit(stream, "label").coef_, estimator.fit(X, y).coef_
        assert_allclose(model, other, rtol=0, atol=1e-10 * np.abs(other).max())


@pytest.mark.parametrize(
    "labels", ["strings", "booleans", "beyond 2^53", "multilabel", "dictionary"]
)
def test_labels_of_all_kinds(labels, tmp_path):
    X, y = digits()
    y = {
        "strings": lambda: np.array([f"class {label}" for label in y], dtype=object),
        "booleans": lambda: y % 2 == 0,
        "beyond 2^53": lambda: y + 2**60,
        "multilabel": lambda: (np.arange(4) < y[:, None] % 5).astype(int),
        "dictionary": lambda: np.array([f"class {label}" for label in y], dtype=object),
    }[labels]()
    column = pa.array(y.tolist())
    if labels == "dictionary":
        column = column.dictionary_encode()
    rows = table(X, column)
    model = ParallelRidgeClassifier(backend=OpenMPBackend(features="pixels"))
    other = ParallelRidgeClassifier().fit(X, y)
    for stream, label in (
        (FORMS["folder"](rows, tmp_path), "label"),
        (rows, y),
        (batches(X, y), None),
    ):
        model.fit(stream, label)
        assert_array_equal(model.coef_, other.coef_)
        assert_array_equal(model.predict(stream), other.predict(X))
        assert model.score(stream, label) == other.score(X, y)


def test_a_table_is_a_batch_of_partial_fit(tmp_path):
    X, y = digits()
    model = ParallelRidgeClassifier()
    for i, part in enumerate((slice(300), slice(300, 500), slice(500, 700))):
        folder = tmp_path / str(i)
        folder.mkdir()
        rows = table(X[part], y[part])
        stream = (rows, str(FORMS["folder"](rows, folder)), rows.to_reader())[i]
        model.partial_fit(stream, "label")
    assert_array_equal(model.coef_, ParallelRidgeClassifier().fit(X, y).coef_)


def test_a_folder_of_each_class_gives_the_labels(tmp_path):
    import pyarrow.dataset as ds

    X, y = digits()
    rows = table(X, y)
    ds.write_dataset(
        rows,
        tmp_path,
        format="parquet",
        partitioning=ds.partitioning(pa.schema([("label", pa.int64())]), flavor="hive"),
    )
    model = ParallelRidgeClassifier().fit(tmp_path, "label")
    assert_array_equal(model.coef_, ParallelRidgeClassifier().fit(X, y).coef_)
    assert model.classes_.tolist() == list(range(10))


def test_frames_stay_arrays_unless_columns_are_named():
    import pandas

    X, y = digits()
    frame = pandas.DataFrame(X, columns=[f"x{j}" for j in range(64)])
    other = ParallelRidgeClassifier().fit(frame, y)
    model = ParallelRidgeClassifier().fit(frame.assign(label=y), "label")
    assert_array_equal(model.coef_, other.coef_)
    assert_array_equal(model.feature_names_in_, other.feature_names_in_)
    assert_array_equal(model.predict(frame.assign(label=y)), other.predict(frame))
    assert_array_equal(model.predict(frame), other.predict(frame))
    assert model.score(frame, y) == other.score(frame, y)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_given_shift_is_kept(dtype, weighted):
    X, y = digits()
    X = X.astype(dtype)
    w = np.arange(len(X)) % 3 + 1.0 if weighted else None
    shift = np.linspace(-3.0, 5.0, X.shape[1])
    parts = np.array_split(np.arange(len(X)), 7)
    batches = [(X[p], y[p]) if w is None else (X[p], y[p], w[p]) for p in parts]
    found = sufficient_statistics(batches, shift=shift)
    expected = sufficient_statistics(X, y, sample_weight=w, shift=shift)
    np.testing.assert_array_equal(found.shift, expected.shift)
    assert found.exact == expected.exact
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    scale = np.sqrt(expected.gram.diagonal())
    off = np.triu(found.gram - expected.gram) / np.outer(scale, scale)
    assert np.abs(off).max() < tolerance
    with pytest.raises(ValueError, match=r"shift must be 64 finite numbers.*shape \(3,\)"):
        sufficient_statistics(batches, shift=np.zeros(3))
