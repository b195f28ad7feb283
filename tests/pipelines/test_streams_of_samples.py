"""Samples that are read piece by piece give the answers of arrays."""

import numpy as np
import pytest
from _data.estimators import assert_close, make_data
from _data.pipelines import Counting, Faulty, Spectrum, make_series
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.feature_selection import SelectKBest
from sklearn.frozen import FrozenEstimator
from sklearn.kernel_approximation import RBFSampler
from sklearn.preprocessing import FunctionTransformer, PolynomialFeatures, StandardScaler

from parallel_ridge import ParallelRidgeClassifier, ParallelRidgeClassifierCV, make_block_pipeline

pytestmark = pytest.mark.filterwarnings("ignore:The best alpha")
N, D = 700, 4


def as_table(X, y, folder=None, **more):
    pa = pytest.importorskip("pyarrow")
    return pa.table({f"x{i}": X[:, i] for i in range(D)} | {"label": y} | more)


def as_parquet(X, y, folder):
    table = as_table(X, y)
    import pyarrow.parquet as pq

    for i in range(3):
        pq.write_table(table.slice(250 * i, 250), folder / f"part{i}.parquet", row_group_size=90)
    return str(folder)


def as_batches(X, y, folder=None):
    return [(X[i : i + 64], y[i : i + 64]) for i in range(0, N, 64)]


KINDS = {"table": as_table, "parquet": as_parquet, "batches": as_batches}


@pytest.fixture(params=KINDS)
def rows(request, tmp_path):
    """Samples and labels as arrays; what to fit to as a stream, and what to predict."""
    X, y = make_data(N, D)
    stream = KINDS[request.param](X, y, tmp_path)
    return X, y, (stream,) if request.param == "batches" else (stream, "label"), stream


@pytest.mark.parametrize("last", ["fit", "folds", "leave-one-out", "errors"])
def test_streams_give_the_fits_of_arrays(rows, last):
    X, y, given, samples = rows
    model = {
        "fit": ParallelRidgeClassifier(0.5),
        "folds": ParallelRidgeClassifierCV([0.1, 3.0, 100.0], cv=3),
        "leave-one-out": ParallelRidgeClassifierCV([0.1, 3.0, 100.0]),
        "errors": ParallelRidgeClassifierCV([0.1, 3.0, 100.0], cv=3, scoring="r2"),
    }[last]
    steps = StandardScaler(), PolynomialFeatures(2), model
    found = make_block_pipeline(*steps, block_rows=50).fit(*given)
    expected = make_block_pipeline(*map(clone, steps), block_rows=50).fit(X, y)
    assert_close(found[-1].coef_, expected[-1].coef_, 1e-9)
    assert_array_equal(found.predict(samples), expected.predict(X))
    assert_close(found.decision_function(samples), expected.decision_function(X), 1e-9)
    assert found.score(*given) == pytest.approx(expected.score(X, y), 1e-14)
    if last != "fit":
        scores = "mean_test_score"
        assert_allclose(found[-1].cv_results_[scores], expected[-1].cv_results_[scores], 1e-8)


def test_transformers_are_fitted_to_pieces_or_to_a_sample(rows):
    X, y, given, _ = rows
    calls = []
    make_block_pipeline(Counting(calls), ParallelRidgeClassifier(), fit_rows=100).fit(*given)
    sizes = [size for what, size in calls if what == "partial_fit"]
    assert sum(sizes) == N and max(sizes) <= 100
    scaler = make_block_pipeline(StandardScaler(), ParallelRidgeClassifier(), fit_rows=100)
    assert_allclose(scaler.fit(*given)[0].scale_, X.std(axis=0), 1e-10)
    best = make_block_pipeline(SelectKBest(k=2), ParallelRidgeClassifier(), fit_rows=100)
    some = slice(None, None, 8)  # a power of two
    expected = SelectKBest(k=2).fit(X[some], y[some])
    assert_allclose(best.fit(*given)[0].scores_, expected.scores_, 1e-10)


def test_frozen_transformers_stay_as_they_are(rows):
    X, y, given, _ = rows
    scaler = StandardScaler().fit(X[:50])
    mean = scaler.mean_.copy()
    for fitted_to in (given, (X, y)):
        model = make_block_pipeline(
            FrozenEstimator(scaler), ParallelRidgeClassifier(), fit_rows=100
        ).fit(*fitted_to)
        assert_array_equal(model[0].mean_, mean)


def test_lists_of_arrays_are_samples_and_lists_of_pairs_are_batches(rows):
    X, y, _, _ = rows
    samples = [np.outer(x, x) for x in X]
    flat = FunctionTransformer(lambda rows: np.array([row.ravel() for row in rows]))
    model = make_block_pipeline(flat, ParallelRidgeClassifier(), block_rows=90).fit(samples, y)
    expected = ParallelRidgeClassifier().fit(np.array([s.ravel() for s in samples]), y)
    assert_close(model[-1].coef_, expected.coef_, 1e-9)
    assert len(model.predict(samples)) == len(y)
    assert model.score(samples, y) == expected.score(np.array([s.ravel() for s in samples]), y)


