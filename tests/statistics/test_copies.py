"""Copies and text."""

import copy
import pickle

import pytest
from _data.statistics import make_table, named, of, snapshot

from parallel_ridge import SufficientStatistics


@pytest.mark.parametrize(
    "duplicate",
    [
        *(lambda s, p=p: pickle.loads(pickle.dumps(s, p)) for p in (2, pickle.HIGHEST_PROTOCOL)),
        copy.deepcopy,
        SufficientStatistics.copy,
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_copies_are_equal_and_independent(duplicate, dtype):
    some = named(of(make_table(9, dtype=dtype)), list("abcd"))
    before, other = snapshot(some), duplicate(some)
    assert other == some
    for name in ("shift", "gram", "feature_sums", "class_counts", "class_weights", "class_sums"):
        getattr(other, name)[...] = 99
    assert some == before


@pytest.mark.parametrize("table", [make_table(0), make_table(9, d=500, n_classes=100)], ids=len)
def test_the_text_is_short_and_says_the_sizes(table):
    text = repr(of(table))
    assert len(text) < 200
    assert str(len(table)) in text
    assert f"{table.X.shape[1]} features" in text
