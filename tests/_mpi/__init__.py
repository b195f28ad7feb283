"""What checks of MPI programs share. `tests/mpi/test_ranks.py` starts them: see `_mpi.__main__`."""

import hashlib
import time

import numpy as np

CHECKS = {}


def check(function):
    """Register a check; it is called with the communicator and a folder that all ranks see."""
    CHECKS[function.__name__] = function
    return function


CUTS = ("even", "uneven", "first empty", "last empty")


def part(comm, n, cut="even"):
    """Rows of this rank."""
    if cut == "even" or comm.size == 1:
        edges = np.linspace(0, n, comm.size + 1).astype(int)
    elif cut == "uneven":
        edges = np.r_[0, (n * (np.arange(1, comm.size) / comm.size) ** 2).astype(int), n]
    elif cut == "first empty":
        edges = np.r_[0, 0, np.linspace(0, n, comm.size).astype(int)[1:]]
    else:
        edges = np.r_[np.linspace(0, n, comm.size).astype(int), n]
    return slice(edges[comm.rank], edges[comm.rank + 1])


def make_data(n=240, d=7, dtype="float64", target="strings", seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) + 3
    scores = (X - 3) @ rng.normal(size=(d, 3)) + 0.5 * rng.normal(size=(n, 3))
    codes = scores.argmax(axis=1)
    codes[:3] = np.arange(3)[: min(3, n)]
    y = {
        "strings": np.array(["a", "bb", "ccc"])[codes],
        "integers": codes * 5 - 3,
        "binary": codes > 0,
        "multilabel": (scores > 0).astype(int),
    }[target]
    if np.dtype(dtype).kind in "iu":
        X = np.clip(40 * X, 0, 250)
    return X.astype(dtype), y


def weights_of(n, seed=1):
    weights = np.random.default_rng(seed).uniform(0.2, 3, n)
    weights[5] = 0.0
    return weights


def assert_close(actual, expected, tolerance=1e-12, case=""):
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, (case, actual.shape, expected.shape)
    assert actual.dtype == expected.dtype, (case, actual.dtype, expected.dtype)
    scale = max(np.abs(expected).max(initial=0.0), 1e-300)
    error = np.abs(actual - expected).max(initial=0.0) / scale
    assert error <= tolerance, f"{case}: relative error {error:.2e} > {tolerance:.0e}"


def assert_same_bits(comm, *arrays):
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()
    assert len(set(comm.allgather(digest))) == 1, "ranks hold different bits"


def rows(X, y, s, weights=None):
    return (X[s], y[s]) if weights is None else (X[s], y[s], weights[s])


def fits(comm, options, X, y, weights=None, cut="uneven", tolerance=1e-12, backend="mpi"):
    """A fit over ranks is that of one process, the same bits on each."""
    from parallel_ridge import ParallelRidgeClassifier

    shared = ParallelRidgeClassifier(backend=backend, **options)
    shared.fit(*rows(X, y, part(comm, X.shape[0], cut), weights))
    alone = ParallelRidgeClassifier(**options).fit(X, y, weights)
    case = (options, cut)
    assert_close(shared.coef_, alone.coef_, tolerance, case)
    assert_close(shared.intercept_, alone.intercept_, max(tolerance, 1e-15), case)
    assert shared.classes_.tolist() == alone.classes_.tolist()
    assert shared.solver_ == alone.solver_
    assert_same_bits(comm, shared.coef_, shared.intercept_)
    return shared, alone


def raises(comm, kind, words, call):
    """Every rank raises the same error, within seconds."""
    start = time.perf_counter()
    try:
        call()
    except kind as error:
        told = f"{type(error).__name__}: {error}"
    else:
        raise AssertionError(f"rank {comm.rank} raised nothing; expected {words}")
    assert time.perf_counter() - start < 20
    assert len(set(comm.allgather(told))) == 1, comm.allgather(told)
    for word in words:
        assert word in told, (word, told)


# ------------------------------------------------------------------------------------------------
# The same answers
# ------------------------------------------------------------------------------------------------


def searches(comm, X, y, weights=None, cut="uneven", groups=None, tolerance=1e-12, **options):
    from parallel_ridge import ParallelRidgeClassifierCV

    alphas = options.pop("alphas", [0.1, 3.0, 100.0, 1e4])
    s = part(comm, X.shape[0], cut)
    some = {} if groups is None else {"groups": groups[s]}
    shared = ParallelRidgeClassifierCV(alphas, backend="mpi", **options)
    shared.fit(*rows(X, y, s, weights), **some)
    some = {} if groups is None else {"groups": groups}
    alone = ParallelRidgeClassifierCV(alphas, **options).fit(X, y, weights, **some)
    assert shared.alpha_ == alone.alpha_ and shared.n_splits_ == alone.n_splits_
    for name, column in alone.cv_results_.items():
        if name.endswith("score") and not name.startswith("rank"):
            assert np.allclose(shared.cv_results_[name], column, 1e-9, 1e-9, equal_nan=True), name
    assert_close(shared.coef_, alone.coef_, tolerance, options)
    assert_same_bits(comm, shared.coef_, shared.cv_results_["mean_test_score"])
    if hasattr(alone, "loo_decision_"):
        assert_close(shared.loo_decision_, alone.loo_decision_, 1e-8)
    if hasattr(alone, "probability_scale_"):
        assert abs(shared.probability_scale_ / alone.probability_scale_ - 1) < 1e-4
    return shared, alone
