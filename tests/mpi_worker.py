"""Checks that every rank of an MPI program makes; `tests/test_mpi.py` starts it.

Run as ``mpiexec -n N python mpi_worker.py FOLDER``: rank 0 writes what each check raised, on whatever
rank, to ``results.json`` in the folder, and the name of the check that runs to ``running``.
"""

# ruff: noqa: B023  # whatever is handed to `raises` is called at once

import copy
import hashlib
import json
import pickle
import sys
import time
import traceback
import warnings
from pathlib import Path

import numpy as np
import scipy.sparse as sp

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


@check
def options_in_combination(comm, folder):
    for i, (dtype, sparse, weighted) in enumerate(
        [
            ("float64", 0, 0),
            ("float64", 1, 1),
            ("float64", 0, 1),
            ("int32", 0, 0),
            ("float32", 0, 1),
        ]
    ):
        X, y = make_data(dtype=dtype)
        if sparse:
            X = sp.csr_matrix(np.where(X > 3, X, 0))
        weights = weights_of(240) if weighted else None
        tolerance = 1e-5 if dtype == "float32" else 1e-12
        for j, class_weight in enumerate((None, "balanced", {"a": 2.0, "ccc": 0.5})):
            options = {
                "class_weight": class_weight,
                "standardize": bool((i + j) % 2),
                "fit_intercept": bool((i + j) % 3),
                "objective": "mean" if j == 1 else "sum",
                "alpha": 0.3,
            }
            fits(comm, options, X, y, weights, CUTS[(i + j) % 4], tolerance)


@check
def integers_to_the_bit(comm, folder):
    for dtype in ("uint8", "int8", "int16", "bool"):
        X, y = make_data(500, 9, "uint8", "integers")
        X = (X - 125).astype(dtype) if dtype[0] == "i" else (X > 120 if dtype == "bool" else X)
        for cut in CUTS:
            shared, alone = fits(comm, {"store_statistics": True}, X, y, cut=cut, tolerance=0.0)
            assert shared.statistics_ == alone.statistics_ and shared.statistics_.exact


@check
def wide_integers_agree_on_exactness(comm, folder):
    X, y = make_data(60, 3, "int64")
    for largest in (1000, 2**40):  # only one rank sees it
        X[59, 0] = largest
        shared, alone = fits(comm, {"store_statistics": True, "alpha": 1e3}, X, y)
        assert shared.statistics_.exact == alone.statistics_.exact == (largest == 1000)


@check
def solvers(comm, folder):
    X, y = make_data()
    for solver, tolerance in {"eigen": 1e-11, "svd": 1e-11, "dual": 1e-9, "cg": 1e-7}.items():
        for weights in (None, weights_of(240)):
            fits(comm, {"solver": solver}, X, y, weights, "first empty", tolerance)
    held = sp.csr_matrix(np.where(X > 3, X, 0))
    fits(comm, {"solver": "cg"}, held, y, tolerance=1e-7)
    fits(comm, {"solver": "svd"}, held, y, tolerance=1e-11)


@check
def fewer_rows_than_features(comm, folder):
    for sparse in (False, True):
        X, y = make_data(30, 50)
        X = sp.csr_matrix(np.where(X > 3, X, 0)) if sparse else X
        shared, _ = fits(comm, {}, X, y, cut="last empty", tolerance=1e-10)
        assert shared.solver_ == "dual"


@check
def rows_of_float32(comm, folder):
    X, y = make_data(3000, 20, "float32")
    shared, _ = fits(comm, {}, X, y, tolerance=1e-5)
    assert shared.coef_.dtype == np.float32


@check
def classes_that_one_rank_knows(comm, folder):
    for target in ("strings", "integers", "binary"):
        X, y = make_data(target=target)
        order = np.argsort(y, kind="stable")  # each rank sees few of the classes
        for cut in ("even", "uneven", "first empty"):
            fits(comm, {}, X[order], y[order], cut=cut)
            fits(comm, {"class_weight": "balanced"}, X[order], y[order], cut=cut)
    y = np.array(["a", "a long name"], dtype=object)[(np.arange(240) > 200).astype(int)]
    fits(comm, {}, X, y, cut="even")


