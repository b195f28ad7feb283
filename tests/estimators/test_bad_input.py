"""Bad input: an error with the value in it, and nothing half done."""

import re
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from _data.estimators import (
    CONTAINERS,
    INF,
    NAN,
    SOLVERS,
    TARGETS,
    assert_same_state,
    at,
    make_data,
    state,
)
from sklearn.exceptions import NotFittedError

from parallel_ridge import (
    IllConditionedWarning,
    ParallelRidgeClassifier,
)

# What is wrong: (rows and labels) -> (rows, labels, weights), and the error.
BAD_ROWS = {
    "NaN": (lambda X, y: (at(X, NAN), y), "NaN: row 3, column 2"),
    "infinity": (lambda X, y: (at(X, INF), y), "infinity: row 3, column 2"),
    "minus infinity": (lambda X, y: (at(X, -INF), y), "infinity: row 3, column 2"),
    "NaN far down": (
        lambda X, y: (at(np.tile(X, (200, 1)), NAN, 9000), np.tile(y, 200)),
        "NaN: row 9000, column 2",
    ),
    "float32 NaN": (lambda X, y: (at(X.astype("f"), NAN), y), "NaN: row 3, column 2"),
    "sparse NaN": (lambda X, y: (sp.csr_matrix(at(X, NAN)), y), "NaN: row 3, column 2"),
    "sparse infinity": (lambda X, y: (sp.csc_matrix(at(X, INF)), y), "infinity: row 3, column 2"),
    "NaN of a row without weight": (
        lambda X, y: (at(X, NAN), y, (np.arange(60) != 3) * 1.0),
        "NaN: row 3, column 2",
    ),
    "fewer labels": (lambda X, y: (X, y[:-1]), r"inconsistent.*\[60, 59\]"),
    "no labels": (lambda X, y: (X, None), "requires y to be passed"),
    "NaN label": (lambda X, y: (X, np.where(y == "a", NAN, 1.0)), "y contains NaN"),
    "continuous labels": (lambda X, y: (X, X[:, 0]), "Unknown label type: continuous"),
    "several outputs": (
        lambda X, y: (X, np.tile(np.arange(60) % 3, (2, 1)).T),
        "(?i)multi-?output",
    ),
    "no rows": (lambda X, y: (X[:0], y[:0]), r"0 sample\(s\) \(shape=\(0, 5\)\)"),
    "no columns": (lambda X, y: (X[:, :0], y), r"0 feature\(s\)|0 features"),
    "junk among objects": (lambda X, y: (at(X, "junk"), y), "'junk'"),
    "strings": (lambda X, y: (np.full(X.shape, "six"), y), "'six' in row 0, column 0"),
    "lists of strings": (lambda X, y: ([["six"] * 5] * 60, y), "bytes/strings|'six'"),
    "no matrix": (lambda X, y: (None, y), "None|NoneType"),
    "one dimension": (lambda X, y: (X[:, 0], y), "Expected 2D array, got 1D"),
    "three dimensions": (lambda X, y: (X[None], y[:1]), r"dim 3, of shape \(1, 60, 5\)"),
    "complex": (lambda X, y: (X * 1j, y), "Complex data not supported"),
    "negative weight": (
        lambda X, y: (X, y, np.where(np.arange(60) == 4, -1.0, 1)),
        "row 4 has -1.0",
    ),
    "NaN weight": (lambda X, y: (X, y, np.where(np.arange(60) == 5, NAN, 1)), "row 5 has nan"),
    "infinite weight": (lambda X, y: (X, y, np.where(np.arange(60) == 6, INF, 1)), "row 6 has inf"),
    "fewer weights": (lambda X, y: (X, y, np.ones(59)), r"\(59,\), expected \(60,\)"),
    "column of weights": (lambda X, y: (X, y, np.ones((60, 1))), r"\(60, 1\)|1D"),
    "weights in words": (lambda X, y: (X, y, ["heavy"] * 60), "'heavy'"),
    "values too large": (lambda X, y: (X * 1e300, y), "too large"),
}


