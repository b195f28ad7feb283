"""Class weights as pictures."""

import sys

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import (
    Lasso,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from parallel_ridge.plotting import ClassWeightsDisplay

matplotlib.use("Agg")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def images(rng):
    """60 images of 4 x 4 pixels in three classes with names."""
    y = np.repeat(["cat", "cow", "dog"], 20)
    return rng.normal(size=(60, 16)) + (y == "cow")[:, None], y


def drawn(display, row=0):
    return np.asarray(display.images_[row].get_array())


def test_one_image_a_class_in_row_order(images):
    model = RidgeClassifier().fit(*images)
    display = ClassWeightsDisplay.from_estimator(model)
    assert [ax.get_title() for ax in display.axes_] == ["cat", "cow", "dog"]
    for row in range(3):
        assert_array_equal(drawn(display, row), model.coef_[row].reshape(4, 4))
    assert all(ax.figure is display.figure_ for ax in display.axes_)


def test_every_image_has_the_same_scale_centred_at_zero(images):
    display = ClassWeightsDisplay.from_estimator(RidgeClassifier().fit(*images))
    limits = {image.get_clim() for image in display.images_}
    assert len(limits) == 1
    low, high = limits.pop()
    assert low == -high < 0
    assert display.colorbar_.vmin == low
    assert display.images_[0].get_cmap().name == "RdBu_r"


def test_outliers_do_not_wash_out_the_rest(rng):
    weights = rng.normal(size=(10, 100))
    weights[:, :15] *= 1e4
    weights[:, 15:20] = 0
    display = ClassWeightsDisplay(weights=weights, image_shape=(10, 10)).plot()
    _, high = display.images_[0].get_clim()
    assert 1 < high < 10
    assert display.colorbar_.extend == "both"


def test_scale_never_exceeds_the_largest_weight():
    weights = [[1.0, -1.0, 1.0, -1.5]]
    display = ClassWeightsDisplay(weights=weights, image_shape=(2, 2)).plot()
    assert display.images_[0].get_clim() == (-1.5, 1.5)
    assert display.colorbar_.extend == "neither"


def test_limit_can_be_chosen(rng):
    display = ClassWeightsDisplay(weights=rng.normal(size=(2, 4)), image_shape=(2, 2))
    assert display.plot(limit=0.5).images_[1].get_clim() == (-0.5, 0.5)
    assert display.plot(limit=100).colorbar_.extend == "neither"


@pytest.mark.parametrize("weights", [np.zeros((2, 4)), [[0, 0, 0, 3.0], [0, 0, 0, 0]]])
def test_weights_that_are_nearly_all_zero(weights):
    display = ClassWeightsDisplay(weights=weights, image_shape=(2, 2)).plot()
    low, high = display.images_[0].get_clim()
    assert low == -high < 0


def test_binary_classifiers_have_one_image(images):
    X, y = images
    model = RidgeClassifier().fit(X, np.where(y == "dog", "dog", "other"))
    display = ClassWeightsDisplay.from_estimator(model)
    assert [ax.get_title() for ax in display.axes_] == ["other against dog"]
    renamed = ClassWeightsDisplay.from_estimator(model, class_names=["no", "yes"])
    assert renamed.axes_[0].get_title() == "yes against no"
    assert_array_equal(drawn(display), model.coef_.reshape(4, 4))


def test_one_dimensional_and_sparse_coefficients(images):
    X, y = images
    lasso = Lasso(alpha=0.01).fit(X, y == "cow")
    assert lasso.coef_.shape == (16,)
    display = ClassWeightsDisplay.from_estimator(lasso)
    assert_array_equal(drawn(display), lasso.coef_.reshape(4, 4))

    sgd = SGDClassifier(random_state=0).fit(X, y).sparsify()
    assert scipy.sparse.issparse(sgd.coef_)
    display = ClassWeightsDisplay.from_estimator(sgd)
    assert_array_equal(drawn(display, 2), sgd.coef_.toarray()[2].reshape(4, 4))


def test_multilabel_weights(images, rng):
    X, _ = images
    model = RidgeClassifier().fit(X, rng.integers(0, 2, size=(len(X), 2)))
    display = ClassWeightsDisplay.from_estimator(model)
    assert [ax.get_title() for ax in display.axes_] == ["0", "1"]


def test_pipelines_and_searches_are_unwrapped(images):
    X, y = images
    search = GridSearchCV(
        make_pipeline(StandardScaler(), RidgeClassifier()),
        {"ridgeclassifier__alpha": [1.0, 10.0]},
        cv=2,
    ).fit(X, y)
    display = ClassWeightsDisplay.from_estimator(make_pipeline(StandardScaler(), search).fit(X, y))
    assert [ax.get_title() for ax in display.axes_] == ["cat", "cow", "dog"]
    display = ClassWeightsDisplay.from_estimator(search)
    assert_array_equal(drawn(display), search.best_estimator_[-1].coef_[0].reshape(4, 4))


def test_colour_images_show_the_mean_over_channels(rng):
    weights = rng.normal(size=(2, 2 * 3 * 3))
    display = ClassWeightsDisplay(weights=weights, image_shape=(2, 3, 3)).plot()
    assert_allclose(drawn(display, 1), weights[1].reshape(2, 3, 3).mean(axis=2))


def test_new_figures_have_ncols_images_in_a_line(rng):
    display = ClassWeightsDisplay(weights=rng.normal(size=(7, 6)), image_shape=(2, 3))
    display.plot(ncols=3)
    grid = display.axes_[0].get_gridspec()
    assert (grid.nrows, grid.ncols) == (3, 3)
    spare = [ax for ax in display.figure_.axes if not ax.axison]
    assert len(spare) == 2
    assert [ax.get_title() for ax in display.axes_] == list("0123456")
    display.plot(ncols=100)
    assert display.axes_[0].get_gridspec().ncols == 7


def test_given_axes_are_used(rng):
    figure, axes = plt.subplots(2, 1)
    display = ClassWeightsDisplay(
        weights=rng.normal(size=(2, 4)), image_shape=(2, 2), class_names=["a", "b"]
    )
    assert display.plot(ax=axes, colorbar=False) is display
    assert display.figure_ is figure
    assert list(display.axes_) == list(axes)
    assert display.colorbar_ is None
    assert len(figure.axes) == 2

    single = ClassWeightsDisplay(weights=rng.normal(size=4), image_shape=(2, 2))
    single.plot(ax=axes[0])
    assert single.axes_[0] is axes[0]
    with pytest.raises(ValueError, match="ax holds 1 axes, but there are 2 rows"):
        display.plot(ax=axes[0])


def test_keywords_reach_imshow(images):
    display = ClassWeightsDisplay.from_estimator(
        RidgeClassifier().fit(*images), cmap="PuOr", im_kw={"interpolation": "bilinear"}
    )
    assert display.images_[0].get_cmap().name == "PuOr"
    assert display.images_[0].get_interpolation() == "bilinear"


def test_pictures_can_be_saved(images, tmp_path):
    display = ClassWeightsDisplay.from_estimator(RidgeClassifier().fit(*images))
    display.figure_.savefig(tmp_path / "weights.png")
    assert (tmp_path / "weights.png").stat().st_size > 1000


def test_features_that_make_no_square_need_a_shape(images):
    X, y = images
    model = RidgeClassifier().fit(X[:, :12], y)
    with pytest.raises(ValueError, match=r"12 features .* pass image_shape=\(height, width\)"):
        ClassWeightsDisplay.from_estimator(model)
    display = ClassWeightsDisplay.from_estimator(model, image_shape=(3, 4))
    assert drawn(display).shape == (3, 4)


@pytest.mark.parametrize(
    ("image_shape", "message"),
    [
        ((3, 4), "makes 12 elements, but there are 16 weights per class"),
        ((16,), r"image_shape must be \(height, width\)"),
        ((2, 2, 2, 2), r"image_shape must be \(height, width\)"),
        ((-4, -4), "image_shape must be made of positive integers, got -4"),
        ((4.0, 4), "image_shape must be made of positive integers, got 4.0"),
    ],
)
def test_bad_image_shapes(images, image_shape, message):
    model = RidgeClassifier().fit(*images)
    with pytest.raises(ValueError, match=message):
        ClassWeightsDisplay.from_estimator(model, image_shape=image_shape)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"class_names": ["a", "b"]}, "class_names holds 2 names for 3 rows"),
        ({"limit": 0}, "limit must be a positive number or None, got 0"),
        ({"limit": np.inf}, "limit must be a positive number or None, got inf"),
        ({"ncols": 0}, "ncols must be made of positive integers, got 0"),
    ],
)
def test_bad_options(images, keywords, message):
    model = RidgeClassifier().fit(*images)
    with pytest.raises(ValueError, match=message):
        ClassWeightsDisplay.from_estimator(model, **keywords)
    assert not plt.get_fignums()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.full((2, 4), np.nan), "weights must be finite"),
        (np.zeros((2, 2, 2)), "weights must be of shape"),
        (np.zeros((0, 4)), "weights must be of shape"),
    ],
)
def test_bad_weights(weights, message):
    with pytest.raises(ValueError, match=message):
        ClassWeightsDisplay(weights=weights, image_shape=(2, 2)).plot()


def test_estimators_that_cannot_be_drawn(images):
    with pytest.raises(NotFittedError):
        ClassWeightsDisplay.from_estimator(RidgeClassifier())
    with pytest.raises(NotFittedError):
        ClassWeightsDisplay.from_estimator(make_pipeline(PCA(), RidgeClassifier()))
    with pytest.raises(TypeError, match="KNeighborsClassifier has no coef_"):
        ClassWeightsDisplay.from_estimator(KNeighborsClassifier().fit(*images))


def test_missing_matplotlib_names_the_extra(images, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install parallel-ridge\[plot\]"):
        ClassWeightsDisplay.from_estimator(RidgeClassifier().fit(*images))
