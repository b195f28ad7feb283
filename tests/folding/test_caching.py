"""Laws of `memory=`: the same content is folded once, and nothing on disk can do harm."""

import pickle
import subprocess
import sys
import textwrap
from itertools import product
from pathlib import Path

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold

from parallel_ridge import OpenMPBackend, ParallelRidgeClassifier, ParallelRidgeClassifierCV
from parallel_ridge.caching import check_memory, content_key, fold_cached
from parallel_ridge.reductions import StatisticsOptions, StatisticsReduction
from parallel_ridge.sources import ArraySource, as_source

pytestmark = pytest.mark.filterwarnings("ignore:The best alpha")

ALPHAS = [0.1, 3.0, 100.0]
FOLD = OpenMPBackend.reduce
CONTAINERS = {"dense": np.asarray, "csr": sp.csr_matrix}


def make_data(n=60, d=5, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) + 3
    scores = X @ rng.normal(size=(d, 3))
    y = np.array(["a", "b", "cc"])[(scores - scores.mean(axis=0)).argmax(axis=1)]
    y[:12] = np.array(["a", "b", "cc"])[np.arange(12) % 3][: len(y)]
    return (np.abs(25 * X) if np.dtype(dtype).kind in "iu" else X).astype(dtype), y


def key_of(X, y, weights=None, *, fit_intercept=True, names=None, classes=None):
    source, target = as_source(X, y, sample_weight=weights, classes=classes)
    options = StatisticsOptions(centre=fit_intercept, feature_names=names)
    reduction = StatisticsReduction.of(source, target, options)
    return content_key(reduction, source)


def entries(path):
    """Files that hold statistics."""
    return sorted(Path(path).rglob("output.pkl"))


def run_python(code, path, *objects):
    """Output of a fresh interpreter, whose first argument is a file with the pickled objects."""
    file = Path(path) / "objects"
    file.write_bytes(pickle.dumps(objects))
    done = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(code), str(file)],
        cwd=path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"ended with {done.returncode}\n{done.stderr[:2000]}"
    return done.stdout


@pytest.fixture
def folds(monkeypatch):
    """Rows of each fold of statistics, in order."""
    made = []

    def reduce(self, reduction, source):
        kind = getattr(reduction, "reductions", [reduction])[0]  # of groups, or of all rows
        if isinstance(kind, StatisticsReduction):
            made.append(source.n_rows)
        return FOLD(self, reduction, source)

    monkeypatch.setattr(OpenMPBackend, "reduce", reduce)
    return made


MODELS = {
    "one alpha": lambda **options: ParallelRidgeClassifier(**options),
    "leave-one-out": lambda **options: ParallelRidgeClassifierCV(ALPHAS, **options),
    "folds": lambda **options: ParallelRidgeClassifierCV(ALPHAS, cv=3, **options),
    "overlapping": lambda **options: ParallelRidgeClassifierCV(
        ALPHAS, cv=[(range(40), range(40, 60)), (range(9, 60), range(9))], **options
    ),
}


# ------------------------------------------------------------------------------------------------
# What is kept
# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8"])
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_a_second_fit_folds_nothing_and_is_the_same(make, dtype, container, tmp_path, folds):
    X, y = make_data(dtype=dtype)
    X = CONTAINERS[container](X)
    weights = np.linspace(0, 2, 60)
    for options in ({}, {"sample_weight": weights}):
        plain = make(store_statistics=True).fit(X, y, **options)
        first = make(memory=tmp_path, store_statistics=True).fit(X, y, **options)
        n_folds = len(folds)
        second = make(memory=tmp_path, store_statistics=True).fit(X, y, **options)
        assert len(folds) == n_folds
        for model in (first, second):
            assert_array_equal(model.coef_, plain.coef_)
            assert_array_equal(model.intercept_, plain.intercept_)
            assert model.statistics_ == plain.statistics_
            for name, column in getattr(plain, "cv_results_", {}).items():
                if name.endswith("score"):
                    assert_array_equal(model.cv_results_[name], column)


