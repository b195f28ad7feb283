"""Checks that every rank of an MPI program makes: ranks agree, or raise the same error."""

# ruff: noqa: B023  # whatever is handed to `raises` is called at once

import copy
import pickle
import warnings

import numpy as np
import scipy.sparse as sp

from _mpi import (
    assert_close,
    assert_same_bits,
    check,
    fits,
    make_data,
    part,
    raises,
    searches,
)


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
    from parallel_ridge.exceptions import IllConditioned
    from parallel_ridge.mpi import MPIBackend
    from parallel_ridge.reductions import StatisticsReduction
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
    raises(comm, OSError, ["disk is gone", rank], lambda: backend.reduce(reduction, Broken()))
    # And the ranks are still in step.
    assert backend.gather(lambda: comm.rank) == list(range(comm.size))


@check
def different_calls_are_told(comm, folder):
    from parallel_ridge.mpi import MPIBackend

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
        mpi,
        sufficient_statistics,
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
        "sufficient_statistics": lambda: sufficient_statistics(X, y, backend="mpi"),
        "run_on_all_ranks": lambda: mpi.run_on_all_ranks(lambda: 1),
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
        raises(comm, ValueError, ["cannot hold the label"], lambda: one.fit(X[s], mixed))


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
    raises(comm, FileNotFoundError, ["missing"], lambda: mpi.run_on_all_ranks(lambda: np.load(own)))
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
    from parallel_ridge.mpi import _backend as mpi

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
    from parallel_ridge.mpi import _backend as mpi

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
    from parallel_ridge.mpi import MPIBackend

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
    from parallel_ridge.mpi import MPIBackend, Report

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

    from parallel_ridge.mpi import MPIBackend

    backend = MPIBackend()
    backend.gather(int)
    threads = comm.allgather(backend.solve_threads())
    assert min(threads) >= 1 and (max(threads) == 1 or sum(threads) <= joblib.cpu_count())


@check
def statistics_that_are_kept(comm, folder):
    from parallel_ridge import ParallelRidgeClassifier, ParallelRidgeClassifierCV
    from parallel_ridge.mpi import MPIBackend

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
    from parallel_ridge.mpi import _rows

    s = mpi.local_slice(11)
    assert sum(comm.allgather(s.stop - s.start)) == 11
    before, _rows.CHUNK_BYTES = _rows.CHUNK_BYTES, 64
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
        _rows.CHUNK_BYTES = before
