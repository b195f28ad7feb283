"""What a search costs: passes, memory, solves."""

import pickle
import tracemalloc
import warnings
from itertools import product

import numpy as np
import pytest
from _data.model_selection import ALPHAS, CONTAINERS, make_data, weights_of
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.model_selection import (
    KFold,
    RepeatedKFold,
    ShuffleSplit,
    StratifiedKFold,
    TimeSeriesSplit,
)

from parallel_ridge import (
    OpenMPBackend,
    ParallelRidgeClassifierCV,
)
from parallel_ridge.reductions import StatisticsReduction

# The grids here are short on purpose; one test is about this warning.
pytestmark = pytest.mark.filterwarnings("ignore:The best alpha")


class Counting(OpenMPBackend):
    """A backend that counts the rows it folds to statistics, and to anything else."""

    def reduce(self, reduction, source):
        rows = self.__dict__.setdefault("rows", {True: 0, False: 0})
        kind = getattr(reduction, "reductions", [reduction])[0]
        rows[isinstance(kind, StatisticsReduction)] += source.n_rows
        return super().reduce(reduction, source)


@pytest.mark.parametrize(
    ("cv", "times", "scored"),
    [
        (None, 1, 1),
        (5, 1, 1),
        (KFold(3, shuffle=True), 1, 1),
        (TimeSeriesSplit(3), 1, 0.75),
        (RepeatedKFold(n_splits=3, n_repeats=2), 1, 2),
    ],
)
def test_products_of_each_row_are_formed_once_and_rows_scored_once_a_test(cv, times, scored):
    X, y = make_data(80, 4)
    for alphas in (ALPHAS, np.logspace(-3, 3, 20)):
        backend = Counting(1)
        ParallelRidgeClassifierCV(alphas, cv=cv, backend=backend).fit(X, y)
        assert backend.rows == {True: 80 * times, False: 80 * scored}


def test_errors_of_folds_cost_no_pass_for_scores():
    X, y = make_data(80, 4)
    backend = Counting(1)
    ParallelRidgeClassifierCV(ALPHAS, cv=4, scoring="r2", backend=backend).fit(X, y)
    assert backend.rows == {True: 80, False: 0}


@pytest.mark.parametrize("scoring", ["accuracy", "roc_auc_ovr"])
@pytest.mark.parametrize("cv", [None, StratifiedKFold(5, shuffle=True)], ids=str)
def test_no_search_makes_a_float_copy_of_the_rows(cv, scoring):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (30_000, 200), dtype=np.uint8)
    y = np.arange(30_000) % 3
    X[y == 1, :20] //= 2
    model = ParallelRidgeClassifierCV(np.logspace(2, 7, 6), cv=cv, scoring=scoring)
    model.set_params(probability=scoring == "roc_auc_ovr", n_jobs=2)
    tracemalloc.start()
    try:
        model.fit(X, y)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # As float64 the rows take 48 MB. Areas under curves need the values of all rows.
    assert peak < 8 * X.size / (2 if scoring == "roc_auc_ovr" else 3)


def test_few_rows_never_make_a_matrix_of_features_by_features():
    X, y = make_data(30, 4000, dtype="uint8")
    for cv, container, standardize in product((None, 3), CONTAINERS.values(), (False, True)):
        tracemalloc.start()
        try:
            ParallelRidgeClassifierCV(ALPHAS, cv=cv, standardize=standardize).fit(container(X), y)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 20e6  # such a matrix has 128e6 bytes


@pytest.mark.parametrize(
    ("dtype", "weighted"),
    [("float64", False), ("float64", True), ("float32", True), ("uint8", False)],
)
@pytest.mark.parametrize("cv", [None, 3, ShuffleSplit(2, random_state=0)], ids=str)
def test_bits_do_not_depend_on_the_number_of_threads(cv, dtype, weighted):
    X, y = make_data(2100, 50, dtype=dtype)  # several blocks of rows
    weights = weights_of(2100) if weighted else None
    for scoring in ("neg_mean_squared_error", "neg_log_loss"):
        one, two = (
            ParallelRidgeClassifierCV(
                np.logspace(-1, 4, 10), cv=cv, scoring=scoring, probability=True, n_jobs=n_jobs
            ).fit(X, y, weights)
            for n_jobs in (1, 2)
        )
        for name, column in one.cv_results_.items():
            if name.endswith("score"):
                assert_array_equal(two.cv_results_[name], column, err_msg=name)
        assert two.probability_scale_ == one.probability_scale_
        assert_array_equal(two.coef_, one.coef_)


@pytest.mark.parametrize("cv", [None, 3])
def test_threads_of_larger_factorisations_change_rounding_at_most(cv):
    X, y = make_data(900, 300)
    one, two = (
        ParallelRidgeClassifierCV(np.logspace(-1, 4, 10), cv=cv, n_jobs=n_jobs).fit(X, y)
        for n_jobs in (1, 2)
    )
    scores = [model.cv_results_["mean_test_score"] for model in (one, two)]
    assert_allclose(*scores, 1e-12)
    assert_allclose(two.coef_, one.coef_, 1e-10, 1e-14)


class Sending(OpenMPBackend):
    """A backend that measures what its tasks are sent."""

    def map(self, function, items):
        items = list(items)
        sizes = self.__dict__.setdefault("sizes", [])
        sizes += [len(pickle.dumps(item)) for item in items]
        return super().map(function, items)


def test_tasks_are_not_sent_the_rows():
    X, y = make_data(6000, 5)
    backend = Sending()
    ParallelRidgeClassifierCV(ALPHAS, cv=3, scoring="r2", backend=backend).fit(X, y)
    sizes = [size for size in backend.sizes if size > 1000]  # of splits: statistics, coefficients
    assert len(sizes) >= 6
    assert max(sizes) < X.nbytes / 10


@pytest.mark.filterwarnings("default:The best alpha")
@pytest.mark.parametrize(("alphas", "warned"), [([1.0, 1.0], False), ([1.0, 1e9], True)])
def test_only_penalties_that_differ_have_an_end(alphas, warned):
    X, y = make_data(60, 5)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        ParallelRidgeClassifierCV(alphas).fit(X, y)
    assert any("The best alpha" in str(one.message) for one in found) == warned
