"""All features never exist at once."""

import tracemalloc

import numpy as np
import pytest
from _data.pipelines import Spectrum, make_series
from numpy.testing import assert_array_equal
from sklearn.kernel_approximation import RBFSampler

from parallel_ridge import ParallelRidgeClassifier, ParallelRidgeClassifierCV, make_block_pipeline
from parallel_ridge.sources import FeatureRows, Features

pytestmark = pytest.mark.filterwarnings("ignore:The best alpha")


@pytest.mark.parametrize("block_rows", [1, 16, 49])
def test_no_block_is_larger_than_allowed(block_rows):
    X, y = make_series(200)
    seen = []
    last = ParallelRidgeClassifierCV([0.1, 1.0], cv=3)
    model = make_block_pipeline(Spectrum(seen), last, block_rows=block_rows)
    model.fit(X, y)
    blocks = [size for size in seen if size not in (50, 200)]  # to probe, and to choose a shift
    assert max(blocks) <= block_rows
    seen.clear()
    model.predict(X)
    assert max(seen) <= block_rows and sum(seen) == 200


@pytest.mark.parametrize("cv", [None, 3])
def test_memory_is_that_of_a_gram_matrix_and_blocks(cv):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40_000, 8)).astype(np.float32), np.arange(40_000) % 2
    features = RBFSampler(n_components=500, random_state=0)
    model = make_block_pipeline(features, ParallelRidgeClassifierCV([1.0, 10.0], cv=cv))
    model.fit(X[:1000], y[:1000])
    tracemalloc.start()
    try:
        model.fit(X, y).predict(X)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    whole = 40_000 * 500 * 4
    assert peak < 0.8 * whole  # blocks of at most 32 MiB, twice where products are formed of them


def counting_rows(n=50, d=3, calls=None, **options):
    samples = np.arange(float(n * d)).reshape(n, d)

    def make(some, positions):
        if calls is not None:
            calls.append(len(some))
        return some + 1.0

    return samples, FeatureRows(samples, Features(make, d, np.dtype(np.float64), **options))


@pytest.mark.parametrize(
    "rows",
    [
        slice(None),
        slice(3, 9),
        slice(45, 80),
        slice(2, None, 7),
        slice(9, 3),
        np.array([4, 1, 40]),
        np.array([], dtype=int),
    ],
    ids=str,
)
def test_rows_are_indexed_as_those_of_an_array(rows):
    samples, table = counting_rows()
    found = table[rows]
    assert_array_equal(found, samples[rows] + 1.0)
    assert found.dtype == table.dtype and table.shape == (50, 3) and len(table) == 50


def test_a_table_of_features_becomes_no_array():
    with pytest.raises(TypeError, match="50 rows of 3 features are made block by block"):
        np.asarray(counting_rows()[1])


@pytest.mark.parametrize("where", ["memory", "file"])
def test_kept_rows_are_made_once(where, tmp_path):
    calls = []
    samples, table = counting_rows(calls=calls)
    with table.keeping(tmp_path if where == "file" else where):
        for _ in range(2):
            assert_array_equal(table[10:30], samples[10:30] + 1.0)
        assert calls == [20]
        assert_array_equal(table[np.array([12, 40])], samples[[12, 40]] + 1.0)
        assert_array_equal(table[np.array([40, 12])], samples[[40, 12]] + 1.0)
        assert calls == [20, 2]
    assert_array_equal(table[:5], samples[:5] + 1.0)
    assert calls == [20, 2, 5] and not list(tmp_path.iterdir())


def test_memory_maps_are_read_block_by_block(tmp_path):
    X, y = make_series(300)
    np.save(tmp_path / "series.npy", X)
    mapped = np.load(tmp_path / "series.npy", mmap_mode="r")
    seen = []
    model = make_block_pipeline(Spectrum(seen), ParallelRidgeClassifier(0.1), block_rows=40)
    model.fit(mapped, y)
    expected = make_block_pipeline(Spectrum(), ParallelRidgeClassifier(0.1), block_rows=40)
    assert_array_equal(model[-1].coef_, expected.fit(X, y)[-1].coef_)
