"""Arrays of any library, where scikit-learn's array API dispatch is on."""

import os

import numpy as np
import pytest
from _data.estimators import assert_close, make_data
from numpy.testing import assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.utils.estimator_checks import estimator_checks_generator

from parallel_ridge import ParallelRidgeClassifier, ParallelRidgeClassifierCV, make_block_pipeline

pytestmark = [
    pytest.mark.skipif(
        os.environ.get("SCIPY_ARRAY_API") != "1",
        reason="SciPy must be imported with SCIPY_ARRAY_API=1: make test-torch does so",
    ),
    pytest.mark.filterwarnings("ignore:The best alpha"),
]
MODELS = [
    ParallelRidgeClassifier(),
    ParallelRidgeClassifier(solver="svd", class_weight="balanced"),
    ParallelRidgeClassifier(standardize=True, backend="openmp"),
    ParallelRidgeClassifierCV(),
    ParallelRidgeClassifierCV([0.1, 1.0, 10.0], cv=3),
]
CHECKS = [
    (model, check)
    for model in MODELS
    if model.backend == "auto"  # "openmp" takes tensors where dispatch is on only
    for model, check in estimator_checks_generator(model)
    if "array_api" in check.func.__name__
]


def library(name):
    if name == "torch":
        return pytest.importorskip("torch")
    return pytest.importorskip("array_api_strict")


@pytest.mark.parametrize(("model", "check"), CHECKS)
def test_common_checks_of_scikit_learn(model, check):
    # It goes by what torch was built for.
    if "'cuda'" in repr(check.keywords) and not library("torch").cuda.is_available():
        pytest.skip("torch was built for CUDA, and there is no GPU")
    check(model)


@pytest.mark.parametrize("name", ["torch", "array_api_strict"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_answers_are_arrays_of_the_library_and_equal(name, dtype, model, weighted, n_classes):
    xp = library(name)
    X, y = make_data(90, 6)
    X, y = X.astype(dtype), np.unique(y, return_inverse=True)[1] % n_classes
    weights = np.arange(90) % 3 + 1.0 if weighted else None
    expected = clone(model).fit(X, y, sample_weight=weights)
    there = [None if a is None else xp.asarray(a) for a in (X, y, weights)]
    with config_context(array_api_dispatch=True):
        found = clone(model).fit(*there[:2], sample_weight=there[2])
        for attribute in ("coef_", "intercept_", "classes_"):
            value = getattr(found, attribute)
            assert type(value) is type(there[0])
            assert_close(np.asarray(value), getattr(expected, attribute), 1e-5)
        for method in ("decision_function", "predict"):
            value = getattr(found, method)(there[0])
            assert type(value) is type(there[0])
            assert_close(np.asarray(value), getattr(expected, method)(X), 1e-5)
        assert found.score(*there) == pytest.approx(expected.score(X, y, weights))
        with pytest.raises(ValueError, match=r"must use the same namespace.*numpy now"):
            found.predict(X)
    # A model that was fitted there answers arrays of NumPy where dispatch is off.
    assert_array_equal(found.predict(X), expected.predict(X))


@pytest.mark.parametrize("labels", ["text", "multilabel"])
def test_labels_that_are_no_numbers_and_several(labels):
    xp = library("array_api_strict")
    X, y = make_data(90, 6)
    y = np.asarray(y).astype(str) if labels == "text" else np.eye(3, dtype=int)[np.arange(90) % 3]
    there = y if labels == "text" else xp.asarray(y)
    expected = ParallelRidgeClassifier().fit(X, y)
    with config_context(array_api_dispatch=True):
        found = ParallelRidgeClassifier().fit(xp.asarray(X), there)
        answers = found.predict(xp.asarray(X))
        assert_array_equal(np.asarray(answers), expected.predict(X))
        assert (type(answers) is np.ndarray) == (labels == "text")


@pytest.mark.parametrize("kind", ["list", "csr", "frame", "pipeline"])
def test_dispatch_changes_nothing_for_other_rows(kind):
    X, y = make_data(90, 6)
    rows = {
        "list": X.tolist,
        "csr": lambda: pytest.importorskip("scipy.sparse").csr_matrix(X),
        "frame": lambda: pytest.importorskip("pandas").DataFrame(X),
        "pipeline": lambda: X,
    }[kind]()
    model = ParallelRidgeClassifier()
    if kind == "pipeline":
        model = make_block_pipeline(model)
    expected = clone(model).fit(rows, y).predict(rows)
    with config_context(array_api_dispatch=True):
        found = clone(model).fit(rows, y)
        assert type(found.predict(rows)) is np.ndarray
        assert_array_equal(found.predict(rows), expected)
        assert found.score(rows, y) > 0.5
