"""One penalty: fit, partial_fit and fit_statistics."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Self

from numpy.typing import ArrayLike
from sklearn.utils.metaestimators import available_if

from parallel_ridge.backends import Backend, get_backend
from parallel_ridge.estimators._array_api import fits_in_namespace
from parallel_ridge.estimators._base import fitted_weights
from parallel_ridge.estimators._batches import BatchClassifier
from parallel_ridge.estimators._checks import check_alpha, check_choice
from parallel_ridge.estimators._stream import (
    Folds,
    Solve,
    Stream,
    answers_from_stream,
    check_solvable,
)
from parallel_ridge.estimators._twins import adds_whole, fits_whole, forget_fit
from parallel_ridge.fitting import ROW_SOLVERS, STATISTICS_SOLVERS, solve
from parallel_ridge.reductions import StatisticsReduction, coefficient_dtype, fold_statistics
from parallel_ridge.solvers import Problem, solve_path
from parallel_ridge.sources import Source
from parallel_ridge.statistics import SufficientStatistics
from parallel_ridge.threads import blas_threads


def _statistics_suffice(estimator: ParallelRidgeClassifier) -> bool:
    """Whether the solver can do without rows; `available_if` shows the message if not."""
    if estimator.solver in ROW_SOLVERS:
        raise AttributeError(
            f"partial_fit keeps statistics, and solver={estimator.solver!r} needs rows; choose one "
            f"of {STATISTICS_SOLVERS}."
        )
    return True


@answers_from_stream
class ParallelRidgeClassifier(BatchClassifier):
    """Ridge classifier whose fit is one parallel pass over the rows and a small solve.

    Minimises ``sum_i w_i (y_i - <x_i, w> - b)^2 + alpha ||w||^2`` for each class, with targets coded
    +1 and -1, and predicts the class with the largest decision value. Gives the answers of
    :class:`sklearn.linear_model.RidgeClassifier`, and takes its place.

    Parameters
    ----------
    alpha : float, default=1.0
        Penalty, not negative; in units of squared features.
    fit_intercept : bool, default=True
        Whether to fit ``b``, unpenalised.
    class_weight : dict, list of dict, "balanced" or None, default=None
        Weights of the classes, multiplied on ``sample_weight``, as in scikit-learn. A list holds a
        dict for each label of multilabel targets.
    standardize : bool, default=False
        Penalise the weights of features scaled to unit variance: the same as a
        :class:`~sklearn.preprocessing.StandardScaler` before it (with the samples' weights, and
        ``with_mean=fit_intercept``), with ``coef_`` on the original scale and no extra pass.
    objective : {"sum", "mean"}, default="sum"
        ``"mean"`` divides the loss by the sum of weights, so that ``alpha`` is the lambda of
        ``X^T X + N lambda I``. ``"sum"`` is scikit-learn's.
    solver : {"auto", "cholesky", "eigen", "svd", "dual", "cg"}, default="auto"
        - ``"cholesky"`` and ``"eigen"`` factorise the d x d system of the sufficient statistics.
        - ``"dual"`` the n x n system of the rows, for fewer rows than features.
        - ``"svd"`` never squares the condition number; it needs a QR of the rows, about ten times
          the work.
        - ``"cg"`` iterates, a pass over the rows each time, and needs no such matrix.
        - ``"auto"`` takes ``"dual"`` where n < d, else ``"cholesky"``; ``"cg"`` where both exceed
          20,000, or where sparse rows hold so few values that their steps cost less.

        Each judges its solution by the condition number and by what rounding has taken of its sums.
        Where the coefficients may be off by more than 1e-8 (of float32 rows: by more than float32
        loses anyway), ``"cholesky"`` and ``"dual"`` refine them, by exact sums of integers or by passes
        over the rows; where that is not enough, and for ``"eigen"``, there is an
        :class:`~parallel_ridge.IllConditionedWarning`, and ``"svd"`` takes over.
        ``solver_`` names the one that was used.
    backend : str or Backend, default="auto"
        Where the pass over the rows runs: ``"openmp"``, ``"mpi"`` (each rank fits to its own rows, and
        all get the same model), ``"spark"``, a registered name, or a configuration object. ``"auto"``
        is Spark for rows that lie there, else OpenMP.
    n_jobs : int, default=None
        Threads; None is all cores that this process may use, -1 all cores.
    memory : str, path or joblib.Memory, default=None
        Where to keep statistics on disk, by the content of the rows, labels and weights, so that a
        search over ``alpha`` forms each Gram matrix once, in whatever process. None keeps none.
    store_statistics : bool, default=False
        Keep ``statistics_``, d x d numbers, for :meth:`coef_path` and further :meth:`partial_fit`.
    verbose : int, default=0
        If positive, print the time of each step.
    prequential : bool, default=False
        Whether :meth:`partial_fit` scores each batch by the fit to all batches before it, which takes
        a solve per batch.

    Attributes
    ----------
    coef_ : ndarray of shape (d,) for two classes, or (k, d)
        Weights; of the second class if there are two. float32 for float32 features, else float64.
    intercept_ : ndarray of shape (1,) or (k,), or 0.0 without intercept
    classes_ : ndarray of shape (k,)
        Labels in ascending order; ``arange(k)`` for multilabel targets.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (d,) of str
        Only if X had column names that are all strings.
    feature_columns_ : tuple of str
        Columns of features, if X was a table or a Spark DataFrame.
    n_iter_ : ndarray of shape (k,) of int, or None
        Iterations, of ``solver="cg"``.
    solver_ : str
        The solver that was used.
    statistics_ : SufficientStatistics
        Only with ``store_statistics=True`` and after :meth:`partial_fit`.
    prequential_score_ : float
        Only with ``prequential=True`` and after :meth:`partial_fit`: accuracy, over all batches but the
        first, of predictions that were made before the batch was added; NaN while there is one batch.
    prequential_n_samples_ : int
        The number of rows that it covers.

    Notes
    -----
    A fit of n rows and d features costs ``n d^2 / 2`` multiplications on all cores and ``d^3 / 3``
    for the solve (``n^2 d`` if n < d), and ``O(d^2)`` memory beyond the data, which is neither
    copied nor converted whole. Integer rows are summed exactly. An ill-conditioned system costs a
    few steps of iterative refinement more: each is a pass of ``2 n d k`` multiplications, or, of
    integers, some products of the Gram matrix with the weights.

    References
    ----------
    Hoerl and Kennard (1970), Ridge regression: biased estimation for nonorthogonal problems,
    doi:10.1080/00401706.1970.10488634. Clements, Cusworth and Maasakkers (2017), Parallelized image
    recognition in Spark and MPI.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from parallel_ridge import ParallelRidgeClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> model = ParallelRidgeClassifier(alpha=1.0).fit(X[:1000], y[:1000])
    >>> model.score(X[1000:], y[1000:]) > 0.85
    True
    """

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        fit_intercept: bool = True,
        class_weight: dict[Any, float] | str | None = None,
        standardize: bool = False,
        objective: str = "sum",
        solver: str = "auto",
        backend: str | Backend = "auto",
        n_jobs: int | None = None,
        memory: Any = None,
        store_statistics: bool = False,
        verbose: int = 0,
        prequential: bool = False,
    ) -> None:
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.standardize = standardize
        self.objective = objective
        self.solver = solver
        self.backend = backend
        self.n_jobs = n_jobs
        self.memory = memory
        self.store_statistics = store_statistics
        self.verbose = verbose
        self.prequential = prequential

    @fits_whole
    @fits_in_namespace
    def fit(
        self, X: ArrayLike, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Fit to rows and their labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or Spark DataFrame or RDD
            Rows. Arrays of float32, float64, integers or booleans are used as they are. Rows in Spark
            stay in its executors (see the page on Spark): ``y`` and ``sample_weight`` then name
            columns, and an RDD has them in its items.
            Paths, tables, datasets, arrays on disk and batches are read block by block (see the page
            "Bigger than memory"); of a table, ``y`` and ``sample_weight`` may name columns, and
            batches hold them.
        y : array-like of shape (n,), or indicator matrix of shape (n, k) for multilabel targets
            Labels of any kind that sorts.
        sample_weight : array-like of shape (n,), default=None
            Weights, not negative. An integer weight is that many copies of the row.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For bad input or options; the message holds the offending value and where it stands.
            The estimator stays as it was before the call.
        """
        backend = get_backend(self.backend, self.n_jobs, X)
        backend.gather(self._check_options)
        forget_fit(self)
        wanted = self._options() if self._statistics_of_rows() else None
        source, target = self._read_to_fit(backend, X, y, sample_weight, statistics=wanted)
        source = self._reweighted(source, target, self.class_weight)
        self.classes_ = target.classes
        start = time.perf_counter()
        job = self._job(backend, source, target, self._options())
        with blas_threads(backend.solve_threads()):
            solution, self.solver_ = solve(job, self.alpha, self.solver)
        if job.statistics is not None:
            self.statistics_ = job.statistics
        self._say(f"{source.n_rows} rows solved by {self.solver_}", start)
        self._set_weights(solution, coefficient_dtype(source.dtype), target.multilabel)
        return self

    @available_if(_statistics_suffice)
    @adds_whole
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Add rows to those seen before, exactly: any batches give the fit to all of their rows.

        Nothing is solved until somebody asks for ``coef_``, for a prediction or for another attribute
        that the solve sets. The solve then takes the options of the last call, and may warn. So a batch
        costs what its rows cost, and the addition of two d x d matrices. ``statistics_`` stays as it is
        when later batches are added: once it has been asked for, the next batch copies it first.

        After a :meth:`fit` that kept no statistics it starts anew, with a warning. Not available
        for solvers that need the rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            More rows.
        y : array-like of shape (n,) or (n, k)
            Their labels.
        classes : array-like of shape (k,), default=None
            All labels there will ever be; then others are refused. If None in the first call,
            labels that turn up later become classes.
        sample_weight : array-like of shape (n,), default=None
            Weights, not negative.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As :meth:`fit`; also for ``class_weight="balanced"``, which later rows would change, and
            for weights of labels that are not among declared classes.
            The estimator, statistics included, stays as it was before the call.
        """
        self._add(
            X,
            y,
            classes,
            sample_weight,
            "The earlier fit kept no statistics, so partial_fit starts anew from these rows alone: to go "
            "on from a fit, set store_statistics=True before it.",
        )
        return self

    @fits_whole
    def fit_statistics(self, statistics: SufficientStatistics) -> Self:
        """Fit to sufficient statistics, with no rows.

        Parameters
        ----------
        statistics : SufficientStatistics
            From :func:`sufficient_statistics` or another estimator's ``statistics_``, or
            sums and differences of them; left unchanged.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If ``class_weight`` is set (weights are part of the statistics), or if the solver needs
            rows.
        """
        self._check_options()
        if not isinstance(statistics, SufficientStatistics):
            raise TypeError(
                f"statistics must be SufficientStatistics; got {type(statistics).__name__}."
            )
        if self.class_weight is not None:
            raise ValueError(
                f"class_weight={self.class_weight!r} has no effect on statistics: weights go into "
                "their sums. Pass sample_weight to sufficient_statistics."
            )
        if self.solver not in STATISTICS_SOLVERS:
            raise ValueError(
                f"solver={self.solver!r} needs rows; with statistics choose one of "
                f"{STATISTICS_SOLVERS}."
            )
        forget_fit(self)
        self.n_features_in_ = statistics.n_features
        if statistics.feature_names is not None:
            self.feature_names_in_ = statistics.feature_names
        check_solvable([statistics])
        self.__dict__.update(self._solve()((statistics,)))
        if self.store_statistics:
            self.statistics_ = statistics
        return self

    def _check_options(self) -> None:
        check_alpha(self.alpha)
        check_choice("solver", self.solver, (*STATISTICS_SOLVERS, *ROW_SOLVERS))
        super()._check_options()

    def _statistics_of_rows(self) -> bool:
        return super()._statistics_of_rows() and self.solver in STATISTICS_SOLVERS

    def _stream_so_far(self) -> Stream | None:
        """The stream, or one of statistics that a fit kept; None if there are none."""
        held = vars(self)
        if "statistics_" in held:
            return Stream([held["statistics_"]], self._solve())
        return held.get("_stream")

    def _fold_batch(
        self, backend: Backend, reduction: StatisticsReduction, source: Source, groups: Any
    ) -> Sequence[SufficientStatistics]:
        return [fold_statistics(backend.reduce, reduction, source)[0]]

    def _solve(self) -> Solve:
        backend = get_backend(self.backend, self.n_jobs)
        return partial(_solved, self.alpha, self.solver, self._problem(), backend)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles hold the attributes that were yet to be solved for."""
        state = dict(super().__getstate__())
        stream = state.pop("_stream", None)
        return state if stream is None else {**stream.answers(), **state}


def _solved(
    alpha: float, solver: str, problem: Problem, backend: Backend, folds: Folds
) -> dict[str, Any]:
    """Fitted attributes from statistics, by name; asks no other process."""
    (statistics,) = folds
    with blas_threads(backend.solve_threads()):
        (weights,), solver = solve_path(statistics, [alpha], problem, solver)
    found = fitted_weights(
        weights,
        statistics.n_classes,
        statistics.dtype,
        statistics.multilabel,
        problem.fit_intercept,
    )
    return {"classes_": statistics.classes, "solver_": solver, **found}
