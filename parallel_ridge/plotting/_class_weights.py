"""The weights of each class as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from parallel_ridge.plotting._figures import last_step, pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure


_IMAGE_INCHES = 1.75  # the longer side of one image in a figure made here
_MEDIANS = 6.0  # 3 % of the weights of photographs of hands lie beyond; 9 % beyond 4


class ClassWeightsDisplay:
    """The weights of a linear classifier, drawn as one image per class.

    A pixel of positive weight speaks for the class when it is bright, one of negative weight
    against it. All images share one colour scale that is symmetric about zero, so that colours can
    be compared between classes and no weight is the neutral colour.

    It is recommended to use :meth:`from_estimator` to create the display. All parameters are
    stored as attributes.

    Parameters
    ----------
    weights : array-like of shape (n_rows, n_features) or (n_features,)
        One row per class; a single row in the binary case.
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
        """Draw one image per class.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of n_rows Axes, default=None
            Axes to draw on, one per row of weights. None makes a new figure.
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
        plt = pyplot(type(self).__name__)

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
            Axes to draw on, one per row of ``coef_``. None makes a new figure.
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
        model = last_step(estimator)
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
            f"{rows.shape[1]} weights per class."
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