BAD_OPTIONS = [
    ({"alpha": -1.0}, r"alpha == -1\.0, must be >= 0\.0"),
    ({"alpha": NAN}, "alpha == nan, must be finite"),
    ({"alpha": INF}, "alpha == inf, must be finite"),
    ({"alpha": "1"}, "alpha must be an instance of float, not str"),
    ({"alpha": None}, "alpha must be an instance of float, not NoneType"),
    ({"alpha": True}, "alpha must be an instance of float, not bool"),
    ({"alpha": [1.0, 2.0]}, "alpha must be an instance of float, not list"),
    ({"solver": "lbfgs"}, r"solver='lbfgs'.*'auto', 'cholesky', 'eigen', 'svd', 'dual', 'cg'"),
    ({"objective": "median"}, r"objective='median'.*'sum', 'mean'"),
    ({"backend": "gpu"}, r"backend='gpu'.*'auto', .*'openmp'"),
    ({"fit_intercept": "yes"}, "fit_intercept .* got 'yes'"),
    ({"standardize": 2}, "standardize .* got 2"),
    ({"store_statistics": None}, "store_statistics .* got None"),
    ({"class_weight": "equal"}, "class_weight .* got 'equal'"),
    ({"class_weight": np.ones(3)}, "class_weight .* got array"),
    ({"class_weight": {"a": -2.0, "b": 1, "cc": 1}}, "-2.0"),
    ({"n_jobs": 0}, "n_jobs .* got 0"),
    ({"n_jobs": "two"}, "n_jobs .* got 'two'"),
]


def fresh_and_fitted(method):
    X, y = make_data(seed=7)
    yield ParallelRidgeClassifier()
    yield getattr(ParallelRidgeClassifier(), method)(X, y)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("what", BAD_ROWS)
def test_bad_rows_are_refused_and_change_nothing(what, method, backend):
    make, match = BAD_ROWS[what]
    X, y, *weights = make(*make_data())
    for model in fresh_and_fitted(method):
        before = state(model.set_params(backend=backend))
        with pytest.raises((ValueError, TypeError), match=match):
            getattr(model, method)(X, y, **dict(zip(["sample_weight"], weights, strict=False)))
        assert_same_state(model, before)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("container", ["dense", "csr"])
@pytest.mark.parametrize(("value", "name"), [(NAN, "NaN"), (INF, "infinity")])
def test_every_solver_names_the_value_that_is_not_finite(value, name, container, solver):
    for shape in ((60, 5), (15, 40)):
        X, y = make_data(*shape)
        model = ParallelRidgeClassifier(solver=solver)
        with pytest.raises(ValueError, match=f"{name}: row 3, column 2"):
            model.fit(CONTAINERS[container](at(X, value)), y)
        assert_same_state(model, state(ParallelRidgeClassifier(solver=solver)))


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(("options", "match"), BAD_OPTIONS, ids=lambda value: repr(value)[:40])
def test_bad_options_are_refused_and_change_nothing(options, match, method):
    X, y = make_data()
    for model in fresh_and_fitted(method):
        before = state(model.set_params(**options))
        with pytest.raises((ValueError, TypeError), match=match):
            getattr(model, method)(X, y)
        assert_same_state(model, before)


def test_rows_without_any_weight_are_refused():
    X, y = make_data()
    for method in ("fit", "partial_fit"):  # of which later batches may have some
        model = ParallelRidgeClassifier()
        with pytest.raises(ValueError, match=r"weights are zero|positive weight"):
            getattr(model, method)(X, y, sample_weight=np.zeros(60))
        assert_same_state(model, state(ParallelRidgeClassifier()))


