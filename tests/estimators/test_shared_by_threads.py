"""Threads that share an estimator."""

import threading

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from parallel_ridge import (
    ParallelRidgeClassifier,
    ParallelRidgeClassifierCV,
)


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
