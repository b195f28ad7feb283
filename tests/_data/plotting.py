"""Data and comparisons that tests of plotting share."""

UNSORTED = [1e3, 1.0, 1e5, 1e2, 1e-1, 1e4, 1e1]
