"""A pipeline whose features never exist all at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from numbers import Integral
from typing import Any, Self, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from parallel_ridge.backends import Backend, agree, answering_backend, get_backend, public_call
from parallel_ridge.estimators import ParallelRidgeClassifier, ParallelRidgeClassifierCV
from parallel_ridge.pipelines._fitting import FitSamples
from parallel_ridge.pipelines._making import Maker, Steps
from parallel_ridge.pipelines._streaming import FeatureStream, FitStream
from parallel_ridge.sources import FeatureRows, Features, FeaturesElsewhere
from parallel_ridge.streams import Roles, Stream, as_array

T = TypeVar("T")
FIT_ROWS = 10_000
# Samples whose features show how many there are, of what dtype, and how dense.
PROBED_ROWS = 64
DTYPES = ("float16", "float32", "float64")


def _last_has(method: str) -> Any:
    def check(pipeline: BlockPipeline) -> bool:
        getattr(pipeline._final_estimator, method)  # its error says why it has none
        return True

    return check


class BlockPipeline(Pipeline):
    """Pipeline that makes features block by block on their way into a ridge classifier.

    Has the interface of :class:`sklearn.pipeline.Pipeline`, and gives its answers; but while that one
    transforms all rows before the last step sees one, here each block of rows goes through the
    transformers when the fit is ready for it, and is forgotten. The features of all rows never exist
    at once. Samples may have any shape: images, time series, texts. ``named_steps``, ``classes_``,
    ``n_features_in_`` and ``feature_names_in_`` are there as in a Pipeline; steps that are fitted are
    clones of those that were given, but for the last.

    Parameters
    ----------
    steps : list of (str, estimator)
        Names and transformers, and a :class:`ParallelRidgeClassifier` or
        :class:`ParallelRidgeClassifierCV` at the end. Transformers must return the same row for a
        sample whatever samples are beside it, as those of scikit-learn and aeon do.
    fit_rows : int, default=10_000
        Samples that a transformer is fitted to at a time. If there are more, one with ``partial_fit`` is
        fitted in batches to all of them, and any other to this many, spread evenly.
    block_rows : int, default=None
        Most samples that go through the transformers at a time. None: as many as their features take
        32 MiB, and no more than the fit takes at a time.
    dtype : {"float16", "float32", "float64"} or None, default=None
        Dtype of the features; None is that which the transformers return. float32 takes half of the
        time of float64 in the fit.
    cache : "memory", path or None, default=None
        Where to keep features for further passes over them (such as that for the scores of folds), in
        memory or in a file in a folder, deleted after the fit. This is for transformers that cost more
        than to keep all features does; float16 halves that. None makes them again for each pass.
    verbose : bool, default=False
        If True, print the time that each transformer takes to fit.

    See Also
    --------
    make_block_pipeline : The same with names made from the types of the steps.

    Notes
    -----
    Each pass over the rows makes all features once. A fit takes one pass, a search over folds two, and
    leave-one-out two. An ill-conditioned system is refined by further passes. Transformers and the fit
    take turns, so threads of the one never compete with threads of the other. With fewer samples than
    features, all features do exist at once, because they then take less memory than a d x d matrix.

    With ``backend="mpi"`` each rank brings its own samples. Transformers are fitted once: in batches,
    each rank goes on from the one before it; otherwise rank 0 fits to samples of all.

    References
    ----------
    Rahimi and Recht (2007), Random features for large-scale kernel machines. Dempster, Schmidt and Webb
    (2021), MiniRocket, doi:10.1145/3447548.3467231.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.kernel_approximation import RBFSampler
    >>> from parallel_ridge import BlockPipeline, ParallelRidgeClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> features = RBFSampler(gamma=0.001, n_components=500, random_state=0)
    >>> model = BlockPipeline([("features", features), ("ridge", ParallelRidgeClassifier(0.1))])
    >>> model.fit(X[:1000], y[:1000]).score(X[1000:], y[1000:]) > 0.93
    True
    """

    # What the methods that are inherited ask for.
    memory = None
    transform_input = None

    def __init__(
        self,
        steps: list[tuple[str, Any]],
        *,
        fit_rows: int = FIT_ROWS,
        block_rows: int | None = None,
        dtype: str | None = None,
        cache: str | os.PathLike[str] | None = None,
        verbose: bool = False,
    ) -> None:
        self.steps = steps
        self.fit_rows = fit_rows
        self.block_rows = block_rows
        self.dtype = dtype
        self.cache = cache
        self.verbose = verbose

    def __getitem__(self, index: Any) -> Any:
        """A step, by position or name; or a pipeline of scikit-learn with some steps, by a slice."""
        if isinstance(index, slice):
            return Pipeline(self.steps, verbose=self.verbose)[index]
        return super().__getitem__(index)

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Fit the transformers, one after the other, and the classifier to the features that they make.

        Parameters
        ----------
        X : array-like of n samples, or what is read piece by piece
            An array of any dimension, a memory map, a CSR matrix, a data frame of pandas or a list; or a
            table, a path of Parquet files, an array on disk (HDF5, Zarr), or batches ``(samples, y)``.
        y : array-like of shape (n,), or indicator matrix of shape (n, k), or name of a column
            Labels; None if batches hold them.
        **params : dict
            Arguments of the steps' ``fit``, such as ``ridge__sample_weight`` for a step named "ridge";
            or what steps have requested, with metadata routing.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If the last step is no ridge classifier of this package, or if samples cannot be picked by
            position.
        ValueError
            If a transformer fails, does not return one row per sample, returns NaN or infinity, or
            returns another number of features for some samples; the message names step and rows. The
            pipeline stays as it was before the call.
        """
        X = _shared(X)
        with public_call(f"{type(self).__name__}.fit"):
            last_name, last = self._checked_steps()[-1]
            backend = get_backend(last.backend, last.n_jobs, X)
            agree("fit_rows and dtype", backend.gather(self._checked_options))
            routed = self._check_method_params("fit", params)
            arguments = routed[last_name].get("fit", {})
            stream = _on_all(backend, lambda: self._opened(backend, X, y, arguments))
            samples = (
                FitSamples(backend, X, y, self.fit_rows)
                if stream is None
                else FitStream(backend, stream, self.fit_rows)
            )
            fitted: list[tuple[str, Any]] = []
            for name, transformer in self._transformers():
                start = time.perf_counter()
                own = {**routed[name].get("fit", {}), **routed[name].get("fit_transform", {})}
                fitted.append((name, samples.fit(name, transformer, fitted, own)))
                if self.verbose:
                    print(
                        f"[{type(self).__name__}] fitted step {name!r} to {samples.n_samples} rows, at "
                        f"most {self.fit_rows} at a time, in {time.perf_counter() - start:.3f} s"
                    )
            features = self._probed(fitted, *samples.probe(PROBED_ROWS))
            del samples
            if stream is not None and not stream.here:
                last.fit(FeaturesElsewhere(X, features, stream.columns), y, **arguments)
            elif stream is not None:
                last.fit(FeatureStream(stream, features))
            else:
                rows = FeatureRows(X, features)
                with ExitStack() as stack:
                    backend.gather(lambda: stack.enter_context(rows.keeping(self.cache)))
                    last.fit(rows, y, **arguments)
        self._columns = None if stream is None else stream.columns
        self._columns_named = stream is not None and stream.features_named
        done = dict(fitted)
        self.steps = [(name, done.get(name, step)) for name, step in self.steps]
        self._features = features
        return self

    def predict(self, X: Any) -> Any:
        """Classes of samples.

        Parameters
        ----------
        X : array-like of n samples

        Returns
        -------
        ndarray of shape (n,), or (n, k) of 0 and 1 for multilabel targets
        """
        return self._answer("predict", X)

    def decision_function(self, X: Any) -> Any:
        """Decision values of samples.

        Parameters
        ----------
        X : array-like of n samples

        Returns
        -------
        ndarray of shape (n,) for two classes, or (n, k)
        """
        return self._answer("decision_function", X)

    @available_if(_last_has("predict_proba"))
    def predict_proba(self, X: Any) -> Any:
        """Probabilities of the classes of samples.

        Parameters
        ----------
        X : array-like of n samples

        Returns
        -------
        ndarray of shape (n, k)
        """
        return self._answer("predict_proba", X)

    @available_if(_last_has("predict_log_proba"))
    def predict_log_proba(self, X: Any) -> Any:
        """Logarithms of :meth:`predict_proba`.

        Parameters
        ----------
        X : array-like of n samples

        Returns
        -------
        ndarray of shape (n, k)
        """
        return self._answer("predict_log_proba", X)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Accuracy of the predictions; over the samples of all processes, if they are in several.

        Parameters
        ----------
        X : array-like of n samples
        y : array-like of shape (n,), or indicator matrix of shape (n, k)
            True labels.
        sample_weight : array-like of shape (n,), default=None

        Returns
        -------
        float
        """
        check_is_fitted(self)
        X = _shared(X)
        last = self.steps[-1][1]
        with public_call(f"{type(self).__name__}.score"):
            backend = answering_backend(last.backend, last.n_jobs, X)
            roles = Roles(y, sample_weight)
            made = _on_all(backend, lambda: self._made(backend, X, roles))
            if isinstance(made, FeatureStream):  # which has labels and weights
                y = sample_weight = None
            score: float = last.score(made, y, sample_weight)
        return score

    @property
    def feature_names_in_(self) -> Any:
        """Names of the columns of X, as of the first step; of a table whose columns are features too."""
        if vars(self).get("_columns_named"):
            return np.array(self._columns, dtype=object)
        return super().feature_names_in_

    # --------------------------------------------------------------------------------- internals

    def _answer(self, method: str, X: Any) -> Any:
        """The answer of the classifier to the features of samples."""
        check_is_fitted(self)
        X = _shared(X)
        last = self.steps[-1][1]
        backend = answering_backend(last.backend, last.n_jobs, X)
        return getattr(last, method)(self._made(backend, X, None))

    def _made(
        self, backend: Backend, X: Any, roles: Roles | None
    ) -> FeatureRows | FeatureStream | FeaturesElsewhere:
        """Features of samples, to be made when they are read."""
        stream = None if _is_list_of_samples(X) else backend.open(X, roles, self._columns)
        if stream is None:
            return FeatureRows(X, self._features)
        if stream.here:
            return FeatureStream(stream, self._features)
        return FeaturesElsewhere(X, self._features, self._columns)

    def _opened(
        self, backend: Backend, X: Any, y: Any, arguments: Mapping[str, Any]
    ) -> Stream | None:
        """Samples that are read piece by piece, as a stream; None for arrays.

        Raises
        ------
        ValueError
            If features of a stream are to be kept, or if it can be read once.
        """
        folds = getattr(self.steps[-1][1], "cv", None)
        roles = Roles(
            y,
            arguments.get("sample_weight"),
            arguments.get("groups"),
            folds if isinstance(folds, str) else None,
        )
        stream = None if _is_list_of_samples(X) else backend.open(X, roles)
        if stream is not None and self.cache is not None:
            raise ValueError(
                f"cache={self.cache!r} keeps features of arrays, and X is a {stream.description}: set "
                "cache=None."
            )
        if stream is not None and stream.once:
            raise ValueError(
                f"X, a {stream.description}, can be read once. A BlockPipeline looks at the samples "
                "before it makes the features of all: pass what can be read again (a list of batches, a "
                "DataLoader, a table, a dataset)."
            )
        return stream

    def __sklearn_is_fitted__(self) -> bool:
        """Whether the features are made by the steps that are there now."""
        features: Features | None = vars(self).get("_features")
        if features is None:
            return False
        maker: Any = features.make
        made_by = [transformer for _, transformer in maker.steps]
        now = [transformer for _, transformer in self._transformers()]
        return len(made_by) == len(now) and all(a is b for a, b in zip(made_by, now, strict=True))

    def _transformers(self) -> Steps:
        """Steps before the last that are no passthrough."""
        return [(name, step) for _, name, step in self._iter(with_final=False)]

    def _checked_steps(self) -> Steps:
        """The steps; raise unless they make a pipeline."""
        self._validate_steps()
        name, last = self.steps[-1]
        if not isinstance(last, ParallelRidgeClassifier | ParallelRidgeClassifierCV):
            raise TypeError(
                f"The last step of a BlockPipeline is a ParallelRidgeClassifier or a "
                f"ParallelRidgeClassifierCV; {name!r} is a {type(last).__name__}. For other estimators "
                "use sklearn.pipeline.Pipeline, which transforms all rows at once."
            )
        return self.steps

    def _checked_options(self) -> tuple[int, str]:
        """Check the options; those that all processes must share."""
        for name in ("fit_rows", "block_rows"):
            value = getattr(self, name)
            if name == "block_rows" and value is None:
                continue
            if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be a positive integer; got {value!r}.")
        if self.dtype is not None and _dtype_name(self.dtype) not in DTYPES:
            raise ValueError(f"dtype must be None or one of {DTYPES}; got {self.dtype!r}.")
        if self.cache is not None and self.cache != "memory" and not os.path.isdir(self.cache):
            raise ValueError(
                f"cache must be 'memory', the path of a folder or None; got {self.cache!r}, which is no "
                "folder."
            )
        return int(self.fit_rows), "None" if self.dtype is None else _dtype_name(self.dtype)

    def _probed(self, fitted: Steps, some: Any, positions: NDArray[np.intp]) -> Features:
        """What makes the features of all samples, by those of some."""
        count = len(positions)
        if not count:
            raise ValueError("Found array with 0 sample(s) while a minimum of 1 is required.")
        dtype = None if self.dtype is None else np.dtype(self.dtype)
        maker = Maker(tuple(fitted), dtype)
        sample = maker(some, positions)
        sparse = sp.issparse(sample)
        n_features = sample.shape[1]
        return Features(
            Maker(maker.steps, maker.dtype or sample.dtype, n_features, sparse),
            n_features,
            sample.dtype,
            sparse,
            sample.nnz / max(1, count * n_features) if sparse else 1.0,
            self.block_rows or 2**62,
        )


def _on_all(backend: Backend, function: Callable[[], T]) -> T:
    """What a function gives in this process, once it has given something in all."""
    found: list[T] = []
    backend.gather(lambda: found.append(function()))
    return found[0]


def _shared(X: Any) -> Any:
    """Tensors as arrays that share their memory, which transformers take."""
    return as_array(X) if hasattr(X, "detach") else X


def _is_list_of_samples(X: Any) -> bool:
    """Whether X is a list of arrays, each of which is a sample (batches with labels are tuples)."""
    return isinstance(X, list) and bool(X) and not isinstance(X[0], tuple | list)


def _dtype_name(dtype: Any) -> str:
    try:
        return np.dtype(dtype).name
    except TypeError:
        return "unknown"


def make_block_pipeline(*steps: Any, **options: Any) -> BlockPipeline:
    """A :class:`BlockPipeline` whose steps are named after their types.

    Parameters
    ----------
    *steps : estimators
        Transformers, and a ridge classifier at the end.
    **options : dict
        Those of :class:`BlockPipeline`.

    Returns
    -------
    BlockPipeline

    Examples
    --------
    >>> from sklearn.preprocessing import PolynomialFeatures
    >>> from parallel_ridge import ParallelRidgeClassifierCV, make_block_pipeline
    >>> model = make_block_pipeline(PolynomialFeatures(2), ParallelRidgeClassifierCV(cv=5))
    >>> [name for name, _ in model.steps]
    ['polynomialfeatures', 'parallelridgeclassifiercv']
    """
    return BlockPipeline(make_pipeline(*steps).steps, **options)
