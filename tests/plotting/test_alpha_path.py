"""Scores against the penalty."""

import copy
import itertools
import sys
import warnings

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from _data.plotting import UNSORTED
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import (
    Ridge,
    RidgeClassifier,
    RidgeClassifierCV,
)
from sklearn.metrics import f1_score, log_loss, make_scorer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from parallel_ridge import IllConditionedWarning, ParallelRidgeClassifierCV
from parallel_ridge.plotting import AlphaPathDisplay

matplotlib.use("Agg")


SORTED = np.sort(UNSORTED)


@pytest.fixture(scope="module")
def searched(digits):
    return ParallelRidgeClassifierCV(UNSORTED, cv=5).fit(*digits)


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
