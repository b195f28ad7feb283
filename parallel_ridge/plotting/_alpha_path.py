"""Scores and weights against the penalty."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from parallel_ridge.estimators import ParallelRidgeClassifierCV
from parallel_ridge.plotting._figures import pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.lines import Line2D


_BAND = "± 1 standard error (SE)"
_MARKED_POINTS = 30  # markers of more points touch each other in a figure of the usual width


class AlphaPathDisplay:
    """The scores of a search over alpha, with the alpha that was chosen.

    The band shows one standard error of the mean score either way. The one-standard-error rule
    takes the largest alpha whose score is within that error of the best: the simplest model that
    cannot be told from the best one.

    It is recommended to use :meth:`from_estimator` to create the display. All parameters are
    stored as attributes.

    Parameters
    ----------
    alphas : array-like of shape (p,)
        Penalties, not negative, in any order.
    scores : array-like of shape (p,)
        Mean score of each; greater is better.
    errors : array-like of shape (p,), default=None
        Standard errors of the scores, NaN where not known. None draws no band.
    best_alpha : float
        The chosen penalty.
    score_name : str, default=None
        Label of the vertical axis. None is "score".

    Attributes
    ----------
    figure_ : matplotlib Figure
        Figure that holds the axes.
    ax_ : matplotlib Axes
        Axes with the path.
    line_ : matplotlib Line2D
        Scores against alphas, in ascending order.
    band_ : matplotlib PolyCollection or None
        One standard error either way, None if no error is known.
    chosen_ : matplotlib Line2D
        Vertical line at the chosen alpha.
    one_standard_error_ : matplotlib Line2D or None
        Vertical line at the alpha of the one-standard-error rule. None if it was not wanted, is not
        known, or is the chosen alpha.

    See Also
    --------
    AlphaPathDisplay.from_estimator : Draw the search of a fitted estimator.
    ClassWeightsDisplay : Draw the weights of the chosen classifier.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from parallel_ridge import ParallelRidgeClassifierCV
    >>> from parallel_ridge.plotting import AlphaPathDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> model = ParallelRidgeClassifierCV(np.logspace(-2, 6, 9), cv=5).fit(X, y)
    >>> display = AlphaPathDisplay.from_estimator(model)
    >>> display.ax_.get_ylabel()
    'accuracy'
    """

    figure_: Figure | SubFigure
    ax_: Axes
    line_: Line2D
    band_: PolyCollection | None
    chosen_: Line2D
    one_standard_error_: Line2D | None

    def __init__(
        self,
        *,
        alphas: ArrayLike,
        scores: ArrayLike,
        errors: ArrayLike | None = None,
        best_alpha: float,
        score_name: str | None = None,
    ) -> None:
        self.alphas = alphas
        self.scores = scores
        self.errors = errors
        self.best_alpha = best_alpha
        self.score_name = score_name

    def plot(
        self,
        *,
        ax: Axes | None = None,
        one_standard_error: bool = True,
        line_kw: dict[str, Any] | None = None,
        band_kw: dict[str, Any] | None = None,
    ) -> AlphaPathDisplay:
        """Draw scores against alphas.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None makes a new figure.
        one_standard_error : bool, default=True
            Whether to mark the alpha of the one-standard-error rule, where errors are known.
        line_kw : dict, default=None
            More keywords for :meth:`matplotlib.axes.Axes.plot`. The colour is also that of the band
            and of the marks.
        band_kw : dict, default=None
            More keywords for :meth:`matplotlib.axes.Axes.fill_between`.

        Returns
        -------
        display : AlphaPathDisplay
            The display itself, with the attributes that end in an underscore set.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If shapes do not fit together, or an alpha is negative or not finite.
        """
        alphas, scores, errors = _as_path(self.alphas, self.scores, self.errors)
        best = float(_as_alphas("best_alpha", self.best_alpha)[0])
        plt = pyplot(type(self).__name__)

        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        _scale_for(ax, np.append(alphas, best))
        style: dict[str, Any] = {"label": "mean score"}
        if len(alphas) <= _MARKED_POINTS:
            style |= {"marker": "o", "markersize": 4}
        (line,) = ax.plot(alphas, scores, **(style | (line_kw or {})))
        colour = line.get_color()

        self.band_ = None
        if np.isfinite(errors + scores).any():
            # A single point shows only its outline: broader than the mark of the chosen alpha.
            width = 8 if len(alphas) == 1 else 1
            style = {"color": colour, "alpha": 0.2, "linewidth": width, "label": _BAND}
            self.band_ = ax.fill_between(
                alphas, scores - errors, scores + errors, **(style | (band_kw or {}))
            )
        self.chosen_ = ax.axvline(
            best, color=colour, linestyle="--", label=f"alpha = {best:g} (chosen)"
        )
        self.one_standard_error_ = None
        simplest = _simplest(alphas, scores, errors) if one_standard_error else None
        if simplest is not None and simplest != best:
            self.one_standard_error_ = ax.axvline(
                simplest,
                color=colour,
                linestyle=":",
                label=f"alpha = {simplest:g} (1 SE rule)",
            )
        ax.set_xlabel("alpha")
        ax.set_ylabel("score" if self.score_name is None else self.score_name)
        ax.legend(framealpha=1)  # or the marks shine through the text
        self.ax_ = ax
        self.figure_ = ax.figure
        self.line_ = line
        return self

    @classmethod
    def from_estimator(
        cls,
        cv_model: Any,
        *,
        score_name: str | None = None,
        ax: Axes | None = None,
        one_standard_error: bool = True,
        line_kw: dict[str, Any] | None = None,
        band_kw: dict[str, Any] | None = None,
    ) -> AlphaPathDisplay:
        """Draw the search for alpha of a fitted estimator.

        Standard errors are ``std_test_score / sqrt(n_splits_)``.

        Parameters
        ----------
        cv_model : estimator
            Fitted :class:`~parallel_ridge.ParallelRidgeClassifierCV` or
            :class:`~sklearn.model_selection.GridSearchCV` over ``alpha`` alone (of any estimator,
            also as ``<step>__alpha``), or a pipeline that ends in either.
        score_name : str, default=None
            Label of the vertical axis. None takes the name of the scoring.
        ax : matplotlib Axes, default=None
            Axes to draw on. None makes a new figure.
        one_standard_error : bool, default=True
            Whether to mark the alpha of the one-standard-error rule, where errors are known.
        line_kw : dict, default=None
            More keywords for :meth:`matplotlib.axes.Axes.plot`.
        band_kw : dict, default=None
            More keywords for :meth:`matplotlib.axes.Axes.fill_between`.

        Returns
        -------
        display : AlphaPathDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If the estimator has no ``cv_results_`` of a search over alpha alone.
        """
        model = cv_model
        while isinstance(model, Pipeline):
            model = model.steps[-1][1]
        check_is_fitted(model)
        name = type(model).__name__
        results = getattr(model, "cv_results_", None)
        # RidgeClassifierCV keeps an array by that name, of predictions or errors of single rows.
        if not isinstance(results, dict):
            raise ValueError(
                f"{name} has no table of scores, cv_results_; pass a fitted "
                "ParallelRidgeClassifierCV, a GridSearchCV over alpha, or a pipeline that ends in "
                "one."
            )
        searched = [key.removeprefix("param_") for key in results if key.startswith("param_")]
        if len(searched) != 1 or searched[0].split("__")[-1] != "alpha":
            raise ValueError(
                f"{name} searched over {', '.join(sorted(searched)) or 'nothing'}; the display "
                "draws a search over alpha alone."
            )
        if "iter" in results:
            raise ValueError(
                f"{name} scored each alpha on another number of rows; the display draws scores that "
                "can be compared, as of GridSearchCV."
            )
        metric = _metric(model)
        alphas = _as_alphas("alphas", results[f"param_{searched[0]}"])
        return cls(
            alphas=alphas,
            scores=results[f"mean_test_{metric}"],
            errors=results[f"std_test_{metric}"] / math.sqrt(model.n_splits_),
            best_alpha=float(alphas[model.best_index_]),
            score_name=_score_name(model, metric) if score_name is None else score_name,
        ).plot(ax=ax, one_standard_error=one_standard_error, line_kw=line_kw, band_kw=band_kw)


def _as_alphas(name: str, alphas: Any) -> NDArray[np.float64]:
    try:
        values = np.atleast_1d(np.asarray(alphas, dtype=np.float64))
    except (TypeError, ValueError) as err:
        raise ValueError(f"{name} must be numbers, got {alphas!r}.") from err
    if not (np.isfinite(values) & (values >= 0)).all():
        raise ValueError(f"{name} must be finite and not negative, got {alphas!r}.")
    return values


def _as_path(
    alphas: ArrayLike, scores: ArrayLike, errors: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return alphas in ascending order, with their scores and errors; errors not known are NaN."""
    x = _as_alphas("alphas", alphas)
    y = np.atleast_1d(np.asarray(scores, dtype=np.float64))
    e = np.full(x.shape, np.nan) if errors is None else np.asarray(errors, dtype=np.float64)
    e = np.atleast_1d(e)
    if x.ndim != 1 or x.size == 0 or not x.shape == y.shape == e.shape:
        raise ValueError(
            "alphas, scores and errors must be of one shape (p,), got "
            f"{x.shape}, {y.shape} and {e.shape}."
        )
    order = np.argsort(x, kind="stable")
    return x[order], y[order], e[order]