def test_options_that_do_not_shape_statistics_share_them(tmp_path, folds):
    X, y = make_data()
    options = {"memory": tmp_path, "store_statistics": True}
    ParallelRidgeClassifier(**options).fit(X, y)
    for other in (
        {"alpha": 7.0},
        {"alpha": 1e-3, "solver": "eigen"},
        {"n_jobs": 2},
        {"n_jobs": 1, "backend": "openmp"},
        {"standardize": True},
        {"objective": "mean"},
        {"store_statistics": False, "verbose": 0},
    ):
        ParallelRidgeClassifier(**{**options, **other}).fit(X, y)
    ParallelRidgeClassifierCV(ALPHAS, **options).fit(X, y)
    ParallelRidgeClassifierCV([3.0], scoring="accuracy", **options).fit(X, y)
    assert folds == [60] and len(entries(tmp_path)) == 1
    ParallelRidgeClassifier(class_weight="balanced", **options).fit(X, y)
    assert folds == [60, 60] and len(entries(tmp_path)) == 2


@pytest.mark.parametrize(("n_jobs", "dtype"), [(1, "uint8"), (2, "float64")])
def test_a_grid_search_forms_each_gram_matrix_once(n_jobs, dtype, tmp_path):
    X, y = make_data(90, dtype=dtype)
    grid = {"alpha": np.logspace(-2, 4, 6), "standardize": [False, True]}
    plain = GridSearchCV(ParallelRidgeClassifier(), grid, cv=4).fit(X, y)
    model = ParallelRidgeClassifier(memory=tmp_path)
    search = GridSearchCV(model, grid, cv=4, n_jobs=n_jobs).fit(X, y)
    assert len(entries(tmp_path)) == 4 + 1  # and one for the fit to all rows
    for i in range(4):
        name = f"split{i}_test_score"
        assert_array_equal(search.cv_results_[name], plain.cv_results_[name])
    assert_array_equal(search.best_estimator_.coef_, plain.best_estimator_.coef_)


def test_a_grid_search_in_this_process_folds_each_training_set_once(tmp_path, folds):
    X, y = make_data(90)
    model = ParallelRidgeClassifier(memory=tmp_path)
    GridSearchCV(model, {"alpha": np.logspace(-2, 4, 6)}, cv=KFold(3)).fit(X, y)
    assert folds == [60, 60, 60, 90]


def test_writers_at_once_do_no_harm(tmp_path):
    X, y = make_data(300, 20)
    expected = ParallelRidgeClassifier().fit(X, y).coef_

    def fit(_):  # all of them the same entry
        return ParallelRidgeClassifier(memory=tmp_path, n_jobs=1).fit(X, y).coef_

    for workers in ("loky", "threading"):
        found = joblib.Parallel(n_jobs=2, backend=workers)(joblib.delayed(fit)(i) for i in range(8))
        for coef in found:
            assert_array_equal(coef, expected)
        assert len(entries(tmp_path)) == 1
        entries(tmp_path)[0].unlink()


def test_paths_of_any_kind_and_joblib_memory_mean_the_same_place(tmp_path, folds):
    X, y = make_data()
    for memory in (str(tmp_path), joblib.Memory(str(tmp_path), verbose=0), tmp_path):
        model = ParallelRidgeClassifier(memory=memory).fit(X, y)
        assert model.memory is memory
    assert folds == [60]

    class Place:  # scikit-learn's convention: whatever has a method cache
        def cache(self, function, ignore=None, **options):
            return joblib.Memory(str(tmp_path), verbose=0).cache(function, ignore=ignore, **options)

    ParallelRidgeClassifier(memory=Place()).fit(X, y)
    ParallelRidgeClassifier(memory=joblib.Memory(None)).fit(X, y)  # keeps nothing
    assert folds == [60, 60]
    assert check_memory(None) is None


def test_statistics_that_stay_on_disk_are_not_overwritten(tmp_path):
    # In a process of its own, which a write to a read-only map ends.
    code = """
        import pickle, sys, warnings
        warnings.simplefilter("ignore")
        models, X, y = pickle.loads(open(sys.argv[1], "rb").read())
        for name, plain, mapped in models:
            plain.fit(X, y)
            for i in range(3):  # the first fit folds, the others may have maps of the file
                print(name, i, file=sys.stderr)
                mapped.fit(X, y)
                assert (mapped.coef_ == plain.coef_).all()
    """
    models = []
    for mode, (name, make) in product(("r", "r+", "c"), MODELS.items()):
        name = f"{name} {mode}"
        memory = joblib.Memory(tmp_path / name, mmap_mode=mode, verbose=0)
        models.append((name, make(), make(memory=memory)))
    run_python(code, tmp_path, models, *make_data())


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_clone_and_pickle_keep_the_memory(make, tmp_path, folds):
    X, y = make_data()
    for memory in (str(tmp_path / "a"), tmp_path / "b", joblib.Memory(tmp_path / "c", verbose=0)):
        model = make(memory=memory).fit(X, y)
        n_folds = len(folds)
        twins = [clone(model), pickle.loads(pickle.dumps(model))]
        for twin in twins:
            assert type(twin.memory) is type(memory)
            assert_array_equal(twin.fit(X, y).coef_, model.coef_)
        assert len(folds) == n_folds


