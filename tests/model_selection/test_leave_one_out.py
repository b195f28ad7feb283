"""Leave-one-out in closed form, against brute force."""

import warnings

import numpy as np
import pytest
from _data.model_selection import (
    ALPHAS,
    CONTAINERS,
    TARGETS,
    coded,
    labels_of,
    left_out_values,
    make_data,
    margins,
    weights_of,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import RidgeClassifier, RidgeClassifierCV
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
)
from sklearn.model_selection import (
    KFold,
    LeaveOneOut,
)
from sklearn.utils import compute_sample_weight

from parallel_ridge import (
    ParallelRidgeClassifierCV,
    numerics,
    reductions,
)

# The grids here are short on purpose; one test is about this warning.
pytestmark = pytest.mark.filterwarnings("ignore:The best alpha")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("shape", [(60, 5), (25, 40)])
@pytest.mark.parametrize("target", TARGETS)
def test_leave_one_out_is_that_of_ridge_classifier_cv(
    target, shape, fit_intercept, weighted, backend
):
    X, y = make_data(*shape, target)
    weights = weights_of(len(X)) if weighted else None
    for class_weight in (None,) if target == "multilabel" else (None, "balanced"):
        options = {"fit_intercept": fit_intercept, "class_weight": class_weight}
        theirs = RidgeClassifierCV(ALPHAS, store_cv_results=True, **options).fit(X, y, weights)
        ours = ParallelRidgeClassifierCV(
            ALPHAS, store_cv_results=True, backend=backend, **options
        ).fit(X, y, weights)
        assert ours.alpha_ == theirs.alpha_
        assert_allclose(ours.best_score_, theirs.best_score_, 1e-10)
        assert_allclose(ours.coef_, theirs.coef_.reshape(ours.coef_.shape), 1e-8, 1e-10)
        assert_allclose(ours.intercept_, theirs.intercept_, 1e-8, 1e-10)
        errors = theirs.cv_results_.reshape(len(X), -1, len(ALPHAS))
        means = -errors.mean(axis=(0, 1))
        assert_allclose(ours.cv_results_["mean_test_score"], means, 1e-10)
        deviations = errors.mean(axis=1).std(axis=0)
        assert_allclose(ours.cv_results_["std_test_score"], deviations, 1e-8)
        w = np.ones(len(X)) if weights is None else weights
        w = w if class_weight is None else w * compute_sample_weight(class_weight, y)
        loo = ours.loo_decision_.reshape(len(X), -1)
        assert_allclose(
            w[:, None] * (loo - coded(y)) ** 2, errors[:, :, ours.best_index_], 1e-8, 1e-10
        )
        assert ours.n_splits_ == len(X) and not any("split" in key for key in ours.cv_results_)


@pytest.mark.parametrize("scoring", ["accuracy", "neg_mean_squared_error"])
@pytest.mark.parametrize("shape", [(45, 4), (30, 50)])
def test_a_split_for_each_row_gives_the_scores_of_leave_one_out(shape, scoring):
    X, y = make_data(*shape)
    options = {"scoring": scoring, "fit_intercept": True}
    closed = ParallelRidgeClassifierCV(ALPHAS, **options).fit(X, y)
    for cv in (LeaveOneOut(), KFold(len(X))):
        split = ParallelRidgeClassifierCV(ALPHAS, cv=cv, **options).fit(X, y)
        assert split.n_splits_ == closed.n_splits_ == len(X)
        scores = closed.cv_results_["mean_test_score"]
        assert_allclose(split.cv_results_["mean_test_score"], scores, 1e-10)
        assert split.alpha_ == closed.alpha_


@st.composite
def left_out(draw):
    """Few rows, narrow and wide, of which one at a time is left out."""
    n, d, seed = draw(st.integers(12, 22)), draw(st.integers(1, 30)), draw(st.integers(0, 2**16))
    target = draw(st.sampled_from(TARGETS))
    dtype = draw(st.sampled_from(["float64", "uint8"]))
    X, y = make_data(n, d, target, dtype, seed)
    container = draw(st.sampled_from(sorted(CONTAINERS)))
    if container == "csr":
        X = X * (np.random.default_rng(seed).random(X.shape) < 0.5).astype(X.dtype)
    weights = weights_of(n, seed) if draw(st.booleans()) else None
    class_weight = None if target == "multilabel" else draw(st.sampled_from([None, "balanced"]))
    options = {"fit_intercept": draw(st.booleans()), "standardize": draw(st.booleans())}
    factor = 625 if dtype == "uint8" and not options["standardize"] else 1
    alphas = [alpha * factor for alpha in draw(st.permutations([0.05, 1.0, 30.0]))]
    return X, y, CONTAINERS[container], weights, class_weight, alphas, options