def test_weights_of_classes_that_are_not_there_are_refused():
    X, y = make_data()
    for model in fresh_and_fitted("fit"):  # in partial_fit they may be there later
        before = state(model.set_params(class_weight={"a": 1.0, "d": 1.0}))
        with pytest.raises(ValueError, match="class_weight"):
            model.fit(X, y)
        assert_same_state(model, before)


def test_an_object_that_is_no_backend_is_refused():
    X, y = make_data()
    with pytest.raises(TypeError, match="got 3"):
        ParallelRidgeClassifier(backend=3).fit(X, y)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("labels", ["aaa", [7, 7, 7], [False] * 3, [1.0] * 3], ids=str)
def test_one_class_is_refused_and_named(labels, method):
    X = np.eye(3)
    for model in (
        ParallelRidgeClassifier(),
        ParallelRidgeClassifier().fit(X, [0, 1, 0]),
    ):
        before = state(model)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # partial_fit starts anew
            with pytest.raises(ValueError, match=f"one class only.*{re.escape(repr(labels[0]))}"):
                getattr(model, method)(X, list(labels))
        assert_same_state(model, before)


def test_labels_that_do_not_order_are_refused():
    X, y = make_data()
    model = ParallelRidgeClassifier().partial_fit(X, y)
    before = state(model)
    for labels in (np.arange(60) % 3, np.array(["a", 1] * 30, dtype=object)):
        with pytest.raises((ValueError, TypeError), match=r"strings? and|str"):
            model.partial_fit(X, labels)
    with pytest.raises(ValueError, match="multilabel"):
        model.partial_fit(X, make_data(target="multilabel")[1])
    assert_same_state(model, before)


def test_partial_fit_refuses_another_number_of_features():
    X, y = make_data()
    model = ParallelRidgeClassifier().partial_fit(X, y)
    before = state(model)
    with pytest.raises(ValueError, match=r"X has 4 features.*expecting 5"):
        model.partial_fit(X[:, :4], y)
    assert_same_state(model, before)


BAD_PREDICTIONS = {
    name: (make, match)
    for name, (make, match) in BAD_ROWS.items()
    if not {"weight", "weights", "label", "labels", "outputs"} & set(name.split())
} | {"another number of features": (lambda X, y: (X[:, :4], y), "X has 4 features.*expecting 5")}


del BAD_PREDICTIONS["values too large"]


@pytest.mark.parametrize("method", ["predict", "decision_function"])
@pytest.mark.parametrize("what", BAD_PREDICTIONS)
def test_bad_rows_have_no_predictions(what, method, backend):
    make, match = BAD_PREDICTIONS[what]
    X, *_ = make(*make_data())
    for target in TARGETS:
        model = ParallelRidgeClassifier(backend=backend).fit(*make_data(target=target))
        before = state(model)
        with pytest.raises((ValueError, TypeError), match=match):
            getattr(model, method)(X)
        assert_same_state(model, before)


def test_there_are_no_predictions_before_fit():
    X, _ = make_data()
    for call in ("predict", "decision_function"):
        with pytest.raises(NotFittedError):
            getattr(ParallelRidgeClassifier(), call)(X)


def test_a_warning_made_an_error_leaves_the_model_as_it_was():
    X, y = make_data()
    model = ParallelRidgeClassifier(alpha=0).fit(X, y)
    before = state(model)
    with pytest.raises(IllConditionedWarning):  # the tests' filter makes it an error
        model.fit(np.column_stack([X, X]), y)
    assert_same_state(model, before)


@pytest.mark.parametrize("solver", ["cholesky", "eigen", "dual"])
def test_systems_beyond_the_memory_are_refused_with_their_sizes(solver):
    n = 400_000
    X, y = sp.eye_array(n, n + 1000, format="csr"), np.arange(n) % 3
    model = ParallelRidgeClassifier(solver=solver)
    message = r"features takes \d+.* GiB, that of 400000 rows .* GiB\. solver='cg' needs neither"
    with pytest.raises(MemoryError, match=message):
        model.fit(X, y)
    assert not hasattr(model, "coef_")