def _scale_for(ax: Axes, alphas: NDArray[np.float64]) -> None:
    """Make the horizontal axis logarithmic, linear between 0 and the smallest alpha above."""
    positive = alphas[alphas > 0]
    if not len(positive):
        return
    if len(positive) < len(alphas):
        # From the decade of the smallest up, so that no decade is marked where the axis is linear.
        ax.set_xscale("symlog", linthresh=10.0 ** math.floor(math.log10(positive.min())))
        locator: Any = ax.xaxis.get_major_locator()
        locator.set_params(numticks=9)  # labels of the default, 15, may touch
    elif ax.get_xscale() != "symlog":  # which has a 0 that was drawn there before
        ax.set_xscale("log")


def _simplest(
    alphas: NDArray[np.float64], scores: NDArray[np.float64], errors: NDArray[np.float64]
) -> float | None:
    """Return the largest alpha within one standard error of the best score, if that is known."""
    if np.isnan(scores).all():
        return None
    best = np.flatnonzero(scores == np.nanmax(scores))[-1]
    if np.isnan(errors[best]):
        return None
    return float(alphas[scores >= scores[best] - errors[best]].max())


def _metric(model: Any) -> str:
    """Return how the columns of ``cv_results_`` call the score that chose."""
    if not getattr(model, "multimetric_", False):
        return "score"
    if not isinstance(model.refit, str):
        raise ValueError(
            f"{type(model).__name__} has several scores and refit={model.refit!r}; set refit to the "
            "name of one."
        )
    return model.refit


def _score_name(model: Any, metric: str) -> str:
    scoring = model.scoring if metric == "score" else metric
    if scoring is None and isinstance(model, ParallelRidgeClassifierCV):
        scoring = "neg_mean_squared_error" if model.cv is None else "accuracy"
    elif scoring is None:
        scoring = "accuracy" if is_classifier(model) else "score"
    elif callable(scoring):
        function = getattr(scoring, "_score_func", scoring)  # of what make_scorer makes
        sign = "neg_" if getattr(scoring, "_sign", 1) < 0 else ""
        name = getattr(function, "__name__", "score")
        scoring = sign + (name if name.isidentifier() else "score")  # a lambda has no name
    words = str(scoring).replace("_", " ")
    return f"negative {words[4:]}" if words.startswith("neg ") else words