@settings(max_examples=40, deadline=None)
@given(left_out(), st.sampled_from(["accuracy", "balanced_accuracy", None]), st.booleans())
def test_leave_one_out_is_a_fit_to_all_other_rows(problem, scoring, mean):
    X, y, container, weights, class_weight, alphas, options = problem
    w = np.ones(len(X)) if weights is None else weights
    if class_weight:
        w = w * compute_sample_weight(class_weight, y)
    objective, divisor = ("mean", w.sum()) if mean else ("sum", 1.0)  # the weights of all rows
    values = [left_out_values(X, coded(y), alpha, w, **options) for alpha in alphas]
    scoring = None if y.ndim == 2 else scoring
    if scoring is None:
        errors = [(w[:, None] * (v - coded(y)) ** 2).mean() for v in values]
        expected = -np.array(errors)
    else:
        assume(min(margins(v).min() for v in values) > 1e-6)
        assume(np.bincount(np.searchsorted(np.unique(y), y), w).min() > 0)
        metric = {"accuracy": accuracy_score, "balanced_accuracy": balanced_accuracy_score}[scoring]
        expected = [metric(y, labels_of(v, np.unique(y)), sample_weight=w) for v in values]
    model = ParallelRidgeClassifierCV(
        np.array(alphas) / divisor,
        scoring=scoring,
        class_weight=class_weight,
        objective=objective,
        store_cv_results=True,
        **options,
    ).fit(container(X), y, weights)
    assert_allclose(model.cv_results_["mean_test_score"], expected, 1e-7, 1e-9)
    best = values[model.best_index_]
    assert_allclose(model.loo_decision_.reshape(best.shape), best, 1e-7, 1e-7)
    single = y.ndim == 1 and len(np.unique(y)) == 2
    assert model.loo_decision_.shape == ((len(X),) if single else coded(y).shape)


def test_binary_accuracy_of_rows_left_out_is_that_of_brute_force():
    # scikit-learn's issue 34942: its RidgeClassifierCV says 1.0, always.
    X, y = make_data(50, 5, "binary", signal=0.2)
    model = ParallelRidgeClassifierCV(ALPHAS, scoring="accuracy").fit(X, y)
    left = np.arange(50)
    expected = [
        np.mean([RidgeClassifier(alpha).fit(X[left != i], y[left != i]).predict(X[[i]])[0] == y[i]
                 for i in left])
        for alpha in ALPHAS
    ]  # fmt: skip
    assert_array_equal(model.cv_results_["mean_test_score"], expected)
    assert max(expected) < 0.95
    shares = model.cv_results_["mean_test_score"]
    assert_allclose(model.cv_results_["std_test_score"], np.sqrt(shares * (1 - shares)))


