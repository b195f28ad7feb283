"""Checks that every rank of an MPI program makes: pipelines whose features are made on the ranks."""

# ruff: noqa: B023  # whatever is handed to `raises` is called at once

import numpy as np

from _mpi import (
    CUTS,
    assert_close,
    assert_same_bits,
    check,
    make_data,
    part,
    raises,
    weights_of,
)


def made(*steps, **options):
    from parallel_ridge import make_block_pipeline

    return make_block_pipeline(*steps, **options)


@check
def pipelines_of_features(comm, folder):
    from sklearn.kernel_approximation import Nystroem, RBFSampler
    from sklearn.preprocessing import StandardScaler

    from parallel_ridge import ParallelRidgeClassifier, ParallelRidgeClassifierCV

    X, y = make_data()
    weights = weights_of(240)
    for i, (transformer, fit_rows) in enumerate(
        [
            (StandardScaler(), 1000),
            (StandardScaler(), 50),  # in batches, from rank to rank
            (RBFSampler(n_components=30), 1000),  # draws at random
            (Nystroem(gamma=0.05, n_components=12), 60),
        ]
    ):
        s = part(comm, 240, CUTS[i])
        options = {"fit_rows": fit_rows, "block_rows": 17}
        last = ParallelRidgeClassifier(0.5, backend="mpi")
        shared = made(transformer, last, **options)
        shared.fit(X[s], y[s], parallelridgeclassifier__sample_weight=weights[s])
        assert_same_bits(comm, shared[-1].coef_, shared[-1].intercept_)
        features = shared[:-1].transform(X)
        assert_same_bits(comm, features)
        alone = ParallelRidgeClassifier(0.5).fit(features, y, weights)
        assert_close(shared[-1].coef_, alone.coef_, 1e-9)
        assert abs(shared.score(X[s], y[s]) - alone.score(features, y)) < 1e-14
        assert (shared.predict(X) == alone.predict(features)).all()
        if i == 1:
            assert abs(shared[0].mean_ - X.mean(axis=0)).max() < 1e-12
            assert shared[0].n_samples_seen_ == 240
    search = ParallelRidgeClassifierCV([1.0, 30.0, 1e3], cv=4, backend="mpi")
    for cache in (None, "memory", folder):
        s = part(comm, 240, "uneven")
        shared = made(StandardScaler(), search, block_rows=17, cache=cache).fit(X[s], y[s])
        alone = ParallelRidgeClassifierCV([1.0, 30.0, 1e3], cv=4)
        alone.fit(StandardScaler().fit_transform(X), y)
        assert shared[-1].alpha_ == alone.alpha_
        assert_close(shared[-1].coef_, alone.coef_, 1e-10)


@check
def pipelines_of_series(comm, folder):
    from _data.pipelines import Spectrum, make_series

    from parallel_ridge import ParallelRidgeClassifier

    X, y = make_series(120)
    for cut in CUTS:
        s = part(comm, 120, cut)
        last = ParallelRidgeClassifier(0.1, backend="mpi")
        shared = made(Spectrum(), last, fit_rows=50, block_rows=11).fit(X[s], y[s])
        alone = made(Spectrum(), ParallelRidgeClassifier(0.1), fit_rows=50, block_rows=11).fit(X, y)
        assert shared[0].n_fit_ == alone[0].n_fit_ == 40
        assert_close(shared[-1].coef_, alone[-1].coef_, 1e-11)
        assert_same_bits(comm, shared[-1].coef_)


@check
def pipelines_of_files(comm, folder):
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    from parallel_ridge import ParallelRidgeClassifier, ParallelRidgeClassifierCV

    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        return
    X, y = make_data()
    if comm.rank == 0:
        table = pa.table({f"x{i}": X[:, i] for i in range(7)} | {"label": y})
        pq.write_table(table, folder / "rows.parquet", row_group_size=30)
    comm.barrier()
    path = str(folder / "rows.parquet")
    for last in (ParallelRidgeClassifier(0.5), ParallelRidgeClassifierCV([0.1, 3.0, 1e3], cv=3)):
        last.set_params(backend="mpi")
        for fit_rows in (1000, 60):
            shared = made(StandardScaler(), PolynomialFeatures(2), last, fit_rows=fit_rows)
            shared.fit(path, "label")
            assert_same_bits(comm, shared[-1].coef_, shared[0].scale_)
            assert abs(shared[0].scale_ - X.std(axis=0)).max() < 1e-12
            features = shared[:-1].transform(X)
            alone = type(last)(**{**last.get_params(), "backend": "openmp"}).fit(features, y)
            assert_close(shared[-1].coef_, alone.coef_, 1e-9)
            assert abs(shared.score(path, "label") - alone.score(features, y)) < 1e-14
    nowhere = str(folder / "nowhere.parquet") if comm.rank == comm.size - 1 else path
    model = made(StandardScaler(), ParallelRidgeClassifier(backend="mpi"))
    raises(comm, (OSError, ValueError), ["nowhere"], lambda: model.fit(nowhere, "label"))
    raises(comm, (OSError, ValueError), ["nowhere"], lambda: shared.score(nowhere, "label"))


@check
def pipelines_that_fail_on_one_rank(comm, folder):
    from _data.pipelines import Faulty
    from sklearn.preprocessing import StandardScaler

    from parallel_ridge import ParallelRidgeClassifier

    X, y = make_data()
    X = X + np.arange(240)[:, None] * 1e-9
    s, last = part(comm, 240), comm.size - 1
    rank = [f"rank {last} of"] if comm.size > 1 else []
    for fault, kind, words in (
        ("nan", ValueError, ["is nan", "'faulty'"]),
        ("columns", ValueError, ["6 features", "and 7 before"]),
        ("rows", ValueError, ["one row per sample"]),
        ("error", LookupError, ["no such entry", "'faulty'"]),
    ):
        model = made(Faulty(fault, X[239, 0]), ParallelRidgeClassifier(backend="mpi"), block_rows=9)
        raises(comm, kind, [*words, *rank], lambda: model.fit(X[s], y[s]))
        assert not hasattr(model, "_features") and not hasattr(model[-1], "coef_")
    if comm.size > 1:
        model = made(
            StandardScaler(),
            ParallelRidgeClassifier(backend="mpi"),
            fit_rows=50 if comm.rank == last else 60,
        )
        words = ["Ranks disagree on fit_rows and dtype"]
        raises(comm, ValueError, words, lambda: model.fit(X[s], y[s]))
    short = y[s][1:] if comm.rank == last else y[s]
    model = made(Faulty(), ParallelRidgeClassifier(backend="mpi"))
    raises(comm, ValueError, ["inconsistent numbers", *rank], lambda: model.fit(X[s], short))
    model.fit(X[s], y[s])
