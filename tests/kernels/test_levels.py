"""CPU levels."""

import os
from unittest import mock

import numpy as np
import pytest
from _data.kernels import LEVELS, PATTERNS, assert_sums, make_labels, make_rows, of
from hypothesis import given, settings
from hypothesis import strategies as st

from parallel_ridge.kernels import _fold


def use_level(name):
    """The same for a test that calls itself many times."""
    return mock.patch.dict(os.environ, PARALLEL_RIDGE_CPU=name)


def test_levels_end_with_the_portable_one_and_can_be_chosen(level):
    assert LEVELS[-1] == "portable"
    assert len(set(LEVELS)) == len(LEVELS)
    assert _fold.level() == level


@pytest.mark.parametrize("value", [None, ""])
def test_the_best_level_is_the_default(value, monkeypatch):
    monkeypatch.delenv("PARALLEL_RIDGE_CPU", raising=False)
    if value is not None:
        monkeypatch.setenv("PARALLEL_RIDGE_CPU", value)
    assert _fold.level() == LEVELS[0]


def test_an_unknown_level_is_refused_with_the_known_ones(monkeypatch):
    monkeypatch.setenv("PARALLEL_RIDGE_CPU", "sse9")
    for call in (_fold.level, lambda: of(make_rows(3, 2, "uint8")), lambda: of(np.ones((3, 2)))):
        with pytest.raises(ValueError, match=r"PARALLEL_RIDGE_CPU='sse9'.*'portable'"):
            call()


@settings(deadline=None, max_examples=100)
@given(
    n=st.integers(1, 1100),
    d=st.integers(1, 210),
    dtype=st.sampled_from(["uint8", "int8", "int16"]),
    pattern=st.sampled_from(PATTERNS),
    seed=st.integers(0, 99),
)
def test_integer_sums_have_the_same_bits_at_every_level(n, d, dtype, pattern, seed):
    X = make_rows(n, d, dtype, pattern, seed)
    y = make_labels(n, seed=seed)
    for name in LEVELS:
        with use_level(name):
            assert_sums(of(X, y), X, y)