@pytest.mark.parametrize("shape", [(300, 8), (30, 45)])
@pytest.mark.parametrize("container", CONTAINERS)
def test_leave_one_out_of_float32_rows_is_that_of_float64_to_their_digits(shape, container):
    X, y = make_data(*shape, dtype="float32")
    X += 100  # far from zero, where float32 has fewer digits left
    held = CONTAINERS[container](X)
    model = ParallelRidgeClassifierCV([1.0], store_cv_results=True).fit(held, y)
    exact = ParallelRidgeClassifierCV([1.0], store_cv_results=True).fit(X.astype("d"), y)
    assert_allclose(model.loo_decision_, exact.loo_decision_, atol=2e-3)
    assert model.coef_.dtype == np.float32


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("options", [{}, {"standardize": True}, {"fit_intercept": False}])
@pytest.mark.parametrize("dtype", ["uint8", "int32", "float64"])
def test_small_leverages_are_formed_in_float32_at_no_loss_of_eight_digits(
    dtype, options, weighted, monkeypatch
):
    rng = np.random.default_rng(3)
    X = rng.integers(0, 200, (4000, 30)) * (rng.random((4000, 30)) < 0.5)
    X[:, 7], X[11, :] = 5, 200  # a constant column, and a row far from the others
    X[11, 3], X[:, 4] = 0, X[:, 5] + rng.integers(0, 40, 4000)  # and nearly collinear ones
    X[:, 8] = X[:, 9]  # and equal ones
    y = (X[:, 0] > 50) + (X[:, 1] + rng.integers(0, 50, 4000) > 70)
    weights = rng.integers(0, 5, 4000).astype(float) if weighted else None
    values, kinds = [], set()
    call = reductions.LeaveOneOutDecisions.__call__

    def spied(self, block):
        kinds.add(self.leverage_dtype)
        return call(self, block)

    monkeypatch.setattr(reductions.LeaveOneOutDecisions, "__call__", spied)
    for rounding in (numerics.LEVERAGE_ROUNDING, -1.0):
        monkeypatch.setattr("parallel_ridge.reductions._leave_one_out.LEVERAGE_ROUNDING", rounding)
        kinds.clear()
        model = ParallelRidgeClassifierCV([10.0, 1e3], store_cv_results=True, **options)
        model.fit(X.astype(dtype), y, weights)
        values.append((model.loo_decision_, model.cv_results_["mean_test_score"]))
        assert kinds == {np.dtype("float32" if rounding > 0 else "float64")}
    assert_allclose(values[0][0], values[1][0], atol=1e-7)
    assert_allclose(values[0][1], values[1][1], rtol=1e-9)
    assert np.abs(values[0][0] - values[1][0]).max() > 0


@pytest.mark.parametrize("scale", [1e39, 1e20, 1e-25])
def test_leverages_that_float32_cannot_hold_are_formed_in_float64(scale):
    rng = np.random.default_rng(0)
    X, noise = rng.normal(size=(400, 5)), rng.normal(size=400)
    y, alphas = X[:, 0] + noise > 0, np.array([1.0, 10.0])
    usual = ParallelRidgeClassifierCV(alphas, store_cv_results=True).fit(X, y)
    model = ParallelRidgeClassifierCV(alphas * scale**2, store_cv_results=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        model.fit(X * scale, y)
        assert_allclose(model.loo_decision_, usual.loo_decision_, atol=1e-7)
        X[:, 0] *= 6e23  # a number of particles beside others
        model.set_params(alphas=alphas).fit(X, y)
        assert model.score(X, y) > 0.7


@pytest.mark.parametrize("alpha", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("copies", [2, 3])
def test_leverages_of_copied_columns_keep_eight_digits(copies, alpha):
    B = np.random.default_rng(3).integers(0, 200, (4000, 15))
    y, X = B[:, 0] + B[:, 1] > 200, np.hstack([B] * copies).astype("uint8")
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        model = ParallelRidgeClassifierCV([alpha, 2 * alpha], store_cv_results=True).fit(X, y)
    # As one column, of copies times the weight: a penalty that is as much smaller.
    one = ParallelRidgeClassifierCV([model.alpha_ / copies], store_cv_results=True).fit(B * 1.0, y)
    errors = model.loo_decision_ - one.loo_decision_
    residuals = model.loo_decision_ - coded(y)[:, 0]
    assert np.sqrt(np.mean(errors**2)) < 1e-8 * np.sqrt(np.mean(residuals**2))


@pytest.mark.parametrize("cv", [None, 3])
@pytest.mark.parametrize("many", [False, True])
def test_a_search_on_constant_columns_alone_finds_no_weights(cv, many):
    X, y = np.full((30, 4), 0.1), np.arange(30) % 3
    alphas = np.logspace(-2, 2, 40) if many else [1.0, 2.0, 1.5]
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.filterwarnings("ignore", "The best alpha")
        model = ParallelRidgeClassifierCV(alphas, cv=cv, store_cv_results=cv is None).fit(X, y)
    assert_array_equal(model.coef_, np.zeros((3, 4)))
    assert_allclose(model.intercept_, -1 / 3)
    if cv is None:
        assert_allclose(model.loo_decision_[0], [2 * 9 / 29 - 1, 2 * 10 / 29 - 1, 2 * 10 / 29 - 1])
