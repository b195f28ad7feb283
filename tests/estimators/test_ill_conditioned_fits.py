"""Degenerate and ill-conditioned data: right, or a warning that says what was lost."""

import tracemalloc
import warnings
from contextlib import nullcontext
from fractions import Fraction
from itertools import product
from operator import mul

import numpy as np
import pytest
import scipy.sparse as sp
from _data.estimators import (
    CONTAINERS,
    SOLVERS,
    assert_close,
    assert_same_model,
    float64,
    make_data,
    oracle,
    weights_of,
)
from sklearn.exceptions import ConvergenceWarning

from parallel_ridge import (
    IllConditionedWarning,
    OpenMPBackend,
    ParallelRidgeClassifier,
    solvers,
    sufficient_statistics,
)


def least_norm(X, y, fit_intercept=True, classes=None):
    """Weights of least norm among those of least squares."""
    X = float64(X)
    Y = 2.0 * (np.asarray(y)[:, None] == np.unique(y)) - 1.0
    Y = Y[:, 1:] if Y.shape[1] == 2 else Y
    if fit_intercept:
        X, Y = X - X.mean(axis=0), Y - Y.mean(axis=0)
    coef = np.linalg.lstsq(X, Y, rcond=1e-12)[0].T
    return coef[0] if len(coef) == 1 else coef


@pytest.mark.filterwarnings("ignore::parallel_ridge.IllConditionedWarning")
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("shape", [(60, 5), (20, 50), (12, 12)], ids=str)
@pytest.mark.parametrize("solver", SOLVERS)
def test_no_penalty_gives_the_least_squares_of_least_norm(solver, shape, fit_intercept):
    X, y = make_data(*shape)
    X *= np.geomspace(1, 3, shape[1])
    options = {"alpha": 0, "fit_intercept": fit_intercept, "solver": solver}
    model = ParallelRidgeClassifier(**options).fit(X, y)
    # A square system of random rows squares to a condition number of some 1e4.
    tolerance = 1e-6 if solver == "cg" else 1e-8
    assert_close(model.coef_, least_norm(X, y, fit_intercept), tolerance)
    if shape == (60, 5):
        assert_same_model(model, oracle(X, y, alpha=0, fit_intercept=fit_intercept), X)


@pytest.mark.parametrize("dtype", ["float64", "uint8"])
@pytest.mark.parametrize("solver", ["auto", "cholesky", "dual"])
def test_equal_columns_without_penalty_warn_and_go_to_svd(solver, dtype):
    X, y = make_data(dtype=dtype)
    X = np.column_stack([X, X[:, :2]])
    with pytest.warns(IllConditionedWarning, match="'svd'"):
        model = ParallelRidgeClassifier(alpha=0, solver=solver).fit(X, y)
    assert model.solver_ == "svd"
    assert_close(model.coef_, least_norm(X, y))


@pytest.mark.parametrize("solver", SOLVERS)
def test_equal_columns_share_their_weight(solver):
    X, y = make_data(dtype="int16")
    X = np.column_stack([X, X[:, :2]])
    model = ParallelRidgeClassifier(solver=solver).fit(X, y)
    assert_same_model(model, oracle(X, y), X)
    assert_close(model.coef_[:, -2:], model.coef_[:, :2])


@pytest.mark.parametrize("way", [*SOLVERS, "fit_statistics", "coef_path of 12"])
def test_nearly_equal_columns_keep_eight_digits_or_warn(way):
    X, y = make_data(200, 6)
    X = np.column_stack([X, X[:, 0] + 1e-6 * np.random.default_rng(5).normal(size=200)])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = ParallelRidgeClassifier(alpha=0, solver=way if way in SOLVERS else "auto")
        if way in SOLVERS:
            coef = model.fit(X, y).coef_
        elif way == "fit_statistics":
            coef = model.fit_statistics(sufficient_statistics(X, y)).coef_
        else:
            model.set_params(alpha=1.0, store_statistics=True).fit(X, y)
            coef = model.coef_path(np.zeros(12))[0][0]
    if not any(warning.category is IllConditionedWarning for warning in caught):
        assert_close(coef, least_norm(X, y))


