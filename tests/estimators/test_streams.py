"""Streams: batches add in place, and are solved when somebody asks."""

import copy
import pickle
import threading
import time
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from _data.estimators import TARGETS, assert_close, assert_same_state, make_data, state, weights_of
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from parallel_ridge import IllConditionedWarning, ParallelRidgeClassifier, sufficient_statistics
from parallel_ridge.estimators import _classifier, _stream
from parallel_ridge.kernels import _triangle

ANSWERS = ("classes_", "coef_", "intercept_", "n_iter_", "solver_")


@pytest.fixture
def solves(monkeypatch):
    """Number of rows at each solve."""
    counts = []

    def counted(statistics, *args):
        counts.append(statistics.n_samples)
        return solve_path(statistics, *args)

    solve_path = _classifier.solve_path
    monkeypatch.setattr(_classifier, "solve_path", counted)
    return counts


def in_batches(model, X, y, size, classes=None):
    for i in range(0, len(y), size):
        model.partial_fit(X[i : i + size], y[i : i + size], classes)
    return model


# ------------------------------------------------------------------------------------------------
# The solve
# ------------------------------------------------------------------------------------------------


def test_batches_are_solved_once_when_somebody_asks(backend, solves):
    X, y = make_data()
    model = in_batches(ParallelRidgeClassifier(backend=backend), X, y, 10, np.unique(y))
    assert not solves
    assert_array_equal(model.classes_, ["a", "b", "cc"])
    assert model.statistics_.n_samples == 60
    check_is_fitted(model)
    assert not solves
    coef = model.coef_
    for _ in range(2):
        assert model.solver_ == "cholesky" and model.n_iter_ is None and len(model.intercept_) == 3
        assert model.coef_ is coef
        model.predict(X)
        model.score(X, y)
        pickle.dumps(model)
    assert solves == [60]
    assert_close(coef, ParallelRidgeClassifier().fit(X, y).coef_, 1e-9)
    model.partial_fit(X, y)
    assert solves == [60]
    model.predict(X[:1])
    assert solves == [60, 120]


@pytest.mark.parametrize(
    "ask",
    [
        *(lambda model, X, name=name: getattr(model, name) for name in ANSWERS[1:]),
        lambda model, X: hasattr(model, "coef_"),
        lambda model, X: check_is_fitted(model, "coef_"),
        lambda model, X: model.predict(X),
        lambda model, X: model.decision_function(X),
        lambda model, X: model.score(X, model.predict(X)),
        lambda model, X: copy.deepcopy(model),
        lambda model, X: pickle.dumps(model),
    ],
)
def test_whatever_needs_the_solution_solves(ask, solves):
    X, y = make_data()
    model = ParallelRidgeClassifier().partial_fit(X, y)
    ask(model, X)
    assert solves == [60]


def test_a_path_of_penalties_needs_no_other_solve(solves):
    X, y = make_data()
    model = in_batches(ParallelRidgeClassifier(), X, y, 30)
    coefs, _ = model.coef_path([3.0])
    assert not solves
    assert_close(coefs[0], ParallelRidgeClassifier(3.0).fit(X, y).coef_, 1e-9)


def test_the_solve_takes_the_options_of_the_last_batch(solves):
    X, y = make_data()
    model = ParallelRidgeClassifier(2.0, solver="eigen").partial_fit(X, y)
    model.set_params(alpha=500.0, solver="auto", fit_intercept=False, standardize=True)
    assert model.solver_ == "eigen" and len(model.intercept_) == 3
    assert_close(model.coef_, ParallelRidgeClassifier(2.0).fit(X, y).coef_, 1e-9)