@check
def multilabel_targets(comm, folder):
    X, y = make_data(target="multilabel")
    for weights, class_weight in ((None, None), (weights_of(240), "balanced")):
        for held in (y, sp.csr_matrix(y)):
            for cut in CUTS:
                options = {"class_weight": class_weight if held is y else None}
                shared, alone = fits(comm, options, X, held, weights, cut)
                s = part(comm, 240, cut)
                assert (shared.predict(X) == alone.predict(X)).all()
                assert abs(shared.score(X[s], y[s]) - alone.score(X, y)) < 1e-15


@check
def parts_of_a_fit(comm, folder):
    from parallel_ridge import ParallelRidgeClassifier

    X, y = make_data(dtype="uint8")
    s = part(comm, 120, "uneven")
    shared = ParallelRidgeClassifier(backend="mpi")
    for rows in (slice(0, 120), slice(120, 240)):
        shared.partial_fit(X[rows][s], y[rows][s], classes=["a", "bb", "ccc"])
    alone = ParallelRidgeClassifier(store_statistics=True).fit(X, y)
    assert shared.statistics_ == alone.statistics_
    assert_close(shared.coef_, alone.coef_, 0.0)
    assert_same_bits(comm, shared.coef_)
    coef = shared.coef_
    wrong = np.where(y[s] == "a", "z", y[s]) if comm.rank == comm.size - 1 else y[s]
    rank = f"rank {comm.size - 1} of" if comm.size > 1 else ""
    raises(comm, ValueError, ["['z'] not in", rank], lambda: shared.partial_fit(X[s], wrong))
    assert shared.coef_ is coef and shared.statistics_ == alone.statistics_
    # These need no other rank.
    if comm.rank == 0:
        coefs, _ = shared.coef_path([0.1, 10.0])
        again = ParallelRidgeClassifier(backend="mpi").fit_statistics(shared.statistics_)
        assert_close(again.coef_, alone.coef_, 1e-13)
        assert coefs.shape == (2, 3, 7)
        shared.predict(X[:3])


@check
def statistics_from_data(comm, folder):
    from parallel_ridge import ParallelRidgeClassifier, SufficientStatistics

    X, y = make_data(dtype="uint8")
    s = part(comm, 240, "first empty")
    assert SufficientStatistics.from_data(X[s], y[s], backend="mpi") == (
        SufficientStatistics.from_data(X, y)
    )
    if comm.size > 1:
        shift = np.full(7, float(comm.rank))
        words = ["Ranks disagree on shift", "[0,", "[1,"]
        make = SufficientStatistics.from_data
        raises(comm, ValueError, words, lambda: make(X[s], y[s], shift=shift, backend="mpi"))
        # What ranks have seen before must be the same too.
        model = ParallelRidgeClassifier(backend="mpi")
        if comm.rank == 0:
            model.fit_statistics(make(X, y))
            model.statistics_ = make(X, y)
        raises(
            comm, ValueError, ["disagree on earlier rows"], lambda: model.partial_fit(X[s], y[s])
        )


@check
def accuracy_of_all_rows(comm, folder):
    from parallel_ridge import ParallelRidgeClassifier

    X, y = make_data()
    weights = weights_of(240)
    alone = ParallelRidgeClassifier().fit(X, y)
    for cut in CUTS:
        s = part(comm, 240, cut)
        shared = ParallelRidgeClassifier(backend="mpi").fit(X[s], y[s])
        for w in (None, weights):
            mine = shared.score(X[s], y[s], None if w is None else w[s])
            assert abs(mine - alone.score(X, y, w)) < 1e-14
            assert len(set(comm.allgather(mine))) == 1


# ------------------------------------------------------------------------------------------------
# Searches
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