@pytest.mark.parametrize("spectrum", ["one small", "geometric", "one large"])
@pytest.mark.parametrize("shape", [(400, 30), (20, 50)], ids=str)
def test_any_condition_number_keeps_eight_digits_or_warns(spectrum, shape):
    rng = np.random.default_rng(0)
    r = min(shape)
    for condition in np.logspace(5, 15, 51):
        smallest = condition**-0.5
        sizes = {
            "one small": np.r_[np.ones(r - 1), smallest],
            "geometric": np.geomspace(1.0, smallest, r),
            "one large": np.r_[1.0, np.full(r - 1, smallest)],
        }[spectrum]
        left, right = (np.linalg.qr(rng.standard_normal((m, r)))[0] for m in shape)
        X, y = 10 * (left * sizes) @ right.T, rng.integers(0, 3, shape[0])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = ParallelRidgeClassifier(0.0, fit_intercept=False).fit(X, y)
        warned = any(warning.category is IllConditionedWarning for warning in caught)
        assert warned == (model.solver_ == "svd")
        exact = np.linalg.lstsq(X, np.where(y[:, None] == np.arange(3), 1.0, -1.0), rcond=None)[0].T
        if not warned:
            assert np.linalg.norm(model.coef_ - exact) <= 1e-8 * np.linalg.norm(exact)


def ill_conditioned(dtype, nearly):
    """Rows whose third column is nearly a multiple of the first."""
    X, y = make_data(400, 6, dtype="float64" if np.dtype(dtype).kind == "f" else dtype)
    rng = np.random.default_rng(5)
    if np.dtype(dtype).kind == "f":
        X[:, 2] = X[:, 0] + nearly * rng.normal(size=len(X))
    else:
        X[:, 2] = np.rint(1.0 / nearly) * X[:, 0] + rng.integers(0, 2, len(X))
    return X.astype(dtype), y


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("container", ["dense", "csr"])
@pytest.mark.parametrize(
    ("dtype", "nearly"),
    [("float64", 1e-4), ("float64", 1e-5), ("float32", 1e-4), ("int32", 1e-3), ("int64", 1e-4)],
)
def test_ill_conditioned_systems_are_refined(dtype, nearly, container, weighted, fit_intercept):
    X, y = ill_conditioned(dtype, nearly)
    weights = weights_of(len(y)) if weighted else None
    for standardize, alpha in product([False, True], [0.0, 1e-6]):
        options = {"standardize": standardize, "fit_intercept": fit_intercept, "alpha": alpha}
        model = ParallelRidgeClassifier(**options)
        model.fit(CONTAINERS[container](X), y, weights)  # a warning would be an error
        assert model.solver_ == "cholesky"
        best = ParallelRidgeClassifier(solver="svd", **options).fit(float64(X), y, weights)
        assert_close(model.coef_, best.coef_, 1e-6 if dtype == "float32" else 2e-8, case=options)


def test_float32_sums_that_lose_too_much_are_formed_again(monkeypatch):
    X, y = ill_conditioned("float32", 1e-4)
    work_dtypes = []
    fold = OpenMPBackend.reduce

    def folding(self, reduction, source):
        work_dtypes.append(str(getattr(reduction, "work_dtype", "rows")))
        return fold(self, reduction, source)

    monkeypatch.setattr(OpenMPBackend, "reduce", folding)
    model = ParallelRidgeClassifier(alpha=1e-6, store_statistics=True).fit(X, y)
    assert work_dtypes[0] == "float32"
    assert "float64" in work_dtypes
    best = ParallelRidgeClassifier(alpha=1e-6, solver="svd").fit(X.astype("float64"), y)
    assert_close(model.coef_, best.coef_, 1e-6)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_exact_statistics_are_solved_to_eight_digits_without_rows(fit_intercept):
    X, y = ill_conditioned("int64", 1e-4)
    best = ParallelRidgeClassifier(0.0, fit_intercept=fit_intercept, solver="svd").fit(X, y)
    model = ParallelRidgeClassifier(0.0, fit_intercept=fit_intercept, store_statistics=True)
    model.fit_statistics(sufficient_statistics(X, y))
    assert_close(model.coef_, best.coef_)
    coefs, intercepts = model.coef_path([0.0, 1.0])
    assert_close(coefs[0], best.coef_)
    if fit_intercept:
        assert_close(intercepts[0], best.intercept_, of=1.0)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("size", [2, 200, 30_000])