def test_an_estimator_is_fitted_from_its_first_batch_on():
    X, y = make_data()
    model = ParallelRidgeClassifier()
    for name in (*ANSWERS, "statistics_"):
        assert not hasattr(model, name) and not hasattr(type(model), name)
        with pytest.raises(AttributeError, match=f"'ParallelRidgeClassifier' .* '{name}'"):
            getattr(model, name)
    with pytest.raises(NotFittedError):
        check_is_fitted(model)
    model.partial_fit(X, y)
    assert all(hasattr(model, name) for name in (*ANSWERS, "statistics_"))
    model.fit(X, y)
    assert not hasattr(model, "statistics_")
    assert set(vars(model)) >= set(ANSWERS)  # a fit leaves nothing to solve


def test_what_a_user_sets_comes_first_until_the_next_batch():
    X, y = make_data()
    model = ParallelRidgeClassifier().partial_fit(X, y)
    coef = model.coef_
    model.coef_ = 2.0 * coef
    assert_array_equal(
        model.predict(X), model.classes_[(X @ (2 * coef).T + model.intercept_).argmax(1)]
    )
    model.partial_fit(X[:1], y[:1])
    assert not np.array_equal(model.coef_, 2.0 * coef)
    model.statistics_ = sufficient_statistics(X, y)
    model.partial_fit(X, y)
    assert model.statistics_.n_samples == 120