def test_no_memory_writes_nothing_and_needs_no_hash(tmp_path):
    code = """
        import os, sys
        sys.modules["xxhash"] = None  # as if it were not installed
        import numpy as np
        import parallel_ridge
        X, y = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 3
        parallel_ridge.ParallelRidgeClassifier().fit(X, y)
        parallel_ridge.ParallelRidgeClassifierCV([0.1, 1.0, 10.0], cv=3).fit(X, y)
        assert os.listdir() == ["objects"]
        try:
            parallel_ridge.ParallelRidgeClassifier(memory="here").fit(X, y)
        except ImportError as error:
            print("refused", error)
    """
    printed = run_python(code, tmp_path)
    assert "refused" in printed and "xxhash" in printed


@pytest.mark.parametrize("memory", [3, 0.5, ["here"], {}, b"here", True, object])
def test_a_memory_of_another_kind_is_refused_and_changes_nothing(memory):
    X, y = make_data()
    for make in MODELS.values():
        model = make().fit(X, y)
        coef = model.coef_
        with pytest.raises(ValueError, match=r"memory must be .* got ") as caught:
            model.set_params(memory=memory).fit(X, y)
        assert repr(memory) in str(caught.value)
        assert model.coef_ is coef


@pytest.mark.filterwarnings("ignore:Unable to (write|cache)")
def test_where_nothing_can_be_written_a_fit_still_fits(tmp_path):
    (tmp_path / "file").write_text("no folder")
    X, y = make_data()
    model = ParallelRidgeClassifier(memory=tmp_path / "file")
    try:
        model.fit(X, y)
    except OSError as error:  # or says where it could not
        assert "file" in str(error) and not hasattr(model, "coef_")
    else:
        assert_array_equal(model.coef_, ParallelRidgeClassifier().fit(X, y).coef_)


# ------------------------------------------------------------------------------------------------
# Damage
# ------------------------------------------------------------------------------------------------


def flip(data):
    """One bit, in the middle of the numbers."""
    place = len(data) // 2
    return data[:place] + bytes([data[place] ^ 64]) + data[place + 1 :]