@check
def searches_by_folds(comm, folder):
    from sklearn.model_selection import GroupKFold, KFold, RepeatedKFold, ShuffleSplit

    X, y = make_data()
    weights = weights_of(240)
    searches(comm, X, y, cv=4)
    searches(comm, X, y, weights, cv=3, cut="first empty", class_weight="balanced")
    searches(comm, X, y, weights, cv=3, scoring="r2", standardize=True)
    searches(
        comm,
        X,
        y,
        cv=KFold(5, shuffle=True, random_state=3),
        scoring="roc_auc_ovr",
        probability=True,
    )
    searches(comm, X, y, cv=RepeatedKFold(n_splits=3, n_repeats=5, random_state=0))
    searches(comm, X, y, cv=ShuffleSplit(4, random_state=0), cut="last empty")
    searches(comm, X, y, cv=GroupKFold(4), groups=np.arange(240) // 17)
    searches(comm, X, y, cv=[(np.arange(200), np.arange(200, 240))] * 2, objective="mean")
    twice = np.r_[np.arange(100), np.arange(100), np.arange(120, 240)]
    searches(comm, X, y, cv=[(twice, np.arange(100, 120))], tolerance=1e-11)
    searches(comm, *make_data(dtype="uint8"), cv=4, tolerance=0.0, alphas=[1.0, 1e3, 1e5])
    searches(comm, sp.csr_matrix(np.where(X > 3, X, 0)), y, weights, cv=3)
    searches(comm, *make_data(target="multilabel"), cv=KFold(3), scoring="f1_macro")


@check
def searches_by_leaving_one_out(comm, folder):
    X, y = make_data()
    weights = weights_of(240)
    searches(comm, X, y, store_cv_results=True)
    searches(comm, X, y, weights, "last empty", scoring="accuracy", store_cv_results=True)
    searches(comm, X, y, weights, scoring="r2", class_weight="balanced", standardize=True)
    searches(comm, *make_data(target="binary"), store_cv_results=True)
    searches(comm, *make_data(dtype="uint8"), tolerance=0.0, alphas=[1.0, 1e3, 1e5])


@check
def searches_where_rows_are_few(comm, folder):
    X, y = make_data(36, 60)
    weights = weights_of(36)
    searches(comm, X, y, cv=3, tolerance=1e-9)
    searches(comm, X, y, weights, cut="first empty", cv=3, standardize=True, tolerance=1e-9)
    searches(comm, X, y, cut="last empty", tolerance=1e-9, store_cv_results=True)


@check
def searches_for_probabilities(comm, folder):
    X, y = make_data()
    shared, alone = searches(comm, X, y, cv=4, probability=True, scoring="neg_log_loss")
    assert np.allclose(shared.predict_proba(X), alone.predict_proba(X), 1e-4, 1e-5)
    searches(comm, X, y, weights_of(240), probability=True)


@check
def random_splits_are_those_of_one_rank(comm, folder):
    from sklearn.model_selection import StratifiedKFold

    from parallel_ridge import ParallelRidgeClassifierCV

    X, y = make_data()
    np.random.seed(comm.rank)  # noqa: NPY002  # what scikit-learn draws from
    s = part(comm, 240)
    cv = StratifiedKFold(3, shuffle=True)  # draws anew wherever it is called
    model = ParallelRidgeClassifierCV([0.1, 10.0, 1e3], cv=cv, backend="mpi").fit(X[s], y[s])
    assert_same_bits(comm, model.coef_, model.cv_results_["split0_test_score"])


@check
def scorers_that_draw_or_fail(comm, folder):
    from parallel_ridge import ParallelRidgeClassifierCV

    X, y = make_data()
    s = part(comm, 240)

    def drawing(model, X, y):
        return np.random.default_rng().random()

    def failing(model, X, y):
        if comm.rank == 0:
            raise LookupError("the meter is broken")
        return 1.0

    for cv in (None, 3):
        model = ParallelRidgeClassifierCV([0.1, 10.0, 1e3], cv=cv, scoring=drawing, backend="mpi")
        model.fit(X[s], y[s])
        assert_same_bits(comm, model.coef_, model.cv_results_["mean_test_score"])
        model.set_params(scoring=failing)
        words = ["meter is broken", "alpha=0.1 on split 0"]
        raises(comm, LookupError, words, lambda: model.fit(X[s], y[s]))


@check
def solves_are_dealt_over_the_ranks(comm, folder):
    from parallel_ridge.backends.mpi import MPIBackend

    done = []
    found = MPIBackend().map(lambda i: done.append(i) or comm.rank, range(7))
    assert found == [i % comm.size for i in range(7)]
    assert done == list(range(comm.rank, 7, comm.size))
    assert MPIBackend().map(lambda i: comm.rank, [0]) == [0]
    assert MPIBackend().gather(lambda: comm.rank) == list(range(comm.size))


# ------------------------------------------------------------------------------------------------
# Failures
# ------------------------------------------------------------------------------------------------


@check
def bad_input_on_one_rank(comm, folder):
    from parallel_ridge import ParallelRidgeClassifier, ParallelRidgeClassifierCV

    X, y = make_data()
    s, last = part(comm, 240), comm.size - 1
    bad = comm.rank == last
    rank = f"(rank {last} of {comm.size})" if comm.size > 1 else ""

    def spoilt(value, row=2, column=3):
        Z = X[s].copy()
        if bad:
            Z[row, column] = value
        return Z

    def cut(columns):
        return X[s][:, :columns] if bad else X[s]

    for model in (
        ParallelRidgeClassifier(backend="mpi"),
        ParallelRidgeClassifier(backend="mpi", solver="svd"),
        ParallelRidgeClassifierCV(cv=3, backend="mpi"),
        ParallelRidgeClassifierCV(backend="mpi"),
    ):
        fit = model.fit
        raises(comm, ValueError, ["row 2, column 3", rank], lambda: fit(spoilt(np.nan), y[s]))
        raises(comm, ValueError, ["infinity", rank], lambda: fit(spoilt(np.inf), y[s]))
        raises(comm, ValueError, [rank], lambda: fit(X[s], y[s][:-1] if bad else y[s]))
        raises(comm, ValueError, [rank], lambda: fit(X[s], None if bad else y[s]))
        w = np.ones(len(X[s]))
        w[4] = -1.0 if bad else 1.0
        raises(comm, ValueError, ["row 4", rank], lambda: fit(X[s], y[s], w))
        mixed = np.arange(len(y[s])) if bad and comm.size > 1 else y[s]
        if comm.size > 1:
            words = ["Ranks disagree", "rank 0", f"rank {last}"]
            raises(comm, ValueError, [*words, "7", "6"], lambda: fit(cut(6), y[s]))
            single = X[s].astype("f" if bad else "d")
            raises(comm, ValueError, [*words, "float32", "float64"], lambda: fit(single, y[s]))
            sparse = sp.csr_matrix(X[s]) if bad else X[s]
            raises(comm, ValueError, [*words, "sparse"], lambda: fit(sparse, y[s]))
            raises(comm, ValueError, [*words, "strings"], lambda: fit(X[s], mixed))
        assert not hasattr(model, "coef_")
    fitted = ParallelRidgeClassifier(backend="mpi").fit(X[s], y[s])
    raises(comm, ValueError, ["row 2, column 3"], lambda: fitted.score(spoilt(np.nan), y[s]))
    raises(comm, ValueError, ["one class only"], lambda: fitted.fit(X[s], np.full(len(y[s]), "a")))
    zero = np.zeros(len(y[s]))
    raises(comm, ValueError, ["weights are zero"], lambda: fitted.fit(X[s], y[s], zero))
    raises(comm, ValueError, ["0 sample(s)"], lambda: fitted.fit(X[:0], y[:0]))
    raises(
        comm,
        ValueError,
        ["training set of split 0", "zero"],
        lambda: ParallelRidgeClassifierCV(cv=[(range(9), range(9, 240))], backend="mpi").fit(
            X[s], y[s], (np.arange(240) >= 9)[s].astype(float)
        ),
    )


@check
def options_that_differ(comm, folder):
    from parallel_ridge import ParallelRidgeClassifier, ParallelRidgeClassifierCV

    if comm.size == 1:
        return
    X, y = make_data()
    s, bad = part(comm, 240), comm.rank == comm.size - 1
    words = ["Ranks disagree on alpha", "1 on rank 0", f"2 on rank {comm.size - 1}"]
    model = ParallelRidgeClassifier(2.0 if bad else 1.0, backend="mpi")
    raises(comm, ValueError, words, lambda: model.fit(X[s], y[s]))
    raises(comm, ValueError, words, lambda: model.partial_fit(X[s], y[s]))
    alphas = np.array([0.1, 5.0 if bad else 1.0])
    search = ParallelRidgeClassifierCV(alphas, cv=3, backend="mpi")
    raises(comm, ValueError, ["alphas", "[0.1, 1]", "[0.1, 5]"], lambda: search.fit(X[s], y[s]))
    weights = {"a": 1.0, "bb": 3.0 if bad else 1.0}
    model = ParallelRidgeClassifier(class_weight=weights, backend="mpi")
    raises(comm, ValueError, ["class_weight", "'bb': 3"], lambda: model.fit(X[s], y[s]))
    for wrong in ({"alpha": -1.0}, {"solver": "best"}, {"class_weight": "balanced"}):
        model = ParallelRidgeClassifier(backend="mpi", **(wrong if bad else {}))
        raises(comm, ValueError, ["rank"], lambda model=model: model.partial_fit(X[s], y[s]))
    model = ParallelRidgeClassifier(backend="mpi")
    classes = ["a", "bb", "ccc", "d"] if bad else ["a", "bb", "ccc"]
    raises(comm, ValueError, ["classes"], lambda: model.partial_fit(X[s], y[s], classes))
    kept = ParallelRidgeClassifier(memory=folder if bad else None, backend="mpi")
    raises(comm, ValueError, ["statistics are kept"], lambda: kept.fit(X[s], y[s]))
    own = ParallelRidgeClassifier(backend="mpi", n_jobs=1 + comm.rank % 2, verbose=0)
    own.fit(X[s], y[s])  # these may differ


@check
def exceptions_of_any_kind(comm, folder):
    from parallel_ridge.backends.mpi import MPIBackend
    from parallel_ridge.reductions import StatisticsReduction
    from parallel_ridge.solvers import IllConditioned
    from parallel_ridge.sources import as_source

    backend, last = MPIBackend(), comm.size - 1
    rank = f"rank {last} of {comm.size}" if comm.size > 1 else ""

    class Local(Exception):
        pass

    def failing(error):
        def function():
            if comm.rank == last:
                raise error

        return function

    for error, kind, word in (
        (KeyError("the key"), KeyError, "the key"),
        (MemoryError("no room"), MemoryError, "no room"),
        (FileNotFoundError(2, "No such file", "x.npy"), FileNotFoundError, "x.npy"),
        (Local("unknown elsewhere"), (RuntimeError, Local), "unknown elsewhere"),
    ):
        if comm.size == 1 or kind is not (RuntimeError, Local):
            raises(comm, kind, [word, rank], lambda error=error: backend.gather(failing(error)))
    caught = None
    try:
        backend.map(lambda i: failing(IllConditioned(3e9))(), range(comm.size))
    except IllConditioned as error:
        caught = error
    assert caught is not None and caught.condition == 3e9
    assert comm.size == 1 or rank in "".join(caught.__notes__)

    X, y = make_data()
    source, target = as_source(X, y)

    class Broken:
        def __getattr__(self, name):
            return getattr(source, name)

        def blocks(self, n_rows):
            for i, block in enumerate(source.blocks(50)):
                if i == 2 and comm.rank == last:
                    raise OSError(5, "the disk is gone")
                yield block

    reduction = StatisticsReduction.of(source, target)
    raises(comm, OSError, ["disk is gone", rank], lambda: backend.fold(reduction, Broken()))
    # And the ranks are still in step.
    assert backend.gather(lambda: comm.rank) == list(range(comm.size))


@check
def different_calls_are_told(comm, folder):
    from parallel_ridge.backends.mpi import MPIBackend

    if comm.size == 1:
        return
    backend = MPIBackend()
    call = (lambda: backend.map(str, [1])) if comm.rank == 0 else (lambda: backend.gather(int))
    raises(comm, RuntimeError, ["different calls", "map", "gather"], call)


@check
def every_pair_of_public_calls(comm, folder):
    from parallel_ridge import (
        ParallelRidgeClassifier,
        ParallelRidgeClassifierCV,
        SufficientStatistics,
        mpi,
    )

    if comm.size == 1:
        return
    X, y = make_data(60)
    s = part(comm, 60)
    X, y = X[s], y[s]
    path = folder / "pairs.npy"
    if comm.rank == 0:
        np.save(path, np.arange(30.0).reshape(10, 3))
    comm.barrier()
    one = ParallelRidgeClassifier(backend="mpi")
    many = ParallelRidgeClassifierCV([0.1, 1.0, 10.0], cv=3, backend="mpi")
    fitted = ParallelRidgeClassifier(backend="mpi").fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chosen = ParallelRidgeClassifierCV([0.1, 1.0, 10.0], cv=3, backend="mpi").fit(X, y)
    calls = {
        "ParallelRidgeClassifier.fit": lambda: one.fit(X, y),
        "ParallelRidgeClassifier.partial_fit": lambda: copy.copy(one).partial_fit(X, y),
        "ParallelRidgeClassifier.score": lambda: fitted.score(X, y),
        "ParallelRidgeClassifierCV.fit": lambda: many.fit(X, y),
        "ParallelRidgeClassifierCV.score": lambda: chosen.score(X, y),
        "SufficientStatistics.from_data": lambda: SufficientStatistics.from_data(
            X, y, backend="mpi"
        ),
        "together": lambda: mpi.together(lambda: 1),
        "open_rows": lambda: mpi.open_rows(path),
        "scatter_rows": lambda: mpi.scatter_rows(np.arange(6)),
    }
    for first, of_rank_0 in calls.items():
        for other, of_others in calls.items():
            if first != other:
                words = ["different calls", f"'{first} ", f"'{other} "]
                raises(comm, RuntimeError, words, of_rank_0 if comm.rank == 0 else of_others)
    assert fitted.score(X, y) > 0.5  # the ranks are still in step


@check
def options_that_are_the_same_in_other_words(comm, folder):
    from sklearn.model_selection import KFold

    from parallel_ridge import ParallelRidgeClassifier, ParallelRidgeClassifierCV

    X, y = make_data(240)
    s, odd = part(comm, 240), comm.rank % 2 == 1
    labels = [f"label {i}" for i in range(12)]  # whose order in a set differs between processes
    y = np.array(labels)[np.arange(240) % 12]
    alpha = [1, 1.0, np.float64(1.0), np.int32(1)][comm.rank % 4]
    weights = dict.fromkeys(set(labels), 2.0 if odd else 2) | {"label 3": [3, 3.0][odd]}
    model = ParallelRidgeClassifier(alpha, class_weight=weights, backend="mpi").fit(X[s], y[s])
    whole = ParallelRidgeClassifier(1.0, class_weight=weights).fit(X, y)
    assert_close(model.coef_, whole.coef_)
    search = ParallelRidgeClassifierCV(
        (0.1, 1, 10) if odd else np.array([0.1, 1.0, 10.0]), cv=KFold(3), backend="mpi"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search.fit(X[s], y[s])
    for kind in ("f8", "i4"):
        rows = (10 * X[s]).astype(f">{kind}" if odd else f"<{kind}")
        own = ParallelRidgeClassifier(backend="mpi").fit(rows, y[s])
        alone = ParallelRidgeClassifier().fit((10 * X).astype(kind), y)
        assert_close(own.coef_, alone.coef_)


@check
def labels_beyond_float64_of_two_kinds(comm, folder):
    from parallel_ridge import ParallelRidgeClassifier

    X, _ = make_data(240)
    ids = np.array([2**60, 2**60 + 1, 2**60 + 2])
    y = ids[np.arange(240) % 3]
    s = part(comm, 240)
    kind = "u8" if comm.rank % 2 else "i8"
    model = ParallelRidgeClassifier(backend="mpi").fit(X[s], y[s].astype(kind))
    assert model.classes_.tolist() == ids.tolist()
    assert_close(model.coef_, ParallelRidgeClassifier().fit(X, y).coef_)
    if comm.size > 1:
        mixed = y[s].astype("f8") if comm.rank == comm.size - 1 else y[s]
        one = ParallelRidgeClassifier(backend="mpi")
        raises(comm, ValueError, ["does not hold the label"], lambda: one.fit(X[s], mixed))


@check
def files_that_are_missing(comm, folder):
    from parallel_ridge import mpi

    path = folder / "rows.npy"
    if comm.rank == 0:
        np.save(path, np.arange(30, dtype="i4").reshape(10, 3))
        (folder / "rows.gz").write_bytes(b"")
    comm.barrier()
    last = comm.size - 1
    own = path if comm.rank < last else folder / "missing.npy"
    raises(comm, FileNotFoundError, ["missing.npy"], lambda: mpi.open_rows(own))
    raises(comm, FileNotFoundError, ["missing"], lambda: mpi.together(lambda: np.load(own)))
    raises(comm, ValueError, ["compressed"], lambda: mpi.open_rows(folder / "rows.gz"))
    mine = mpi.open_rows(path)
    assert isinstance(mine, np.memmap) and mine.dtype == np.int32
    assert (np.concatenate(comm.allgather(np.array(mine))) == np.load(path)).all()
    if comm.rank == 0:
        header = bytes([0, 0, 8, 3]) + b"".join(i.to_bytes(4, "big") for i in (6, 2, 2))
        (folder / "images-idx3-ubyte").write_bytes(header + bytes(range(24)))
    comm.barrier()
    mine = mpi.open_rows(folder / "images-idx3-ubyte")
    whole = np.concatenate(comm.allgather(np.array(mine)))
    assert (whole == np.arange(24).reshape(6, 4)).all()


@check
def ill_conditioned_rows(comm, folder):
    from parallel_ridge import IllConditionedWarning, ParallelRidgeClassifier

    X, y = make_data()
    X[:, 1] = X[:, 0] * (1 + 1e-13)
    s = part(comm, 240)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = ParallelRidgeClassifier(1e-12, backend="mpi").fit(X[s], y[s])
    assert model.solver_ == "svd"
    assert [w.category for w in caught].count(IllConditionedWarning) == 1
    assert_same_bits(comm, model.coef_)


# ------------------------------------------------------------------------------------------------
# The backend
# ------------------------------------------------------------------------------------------------


@check
def small_pieces(comm, folder):
    from parallel_ridge.backends import mpi

    X, y = make_data(target="integers")
    before, mpi.PIECE = mpi.PIECE, 5  # as numbers are in pieces beyond 2^31
    try:
        fits(comm, {}, X, y)
        fits(comm, {}, *make_data(dtype="uint8"), tolerance=0.0)
        fits(comm, {"solver": "svd"}, X, y, tolerance=1e-11)
        searches(comm, X, y, cv=3)
    finally:
        mpi.PIECE = before


@check
def sums_beyond_64_bits_go_on_as_floats(comm, folder):
    from parallel_ridge.backends import mpi

    X, y = make_data(dtype="uint8")
    before, mpi.LARGEST_SUM = mpi.LARGEST_SUM, 1000
    try:
        shared, _ = fits(comm, {"store_statistics": True}, X, y, cut="first empty")
        assert shared.statistics_.exact == (comm.size == 1)
    finally:
        mpi.LARGEST_SUM = before


@check
def bytes_and_reductions_are_counted(comm, folder):
    from parallel_ridge import ParallelRidgeClassifier
    from parallel_ridge.backends.mpi import MPIBackend

    d, k = 100, 3
    for dtype in ("uint8", "float32", "float64"):
        X, y = make_data(300, d, dtype)
        backend, s = MPIBackend(), part(comm, 300)
        ParallelRidgeClassifier(backend=backend).fit(X[s], y[s])
        reduced = backend.report.reduced
        triangle = 8 * d * (d + 1) // 2
        if comm.size == 1:
            assert reduced == []
            continue
        expected = 8 * (d * (d + 1) / 2 + k * d + d + k)
        assert abs(sum(reduced) / expected - 1) < 0.02
        assert [size for size in reduced if size >= triangle] == [triangle]


@check
def copies_hold_the_configuration(comm, folder):
    from sklearn.base import clone

    from parallel_ridge import ParallelRidgeClassifier, get_backend
    from parallel_ridge.backends.mpi import MPIBackend, Report

    half = comm.Split(comm.rank % 2)
    backend = MPIBackend(half, n_threads=2)
    backend.gather(int)
    assert backend.solve_threads() == 2
    twin = pickle.loads(pickle.dumps(backend))
    assert twin == MPIBackend(None, 2) and twin.report == Report()
    assert copy.deepcopy(backend).comm is half
    model = clone(ParallelRidgeClassifier(backend=backend))
    assert model.backend.comm is half and model.backend is not backend
    X, y = make_data()
    shared, alone = fits(half, {}, X, y, backend=backend)  # the halves know nothing of each other
    assert (pickle.loads(pickle.dumps(shared)).predict(X) == alone.predict(X)).all()
    half.Free()
    assert get_backend("mpi", 3) == MPIBackend(n_threads=3)


@check
def threads_of_ranks_on_one_machine(comm, folder):
    import joblib

    from parallel_ridge.backends.mpi import MPIBackend

    backend = MPIBackend()
    backend.gather(int)
    threads = comm.allgather(backend.solve_threads())
    assert min(threads) >= 1 and (max(threads) == 1 or sum(threads) <= joblib.cpu_count())


@check
def statistics_that_are_kept(comm, folder):
    from parallel_ridge import ParallelRidgeClassifier, ParallelRidgeClassifierCV
    from parallel_ridge.backends.mpi import MPIBackend

    X, y = make_data()
    s = part(comm, 240)
    for make in (
        lambda backend: ParallelRidgeClassifier(memory=folder / "kept", backend=backend),
        lambda backend: ParallelRidgeClassifierCV(cv=3, memory=folder / "kept", backend=backend),
    ):
        first, second = MPIBackend(), MPIBackend()
        models = [make(backend).fit(X[s], y[s]) for backend in (first, second)]
        assert (models[0].coef_ == models[1].coef_).all()
        if comm.size > 1:
            assert max(second.report.reduced, default=0) < max(first.report.reduced)


@check
def rows_that_one_rank_holds(comm, folder):
    from parallel_ridge import mpi

    s = mpi.local_slice(11)
    assert sum(comm.allgather(s.stop - s.start)) == 11
    before, mpi.CHUNK_BYTES = mpi.CHUNK_BYTES, 64
    try:
        for root in {0, comm.size - 1}:
            X, y = make_data(50, 4, "float32")
            for held, labels in (
                (X, y),
                (X.astype("u1"), y.astype(object)),
                (np.asfortranarray(X), np.arange(50)),
                (sp.csr_matrix(np.where(X > 3, X, 0)), y),
            ):
                given = (held, labels, None) if comm.rank == root else (None, None, None)
                mine, own, nothing = mpi.scatter_rows(*given, root=root)
                own_rows = mpi.local_slice(50)
                assert nothing is None and mine.dtype == held.dtype
                assert abs(mine - held[own_rows]).sum() == 0
                assert own.tolist() == labels[own_rows].tolist()
                if comm.rank == root and isinstance(mine, np.ndarray):
                    assert np.shares_memory(mine, held)
        wrong = (X, y[:-1]) if comm.rank == 0 else (None, None)
        raises(comm, ValueError, ["[49, 50] rows"], lambda: mpi.scatter_rows(*wrong))
        raises(comm, ValueError, ["root=9"], lambda: mpi.scatter_rows(X, y, root=9))
    finally:
        mpi.CHUNK_BYTES = before


def main():
    """Run all checks on this rank."""
    from mpi4py import MPI

    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "The best alpha")
    comm, folder = MPI.COMM_WORLD, Path(sys.argv[1])
    results = {}
    for name, function in CHECKS.items():
        if comm.rank == 0:
            (folder / "running").write_text(name)
        start, trouble = time.perf_counter(), None
        place = folder / name
        if comm.rank == 0:
            place.mkdir()
        comm.barrier()
        try:
            function(comm, place)
        except Exception:
            trouble = traceback.format_exc()
        troubles = comm.allgather(trouble)
        told = [f"rank {i}:\n{text}" for i, text in enumerate(troubles) if text]
        results[name] = {"trouble": "\n".join(told), "seconds": time.perf_counter() - start}
        if comm.rank == 0:
            (folder / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main()
