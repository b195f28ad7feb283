"""Checks of files and batches over ranks: shares are disjoint, and fits are those of one process."""

# whatever is handed to `raises` is called at once

from pathlib import Path

import numpy as np

from _mpi import assert_close, assert_same_bits, check, make_data, part, raises, weights_of


def write(comm, folder, name, X, y, group=60, **columns):
    """A folder of two Parquet files, written by the first rank."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(folder) / name
    if comm.rank == 0:
        path.mkdir()
        flat = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), X.shape[1])
        table = pa.table({"x": flat, "label": y, **columns})
        half = len(X) // 3
        pq.write_table(table.slice(0, half), path / "a.parquet", row_group_size=group)
        pq.write_table(table.slice(half), path / "b.parquet", row_group_size=group)
    comm.Barrier()
    return str(path)


@check
def files_are_shared_out_by_row_groups(comm, folder):
    from parallel_ridge.streams import Roles, open_stream

    X, y = make_data(500, 9, "uint8", "integers")
    for group in (30, 600):  # the second: fewer row groups than ranks
        path = write(comm, folder, f"shares{group}", X, y, group)
        stream = open_stream(path, Roles("label")).share(comm.rank, comm.size)
        mine = [piece.X for piece in stream.pieces()]
        rows = np.concatenate(mine) if mine else X[:0]
        assert_close(np.concatenate(comm.allgather(rows)), X, 0)
        if group == 30:
            assert abs(len(rows) - 500 / comm.size) <= 60


@check
def fits_to_files(comm, folder):
    from parallel_ridge import MPIBackend, ParallelRidgeClassifier, ParallelRidgeClassifierCV

    backend = MPIBackend(comm)
    for dtype, target, group in (
        ("uint8", "integers", 40), ("float64", "strings", 40), ("float64", "multilabel", 500)
    ):  # fmt: skip
        X, y = make_data(400, 9, dtype, target)
        tolerance = 0.0 if dtype == "uint8" else 1e-12
        labels = y.tolist()
        fold = np.arange(400) % 3
        path = write(
            comm, folder, f"fits-{dtype}-{target}", X, labels, group, w=weights_of(400), fold=fold
        )
        options = {"backend": backend}
        if target == "multilabel":
            options["backend"] = MPIBackend(comm, features="x")
        shared = ParallelRidgeClassifier(**options).fit(path, "label")
        alone = ParallelRidgeClassifier().fit(X, y)
        assert_close(shared.coef_, alone.coef_, tolerance)
        assert_same_bits(comm, shared.coef_)
        assert abs(shared.score(path, "label") - alone.score(X, y)) < 1e-12
        # A rank answers for its own share.
        if group == 40:
            answers = np.concatenate(comm.allgather(shared.predict(path)))
            assert answers.tolist() == alone.predict(X).tolist()
        shared = ParallelRidgeClassifier(**options).fit(path, "label", "w")
        assert_close(
            shared.coef_, ParallelRidgeClassifier().fit(X, y, weights_of(400)).coef_, 1e-12
        )
        if target == "multilabel":
            continue
        for cv in (None, 4, "fold"):
            from sklearn.model_selection import PredefinedSplit

            alphas = [0.1, 10.0, 1000.0, 1e5]
            shared = ParallelRidgeClassifierCV(alphas, cv=cv, **options).fit(path, "label")
            same = PredefinedSplit(fold) if cv == "fold" else cv
            alone = ParallelRidgeClassifierCV(alphas, cv=same).fit(X, y)
            assert shared.alpha_ == alone.alpha_
            for name in ("mean_test_score", "std_test_score"):
                assert np.allclose(shared.cv_results_[name], alone.cv_results_[name], 1e-9, 1e-9)


@check
def batches_of_each_rank(comm, folder):
    from parallel_ridge import ParallelRidgeClassifier, ParallelRidgeClassifierCV

    X, y = make_data(400, 9, "uint8", "integers")
    s = part(comm, 400, "uneven")
    mine = [(X[i : i + 30], y[i : i + 30]) for i in range(s.start, s.stop, 30)]
    mine[-1] = tuple(some[: s.stop - s.start - 30 * (len(mine) - 1)] for some in mine[-1])
    shared = ParallelRidgeClassifier(backend="mpi").fit(mine)
    assert_close(shared.coef_, ParallelRidgeClassifier().fit(X, y).coef_, 0)
    shared = ParallelRidgeClassifierCV([1.0, 100.0, 1e4], cv=4, backend="mpi").fit(mine)
    alone = ParallelRidgeClassifierCV([1.0, 100.0, 1e4], cv=4).fit(X, y)
    assert_close(shared.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"], 1e-12)


@check
def bad_files_fail_on_all_ranks(comm, folder):
    from parallel_ridge import ParallelRidgeClassifier

    X, y = make_data(400, 9, "float64", "integers")
    model = ParallelRidgeClassifier(backend="mpi")
    path = write(comm, folder, "good", X, y)
    raises(comm, ValueError, ["no column 'target'", "label"], lambda: model.fit(path, "target"))
    if comm.size > 1:
        raises(comm, ValueError, ["names of their columns"], lambda: model.fit(path, y))
    raises(comm, ValueError, ["names no file"], lambda: model.fit(path + "/nothing", "label"))
    X[390, 4] = np.nan
    path = write(comm, folder, "nan", X, y)
    raises(comm, ValueError, ["NaN", "column 4"], lambda: model.fit(path, "label"))
    if comm.rank == 0:
        content = (Path(path) / "b.parquet").read_bytes()
        (Path(path) / "b.parquet").write_bytes(content[: len(content) // 2])
    comm.Barrier()
    raises(comm, ValueError, ["b.parquet"], lambda: model.fit(path, "label"))
    assert not hasattr(model, "coef_")