def test_residuals_of_exact_statistics_hold_every_digit(size, fit_intercept):
    rng = np.random.default_rng(size)
    X, y = rng.integers(-size, size + 1, (50, 7)), rng.integers(0, 3, 50)
    statistics = sufficient_statistics(X, y)
    problem = solvers.Problem(fit_intercept=fit_intercept)
    factor = solvers.NormalEquations(statistics, problem).factorise(0.1, False, 1e13)
    coef = rng.standard_normal((3, 7)) * 10.0 ** rng.integers(-6, 6, (3, 7))
    residual = solvers.exact_residual(statistics, factor)(coef)
    rows = [[Fraction(int(x)) for x in row] for row in X]
    means = [sum(column) / 50 if fit_intercept else 0 for column in zip(*rows, strict=True)]
    rows = [[x - mean for x, mean in zip(row, means, strict=True)] for row in rows]
    for j, weights in enumerate(coef):
        w = [Fraction(float(x)) for x in weights]
        target = [2 * int(label == j) - 1 for label in y]
        errors = [t - sum(map(mul, row, w)) for t, row in zip(target, rows, strict=True)]
        for i, column in enumerate(zip(*rows, strict=True)):
            exact = sum(map(mul, column, errors)) - Fraction(factor.penalty[i]) * w[i]
            terms = sum(abs(x * t) for x, t in zip(column, errors, strict=True))
            assert (
                abs(Fraction(float(residual[j, i])) - exact) <= abs(exact) / 2**52 + terms / 2**58
            )


@pytest.mark.filterwarnings("ignore::parallel_ridge.IllConditionedWarning")
def test_float32_loses_few_digits_or_warns():
    """Whatever the condition: rows that are at hand are used, and statistics alone warn."""
    for n, nearly in product([400, 5000], np.logspace(-4, -1, 7)):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(n, 6))
        X[:, 2] = X[:, 0] + nearly * rng.normal(size=n)
        y = (X[:, 0] + rng.normal(size=n) > 0).astype(int)
        X = X.astype("float32")
        best = ParallelRidgeClassifier(1e-6, solver="svd").fit(X.astype(float), y).coef_
        for solver in ("auto", "eigen"):
            fitted = ParallelRidgeClassifier(1e-6, solver=solver).fit(X, y)
            assert_close(fitted.coef_, best, 2e-2, case=(n, nearly))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            coef = ParallelRidgeClassifier(1e-6).partial_fit(X, y).coef_
        if not caught:
            assert_close(coef, best, 2e-2, case=(n, nearly))


@pytest.mark.filterwarnings("ignore::parallel_ridge.IllConditionedWarning")
@pytest.mark.parametrize("solver", ["auto", "svd", "cholesky"])
def test_columns_of_very_different_sizes(solver):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 50, (14, 12)).astype(float)
    X[:, 2] = 3333333 * X[:, 0] + rng.integers(0, 2, 14)
    y = np.arange(14) % 3
    model = ParallelRidgeClassifier(1e-7, solver=solver).fit(X, y)
    assert_close(model.coef_, oracle(X, y, alpha=1e-7).coef_, 1e-6)


def test_errors_stay_below_eight_digits_up_to_where_refinement_begins():
    rng = np.random.default_rng(3)
    for nearly in np.logspace(-7, -3, 9):
        X = rng.normal(size=(400, 12)) + 3
        X[:, 2] = X[:, 0] + nearly * rng.normal(size=400)
        X[:, 1] = 7
        y = rng.integers(0, 3, 400)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = ParallelRidgeClassifier(4e-5, fit_intercept=False).fit(X, y)
        if not caught:
            reference = oracle(X, y, alpha=4e-5, fit_intercept=False)
            assert_close(model.coef_, reference.coef_, 2e-8, case=nearly)


def test_a_label_that_every_row_has_does_not_keep_others_from_refinement():
    X, _ = ill_conditioned("float64", 1e-4)
    rng = np.random.default_rng(0)
    Y = rng.integers(0, 2, (len(X), 3))
    Y[:, 1] = 1
    model = ParallelRidgeClassifier(1e-6).fit(X, Y, rng.random(len(X)) + 0.1)
    assert model.solver_ == "cholesky"
    assert_close(model.coef_[1], np.zeros(X.shape[1]), 1e-6, 1.0)


def test_sparse_rows_far_from_zero_keep_their_digits():
    X, y = make_data(500, 3)
    X += 1e5
    dense = ParallelRidgeClassifier().fit(X, y)
    assert_close(ParallelRidgeClassifier().fit(sp.csr_matrix(X), y).coef_, dense.coef_)


@pytest.mark.parametrize("call", ["no rows", "no rows but labels", "unfitted"])
def test_no_rows_have_no_score(call):
    X, y = make_data()
    model = ParallelRidgeClassifier() if call == "unfitted" else ParallelRidgeClassifier().fit(X, y)
    with pytest.raises(ValueError, match="not fitted" if call == "unfitted" else r"0 sample\(s\)"):
        model.score(X[:0], y[:0] if call != "no rows but labels" else y)


def test_a_system_that_refinement_cannot_mend_goes_to_svd():
    X, y = ill_conditioned("float64", 1e-7)  # a condition number of some 1e14
    with pytest.warns(IllConditionedWarning, match="'svd'"):
        model = ParallelRidgeClassifier(alpha=0).fit(X, y)
    assert model.solver_ == "svd"


