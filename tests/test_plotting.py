"""What the displays draw, and what they refuse."""

import copy
import itertools
import sys
import warnings

import matplotlib
import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import (
    Lasso,
    Ridge,
    RidgeClassifier,
    RidgeClassifierCV,
    SGDClassifier,
)
from sklearn.metrics import f1_score, log_loss, make_scorer
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from parallel_ridge import IllConditionedWarning, ParallelRidgeClassifierCV
from parallel_ridge.plotting import AlphaPathDisplay, ClassWeightsDisplay

matplotlib.use("Agg")
import matplotlib.pyplot as plt


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


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
        ((3, 4), "makes 12 elements, but there are 16 weights a class"),
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


# ------------------------------------------------------------------------------- AlphaPathDisplay

UNSORTED = [1e3, 1.0, 1e5, 1e2, 1e-1, 1e4, 1e1]
SORTED = np.sort(UNSORTED)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:400], y[:400]


@pytest.fixture(scope="module")
def searched(digits):
    return ParallelRidgeClassifierCV(UNSORTED, cv=5).fit(*digits)


@pytest.fixture(scope="module")
def grid(digits):
    return GridSearchCV(RidgeClassifier(), {"alpha": UNSORTED}, cv=5).fit(*digits)


def edges(band, n):
    """Lower and upper edge of a band over n points."""
    vertices = band.get_paths()[0].vertices
    return vertices[1 : n + 1, 1], vertices[n + 2 : -1, 1][::-1]


def marked(line):
    """The alpha of a vertical line."""
    low, high = line.get_xdata()
    assert low == high
    return low


