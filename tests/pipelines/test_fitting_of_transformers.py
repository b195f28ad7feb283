"""Transformers are fitted once: to everything that is small, in batches, or to a sample."""

import numpy as np
import pytest
from _data.estimators import make_data
from _data.pipelines import Counting, Spectrum, make_series
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.decomposition import IncrementalPCA
from sklearn.kernel_approximation import Nystroem, RBFSampler
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from parallel_ridge import ParallelRidgeClassifier, ParallelRidgeClassifierCV, make_block_pipeline

pytestmark = pytest.mark.filterwarnings("ignore:The best alpha")


def test_few_samples_are_fitted_to_at_once():
    X, y = make_data(60)
    calls = []
    make_block_pipeline(Counting(calls), ParallelRidgeClassifier(), fit_rows=60).fit(X, y)
    assert calls[0] == ("fit", 60) and {what for what, _ in calls[1:]} == {"transform"}


@pytest.mark.parametrize("n", [61, 100, 119, 121, 600])
def test_many_samples_are_fitted_to_in_batches_of_nearly_the_same_size(n):
    X, y = make_data(n)
    calls = []
    model = make_block_pipeline(Counting(calls), ParallelRidgeClassifier(), fit_rows=60).fit(X, y)
    sizes = [size for what, size in calls if what == "partial_fit"]
    assert sum(sizes) == n and max(sizes) <= 60 and max(sizes) - min(sizes) <= 1
    assert not any(what == "fit" for what, _ in calls)
    assert_allclose(model[0].total_, X.sum(axis=0))


def test_batches_give_the_statistics_of_all_samples():
    X, y = make_data(300)
    model = make_block_pipeline(
        MinMaxScaler(), StandardScaler(), ParallelRidgeClassifier(), fit_rows=50
    ).fit(X, y)
    bounds = MinMaxScaler().fit(X)
    assert_array_equal(model[0].data_max_, bounds.data_max_)
    scaler = StandardScaler().fit(bounds.transform(X))
    assert_allclose(model[1].scale_, scaler.scale_, 1e-12)
    assert model[1].n_samples_seen_ == 300


def test_batches_are_no_shorter_than_some_transformers_need():
    X, y = make_data(101, 12)
    make_block_pipeline(IncrementalPCA(10), ParallelRidgeClassifier(), fit_rows=20).fit(X, y)


@pytest.mark.parametrize(("n", "sample"), [(91, 46), (180, 90), (1000, 84)])
def test_others_are_fitted_to_a_sample_that_is_spread_evenly(n, sample):
    X, y = make_series(n)
    model = make_block_pipeline(Spectrum(), ParallelRidgeClassifier(), fit_rows=90).fit(X, y)
    assert model[0].n_fit_ == sample <= 90
    step = -(-n // 90)
    assert model[0].scale_ == np.abs(X[::step]).max()


def test_landmarks_come_from_the_sample():
    X, y = make_data(500, 6)
    kernel = Nystroem(gamma=0.1, n_components=30, random_state=0)
    model = make_block_pipeline(kernel, ParallelRidgeClassifier(0.1), fit_rows=100).fit(X, y)
    assert_array_equal(model[0].components_, clone(kernel).fit(X[::5]).components_)


def test_weights_of_samples_go_with_their_batch():
    X, y = make_data(300)
    weights = np.random.default_rng(0).uniform(0.5, 2.0, 300)
    steps = StandardScaler(), ParallelRidgeClassifier()
    extra = {"standardscaler__sample_weight": weights}
    in_batches = make_block_pipeline(*steps, fit_rows=70).fit(X, y, **extra)
    at_once = make_block_pipeline(*steps, fit_rows=300).fit(X, y, **extra)
    expected = StandardScaler().fit(X, sample_weight=weights)
    for model in (in_batches, at_once):
        assert_allclose(model[0].mean_, expected.mean_, 1e-12)
        assert_allclose(model[0].scale_, expected.scale_, 1e-12)


def test_the_steps_that_were_given_stay_as_they_were():
    X, y = make_data(60)
    scaler = StandardScaler()
    model = make_block_pipeline(scaler, ParallelRidgeClassifier()).fit(X, y)
    assert not hasattr(scaler, "mean_") and hasattr(model[0], "mean_")


def test_a_search_makes_all_features_twice_or_once_with_a_cache(tmp_path):
    X, y = make_series(200)

    def made(last, **options):
        seen = []
        make_block_pipeline(Spectrum(seen), last, block_rows=32, **options).fit(X, y)
        return sum(seen) - 50  # but for those that show their number

    once, twice = 200, 400
    search = ParallelRidgeClassifierCV([0.1, 1.0, 10.0], cv=4, scoring="accuracy")
    # A shift is chosen from a sample: here, all rows.
    assert made(ParallelRidgeClassifier()) == once + 200
    assert made(search) == twice + 200
    for cache in ("memory", tmp_path):
        assert made(ParallelRidgeClassifier(), cache=cache) == once
        assert made(search, cache=cache) <= once + 200
    assert not list(tmp_path.iterdir())


def test_the_random_state_is_drawn_once():
    X, y = make_data(60)
    model = make_block_pipeline(
        RBFSampler(n_components=20), ParallelRidgeClassifier(), block_rows=7
    ).fit(X, y)
    assert_allclose(
        model.decision_function(X), model[-1].decision_function(model[:-1].transform(X)), 1e-9
    )


def test_verbose_tells_the_steps_and_silence_is_the_default(capsys):
    X, y = make_data(60)
    steps = StandardScaler(), ParallelRidgeClassifier()
    make_block_pipeline(*steps).fit(X, y)
    assert capsys.readouterr() == ("", "")
    make_block_pipeline(*steps, verbose=True).fit(X, y)
    assert "fitted step 'standardscaler' to 60 rows" in capsys.readouterr().out
