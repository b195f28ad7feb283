"""Long passes show rows done, their rate and the time left, where somebody looks."""

import sys

import numpy as np
import pytest
from _data.streams import batches, digits

from parallel_ridge import ParallelRidgeClassifier, progress


class Bars(list):
    """Stands in for the class of bars of tqdm: keeps what it was told."""

    def __call__(self, iterable=None, **options):
        bar = Bar(options)
        self.append(bar)
        return bar

    __mro__ = ()


class Bar:
    def __init__(self, options):
        self.options, self.done, self.closed = options, 0, False

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.closed = True

    def update(self, n):
        self.done += n


@pytest.fixture
def bars(monkeypatch):
    tqdm = pytest.importorskip("tqdm.auto")
    found = Bars()
    monkeypatch.setattr(tqdm, "tqdm", found)
    return found


@pytest.mark.parametrize("kind", ["array", "batches", "table"])
def test_all_rows_are_counted(kind, bars):
    X, y = digits()
    model = ParallelRidgeClassifier(verbose=1)
    if kind == "array":
        model.fit(X, y)
    elif kind == "batches":
        model.fit(batches(X, y))
    else:
        pytest.importorskip("pyarrow")
        from _data.streams import table

        model.fit(table(X, y), "label")
    assert bars and all(bar.done == 700 and bar.closed for bar in bars)
    assert all(bar.options["delay"] == progress.DELAY for bar in bars)
    if kind != "batches":  # in the first pass nobody knows how many there are
        assert bars[-1].options["total"] == 700


def test_no_bars_without_verbose(bars):
    ParallelRidgeClassifier().fit(*digits())
    assert not bars


def test_an_error_closes_the_bar(bars):
    X, y = digits(np.float64)
    X[650, 3] = np.nan
    with pytest.raises(ValueError, match="NaN: row 650, column 3"):
        ParallelRidgeClassifier(verbose=1).fit(batches(X, y))
    assert all(bar.closed for bar in bars)


def test_fits_without_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    X, y = digits()
    assert ParallelRidgeClassifier(verbose=1).fit(batches(X, y)).score(X, y) > 0.9