def texts(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


def test_path_is_that_of_cv_results_in_ascending_order(searched):
    display = AlphaPathDisplay.from_estimator(searched)
    order = np.argsort(UNSORTED)
    assert_array_equal(display.line_.get_xdata(), SORTED)
    assert_array_equal(display.line_.get_ydata(), searched.cv_results_["mean_test_score"][order])
    assert display.line_.get_marker() == "o"
    assert display.ax_.get_xscale() == "log"
    assert display.ax_.get_xlabel() == "alpha"
    assert display.ax_.get_ylabel() == "accuracy"
    assert display.figure_ is display.ax_.figure


def test_band_is_one_standard_error_either_way(searched):
    display = AlphaPathDisplay.from_estimator(searched)
    results, order = searched.cv_results_, np.argsort(UNSORTED)
    splits = np.array([results[f"split{i}_test_score"] for i in range(5)])[:, order]
    low, high = edges(display.band_, len(UNSORTED))
    assert_allclose(low, splits.mean(axis=0) - splits.std(axis=0) / np.sqrt(5))
    assert_allclose(high, splits.mean(axis=0) + splits.std(axis=0) / np.sqrt(5))


def test_chosen_alpha_is_marked_with_its_value(searched):
    display = AlphaPathDisplay.from_estimator(searched)
    assert marked(display.chosen_) == searched.alpha_
    assert f"alpha = {searched.alpha_:g} (chosen)" in texts(display)


def test_one_standard_error_rule_takes_the_largest_alpha_in_reach():
    path = {"alphas": [100, 1, 10, 1000], "scores": [0.8, 0.7, 0.9, 0.75], "best_alpha": 10}
    display = AlphaPathDisplay(errors=[0, 0.5, 0.1, 0.5], **path).plot()
    assert marked(display.one_standard_error_) == 100
    assert "alpha = 100 (1 SE rule)" in texts(display)
    display.plot(one_standard_error=False)
    assert display.one_standard_error_ is None
    assert not any("rule" in text for text in texts(display))
    # Nothing in reach but the best itself, and an error that is not known.
    for errors in ([0.5, 0.5, 0.05, 0.5], [0.5, 0.5, np.nan, 0.5], None):
        display = AlphaPathDisplay(errors=errors, **path).plot()
        assert display.one_standard_error_ is None


def test_one_standard_error_rule_breaks_ties_as_the_search_does():
    display = AlphaPathDisplay(
        alphas=[1, 10, 100], scores=[0.9, 0.9, 0.8], errors=[0.2, 0, 0], best_alpha=10
    ).plot()
    assert display.one_standard_error_ is None


@pytest.mark.filterwarnings("ignore::parallel_ridge.IllConditionedWarning")
def test_alpha_zero_is_drawn(digits):
    model = ParallelRidgeClassifierCV([3.0, 0.0, 3e5, 3e3], cv=3).fit(*digits)
    display = AlphaPathDisplay.from_estimator(model)
    assert_array_equal(display.line_.get_xdata(), [0.0, 3.0, 3e3, 3e5])
    assert display.ax_.get_xscale() == "symlog"
    figure = display.figure_
    figure.canvas.draw()
    places = display.ax_.transData.transform(display.line_.get_xydata())[:, 0]
    assert np.isfinite(places).all()
    assert (np.diff(places) > 30).all()  # pixels
    left, right = display.ax_.get_xlim()
    ticks = [tick for tick in display.ax_.get_xticks() if left <= tick <= right]
    assert ticks[0] == 0 and min(ticks[1:]) >= 1
    # An axis with a zero keeps it, whatever comes next.
    display = AlphaPathDisplay(alphas=[1, 2], scores=[0, 1], best_alpha=1).plot(ax=display.ax_)
    assert display.ax_.get_xscale() == "symlog"


def test_many_alphas_leave_room_between_the_labels():
    alphas = np.r_[0, np.logspace(-8, 8, 60)]
    display = AlphaPathDisplay(alphas=alphas, scores=np.zeros(61), best_alpha=1).plot()
    display.figure_.canvas.draw()
    assert display.line_.get_marker() in ("", "None")
    left, right = display.ax_.get_xlim()
    boxes = [
        label.get_window_extent()
        for tick, label in zip(display.ax_.get_xticks(), display.ax_.get_xticklabels(), strict=True)
        if left <= tick <= right
    ]
    assert len(boxes) > 4
    assert all(box.x1 < after.x0 for box, after in itertools.pairwise(boxes))


@pytest.mark.parametrize("alpha", [0.0, 100.0])
def test_single_alpha(digits, alpha, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IllConditionedWarning)
        model = ParallelRidgeClassifierCV(alpha, cv=3).fit(*digits)
    display = AlphaPathDisplay.from_estimator(model)
    assert_array_equal(display.line_.get_xdata(), [alpha])
    assert marked(display.chosen_) == alpha
    assert display.band_.get_linewidth() > display.chosen_.get_linewidth()
    assert display.one_standard_error_ is None
    display.figure_.savefig(tmp_path / "single.png")


def test_leave_one_out_has_the_error_of_a_mean_over_rows(digits):
    X, y = digits
    model = ParallelRidgeClassifierCV(SORTED).fit(X, y)
    display = AlphaPathDisplay.from_estimator(model)
    assert display.ax_.get_ylabel() == "negative mean squared error"
    low, high = edges(display.band_, len(SORTED))
    expected = 2 * model.cv_results_["std_test_score"] / np.sqrt(len(X))
    assert_allclose(high - low, expected)
    assert (expected > 0).all()


def test_deviations_that_are_nan_leave_out_the_band(digits):
    model = ParallelRidgeClassifierCV(SORTED, scoring="r2").fit(*digits)
    assert np.isnan(model.cv_results_["std_test_score"]).all()
    display = AlphaPathDisplay.from_estimator(model)
    assert display.band_ is None
    assert display.one_standard_error_ is None
    assert len(texts(display)) == 2

    # A gap in the band where one error is not known.
    display = AlphaPathDisplay(
        alphas=[1, 2, 3, 4, 5],
        scores=[1, 2, 3, 4, np.nan],
        errors=[1, 1, np.nan, 1, 1],
        best_alpha=4,
    ).plot()
    assert len(display.band_.get_paths()) == 2


def test_pipelines_that_end_in_a_search(digits):
    model = ParallelRidgeClassifierCV(UNSORTED, cv=3)
    pipeline = make_pipeline(StandardScaler(), make_pipeline(PCA(10), model)).fit(*digits)
    display = AlphaPathDisplay.from_estimator(pipeline)
    assert_array_equal(display.line_.get_xdata(), SORTED)
    assert marked(display.chosen_) == pipeline[-1][-1].alpha_


def test_grid_searches_look_the_same(searched, grid):
    ours = AlphaPathDisplay.from_estimator(searched)
    theirs = AlphaPathDisplay.from_estimator(grid)
    assert_allclose(theirs.line_.get_xydata(), ours.line_.get_xydata())
    assert_allclose(edges(theirs.band_, 7), edges(ours.band_, 7))
    assert marked(theirs.chosen_) == grid.best_params_["alpha"]
    assert theirs.ax_.get_ylabel() == "accuracy"


def test_grid_searches_of_pipelines(digits):
    pipeline = make_pipeline(StandardScaler(), RidgeClassifier())
    search = GridSearchCV(pipeline, {"ridgeclassifier__alpha": UNSORTED}, cv=3, refit=False).fit(
        *digits
    )
    display = AlphaPathDisplay.from_estimator(search)
    assert marked(display.chosen_) == search.best_params_["ridgeclassifier__alpha"]
    assert display.ax_.get_ylabel() == "accuracy"


def test_grid_searches_with_several_scores(digits):
    search = GridSearchCV(
        RidgeClassifier(),
        {"alpha": UNSORTED},
        cv=3,
        scoring=["accuracy", "f1_macro"],
        refit="f1_macro",
    ).fit(*digits)
    display = AlphaPathDisplay.from_estimator(search)
    order = np.argsort(UNSORTED)
    assert_array_equal(display.line_.get_ydata(), search.cv_results_["mean_test_f1_macro"][order])
    assert display.ax_.get_ylabel() == "f1 macro"
    search.set_params(refit=False).fit(*digits)
    with pytest.raises(ValueError, match="several scores and refit=False; set refit to the name"):
        AlphaPathDisplay.from_estimator(search)


@pytest.mark.parametrize(
    ("scoring", "name"),
    [
        ("neg_root_mean_squared_error", "negative root mean squared error"),
        (make_scorer(f1_score, average="macro"), "f1 score"),
        (make_scorer(log_loss, greater_is_better=False), "negative log loss"),
        (lambda model, X, y: 1.0, "score"),
        (None, "accuracy"),
    ],
)
def test_scores_have_names(searched, scoring, name):
    model = copy.copy(searched).set_params(scoring=scoring)  # after fit: only the name counts
    assert AlphaPathDisplay.from_estimator(model).ax_.get_ylabel() == name


def test_score_names_can_be_chosen(searched, digits):
    display = AlphaPathDisplay.from_estimator(searched, score_name="right answers")
    assert display.ax_.get_ylabel() == "right answers"
    display = AlphaPathDisplay(alphas=[1, 2], scores=[0, 1], best_alpha=1).plot()
    assert display.ax_.get_ylabel() == "score"
    X, y = digits
    search = GridSearchCV(Ridge(), {"alpha": [1.0, 10.0]}, cv=2).fit(X, y)
    assert AlphaPathDisplay.from_estimator(search).ax_.get_ylabel() == "score"


def test_paths_are_drawn_on_given_axes(searched, grid):
    figure, (left, right) = plt.subplots(1, 2)
    display = AlphaPathDisplay.from_estimator(searched, ax=right)
    assert display.ax_ is right
    assert display.figure_ is figure
    assert not left.lines
    assert display.plot(ax=left) is display
    assert display.ax_ is left
    # Two searches on one axes differ in colour, and both are in the legend.
    other = AlphaPathDisplay.from_estimator(grid, ax=left, line_kw={"label": "grid"})
    assert other.line_.get_color() != display.line_.get_color()
    assert {"mean score", "grid"} <= set(texts(other))


def test_keywords_reach_line_and_band(searched):
    display = AlphaPathDisplay.from_estimator(
        searched,
        line_kw={"color": "green", "marker": "s"},
        band_kw={"alpha": 0.5, "label": "spread"},
    )
    assert display.line_.get_marker() == "s"
    assert display.line_.get_color() == display.chosen_.get_color() == "green"
    assert display.band_.get_alpha() == 0.5
    assert "spread" in texts(display)


def test_path_can_be_saved(searched, tmp_path):
    AlphaPathDisplay.from_estimator(searched).figure_.savefig(tmp_path / "path.png")
    assert (tmp_path / "path.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alphas": [1, -1]}, "alphas must be finite and not negative"),
        ({"alphas": [1, np.inf]}, "alphas must be finite and not negative"),
        ({"alphas": ["a", "b"]}, "alphas must be numbers"),
        ({"alphas": [1, [1, 2]]}, "alphas must be numbers"),
        ({"best_alpha": np.nan}, "best_alpha must be finite"),
        ({"scores": [1]}, r"must be of one shape \(p,\), got \(2,\), \(1,\) and \(2,\)"),
        ({"errors": 1.0}, r"must be of one shape \(p,\)"),
        ({"alphas": [], "scores": [], "errors": []}, r"must be of one shape \(p,\)"),
    ],
)
def test_bad_paths(change, message):
    path = {"alphas": [1, 2], "scores": [0, 1], "errors": [1, 1], "best_alpha": 1}
    with pytest.raises(ValueError, match=message):
        AlphaPathDisplay(**(path | change)).plot()
    assert not plt.get_fignums()