DAMAGE = {
    "garbage": lambda data: b"\x00junk" * 100,
    "text": lambda data: b"not a pickle",
    "nothing": lambda data: b"",
    "half": lambda data: data[: len(data) // 2],
    "all but the last byte": lambda data: data[:-1],
    "first byte": lambda data: b"\xff" + data[1:],
    "another object": lambda data: pickle.dumps({"a": 1}),
    "None": lambda data: pickle.dumps(None),
    "one bit": flip,
}


@pytest.mark.filterwarnings("ignore:Exception while loading")
@pytest.mark.parametrize("make", [MODELS["one alpha"], MODELS["folds"]], ids=["one alpha", "folds"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_entry_is_computed_anew(damage, make, tmp_path, folds):
    X, y = make_data(60, 9)
    plain = make().fit(X, y)
    make(memory=tmp_path).fit(X, y)
    for entry in entries(tmp_path):
        entry.write_bytes(damage(entry.read_bytes()))
    del folds[:]
    again = make(memory=tmp_path).fit(X, y)
    assert_array_equal(again.coef_, plain.coef_)
    assert folds  # anew
    del folds[:]
    once_more = make(memory=tmp_path).fit(X, y)
    assert_array_equal(once_more.coef_, plain.coef_)
    assert not folds  # and kept


@pytest.mark.parametrize("name", ["output.pkl", "metadata.json", "func_code.py"])
def test_a_missing_entry_or_note_is_computed_anew(name, tmp_path):
    X, y = make_data()
    plain = ParallelRidgeClassifier().fit(X, y)
    for write in (Path.unlink, lambda file: file.write_bytes(b"\xff{")):
        ParallelRidgeClassifier(memory=tmp_path).fit(X, y)
        for file in Path(tmp_path).rglob(name):  # joblib notes the code for the first place only
            write(file)
        again = ParallelRidgeClassifier(memory=tmp_path).fit(X, y)
        assert_array_equal(again.coef_, plain.coef_)


# ------------------------------------------------------------------------------------------------
# The key
# ------------------------------------------------------------------------------------------------


def changed(X, row, column):
    """The smallest change that the dtype has."""
    X = X.copy()
    X.view(f"u{X.itemsize}")[row, column] ^= 1
    return X


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(["float64", "float32", "uint8", "int16", "int64"]),
    st.sampled_from(sorted(CONTAINERS)),
    st.integers(1, 5000),
    st.integers(1, 7),
    st.data(),
)
def test_one_changed_byte_changes_the_key(dtype, container, n, d, data):
    X, y = make_data(max(n, 3), d, dtype)
    row, column = data.draw(st.integers(0, len(X) - 1)), data.draw(st.integers(0, d - 1))
    held = CONTAINERS[container]
    weights = np.linspace(0.5, 2, len(X))
    key = key_of(held(X), y, weights)
    assert key == key_of(held(X.copy()), y.copy(), weights.copy())
    keys = {key, key_of(held(changed(X, row, column)), y, weights), key_of(held(X), y)}
    other = y.copy()
    other[row] = "b" if y[row] != "b" else "cc"
    if set(other) == set(y):
        keys.add(key_of(held(X), other, weights))
    else:
        keys.add("another set of classes")
    weights[row] = np.nextafter(weights[row], 9)
    keys.add(key_of(held(X), y, weights))
    assert len(keys) == 5


def test_whatever_shapes_the_statistics_changes_the_key():
    X, y = make_data()
    swapped = X.copy()
    swapped[[3, 7]] = X[[7, 3]]
    codes = np.unique(y, return_inverse=True)[1]
    Y = (y[:, None] == np.unique(y)).astype(int)
    W = np.where(y == "a", 2.0, 1.0)
    whole = np.rint(np.tile(X, (6, 1)))  # enough rows for float32 products
    labels = np.tile(y, 6)
    keys = [
        key_of(X, y),
        key_of(X, y, fit_intercept=False),
        key_of(X, y, names=np.array(list("abcde"), dtype=object)),
        key_of(X, y, names=np.array(list("abcdf"), dtype=object)),
        key_of(X, y, classes=["a", "b", "bb", "cc"]),
        key_of(X, codes),
        key_of(X, codes + 1),
        key_of(X, codes.astype(float)),
        key_of(X, Y),
        key_of(X, 1 - Y),
        key_of(X, y, W),
        key_of(swapped, y),
        key_of(X[:-1], y[:-1]),
        key_of(X.reshape(50, 6), y[:50]),
        key_of(sp.csr_matrix(X), y),
        key_of(sp.csr_matrix(X), y, W),
        *(key_of(whole.astype(d), labels) for d in ("d", "f", "i8", "i4", "u1", "i1", "f2")),
        *(key_of(sp.csr_matrix(whole.astype(dtype)), labels) for dtype in ("d", "f", "u1")),
        key_of((X > 3), y),
        key_of((X > 3).astype("u1"), y),
    ]
    assert len(set(keys)) == len(keys)
    assert all(key == again for key, again in zip(keys[:1], [key_of(X.copy(), y)], strict=True))


def test_sets_of_rows_have_keys_of_their_own_rows():
    X, y = make_data()
    source, target = as_source(X, y)
    reduction = StatisticsReduction.of(source, target)
    rows = np.random.default_rng(0).permutation(60)[:30]
    taken = content_key(reduction, source.take(rows))
    part = ArraySource(X[rows], source.labels[rows])
    assert taken == content_key(reduction, part)
    others = [source, source.take(rows[:-1]), source.take(rows[::-1])]
    keys = {content_key(reduction, other) for other in others} | {taken}
    assert len(keys) == 4


@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8"])
def test_layout_in_memory_does_not_change_the_key(dtype, tmp_path, folds):
    X, y = make_data(dtype=dtype)
    wide = np.zeros((120, 10), X.dtype)
    wide[::2, ::2] = X
    file = tmp_path / "rows"
    X.tofile(file)
    weights = np.linspace(0, 1, 60)
    rows = (
        X,
        np.asfortranarray(X),
        wide[::2, ::2],
        X[::-1].copy()[::-1],
        np.memmap(file, X.dtype, "r", shape=X.shape),
    )
    assert len({key_of(held, y) for held in rows}) == 1
    assert len({key_of(held, y, weights) for held in rows}) == 1
    assert len({key_of(X, held) for held in (y, y.tolist(), np.repeat(y, 2)[::2])}) == 1
    for held in rows:
        ParallelRidgeClassifier(memory=tmp_path / "kept").fit(held, y)
    assert folds == [60]


@pytest.mark.parametrize("dtype", ["float64", "uint8"])
def test_models_with_and_without_an_intercept_may_share_a_memory(dtype, tmp_path):
    X, y = make_data(dtype=dtype)
    for fit_intercept in (True, False, True, False):
        options = {"fit_intercept": fit_intercept, "alpha": 3.0}
        model = ParallelRidgeClassifier(memory=tmp_path, **options).fit(X, y)
        plain = ParallelRidgeClassifier(**options).fit(X, y)
        assert_array_equal(model.coef_, plain.coef_)
        assert_array_equal(model.intercept_, plain.intercept_)


def test_equal_sparse_rows_have_equal_keys_however_they_are_written():
    X, y = make_data()
    X[X < 3] = 0
    tidy = sp.csr_matrix(X)
    shuffled = tidy.copy()
    for i in range(60):  # indices in another order
        part = slice(shuffled.indptr[i], shuffled.indptr[i + 1])
        shuffled.indices[part] = shuffled.indices[part][::-1]
        shuffled.data[part] = shuffled.data[part][::-1]
    shuffled.has_sorted_indices = False
    shuffled.has_canonical_format = False
    keys = {key_of(held, y) for held in (tidy, tidy.tocsc(), tidy.tocoo(), shuffled)}
    assert keys == {key_of(sp.csr_matrix(X), y)}
    moved = tidy.copy()
    moved.indices[0] = 4 if moved.indices[0] == 0 else 0
    moved.sort_indices()
    assert key_of(moved, y) not in keys


def test_the_key_of_no_rows_and_of_empty_sparse_rows_exists():
    source, target = as_source(np.empty((0, 3)), [], classes=["a", "b"])
    assert content_key(StatisticsReduction.of(source, target), source)
    assert key_of(sp.csr_matrix((4, 3)), [0, 1, 0, 1]) != key_of(
        sp.csr_matrix((4, 2)), [0, 1, 0, 1]
    )


def test_a_fold_without_memory_is_a_fold(folds):
    X, y = make_data()
    source, target = as_source(X, y)
    reduction = StatisticsReduction.of(source, target)
    one, two = (fold_cached(None, OpenMPBackend(), reduction, source) for _ in range(2))
    assert one == two and folds == [60, 60]


def test_other_code_of_the_package_finds_nothing(tmp_path, folds, monkeypatch):
    # A version whose statistics mean something else must not read those of this one.
    X, y = make_data()
    ParallelRidgeClassifier(memory=tmp_path).fit(X, y)
    monkeypatch.setattr("parallel_ridge.caching.version", lambda name: "another")
    ParallelRidgeClassifier(memory=tmp_path).fit(X, y)
    assert folds == [60, 60]


def test_the_memory_is_read_by_another_process(tmp_path):
    code = """
        import pickle, sys, warnings
        warnings.simplefilter("ignore")
        from parallel_ridge import OpenMPBackend
        from parallel_ridge.reductions import StatisticsReduction
        fold = OpenMPBackend.reduce
        def count(self, reduction, source):
            kind = getattr(reduction, "reductions", [reduction])[0]
            if isinstance(kind, StatisticsReduction):
                print("folded", source.n_rows)
            return fold(self, reduction, source)
        OpenMPBackend.reduce = count
        model, coef, X, y = pickle.loads(open(sys.argv[1], "rb").read())
        assert (model.fit(X, y).coef_ == coef).all()
    """
    X, y = make_data()
    model = ParallelRidgeClassifierCV(ALPHAS, cv=3).fit(X, y)
    objects = (model.set_params(memory=tmp_path), model.coef_, X, y)
    assert run_python(code, tmp_path, *objects).split() == ["folded", "60"]
    assert run_python(code, tmp_path, *objects) == ""
