"""Shapes: many rows, many features, many classes, few of each, and kinds of numbers."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.linear_model import RidgeClassifier, RidgeClassifierCV, SGDClassifier
from sklearn.model_selection import GridSearchCV

from benchmarks.limits import (
    FIT,
    FOLDED,
    LEFT_OUT,
    N_FOLDS,
    N_PENALTIES,
    ONE_ROW,
    PREDICT,
    Rates,
    Work,
)
from benchmarks.measure import (
    SEES_MEMORY,
    Comparison,
    Group,
    Job,
    Measurement,
    Options,
    Row,
    at_most,
    faster,
    in_fresh_process,
    peak_added,
    timed,
)
from benchmarks.peers import missing
from benchmarks.single_machine import Images
from parallel_ridge import ParallelRidgeClassifier, ParallelRidgeClassifierCV

ALPHAS = np.logspace(-5, 5, N_PENALTIES)
N_FITS = N_FOLDS * N_PENALTIES

PREDICTED = 100_000
"""Rows of `predict`, at most."""
COMPARED, SAME = 1_000, 1e-3
"""Rows on which a solver's decision values must be ours, and how far off (2-norm) they may be."""
LARGE = 10_000_000
"""Numbers of a shape from which on memory is measured."""

LONG_GRID, SHORT_GRID = 15.0, 3.0
"""Seconds of a grid search from which on it is not run, and to which both `n_jobs` are tried."""
PATIENCE, ENDLESS = 60.0, 120.0
"""Seconds of scikit-learn's leave-one-out, and of the limit of our own jobs, that are too many."""
ROOM = 8e9
"""Bytes that a peer may take."""
ONCE, PEER_ONCE, MEMORY_ONCE = 6.0, 2.0, 20.0
"""Seconds from which on we, or the peer, are measured once; and memory not at all."""
SHORT, MANY = 0.01, 20
"""Seconds of a call below which the mean of several is measured, and how many these are at most."""


# ------------------------------------------------------------------------------------------------
# Rows
# ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shape:
    """Rows of one shape and kind.

    Parameters
    ----------
    n, d, k : int
        Rows, features and classes.
    dtype : str
    kind : str, default="numbers"
        One of `KINDS`.
    one_row : bool, default=False
        Whether `predict` of one row is measured, too.
    patient : bool, default=False
        Whether scikit-learn's leave-one-out is run however long it takes.
    """

    n: int
    d: int
    k: int
    dtype: str = "float32"
    kind: str = "numbers"
    one_row: bool = False
    patient: bool = False

    @property
    def name(self) -> str:
        """What tables and the map call it."""
        kind = "" if self.kind == "numbers" else f"{self.kind}, "
        return f"{kind}{self.n:,} x {self.d:,} `{self.dtype}`, {self.k:,} classes"

    @property
    def integers(self) -> bool:
        """Whether all numbers are small integers."""
        return self.kind in ("MNIST", "bytes", "counts")

    def rows(self) -> tuple[Any, NDArray[Any]]:
        """Rows and their classes, the same at each call."""
        return KINDS[self.kind](self, np.random.default_rng(0))


def _labels(shape: Shape, rng: np.random.Generator) -> NDArray[np.int64]:
    """As many rows of each class, in no order."""
    return rng.permutation(np.arange(shape.n) % shape.k)