@pytest.mark.parametrize("alpha", [1e-3, 1.5, 100.0])
@pytest.mark.parametrize("dtype", ["uint8", "float64"])
@pytest.mark.parametrize("shape", [(15, 40), (50, 3000), (1500, 40)], ids=str)
def test_conjugate_gradients_keep_eight_digits_or_warn(shape, dtype, alpha):
    X, y = make_data(*shape, dtype=dtype)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = ParallelRidgeClassifier(alpha, solver="cg").fit(X, y)
    if not {w.category for w in caught} & {ConvergenceWarning, IllConditionedWarning}:
        assert_close(model.coef_, oracle(X, y, alpha=alpha).coef_)


@pytest.mark.parametrize("call", ["fit", "partial_fit", "fit_statistics", "coef_path", "fit by cg"])
def test_warnings_name_the_line_of_the_caller(call):
    X, y = make_data()
    X = np.column_stack([X, X[:, 0]])
    model = ParallelRidgeClassifier(store_statistics=True).fit(X, y).set_params(alpha=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if call == "coef_path":
            model.coef_path([0.0])
        elif call == "fit_statistics":
            model.fit_statistics(model.statistics_)
        elif call == "fit by cg":
            hilbert = 1.0 / (1 + np.add.outer(np.arange(60), np.arange(30)))
            model.set_params(solver="cg", store_statistics=False).fit(hilbert, y)
        else:
            assert len(getattr(model, call)(X, y).coef_) == 3
    category = ConvergenceWarning if call == "fit by cg" else IllConditionedWarning
    assert [(w.category, w.filename) for w in caught] == [(category, __file__)]


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("n", [60, 1500])
@pytest.mark.parametrize("container", CONTAINERS)
def test_constant_columns_have_no_weight(container, n, solver):
    X, y = make_data(n)
    X[:, 1], X[:, 3] = 0.1, 0.0  # a tenth: its sums round
    for standardize, alpha in ((False, 1.0), (True, 1.0), (False, 0.0), (True, 0.0)):
        case = {"standardize": standardize, "alpha": alpha}
        model = ParallelRidgeClassifier(solver=solver, **case)
        singular = solver == "dual" and not alpha
        with pytest.warns(IllConditionedWarning) if singular else nullcontext():
            model.fit(CONTAINERS[container](X), y)
        assert_close(model.coef_[:, [1, 3]], np.zeros((3, 2)), 1e-12, 1.0, case)
        without = ParallelRidgeClassifier(solver="svd", **case).fit(X[:, [0, 2, 4]], y)
        assert_close(model.coef_[:, [0, 2, 4]], without.coef_, case=case)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("d", [1, 2, 6])
@pytest.mark.parametrize("k", [2, 3])
def test_one_sample_of_each_class_is_enough(k, d, solver):
    X, y = make_data(k, d, "binary" if k == 2 else "multiclass")
    for fit_intercept in (True, False):
        model = ParallelRidgeClassifier(fit_intercept=fit_intercept, solver=solver).fit(X, y)
        assert_same_model(model, oracle(X, y, fit_intercept=fit_intercept), X)


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("way", [*SOLVERS, "partial_fit"])
def test_float32_rows_far_from_zero_keep_their_accuracy(way, standardize):
    X, y = make_data(1000, 20)
    X = (X + 1000).astype(np.float32)
    model = ParallelRidgeClassifier(standardize=standardize)
    exact = ParallelRidgeClassifier(standardize=standardize, solver="svd").fit(float64(X), y)
    if way == "partial_fit":
        for rows in np.array_split(np.arange(len(X)), 4):
            model.partial_fit(X[rows], y[rows], classes=np.unique(y))
    else:
        model.set_params(solver=way).fit(X, y)
    assert model.coef_.dtype == np.float32
    assert_close(model.coef_, exact.coef_, 2e-5)
    assert np.mean(model.predict(X) == exact.predict(float64(X))) > 0.999


@pytest.mark.parametrize("make", [np.asarray, sp.csr_matrix])
@pytest.mark.parametrize("solver", ["auto", "dual", "svd", "cg"])
def test_wide_rows_never_make_a_matrix_of_features_by_features(solver, make):
    X, y = make_data(50, 12_000, dtype="uint8")
    held = make(X)
    tracemalloc.start()
    try:
        model = ParallelRidgeClassifier(solver=solver).fit(held, y)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100e6  # such a matrix has 1.2e9 bytes
    assert_same_model(model, oracle(X, y), held)
