"""Pictures of fitted classifiers and searches, in the manner of scikit-learn's Display objects.

matplotlib is imported when a picture is drawn, not before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from parallel_ridge.estimators import ParallelRidgeClassifierCV

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection
    from matplotlib.colorbar import Colorbar
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.lines import Line2D

__all__ = ["AlphaPathDisplay", "ClassWeightsDisplay"]

_IMAGE_INCHES = 1.75  # the longer side of one image in a figure made here
_MEDIANS = 6.0  # 3 % of the weights of photographs of hands lie beyond; 9 % beyond 4
_BAND = "± 1 standard error (SE)"
_MARKED_POINTS = 30  # markers of more points touch each other in a figure of the usual width


class ClassWeightsDisplay:
    """The weights of a linear classifier, drawn as one image a class.

    A pixel of positive weight speaks for the class when it is bright, one of negative weight
    against it. All images share one colour scale that is symmetric about zero, so that colours can
    be compared between classes and no weight is the neutral colour.

    It is recommended to use :meth:`from_estimator` to create the display. All parameters are
    stored as attributes.

    Parameters
    ----------
    weights : array-like of shape (n_rows, n_features) or (n_features,)
        One row a class; a single row in the binary case.
    image_shape : tuple of int
        ``(height, width)`` or ``(height, width, channels)``, with ``n_features`` elements in row
        order. The mean over channels is drawn.
    class_names : sequence of length n_rows, default=None
        Titles of the images. Two names for a single row are taken as negative and positive class.
        None numbers the rows from 0.

    Attributes
    ----------
    figure_ : matplotlib Figure
        Figure that holds the images.
    axes_ : ndarray of shape (n_rows,), of matplotlib Axes
        The axes of each class.
    images_ : ndarray of shape (n_rows,), of matplotlib AxesImage
        The image of each class.
    colorbar_ : matplotlib Colorbar or None
        The common colour bar, None if none was wanted.

    See Also
    --------
    ClassWeightsDisplay.from_estimator : Draw the weights of a fitted classifier.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import RidgeClassifier
    >>> from parallel_ridge.plotting import ClassWeightsDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> display = ClassWeightsDisplay.from_estimator(RidgeClassifier().fit(X, y))
    >>> len(display.axes_)
    10
    """

    figure_: Figure
    axes_: NDArray[np.object_]
    images_: NDArray[np.object_]
    colorbar_: Colorbar | None

    def __init__(
        self,
        *,
        weights: ArrayLike,
        image_shape: tuple[int, ...],
        class_names: Sequence[object] | NDArray[Any] | None = None,
    ) -> None:
        self.weights = weights
        self.image_shape = image_shape
        self.class_names = class_names

    def plot(
        self,
        *,
        ax: Axes | Sequence[Axes] | NDArray[np.object_] | None = None,
        cmap: str | Colormap = "RdBu_r",
        ncols: int = 5,
        limit: float | None = None,
        colorbar: bool = True,
        im_kw: dict[str, Any] | None = None,
    ) -> ClassWeightsDisplay:
        """Draw one image a class.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of n_rows Axes, default=None
            Axes to draw on, one a row of weights. None makes a new figure.
        cmap : str or matplotlib Colormap, default="RdBu_r"
            A diverging colour map; by default blue is negative, white zero and red positive.
        ncols : int, default=5
            Images in one line of a new figure.
        limit : float, default=None
            The colours end at weights of -`limit` and `limit`. None takes six times the median
            size of the weights that are not zero, or the largest weight if that is smaller, so
            that extreme pixels do not wash out all the others.
        colorbar : bool, default=True
            Whether to add the common colour bar.
        im_kw : dict, default=None
            More keywords for :meth:`matplotlib.axes.Axes.imshow`.

        Returns
        -------
        display : ClassWeightsDisplay
            The display itself, with the attributes that end in an underscore set.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If shapes or counts do not fit together, or a weight is not finite.
        """
        pictures = _as_pictures(self.weights, self.image_shape)
        titles = _titles(self.class_names, len(pictures))
        end, clipped = _colour_limit(pictures, limit)
        ncols = min(_positive("ncols", ncols), len(pictures))
        plt = _pyplot(type(self).__name__)

        if ax is None:
            nrows = math.ceil(len(pictures) / ncols)
            height, width = pictures.shape[1:]
            inch = _IMAGE_INCHES / max(height, width)
            # A floor of an inch leaves room for the title of a narrow image; 0.3 is for the title,
            # 0.9 for the colour bar and its numbers.
            figure, grid = plt.subplots(
                nrows,
                ncols,
                figsize=(
                    ncols * max(width * inch, 1.0) + (0.9 if colorbar else 0.0),
                    nrows * (max(height * inch, 1.0) + 0.3),
                ),
                layout="constrained",
                squeeze=False,
            )
            axes = grid.ravel()
            for spare in axes[len(pictures) :]:
                spare.set_axis_off()
            axes = axes[: len(pictures)]
        else:
            axes = np.atleast_1d(np.asarray(ax, dtype=object)).ravel()
            if len(axes) != len(pictures):
                raise ValueError(
                    f"ax holds {len(axes)} axes, but there are {len(pictures)} rows of weights to "
                    "draw; pass one axes a row, or None."
                )
            figure = axes[0].figure

        options = {"vmin": -end, "vmax": end, "interpolation": "nearest", **(im_kw or {})}
        images = np.empty(len(pictures), dtype=object)
        for row, (picture, title) in enumerate(zip(pictures, titles, strict=True)):
            images[row] = axes[row].imshow(picture, cmap=cmap, **options)
            axes[row].set_title(title)
            axes[row].set_xticks([])
            axes[row].set_yticks([])

        self.colorbar_ = None
        if colorbar:
            self.colorbar_ = figure.colorbar(
                images[0],
                ax=list(axes),
                extend="both" if clipped else "neither",
                label="weight",
                aspect=30,
                pad=0.02,
            )
        self.figure_ = figure
        self.axes_ = axes
        self.images_ = images
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        image_shape: tuple[int, ...] | None = None,
        class_names: Sequence[object] | NDArray[Any] | None = None,
        ax: Axes | Sequence[Axes] | NDArray[np.object_] | None = None,
        cmap: str | Colormap = "RdBu_r",
        ncols: int = 5,
        limit: float | None = None,
        colorbar: bool = True,
        im_kw: dict[str, Any] | None = None,
    ) -> ClassWeightsDisplay:
        """Draw the weights of a fitted linear classifier.

        Parameters
        ----------
        estimator : estimator
            Fitted classifier with ``coef_``, a pipeline that ends in one, or a fitted search over
            either. In a pipeline the weights belong to the features that the last step sees.
        image_shape : tuple of int, default=None
            ``(height, width)`` or ``(height, width, channels)``. None takes a square grey image if
            the number of features is a square number.
        class_names : sequence of str, default=None
            Titles of the images. None takes ``estimator.classes_``.
        ax : matplotlib Axes or array-like of Axes, default=None
            Axes to draw on, one a row of ``coef_``. None makes a new figure.
        cmap : str or matplotlib Colormap, default="RdBu_r"
            A diverging colour map.
        ncols : int, default=5
            Images in one line of a new figure.
        limit : float, default=None
            The colours end at weights of -`limit` and `limit`. None takes a robust limit, see
            :meth:`plot`.
        colorbar : bool, default=True
            Whether to add the common colour bar.
        im_kw : dict, default=None
            More keywords for :meth:`matplotlib.axes.Axes.imshow`.

        Returns
        -------
        display : ClassWeightsDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError
            If the estimator has no ``coef_``.
        ValueError
            If `image_shape` is None and the number of features is not a square number, or shapes
            or counts do not fit together.
        """
        model = _last_step(estimator)
        check_is_fitted(model)
        if not hasattr(model, "coef_"):
            raise TypeError(
                f"{type(model).__name__} has no coef_; the display draws linear classifiers."
            )
        coef = model.coef_
        weights = np.atleast_2d(coef.toarray() if scipy.sparse.issparse(coef) else coef)
        n_rows, n_features = weights.shape
        if image_shape is None:
            side = math.isqrt(n_features)
            if side * side != n_features:
                raise ValueError(
                    f"{n_features} features do not make a square image; pass image_shape=(height, "
                    "width), or (height, width, 3) for colours."
                )
            image_shape = (side, side)
        if class_names is None:
            names = np.asarray(getattr(model, "classes_", range(n_rows)))
            # Multilabel classifiers may keep one array of classes an output: number those.
            if names.ndim == 1 and len(names) == (2 if n_rows == 1 else n_rows):
                class_names = names
        return cls(weights=weights, image_shape=image_shape, class_names=class_names).plot(
            ax=ax, cmap=cmap, ncols=ncols, limit=limit, colorbar=colorbar, im_kw=im_kw
        )


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
        plt = _pyplot(type(self).__name__)

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
            # Of a point alone only the outline shows: broader than the mark of the chosen alpha.
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


def _pyplot(display: str) -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as err:
        raise ImportError(
            f"{display} needs matplotlib, which could not be imported ({err}). "
            "Install it with: pip install parallel-ridge[plot]"
        ) from err
    return plt


def _last_step(estimator: Any) -> Any:
    """Unwrap pipelines and fitted searches, in any nesting."""
    while True:
        if isinstance(estimator, Pipeline):
            estimator = estimator.steps[-1][1]
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        else:
            return estimator


def _as_pictures(weights: ArrayLike, image_shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the weights as images of shape (n_rows, height, width), channels averaged."""
    rows = np.atleast_2d(np.asarray(weights, dtype=np.float64))
    if rows.ndim != 2 or rows.size == 0:
        raise ValueError(
            f"weights must be of shape (n_rows, n_features), got an array of shape {rows.shape}."
        )
    shape = tuple(_positive("image_shape", length) for length in image_shape)
    if len(shape) not in (2, 3):
        raise ValueError(
            f"image_shape must be (height, width) or (height, width, channels), got {image_shape}."
        )
    if math.prod(shape) != rows.shape[1]:
        raise ValueError(
            f"image_shape {shape} makes {math.prod(shape)} elements, but there are "
            f"{rows.shape[1]} weights a class."
        )
    if not np.isfinite(rows).all():
        raise ValueError("weights must be finite, but some are NaN or infinite.")
    pictures = rows.reshape(len(rows), *shape)
    return pictures.mean(axis=3) if len(shape) == 3 else pictures