def test_names_of_columns_that_are_features(tmp_path):
    X, y = make_data(N, D)
    model = make_block_pipeline(StandardScaler(), ParallelRidgeClassifier())
    model.fit(as_parquet(X, y, tmp_path), "label")
    assert model.feature_names_in_.tolist() == [f"x{i}" for i in range(D)]
    model.fit(X, y)
    assert not hasattr(model, "feature_names_in_")


def test_batches_for_transformers_are_even_whatever_the_pieces_are(tmp_path):
    X, y = make_data(N, D)
    sizes = []
    for step in (7, 64, 700):
        calls = []
        batches = [(X[i : i + step], y[i : i + step]) for i in range(0, N, step)]
        make_block_pipeline(Counting(calls), ParallelRidgeClassifier(), fit_rows=150).fit(batches)
        sizes.append([size for what, size in calls if what == "partial_fit"])
    assert sizes == [[140] * 5] * 3


def test_arrays_on_disk_of_three_dimensions(tmp_path):
    h5py = pytest.importorskip("h5py")
    X, y = make_series(300)
    with h5py.File(tmp_path / "series.h5", "w") as file:
        held = file.create_dataset("X", data=X, chunks=(32, 1, 24))
        for last in (ParallelRidgeClassifier(0.1), ParallelRidgeClassifierCV([0.1, 1.0], cv=3)):
            steps = Spectrum(), last
            found = make_block_pipeline(*steps, block_rows=40).fit(held, y)
            expected = make_block_pipeline(*map(clone, steps), block_rows=40).fit(X, y)
            assert_close(found[-1].coef_, expected[-1].coef_, 1e-9)
            assert_array_equal(found.predict(held), expected.predict(X))
            assert found.score(held, y) == expected.score(X, y)


def test_batches_of_torch(tmp_path):
    torch = pytest.importorskip("torch")
    X, y = make_series(200)
    codes = np.unique(y, return_inverse=True)[1]
    data = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(codes))
    loader = torch.utils.data.DataLoader(data, batch_size=32)
    steps = Spectrum(), ParallelRidgeClassifierCV([0.1, 1.0], cv=3)
    found = make_block_pipeline(*steps).fit(loader)
    expected = make_block_pipeline(*map(clone, steps)).fit(X, codes)
    assert_close(found[-1].coef_, expected[-1].coef_, 1e-9)


def test_blocks_of_features_are_no_larger_than_allowed(rows):
    _, _, given, samples = rows
    calls = []
    model = make_block_pipeline(
        Counting(calls), RBFSampler(n_components=20, random_state=0), ParallelRidgeClassifier(),
        block_rows=30,
    )  # fmt: skip
    model.fit(*given)
    calls.clear()
    model.predict(samples)
    assert max(size for _, size in calls) <= 30 and sum(size for _, size in calls) == N


def test_a_fault_names_the_step_and_the_rows_and_changes_nothing(rows):
    X, _, given, _ = rows
    model = make_block_pipeline(
        Faulty("nan", X[333, 0]), ParallelRidgeClassifier(), fit_rows=100, block_rows=50
    )
    with pytest.raises(ValueError, match=r"Feature 1 of row 333 is nan: what step 'faulty'"):
        model.fit(*given)
    assert not hasattr(model, "_features") and not hasattr(model[-1], "coef_")


def test_what_streams_have_not_is_refused(rows, tmp_path):
    _, _, given, _ = rows
    steps = StandardScaler(), ParallelRidgeClassifier()
    with pytest.raises(ValueError, match="cache='memory' keeps features of arrays"):
        make_block_pipeline(*steps, cache="memory").fit(*given)
    with pytest.raises(ValueError, match="arguments of transformers are taken for arrays only"):
        make_block_pipeline(*steps).fit(*given, standardscaler__sample_weight=np.ones(N))


def test_batches_that_can_be_read_once_are_refused():
    X, y = make_data(N, D)
    once = iter(as_batches(X, y))
    with pytest.raises(ValueError, match="can be read once"):
        make_block_pipeline(StandardScaler(), ParallelRidgeClassifier()).fit(once)


def test_alpha_is_chosen_in_a_stream_of_tables():
    X, y = make_data(N, D)
    table = as_table(X, y, subject=np.arange(N) // 20)
    for groups in (None, "subject"):
        model, expected = (ParallelRidgeClassifierCV([0.1, 3.0, 100.0], cv=3) for _ in range(2))
        for start in range(0, N, 200):
            rows = slice(start, start + 200)
            batch = table.slice(start, 200)
            batch = batch if groups else batch.drop_columns(["subject"])
            model.partial_fit(batch, "label", groups=groups)
            expected.partial_fit(
                X[rows], y[rows], groups=None if groups is None else np.arange(N)[rows] // 20
            )
        assert model.statistics_.n_samples == N
        assert_close(model.coef_, expected.coef_, 1e-10)
        score = "mean_test_score"
        assert_allclose(model.cv_results_[score], expected.cv_results_[score], 1e-10)


def test_a_batch_that_can_be_read_once_chooses_no_alpha():
    X, y = make_data(N, D)
    model = ParallelRidgeClassifierCV([1.0])
    with pytest.raises(ValueError, match="can be read once"):
        model.partial_fit(iter(as_batches(X, y)))
    assert not hasattr(model, "_stream")