def _numbers(shape: Shape, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """Normal numbers about a centre for each class, in columns of unlike scales."""
    y = _labels(shape, rng)
    centres = rng.standard_normal((shape.k, shape.d), dtype=np.float32) * 2 / shape.d**0.5
    scales = rng.permutation(np.geomspace(1 / 3, 3, shape.d)).astype(np.float32)
    dtype: Any = "float64" if shape.dtype == "float64" else "float32"
    X = rng.standard_normal((shape.n, shape.d), dtype=dtype)
    step = max(1, 5_000_000 // shape.d)
    for start in range(0, shape.n, step):
        rows = slice(start, start + step)
        X[rows] += centres[y[rows]]
        X[rows] *= scales
    return X, y


def _bytes(shape: Shape, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """Integers from 1 to 255."""
    X, y = _numbers(shape, rng)
    X *= 30
    X += 128
    return X.clip(1, 255, out=X).astype(np.uint8).astype(shape.dtype), y


def _mnist(shape: Shape, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    images = Images(shape.n)
    return images.X.astype(shape.dtype), images.y.astype(np.int64)


def _counts(shape: Shape, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """A table of counts, and of categories of five values each as columns of zeros and ones."""
    y = _labels(shape, rng)
    n_counts = shape.d - shape.d // 10 * 5
    means = rng.uniform(0.5, 5, (shape.k, n_counts))
    parts = [rng.poisson(means[y])]
    for _ in range(shape.d // 10):
        likely = rng.integers(0, 5, shape.k)[y]
        value = np.where(rng.random(shape.n) < 0.3, likely, rng.integers(0, 5, shape.n))
        parts.append(value[:, None] == np.arange(5))
    return np.hstack(parts).astype(shape.dtype), y


def _text(shape: Shape, rng: np.random.Generator) -> tuple[Any, NDArray[Any]]:
    """A hundred words or so a row, the frequent ones as frequent as in texts (Zipf), weighed."""
    y = _labels(shape, rng)
    length = 120
    # Of 1 / rank: the inverse of its cumulated sum; a third of the words are the class's own.
    words = np.exp(rng.uniform(0, np.log(shape.d), (shape.n, length))).astype(np.int64) - 1
    own = rng.integers(0, shape.d, (shape.k, 500))
    chosen = rng.integers(0, 500, (shape.n, length // 3))
    words[:, : length // 3] = own[y[:, None], chosen]
    indptr = np.arange(shape.n + 1) * length
    X = sp.csr_matrix((np.ones(words.size), words.ravel(), indptr), (shape.n, shape.d))
    X.sum_duplicates()
    rarity = np.log(shape.n / (1.0 + np.bincount(X.indices, minlength=shape.d))).clip(0.1)
    X.data *= rarity[X.indices]
    norms = np.sqrt(np.add.reduceat(X.data**2, X.indptr[:-1]))
    X.data /= np.repeat(norms, np.diff(X.indptr))
    return X.astype(shape.dtype), y


KINDS: dict[str, Callable[[Shape, np.random.Generator], tuple[Any, NDArray[Any]]]] = {
    "numbers": _numbers,
    "bytes": _bytes,
    "MNIST": _mnist,
    "counts": _counts,
    "text": _text,
}

WIDE, ROCKET = Shape(300, 10_000, 4), Shape(2_000, 20_000, 5)
SQUARE = Shape(12_000, 6_000, 10, patient=True)
TALLEST = Shape(5_000_000, 28, 2)
EMBEDDINGS = Shape(100_000, 768, 1_000, one_row=True)
MNIST64 = Shape(60_000, 784, 10, "float64", "MNIST")
BYTES64 = Shape(60_000, 784, 10, "float64", "bytes")

SHAPES = (
    Shape(150, 4, 3, "float64", one_row=True),
    Shape(1_000, 20, 2, "float64"),
    Shape(500, 784, 10),
    Shape(500, 784, 10, "uint8", "MNIST"),
    WIDE,
    Shape(1_000, 10_000, 5, "float64"),
    ROCKET,
    Shape(2_000, 12_288, 10, "uint8", "bytes"),
    Shape(3_000, 2_000, 10, "float64"),
    SQUARE,
    Shape(20_000, 64, 100),
    Shape(20_000, 1_000, 300),
    Shape(30_000, 768, 10),
    Shape(50_000, 300, 2),
    EMBEDDINGS,
    Shape(200_000, 10, 2, "float64"),
    Shape(2_000_000, 28, 2),
    TALLEST,
    Shape(60_000, 784, 10, "uint8", "MNIST", one_row=True),
    MNIST64,
    Shape(60_000, 784, 10, "int64", "MNIST"),
    BYTES64,
    Shape(50_000, 200, 5, "int32", "counts"),
    Shape(1_000, 60_000, 10, "float64", "text"),
    Shape(20_000, 50_000, 20, "float64", "text"),
)
QUICK = (
    Shape(150, 4, 3, "float64", one_row=True),
    Shape(100, 2_000, 4),
    Shape(2_000, 64, 10),
    Shape(1_000, 100, 5, "uint8", "bytes"),
    Shape(300, 5_000, 5, "float64", "text"),
)

RATIOS = {
    (ROCKET, FIT): 1.7,
    (WIDE, FIT): 3.0,
    (ROCKET, LEFT_OUT): 1.5,
    (WIDE, LEFT_OUT): 2.0,
    (EMBEDDINGS, PREDICT): 2.0,
    (MNIST64, FIT): 10.0,
    (BYTES64, FIT): 5.0,
    (SQUARE, LEFT_OUT): 6.0,
}
"""Ratios to reach; everywhere else 1, and `FLOATS` for predictions from floats."""
FLOATS, SHORT_PREDICT = 1.5, 1e-3
"""Ratio that `predict` must reach on rows of floats, and seconds from which on it must."""

BOUNDS: tuple[tuple[Shape, str, str, float], ...] = (
    (ROCKET, FOLDED, "s", 4),
    (EMBEDDINGS, LEFT_OUT, "times the limit", 2),
    (EMBEDDINGS, FOLDED, "times the limit", 2),
    (TALLEST, LEFT_OUT, "own fits", 8),
    (TALLEST, FOLDED, "own fits", 8),
    (SQUARE, FOLDED, "own fits", 10),
)
"""What a job may take at most, in some unit, whatever a peer does."""


# ------------------------------------------------------------------------------------------------
# Peers
# ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trial:
    """One way to fit, tried once.

    Parameters
    ----------
    name : str
    fit : callable
        ``fit(X, y)``: a fitted model.
    model : object
        The model of the trial.
    seconds : float
    """

    name: str
    fit: Callable[[Any, NDArray[Any]], Any]
    model: Any
    seconds: float


def intel(X: NDArray[Any], y: NDArray[Any]) -> Any:
    """scikit-learn-intelex has no ridge classifier: its regression to targets of +1 and -1."""
    from sklearnex.linear_model import Ridge

    if X.dtype.kind != "f":
        X = X.astype(np.float64)
    classes = np.unique(y)
    targets = (y == classes[1]) if len(classes) == 2 else (y[:, None] == classes)
    return Ridge(alpha=1.0).fit(X, np.where(targets, X.dtype.type(1), X.dtype.type(-1)))


def decision(model: Any, X: Any) -> NDArray[Any]:
    """Decision values, which a regression predicts."""
    values = getattr(model, "decision_function", model.predict)
    return np.squeeze(np.asarray(values(X), np.float64))


def tried(name: str, fit: Callable[[Any, NDArray[Any]], Any], X: Any, y: NDArray[Any]) -> Trial:
    """Time a fit once; a short one three times, for the least."""
    start = time.perf_counter()
    model = fit(X, y)
    seconds = time.perf_counter() - start
    if seconds < 0.1:
        seconds = min(timed(partial(fit, X, y))() for _ in range(2))
    return Trial(name, fit, model, seconds)


def trials(X: Any, y: NDArray[Any], ours: Any, work: Work, rates: Rates) -> list[Trial]:
    """scikit-learn's default, and those of its other solvers that give the same answer.

    The default is ``"cholesky"``, or ``"sparse_cg"`` for sparse rows. A solver is not tried where it
    cannot be faster: the singular values, where their arithmetic alone takes longer; and one that
    iterates gets, in its trial, as many steps as it could make in twice the default's time.
    """
    sparse = sp.issparse(X)
    first, *others = ("sparse_cg", "lsqr") if sparse else ("cholesky", "svd", "lsqr", "sparse_cg")
    found = [tried(*_solver(first), X, y)]
    seconds = max(found[0].seconds, SHORT)
    some = X[:COMPARED]
    wanted = decision(ours, some)

    def same(model: Any) -> bool:
        apart = np.linalg.norm(decision(model, some) - wanted)
        return bool(apart <= SAME * np.linalg.norm(wanted))

    steps = None
    if seconds > SHORT:
        steps = int(seconds * rates.memory / (8 * work.values * work.t))
    for name in others:
        if name == "svd":
            pays = 12 * work.values * min(work.n, work.d) / rates.float64 < seconds
        else:
            pays = steps is None or steps > 0
        if pays:
            trial = tried(*_solver(name, None if name == "svd" else steps), X, y)
            if same(trial.model):  # from now on with as many steps as it likes
                found.append(replace(trial, fit=_solver(name)[1]))
    absent = missing("sklearnex.linear_model", ("Ridge",), "scikit-learn-intelex")
    if not absent and not sparse and work.n >= work.d:
        trial = tried("scikit-learn-intelex, `Ridge`", intel, X, y)
        found.extend([trial] if same(trial.model) else [])
    return found


def _solver(name: str, max_iter: int | None = None) -> tuple[str, Any]:
    """Name and fit of scikit-learn's classifier with one of its solvers."""
    return f'`solver="{name}"`', RidgeClassifier(solver=name, max_iter=max_iter).fit


def left_out_cost(work: Work, rates: Rates) -> tuple[float, float]:
    """Seconds and bytes that `RidgeClassifierCV` takes, roughly.

    It finds the eigenvectors of the smaller of the two Gram matrices, and for each penalty, if n >= d,
    multiplies all rows with a d x d matrix; all in float64.
    """
    n, d, t, p = work.n, work.d, work.t, N_PENALTIES
    m = min(n, d)
    if n >= d:
        operations = float(p + 1) * n * d**2 + (9 + p) * m**3 + 2 * p * n * d * t
        numbers = 3 * n * d + 7 * n * t
    else:
        operations = work.triangle * 2 + (9 + p) * m**3 + p * (2 * n**2 + work.values) * t
        numbers = 2 * work.values + 4 * n**2 + 7 * n * t
    return 1.5 * operations / rates.float64, 8.0 * numbers


# ------------------------------------------------------------------------------------------------
# Jobs
# ------------------------------------------------------------------------------------------------


def search(X: Any, y: NDArray[Any], cv: int | None) -> Any:
    """Our search: by leave-one-out, or by the accuracy over folds."""
    scoring = "accuracy" if cv else None
    return ParallelRidgeClassifierCV(ALPHAS, cv=cv, scoring=scoring).fit(X, y)


def grid(estimator: Any, X: Any, y: NDArray[Any], n_jobs: int) -> Any:
    """scikit-learn's grid search over one of its solvers."""
    parameters = {"alpha": ALPHAS}
    return GridSearchCV(estimator, parameters, cv=N_FOLDS, scoring="accuracy", n_jobs=n_jobs).fit(
        X, y
    )


def peak(shape: Shape, job: str, peer: Callable[[Any, NDArray[Any]], Any] | None) -> float:
    """MiB that a job adds in this process, ours or a peer's fit."""
    warnings.simplefilter("ignore")
    X, y = shape.rows()
    if job == PREDICT:
        model = ParallelRidgeClassifier().fit(X, y)
        return peak_added(lambda: model.predict(X[:PREDICTED]))
    calls: dict[str, Callable[[], object]] = {
        FIT: lambda: (peer or ParallelRidgeClassifier().fit)(X, y),
        LEFT_OUT: lambda: search(X, y, None),
        FOLDED: lambda: search(X, y, N_FOLDS),
    }
    return peak_added(calls[job])


class Jobs:
    """All jobs on one shape."""

    def __init__(self, shape: Shape, rates: Rates, quick: bool) -> None:
        self.shape, self.rates, self.quick = shape, rates, quick
        self.X, self.y = shape.rows()
        self.work = Work.of(self.X, shape.k, shape.integers)
        self.ours = tried("", ParallelRidgeClassifier().fit, self.X, self.y)
        found = trials(self.X, self.y, self.ours.model, self.work, rates)
        self.peer = min(found, key=lambda trial: trial.seconds)
        solvers = [trial for trial in found if trial.fit is not intel]
        self.solver = min(solvers, key=lambda trial: trial.seconds)
        self.kept: dict[str, dict[str, Any]] = {}

    def rows(self) -> Iterator[Row]:
        """A row for each job, and then those of its targets that are no ratios."""
        yield self._fit()
        yield self._left_out()
        yield self._folded()
        yield self._predict()
        if self.shape.one_row:
            yield self._predict_one()
        for shape, job, unit, bound in BOUNDS:
            if shape == self.shape and self.kept[job]["ours"]:
                yield self._bound(job, unit, bound)

    def _fit(self) -> Row:
        peer = self.peer
        return self._job(
            FIT,
            _timed(lambda: ParallelRidgeClassifier().fit(self.X, self.y), self.ours.seconds),
            _timed(lambda: peer.fit(self.X, self.y), peer.seconds),
            peer.name,
            self.ours.seconds,
            peer.seconds > PEER_ONCE,
        )

    def _left_out(self) -> Row:
        seconds, n_bytes = left_out_cost(self.work, self.rates)
        name, peer = "`RidgeClassifierCV`", None
        if n_bytes > ROOM:
            name += f", not run: about {n_bytes / 1e9:,.0f} GB"
        elif seconds > PATIENCE and not self.shape.patient:
            name += f", not run: about {seconds:,.0f} s"
        else:
            peer = _timed(lambda: RidgeClassifierCV(ALPHAS).fit(self.X, self.y), seconds)
        return self._search(LEFT_OUT, None, peer, name, seconds > PEER_ONCE)

    def _folded(self) -> Row:
        seconds = N_FITS * self.solver.seconds
        if seconds > LONG_GRID:
            known = N_FITS * median(self.kept[FIT]["peer"])
            name = f"{self.peer.name}, {N_FITS} fits, not run"
            return self._search(FOLDED, N_FOLDS, lambda: known, name, True)
        estimator = clone(self.solver.model).set_params(max_iter=None)
        jobs = partial(grid, estimator, self.X, self.y)
        n_jobs = 1
        if seconds < SHORT_GRID and not self.quick:
            taken = {n: timed(partial(jobs, n))() for n in (1, 2, 2)}  # the first 2 starts workers
            n_jobs = min(taken, key=lambda n: taken[n])
        name = f"`GridSearchCV(n_jobs={n_jobs})`, {self.solver.name}"
        return self._search(
            FOLDED, N_FOLDS, timed(partial(jobs, n_jobs)), name, seconds > PEER_ONCE
        )

    def _search(
        self, job: str, cv: int | None, peer: Measurement | None, against: str, peer_once: bool
    ) -> Row:
        least = self.work.limit(job, self.rates) or 0.0
        if least > ENDLESS:
            reason = f"neither run: ours must take {least:,.0f} s"
            return self._job(job, None, None, reason, least)
        ours = partial(search, self.X, self.y, cv)
        return self._job(job, _timed(ours, 2 * least), peer, against, 2 * least, peer_once)

    def _predict(self) -> Row:
        rows = self.X[:PREDICTED]
        ours, peer = self.ours.model, self.solver.model
        seconds = tried("", lambda X, y: ours.predict(X), rows, self.y).seconds
        floats = self.shape.kind == "numbers" and seconds > SHORT_PREDICT
        return self._job(
            PREDICT,
            _timed(lambda: ours.predict(rows), seconds),
            _timed(lambda: peer.predict(rows), seconds),
            "`RidgeClassifier`",
            seconds,
            ratio=FLOATS if floats else 1.0,
        )

    def _predict_one(self) -> Row:
        row = self.X[:1]
        ours, peer = self.ours.model, self.solver.model
        return self._job(
            ONE_ROW,
            timed(lambda: ours.predict(row), MANY),
            timed(lambda: peer.predict(row), MANY),
            "`RidgeClassifier`",
            0.0,
        )

    def _job(
        self,
        job: str,
        ours: Measurement | None,
        peer: Measurement | None,
        against: str,
        seconds: float,
        peer_once: bool = False,
        ratio: float = 1.0,
    ) -> Job:
        """A cell of the map, where ours takes about so many seconds."""
        bound = RATIOS.get((self.shape, job), ratio)
        return Job(
            self.shape.name,
            ours,
            peer,
            against,
            faster(bound) if ours and peer else None,
            once=seconds > ONCE,
            peer_once=peer_once,
            job=job,
            limit=self._limit(job),
            bound=self._work(job).bound(job, self.rates),
            peaks=tuple(self._peaks(job, seconds)) if ours else (),
            kept=self.kept,
        )

    def _limit(self, job: str) -> float | None:
        iterates = self.ours.model.solver_ == "cg" and job != PREDICT
        return None if iterates else self._work(job).limit(job, self.rates)

    def _work(self, job: str) -> Work:
        if job != PREDICT:
            return self.work
        return Work.of(self.X[:PREDICTED], self.shape.k, self.shape.integers)

    def _peaks(self, job: str, seconds: float) -> Iterator[Measurement]:
        small = self.work.values < LARGE or job == ONE_ROW
        if small or seconds > MEMORY_ONCE or not SEES_MEMORY:
            return
        yield in_fresh_process(peak, self.shape, job, None)
        if job == FIT and self.peer.seconds < MEMORY_ONCE:
            yield in_fresh_process(peak, self.shape, job, self.peer.fit)

    def _bound(self, job: str, unit: str, bound: float) -> Row:
        """A target that is no ratio, of what was measured for the map."""
        ours = median(self.kept[job]["ours"])
        parts = {"s": 1.0, "own fits": median(self.kept[FIT]["ours"]), "times the limit": None}
        part = parts[unit] or self.kept[job]["limit"]
        name = f"{self.shape.name}: {job}"
        return Comparison(name, lambda: ours / part, target=at_most(bound), unit=unit, once=True)


def _timed(call: Callable[[], object], seconds: float) -> Measurement:
    """Measurement of a call that takes about so many seconds; of a mean of several, if it is short."""
    if seconds < SHORT:  # known roughly
        seconds = min(timed(call)() for _ in range(2))
    return timed(call, max(1, min(MANY, int(SHORT / seconds))))


def shapes(options: Options) -> Iterator[Row]:
    """Shapes.

    Four jobs on rows of many shapes and kinds: `ParallelRidgeClassifier().fit`; searches over ten
    penalties from 1e-5 to 1e5 by leave-one-out and by the accuracy over five folds
    (`ParallelRidgeClassifierCV`); and `predict` of all rows, or the first 100,000; for a few shapes, of
    one row.

    The rows have a centre for each class. *Numbers* are normal, in columns whose standard deviations
    go from 1/3 to 3; *bytes* are integers from 1 to 255; neither has zeros. *MNIST* is its first
    training images. *Counts* are those of a table, half of whose columns are categories as zeros and
    ones; *text* has about a hundred words a row, as frequent as in texts.

    The peer of `fit` is the fastest of scikit-learn's `RidgeClassifier` with each of its solvers whose
    decision values are within a thousandth of ours, and scikit-learn-intelex's `Ridge` on one-hot
    targets (it has no ridge classifier, and no search), by one trial of each. That of leave-one-out is
    `RidgeClassifierCV`, and that of folds `GridSearchCV` over the fastest of scikit-learn's solvers,
    with one process or two, whichever took less time in a trial. Where its 50 fits would take more than
    15 s they are not run: then the peer is 50 times the median of its `fit`, which is less than the
    search would take. What takes long is measured once.

    *Of the limit* is the least time that the job can take on this machine, over our median: the
    operations that it needs (`benchmarks/limits.py` counts them), at the rates in the table below,
    or one read of the rows if that takes longer; beside it stands the rate that most of that time is
    due to. It is empty where rows are solved by conjugate
    gradients, whose number of steps depends on the numbers. It can be more than 100 %: zeros in runs
    are skipped, and some searches need fewer operations than one factorisation for each penalty and
    fold. *Memory* is what a job adds at its peak, in a fresh process, of shapes of ten million
    numbers or more: ours, and the peer's for `fit`.
    """
    # scikit-learn's float32 systems are ill-conditioned; the best alpha may be the last of the ten.
    warnings.simplefilter("ignore")
    rates = Rates.measured(options.quick)
    yield rates.table
    for shape in QUICK if options.quick else SHAPES:
        yield from Jobs(shape, rates, options.quick).rows()


BATCHES = ((100, 2e-3), (1_000, 6e-3))
"""Rows of a batch, and seconds that a call may take."""


def batches(options: Options) -> Iterator[Comparison]:
    """Small batches.

    `partial_fit` of batches of 784 normal `float32` numbers in ten classes, one after another: the
    median of 20 calls. scikit-learn has no ridge classifier that learns in batches; the peer is its
    `SGDClassifier(loss="squared_error")`, which makes one step a row, and whose answer is not that of
    all rows so far.
    """
    warnings.simplefilter("ignore")  # so few steps do not converge
    classes = np.arange(10)

    def calls(estimator: Callable[[], Any], X: NDArray[Any], y: NDArray[Any]) -> Measurement:
        def measurement() -> float:
            model = estimator()
            parts = zip(np.split(X, MANY), np.split(y, MANY), strict=True)
            return median(
                timed(partial(model.partial_fit, *part, classes=classes))() for part in parts
            )

        return measurement

    for n_rows, bound in options.kinds(BATCHES):
        X, y = Shape(MANY * n_rows, 784, len(classes)).rows()
        peer = partial(SGDClassifier, loss="squared_error")
        yield Comparison(
            f"`partial_fit`, {n_rows:,} rows",
            calls(ParallelRidgeClassifier, X, y),
            calls(peer, X, y),
            "scikit-learn, `SGDClassifier`",
            at_most(bound),
        )


GROUPS: dict[str, Group] = {"shapes": shapes, "batches": batches}
