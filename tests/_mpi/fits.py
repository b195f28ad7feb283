"""Checks that every rank of an MPI program makes: fits and searches are those of one process."""

# ruff: noqa: B023  # whatever is handed to `raises` is called at once

import numpy as np
import scipy.sparse as sp

from _mpi import (
    CUTS,
    assert_close,
    assert_same_bits,
    check,
    fits,
    make_data,
    part,
    raises,
    searches,
    weights_of,
)


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
def integers_in_floats(comm, folder):
    X, y = make_data(1300, 5, "uint8")
    options = {"store_statistics": True, "alpha": 10.0}
    for dtype in ("float64", "float32", "int64"):
        for cut in CUTS:
            wide = X.astype(dtype)
            shared, alone = fits(comm, options, wide, y, cut=cut, tolerance=0.0)
            assert shared.statistics_ == alone.statistics_ and shared.statistics_.exact
            if dtype == "int64":
                wide[1001, 2] = 2**30
            else:
                wide[1001, 2] += 0.5  # only one rank has it, and the sample has not
            tolerance = 1e-5 if dtype == "float32" else 1e-12
            shared, alone = fits(comm, options, wide, y, cut=cut, tolerance=tolerance)
            assert not shared.statistics_.exact and not alone.statistics_.exact
    wide = X.astype("float64")
    searches(comm, wide, y, cv=3)
    wide[1001, 2] += 0.5
    searches(comm, wide, y, cv=3)


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
    for half in (slice(0, 120), slice(120, 240)):
        shared.partial_fit(X[half][s], y[half][s], classes=["a", "bb", "ccc"])
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
def streams_that_one_rank_alone_solves(comm, folder):
    from parallel_ridge import ParallelRidgeClassifier

    X, y = make_data()
    alone, shared = ParallelRidgeClassifier(), ParallelRidgeClassifier(backend="mpi")
    for first in range(0, 240, 60):
        batch = slice(first, first + 60)
        alone.partial_fit(X[batch], y[batch])
        s = part(comm, 60, "uneven")
        shared.partial_fit(X[batch][s], y[batch][s])
        # Whoever asks solves, while the others go on to the next batch.
        if comm.rank == first // 60 % comm.size:
            assert hasattr(shared, "coef_") and shared.solver_ == "cholesky"
            assert_close(shared.coef_, alone.coef_)
            assert (shared.predict(X) == alone.predict(X)).all()
    s = part(comm, 240, "first empty")
    assert abs(shared.score(X[s], y[s]) - alone.score(X, y)) < 1e-15
    assert_same_bits(comm, shared.coef_, shared.intercept_)


@check
def streams_that_choose_alpha(comm, folder):
    from parallel_ridge import ParallelRidgeClassifierCV

    groups = np.arange(240) // 6 % 13
    for dtype, weighted, grouped in (("float64", 1, 0), ("float64", 0, 1), ("uint8", 0, 1)):
        X, y = make_data(dtype=dtype)
        weights = weights_of(240) if weighted else None
        options = {"alphas": [1.0, 30.0, 1e3], "cv": 4, "prequential": True}
        shared = ParallelRidgeClassifierCV(**options, backend="mpi")
        alone = ParallelRidgeClassifierCV(**options)
        for i, first in enumerate(range(0, 240, 60)):
            batch, s = slice(first, first + 60), part(comm, 60, CUTS[i])
            w = None if weights is None else weights[batch]
            g = groups[batch] if grouped else None
            alone.partial_fit(X[batch], y[batch], None, w, g)
            w, g = (None if some is None else some[s] for some in (w, g))
            shared.partial_fit(X[batch][s], y[batch][s], None, w, g)
            assert abs(shared.prequential_score_ - alone.prequential_score_) < 1e-14 or not i
            assert shared.prequential_n_samples_ == alone.prequential_n_samples_ == first
        for name, column in alone.cv_results_.items():
            if name.endswith("_test_score") and not name.startswith("rank"):
                assert_close(shared.cv_results_[name], column, 1e-11 if dtype != "uint8" else 0.0)
        assert shared.alpha_ == alone.alpha_ and shared._dealer == alone._dealer
        assert_close(shared.coef_, alone.coef_, 1e-11 if dtype != "uint8" else 0.0)
        assert_same_bits(comm, shared.coef_, shared.cv_results_["mean_test_score"])
        last = comm.rank == comm.size - 1
        rank = [f"rank {comm.size - 1} of"] if comm.size > 1 else []
        if grouped:
            s = part(comm, 60)
            wrong = groups[:60][s][1:] if last else groups[:60][s]
            raises(
                comm,
                ValueError,
                ["one group per row", *rank],
                lambda: shared.partial_fit(X[:60][s], y[:60][s], groups=wrong),
            )
        assert shared.statistics_.n_samples == 240


@check
def statistics_of_rows(comm, folder):
    from parallel_ridge import ParallelRidgeClassifier, sufficient_statistics

    X, y = make_data(dtype="uint8")
    s = part(comm, 240, "first empty")
    assert sufficient_statistics(X[s], y[s], backend="mpi") == (sufficient_statistics(X, y))
    if comm.size > 1:
        shift = np.full(7, float(comm.rank))
        words = ["Ranks disagree on shift", "[0,", "[1,"]
        make = sufficient_statistics
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
    from parallel_ridge.mpi import MPIBackend

    done = []
    found = MPIBackend().map(lambda i: done.append(i) or comm.rank, range(7))
    assert found == [i % comm.size for i in range(7)]
    assert done == list(range(comm.rank, 7, comm.size))
    assert MPIBackend().map(lambda i: comm.rank, [0]) == [0]
    assert MPIBackend().gather(lambda: comm.rank) == list(range(comm.size))


# ------------------------------------------------------------------------------------------------
# Failures
# ------------------------------------------------------------------------------------------------