@pytest.mark.parametrize(
    "model",
    [
        ParallelRidgeClassifierCV(),
        make_pipeline(StandardScaler(), ParallelRidgeClassifierCV()),
        GridSearchCV(RidgeClassifier(), {"alpha": [1.0]}),
    ],
)
def test_searches_that_are_not_fitted(model):
    with pytest.raises(NotFittedError):
        AlphaPathDisplay.from_estimator(model)


def test_estimators_that_have_not_searched(digits):
    for model in (RidgeClassifier(), RidgeClassifierCV(store_cv_results=True)):
        message = f"{type(model).__name__} has no table .* pass a fitted ParallelRidgeClassifierCV"
        with pytest.raises(ValueError, match=message):
            AlphaPathDisplay.from_estimator(model.fit(*digits))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"alpha": [1.0], "fit_intercept": [True, False]},
            "over alpha, fit_intercept; the display",
        ),
        ({"fit_intercept": [True, False]}, "over fit_intercept; the display draws .* alpha alone"),
    ],
)
def test_searches_over_other_parameters(digits, parameters, message):
    search = GridSearchCV(RidgeClassifier(), parameters, cv=2).fit(*digits)
    with pytest.raises(ValueError, match=message):
        AlphaPathDisplay.from_estimator(search)


def test_halving_searches_have_no_one_path(digits):
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401
    from sklearn.model_selection import HalvingGridSearchCV

    search = HalvingGridSearchCV(RidgeClassifier(), {"alpha": UNSORTED}, cv=2, random_state=0)
    with pytest.raises(ValueError, match="HalvingGridSearchCV scored each alpha on another number"):
        AlphaPathDisplay.from_estimator(search.fit(*digits))


def test_paths_without_matplotlib_name_the_extra(searched, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    message = r"AlphaPathDisplay needs matplotlib.*pip install parallel-ridge\[plot\]"
    with pytest.raises(ImportError, match=message):
        AlphaPathDisplay.from_estimator(searched)