def test_the_warning_of_a_solve_names_the_line_that_asked():
    X, y = make_data()
    X = np.column_stack([X, X[:, 0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = ParallelRidgeClassifier(0.0).partial_fit(X, y)
    for ask in (lambda: model.coef_, lambda: hasattr(model, "coef_"), lambda: model.predict(X)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(IllConditionedWarning):  # nor does this count as the solve
                ask()
        with pytest.warns(IllConditionedWarning) as caught:
            ask()
        assert [w.filename for w in caught] == [__file__]
        model.partial_fit(X, y)


# ------------------------------------------------------------------------------------------------
# The sums
# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("size", [1, 7, 30])
@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_small_batches_give_the_sums_of_all_rows(backend, dtype, size, target):
    X, y = make_data(60, 5, target, dtype)
    classes = np.arange(3) if target == "multilabel" else np.unique(y)
    model = ParallelRidgeClassifier(backend=backend)
    for i in range(0, 60, size):
        model.partial_fit(X[i : i + size], y[i : i + size], classes)
        assert model.statistics_.n_samples == min(60, i + size)
    whole = ParallelRidgeClassifier(store_statistics=True).fit(X, y)
    if dtype == "uint8":
        assert model.statistics_ == whole.statistics_
    assert_close(model.coef_, whole.coef_, 1e-9)


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_statistics_that_were_handed_out_never_change(dtype):
    X, y = make_data(dtype=dtype)
    model = ParallelRidgeClassifier()
    held, copies = [], []
    for i in range(0, 60, 10):
        model.partial_fit(X[i : i + 10], y[i : i + 10], np.unique(y))
        for _ in range(i % 20 // 10):  # every other time
            held.append(model.statistics_)
            copies.append(held[-1].copy())
    assert all(one == other for one, other in zip(held, copies, strict=True))
    first = ParallelRidgeClassifier(store_statistics=True).fit(X, y)
    before = first.statistics_.copy()
    kept = first.statistics_
    first.partial_fit(X, y).partial_fit(X, y)
    assert kept == before and first.statistics_.n_samples == 180


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_batches_add_to_the_same_memory(dtype):
    X, y = make_data(400, dtype=dtype)
    model = ParallelRidgeClassifier().partial_fit(X, y)
    gram = model._stream.total.gram
    for i in range(0, 400, 20):
        model.partial_fit(X[i : i + 20], y[i : i + 20])
        assert model._stream.total.gram is gram
    spare = model._stream.spare.take_gram(5, gram.dtype)
    assert spare is not gram and not np.triu(spare).any()
    assert model.statistics_.gram is gram
    model.partial_fit(X, y)
    assert model._stream.total.gram is not gram


def test_kinds_of_rows_may_follow_each_other():
    X, y = make_data(120, dtype="uint8")
    kinds = [lambda X: X, lambda X: X * 1.0, sp.csr_matrix, lambda X: X.astype("f4"), lambda X: X]
    for turn in range(5):
        model = ParallelRidgeClassifier()
        for i in range(5):
            batch = slice(24 * i, 24 * i + 24)
            model.partial_fit(kinds[(i + turn) % 5](X[batch]), y[batch], np.unique(y))
        assert_close(model.coef_, ParallelRidgeClassifier().fit(X, y).coef_, 1e-9)


@pytest.mark.parametrize("drift", [0.0, 30.0, 100.0])
def test_few_rows_far_from_the_earlier_ones_lose_no_digits(drift):
    X, y = make_data(300)
    X[100:] += drift
    w = weights_of(300) + 0.25
    model = ParallelRidgeClassifier()
    for i in range(0, 300, 2):
        model.partial_fit(X[i : i + 2], y[i : i + 2], np.unique(y), w[i : i + 2])
    assert_close(model.coef_, ParallelRidgeClassifier().fit(X, y, w).coef_, 1e-8)


def test_few_rows_near_the_earlier_ones_move_no_shift():
    rng = np.random.default_rng(0)
    X, y = rng.normal(10.0, 1.0, size=(2000, 40)), np.arange(2000) % 3
    model = ParallelRidgeClassifier().partial_fit(X[:500], y[:500])
    shift = model._stream.total.shift
    in_batches(model, X[500:], y[500:], 3)
    assert_array_equal(model._stream.total.shift, shift)
    assert_close(model.coef_, ParallelRidgeClassifier().fit(X, y).coef_, 1e-9)


# ------------------------------------------------------------------------------------------------
# Errors and interrupts
# ------------------------------------------------------------------------------------------------


def bad(X, value):
    X = X.astype(np.float64)
    X[-1, -1] = value
    return X


@pytest.mark.parametrize("solved", [False, True])
@pytest.mark.parametrize(
    ("match", "call"),
    [
        ("NaN: row 59", lambda model, X, y: model.partial_fit(bad(X, np.nan), y)),
        (
            "infinity: row 59",
            lambda model, X, y: model.partial_fit(sp.csr_matrix(bad(X, np.inf)), y),
        ),
        ("too large", lambda model, X, y: model.partial_fit(bad(X, 1e200), y)),
        ("4 features", lambda model, X, y: model.partial_fit(X[:, 1:], y)),
        ("not in classes", lambda model, X, y: model.partial_fit(X, np.full(60, "z"))),
        ("differ from those", lambda model, X, y: model.partial_fit(X, y, ["a", "b"])),
        ("inconsistent", lambda model, X, y: model.partial_fit(X, y[1:])),
        ("not negative", lambda model, X, y: model.partial_fit(X, y, None, -np.ones(60))),
        (
            "alpha == -1.0, must be >= 0.0",
            lambda model, X, y: model.set_params(alpha=-1.0).partial_fit(X, y),
        ),
        (
            "'balanced'",
            lambda model, X, y: model.set_params(class_weight="balanced").partial_fit(X, y),
        ),
        ("objective", lambda model, X, y: model.set_params(objective="best").partial_fit(X, y)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_can_be_refused_is_refused_at_once(backend, match, call, solved):
    X, y = make_data()
    options = {"backend": backend}
    model = in_batches(ParallelRidgeClassifier(**options), X, y, 20, ["a", "b", "cc"])
    if solved:
        model.predict(X)
    before = state(in_batches(ParallelRidgeClassifier(**options), X, y, 20, ["a", "b", "cc"]))
    with pytest.raises(ValueError, match=match):
        call(model, X, y)
    model.set_params(**ParallelRidgeClassifier(**options).get_params())
    assert_same_state(model, before)
    assert model.partial_fit(X, y).statistics_.n_samples == 120


def test_sums_that_would_overflow_are_refused():
    X, y = make_data()
    X *= 1e153 / np.abs(X).max()
    model, other = (ParallelRidgeClassifier().partial_fit(X, y) for _ in range(2))
    with pytest.raises(ValueError, match="too large for sums of squares"):
        for _ in range(10_000):
            model.partial_fit(X, y)
            other.partial_fit(X, y)
    assert np.isfinite(model.statistics_.gram).all()
    assert model.statistics_ == other.statistics_


def test_one_class_is_refused_before_the_next_batch_only():
    X, y = make_data()
    one = y == "a"
    model = ParallelRidgeClassifier()
    with pytest.raises(ValueError, match=r"one class only, \['a'\]"):
        model.partial_fit(X[one], y[one])
    assert vars(model) == vars(ParallelRidgeClassifier())
    model.statistics_ = sufficient_statistics(X[one], y[one])
    model.n_features_in_ = 5
    with pytest.raises(ValueError, match=r"one class only, \['a'\]"):
        model.partial_fit(X[one], y[one])
    model.partial_fit(X[~one], y[~one])
    assert_close(model.coef_, ParallelRidgeClassifier().fit(X, y).coef_, 1e-9)


class Interrupting:
    """The operations on triangles, of which one is interrupted before or after it."""

    def __init__(self, when):
        self.when, self.armed = when, True

    def pour(self, into, other):
        if self.armed and self.when == "before":
            self.armed = False
            raise KeyboardInterrupt
        _triangle.pour(into, other)
        if self.armed:
            self.armed = False
            raise KeyboardInterrupt


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interrupt_leaves_whole_sums(when, dtype, monkeypatch):
    X, y = make_data(dtype=dtype)
    model, other = (in_batches(ParallelRidgeClassifier(), X, y, 20, np.unique(y)) for _ in range(2))
    assert model.coef_.shape == other.coef_.shape  # both have added what they owe
    triangles = Interrupting(when)
    monkeypatch.setattr(_stream, "_triangle", triangles)
    model.partial_fit(X[::2], y[::2])
    assert triangles.armed  # this batch counts: nothing after it may raise an interrupt
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(X[:9], y[:9])  # this one does not
    other.partial_fit(X[::2], y[::2])
    assert model.statistics_ == other.statistics_
    assert_array_equal(model.coef_, other.coef_)
    for one in (model, other):
        one.partial_fit(X[:9], y[:9]).partial_fit(X[9:], y[9:])
    assert model.statistics_ == other.statistics_


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_an_interrupt_within_the_fold_leaves_the_sums_before(dtype, monkeypatch):
    X, y = make_data(dtype=dtype)
    model, other = (in_batches(ParallelRidgeClassifier(), X, y, 20, np.unique(y)) for _ in range(2))

    def interrupted(self, total, block):
        add(self, total, block)
        raise KeyboardInterrupt

    add = _classifier.StatisticsReduction.add
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(_classifier.StatisticsReduction, "add", interrupted)
        model.partial_fit(X, y)
    assert_same_state(model, state(other))
    for one in (model, other):
        one.partial_fit(X[:9], y[:9]).partial_fit(X[9:], y[9:])
    assert model.statistics_ == other.statistics_


def test_an_interrupted_solve_is_solved_again(monkeypatch):
    X, y = make_data()
    model = ParallelRidgeClassifier().partial_fit(X, y)

    def interrupted(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(_classifier, "solve_path", interrupted)
        model.predict(X)
    assert_close(model.coef_, ParallelRidgeClassifier().fit(X, y).coef_, 1e-9)


# ------------------------------------------------------------------------------------------------
# Copies and threads
# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
@pytest.mark.parametrize("solved", [False, True])
@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_copies_answer_the_same_and_go_their_own_way(backend, copied, solved, dtype):
    X, y = make_data(dtype=dtype)
    model = in_batches(ParallelRidgeClassifier(backend=backend), X[:40], y[:40], 10, np.unique(y))
    if solved:
        model.predict(X)
    twin = copied(model)
    assert vars(twin).keys() - vars(model).keys() >= {"coef_", "statistics_", "solver_"}
    assert_same_state(twin, state(model))
    assert_array_equal(twin.predict(X), model.predict(X))
    before = state(model)
    in_batches(twin, X[40:], y[40:], 5)
    assert_same_state(model, before)
    before = state(twin)
    in_batches(model, X[40:], y[40:], 5)
    assert_same_state(twin, before)
    assert twin.statistics_ == model.statistics_
    for deep in (copy.deepcopy(vars(model)), pickle.loads(pickle.dumps(vars(model)))):
        assert deep["_stream"].statistics() == model.statistics_


def test_a_clone_is_bare():
    X, y = make_data()
    model = ParallelRidgeClassifier(3.0).partial_fit(X, y)
    bare = clone(model)
    assert vars(bare) == vars(ParallelRidgeClassifier(3.0))


def run_all(works):
    """Run functions at the same time; raise the first error."""
    errors, barrier = [], threading.Barrier(len(works))

    def run(work):
        try:
            barrier.wait()
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_threads_that_ask_at_once_get_one_solution(solves):
    X, y = make_data(500, 60)
    for _ in range(10):
        solves.clear()
        model = ParallelRidgeClassifier().partial_fit(X, y)
        found = []
        run_all([lambda model=model, found=found: found.append(model.coef_)] * 6)
        assert solves == [500] and len({id(coef) for coef in found}) == 1
        assert_close(found[0], ParallelRidgeClassifier().fit(X, y).coef_, 1e-9)


@pytest.mark.parametrize("start", ["bare", "streaming", "pickled", "fitted"])
def test_batches_of_several_threads_all_count(start):
    X, y = make_data(600, 30, dtype="uint8")
    times = 1 if start == "bare" else 2
    whole = ParallelRidgeClassifier(store_statistics=True)
    whole.fit(np.vstack([X] * times), np.concatenate([y] * times))
    for _ in range(5):
        model = ParallelRidgeClassifier(store_statistics=start == "fitted")
        if start == "fitted":
            model.fit(X, y)
        elif start != "bare":
            model.partial_fit(X, y)
        if start == "pickled":
            model = pickle.loads(pickle.dumps(model))
        parts = np.array_split(np.arange(600), 4)
        run_all([lambda m=model, s=s: in_batches(m, X[s], y[s], 50) for s in parts])
        assert model.statistics_ == whole.statistics_
        assert_array_equal(model.coef_, whole.coef_)


def test_readers_see_whole_sums_while_others_add():
    X, y = make_data(330, 20, dtype="uint8")
    y = np.array(["a", "b"])[(y == "a") * 1]
    y[310:] = "c"  # a class that turns up late
    model = ParallelRidgeClassifier().partial_fit(X[:30], y[:30])
    answers, sums = [model.decision_function(X)], [model.statistics_.copy()]
    predictions = [model.predict(X)]
    other = ParallelRidgeClassifier().partial_fit(X[:30], y[:30])
    for i in range(30, 330, 10):
        other.partial_fit(X[i : i + 10], y[i : i + 10])
        answers.append(other.decision_function(X))
        predictions.append(other.predict(X))
        sums.append(other.statistics_.copy())
    done = threading.Event()

    def read():
        while not done.is_set():
            found, statistics = model.decision_function(X), model.statistics_
            assert any(np.array_equal(found, one) for one in answers)
            assert any(statistics == one for one in sums)
            labels = model.predict(X)
            assert any(np.array_equal(labels, one) for one in predictions)

    def add():
        try:
            for i in range(30, 330, 10):
                model.partial_fit(X[i : i + 10], y[i : i + 10])
                time.sleep(0.001)
        finally:
            done.set()

    run_all([add, read, read])
    assert model.statistics_ == sums[-1]
