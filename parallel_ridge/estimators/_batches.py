"""Batches of rows that are added to a stream, and scored before they are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from parallel_ridge.backends import Backend, agree, get_backend
from parallel_ridge.estimators._base import BaseRidgeClassifier
from parallel_ridge.estimators._checks import check_flag, class_weights
from parallel_ridge.estimators._stream import Seen, Solve, Stream, check_solvable
from parallel_ridge.estimators._twins import forget_answers
from parallel_ridge.exceptions import warn_caller
from parallel_ridge.reductions import StatisticsReduction
from parallel_ridge.sources import Source, Target, among, as_labels
from parallel_ridge.statistics import SufficientStatistics


class _Prequential(NamedTuple):
    """Rows that were scored before they were added."""

    n_samples: int = 0
    weight: float = 0.0
    right: float = 0.0


class BatchClassifier(BaseRidgeClassifier, ABC):
    """A ridge classifier that can be fitted batch by batch."""

    prequential: bool
    prequential_score_: float
    prequential_n_samples_: int
    _answers: ClassVar[tuple[str, ...]] = (
        "classes_", "coef_", "intercept_", "n_iter_", "solver_", "statistics_", "_multilabel",
    )  # fmt: skip

    # ------------------------------------------------------- what an estimator says of its stream

    @abstractmethod
    def _solve(self) -> Solve:
        """What solves statistics with the options of now, whatever is set later."""

    @abstractmethod
    def _stream_so_far(self) -> Stream | None:
        """The stream that a batch joins."""

    def _dealt(self, groups: Any) -> dict[str, Any]:
        """Fields of `Request` that say how rows are dealt to folds."""
        return {}

    @abstractmethod
    def _fold_batch(
        self, backend: Backend, reduction: StatisticsReduction, source: Source, groups: Any
    ) -> Sequence[SufficientStatistics]:
        """Statistics of each fold of a batch."""

    def _statistics_of_rows(self) -> bool:
        """Whether statistics with the rows' own weights will be needed."""
        return self.class_weight is None

    def _adds_in_turn(self) -> bool:
        """Whether what a batch does depends on the batches before it."""
        return bool(self.prequential)

    # ------------------------------------------------------------------------------- the batches

    def _add(
        self, X: Any, y: Any, classes: Any, sample_weight: Any, starts_anew: str, groups: Any = None
    ) -> None:
        """Add a batch; ``starts_anew`` explains to the user why an earlier fit is forgotten."""
        backend = get_backend(self.backend, self.n_jobs, X)
        stream = self._stream_so_far()
        seen = None if stream is None else stream.seen()
        found = backend.gather(lambda: self._check_batch(classes, seen))
        agree("classes", [None if some is None else some.tolist() for some in found])
        declared, solve = found[0], self._solve()
        if seen is None and hasattr(self, "coef_"):
            warn_caller(starts_anew, UserWarning)
        near = None if seen is None else seen.near
        source, target = self._read(
            backend,
            X,
            y,
            sample_weight,
            reset=seen is None,
            classes=declared,
            state=seen and (seen.n_samples, seen.classes.tolist(), seen.shift_key),
            statistics=self._options(near=near) if self._statistics_of_rows() else None,
            **self._dealt(groups),
        )
        class_weight = self._batch_weight(source, target, declared)
        weighted = source.reweighted(class_weights(class_weight, target, source))
        spare = None if stream is None else stream.spare
        options = self._options(near=near, spare=spare)
        reduction = StatisticsReduction.of(weighted, target, options)
        batch = self._fold_batch(backend, reduction, weighted, groups)
        prequential = self._prequential_so_far(stream, source, X, y, sample_weight)
        self._declared_classes = declared
        forget_answers(self)
        if stream is None:
            check_solvable(batch)
            stream = Stream(batch, solve, owned=True)
        else:
            stream.add(batch, solve)
        self._stream = stream
        if prequential is not None:
            n_samples, weight, right = self._prequential = prequential
            self.prequential_score_ = right / weight if weight else float("nan")
            self.prequential_n_samples_ = n_samples

    def _prequential_so_far(
        self, stream: Stream | None, source: Source, X: Any, y: Any, sample_weight: Any
    ) -> _Prequential | None:
        """What the model of the rows before a batch gets right, that batch included; None if unwanted."""
        if not self.prequential:
            return None
        if stream is None or not hasattr(self, "coef_"):
            return _Prequential()
        before: _Prequential = getattr(self, "_prequential", _Prequential())
        weight = source.weight_sum()
        if not weight > 0.0:
            return before
        right = self.score(X, y, sample_weight) * weight
        return _Prequential(
            before.n_samples + source.n_rows, before.weight + weight, before.right + right
        )

    def _check_options(self) -> None:
        check_flag("prequential", self.prequential)
        super()._check_options()

    def _check_batch(self, classes: Any, seen: Seen | None) -> Any:
        """Check options and classes of a partial_fit; the classes that were ever declared."""
        self._check_options()
        weight = self.class_weight
        if any(isinstance(one, str) for one in (weight if isinstance(weight, list) else [weight])):
            raise ValueError(
                "class_weight='balanced' is not supported in partial_fit: later rows change the "
                "balance. Pass the weights of the classes as a dict, or sample_weight."
            )
        declared = getattr(self, "_declared_classes", None)
        if classes is None:
            return declared
        given = as_labels(classes)
        known = declared if seen is None else seen.classes
        if known is not None and not (len(given) == len(known) and among(given, known)[1].all()):
            raise ValueError(
                f"classes={given.tolist()} differ from those of earlier calls, {known.tolist()}."
            )
        return given

    def _batch_weight(self, source: Source, target: Target, declared: Any) -> Any:
        """class_weight for the classes present in the batch; scikit-learn rejects others."""
        given = self.class_weight
        if given is None:
            return None
        if target.multilabel and isinstance(given, list):
            for one in given:
                _check_known(one or {}, [0, 1])
            # A label that no row of the batch has, or that all have, is no error.
            return [one if one is None else {0: 1.0, 1: 1.0} | one for one in given]
        if not isinstance(given, dict) or target.multilabel:
            return given
        if declared is not None:
            _check_known(given, declared.tolist())
        counts = source.class_counts(len(target.classes))
        found = set(target.classes[counts > 0].tolist())
        return {label: w for label, w in given.items() if label in found}


def _check_known(weights: dict[Any, float], classes: list[Any]) -> None:
    unknown = [label for label in weights if label not in classes]
    if unknown:
        raise ValueError(
            f"class_weight has weights for {unknown}, which are not among the classes {classes}."
        )