def _titles(class_names: Sequence[object] | NDArray[Any] | None, n_rows: int) -> list[str]:
    if class_names is None:
        return [str(row) for row in range(n_rows)]
    names = [str(name) for name in class_names]
    if n_rows == 1 and len(names) == 2:
        return [f"{names[1]} against {names[0]}"]
    if len(names) != n_rows:
        raise ValueError(f"class_names holds {len(names)} names for {n_rows} rows of weights.")
    return names


def _colour_limit(pictures: NDArray[np.float64], limit: float | None) -> tuple[float, bool]:
    """Return where the colours end, and whether some weights lie beyond."""
    size = np.abs(pictures)
    largest = float(size.max())
    if limit is None:
        # Pixels that are hardly ever on get by far the largest weights: on MNIST they are the rim
        # of the image, and the 99th percentile of the sizes, 127 medians, shows the rim alone.
        # Half of the pixels would have to be of that kind to carry the median away.
        median = float(np.median(size[size > 0])) if largest > 0 else 0.25
        limit = min(_MEDIANS * median, largest) or 1.0
    elif not (math.isfinite(limit) and limit > 0):
        raise ValueError(f"limit must be a positive number or None, got {limit!r}.")
    return limit, largest > limit


def _positive(name: str, value: object) -> int:
    if isinstance(value, int | np.integer) and value > 0:
        return int(value)
    raise ValueError(f"{name} must be made of positive integers, got {value!r}.")


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
