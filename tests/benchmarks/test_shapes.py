"""The benchmark of shapes: its rows, the limits of its jobs, and its tables and map on the page."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

sys.path.append(str(Path(__file__).resolve().parents[2]))  # the benchmarks are not installed

from benchmarks import limits, measure, page, shapes
from benchmarks.figures import draw
from benchmarks.limits import FIT, FOLDED, JOBS, LEFT_OUT, ONE_ROW, PREDICT
from parallel_ridge import ParallelRidgeClassifier

ONES = limits.Rates(1.0, 1.0, 1.0, 1e30)  # limits are numbers of operations


def small(shape):
    return replace(shape, n=min(shape.n, 400), d=min(shape.d, 1_000), k=min(shape.k, 8))


def test_all_kinds_of_shapes_are_there():
    names = [shape.name for shape in shapes.SHAPES]
    assert len(set(names)) == len(names) >= 24
    targets = [shape for shape, _ in shapes.RATIOS] + [shape for shape, *_ in shapes.BOUNDS]
    assert set(targets) <= set(shapes.SHAPES)
    assert {shape.kind for shape in shapes.SHAPES} == set(shapes.KINDS)
    for name, job in limits.WHY:
        assert name in names and job in JOBS


@pytest.mark.parametrize(
    "shape", [shape for shape in map(small, shapes.SHAPES) if shape.kind != "MNIST"], ids=str
)
def test_rows_are_as_told(shape):
    X, y = shape.rows()
    assert X.shape == (shape.n, shape.d) and X.dtype == shape.dtype
    assert len(np.unique(y)) == shape.k
    again, _ = shape.rows()
    if shape.kind == "text":
        assert sp.issparse(X) and (again != X).nnz == 0 and X.nnz < 0.2 * X.shape[0] * X.shape[1]
        return
    assert np.array_equal(X, again)
    if shape.kind != "counts":
        assert np.all(X != 0)
    if shape.integers:
        assert np.all((X >= 0) & (X <= 255) & (np.round(X) == X))


def test_limits_are_those_of_the_formulas():
    work = limits.Work.of(np.zeros((12, 6)), 3, integers=False)
    counted = {
        FIT: 12 * 6 * 6 / 2 + 36,
        LEFT_OUT: 12 * 6 * 6 / 2 + 36 + 4 / 3 * 216 + 12 * 6 * 3 * 10 + 12 * 6 * 6,
        FOLDED: 12 * 6 * 6 / 2 + 50 * 36 + 36 + 12 * 6 * 3 * 10,
        PREDICT: 12 * 6 * 3,
    }
    for job, operations in counted.items():
        assert work.limit(job, ONES) == pytest.approx(operations)
    assert work.limit(ONE_ROW, ONES) is None
    wide = limits.Work.of(np.zeros((10, 20), np.float32), 2, integers=False)
    counted = {
        FIT: 10 * 20 * 10 / 2 + 1000 / 6 + 10 * 20,
        LEFT_OUT: 10 * 20 * 10 / 2 + 1000 / 6 + 10 * 20 + 4 / 3 * 1000 + 100 * (1 + 10),
        FOLDED: 10 * 20 * 10 / 2 + 50 * 512 / 6 + 1000 / 6 + 10 * 10 * 10,
        PREDICT: 10 * 20,
    }
    for job, operations in counted.items():
        assert wide.limit(job, ONES) == pytest.approx(operations)


def test_each_part_has_its_rate_and_no_job_is_faster_than_memory():
    X = np.ones((12, 6), np.uint8)
    work = limits.Work.of(X, 3, integers=True)
    triangle, double, products = work.operations(LEFT_OUT)
    rates = limits.Rates(float32=2.0, float64=3.0, integers=5.0, memory=1e9)
    expected = triangle / 5 + double / 3 + products / 2
    assert work.limit(LEFT_OUT, rates) == pytest.approx(expected)
    assert work.limit(LEFT_OUT, replace(rates, memory=1e-3)) == X.nbytes / 1e-3
    assert work.bound(LEFT_OUT, rates) == "`sgemm`"
    assert work.bound(LEFT_OUT, replace(rates, float64=0.1)) == "`dgemm`"
    assert work.bound(FIT, rates) == "integer kernel"
    assert work.bound(FIT, replace(rates, memory=1e-3)) == "reading"
    assert work.bound(ONE_ROW, rates) == ""
    # Reading takes longer than each of the others, but not than their sum.
    close = limits.Work(1, 1, 1, "float32", "float64", 4, 4.0, 10)
    assert close.bound(FIT, limits.Rates(1.0, 10.0, 1.0, 2.0)) == "reading"
    slow = limits.Rates(1.0, 1 / 20, 1.0, 2.0)
    assert close.limit(FIT, slow) == pytest.approx(4 + 20 / 6)
    assert close.bound(FIT, slow) == "`sgemm`"


@pytest.mark.parametrize("shape", [(12, 6), (6, 12)])
def test_sparse_rows_without_zeros_are_as_much_work_as_dense_ones(shape):
    X = np.ones(shape)
    dense, sparse = (limits.Work.of(rows, 3, integers=False) for rows in (X, sp.csr_matrix(X)))
    for job in JOBS:
        assert sparse.limit(job, ONES) == dense.limit(job, ONES)


def test_peers_give_the_same_answer():
    X, y = shapes.Shape(200, 30, 3, "float64").rows()
    ours = ParallelRidgeClassifier().fit(X, y)
    work = limits.Work.of(X, 3, integers=False)
    rates = limits.Rates(1e10, 1e10, 1e10, 1e10)
    found = shapes.trials(X, y, ours, work, rates)
    assert found[0].name == '`solver="cholesky"`'
    for trial in found[1:]:
        apart = shapes.decision(trial.model, X) - ours.decision_function(X)
        assert np.abs(apart).max() < 1e-2
    # Where none gives our answer, the default is left.
    other = ParallelRidgeClassifier(1e6).fit(X, y)
    assert len(shapes.trials(X, y, other, work, rates)) == 1


@pytest.mark.skipif(not measure.SEES_MEMORY, reason="this system tells no peak of memory")
@pytest.mark.parametrize("job", [FIT, LEFT_OUT, FOLDED, PREDICT])
def test_memory_of_a_job_is_measured(job):
    assert shapes.peak(shapes.QUICK[0], job, None) >= 0


@pytest.fixture
def rows(monkeypatch):
    """Results of two shapes; the grid search of the peer is too long, and its leave-one-out too."""
    monkeypatch.setattr(shapes, "QUICK", (shapes.QUICK[0], shapes.Shape(40, 60, 2)))
    monkeypatch.setattr(shapes, "LONG_GRID", 0)
    monkeypatch.setattr(shapes, "ROOM", 8e4)
    bounds = tuple((shapes.QUICK[0], *bound) for _, *bound in shapes.BOUNDS)
    monkeypatch.setattr(shapes, "BOUNDS", bounds)
    group = shapes.shapes(measure.Options(quick=True))
    return [json.loads(json.dumps(row.measure(1))) for row in group]


def test_what_takes_too_long_is_left_out_and_says_so(rows):
    jobs = {(row["name"], row["job"]): row for row in rows if "job" in row}
    assert len(jobs) == 5 + 4
    for (name, job), row in jobs.items():
        assert row["ours"], (name, job)
        if job == FOLDED:
            assert "50 fits, not run" in row["against"]
            assert row["peer"] == pytest.approx([50 * jobs[name, FIT]["peer"][0]], rel=1e-4)
    wide = jobs[shapes.QUICK[1].name, LEFT_OUT]
    assert "not run: about 0 GB" in wide["against"] and not wide["peer"] and not wide["target"]


def test_the_page_has_a_table_a_job_the_map_and_its_mean(rows, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    slow = next(row for row in rows if row.get("job") == FIT)
    slow |= {"ours": [0.2], "limit": 0.05, "bound": "`sgemm`", "peaks": [3.0, 20.0]}
    monkeypatch.setitem(limits.WHY, (slow["name"], FIT), "a reason.")
    results = {"shapes": {"quick": True, "machine": page.machine(), "rows": rows}}
    text = page.render(results, shapes.GROUPS)
    for job in JOBS:
        assert f"\n{job}:\n" in text
    assert "25% (`sgemm`): a reason." in text and "3.00 MiB, peer 20.0 MiB" in text
    ratios = page.ratios(results["shapes"])
    assert f"The geometric mean of the {len(ratios)} ratios is" in text
    assert f"{sum(value < 1 for value in ratios)} of them" in text or "none of them" in text
    for _, _, unit, bound in shapes.BOUNDS:
        assert f"at most {bound:g} {unit}" in text
    draw(results, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [page.map_name("shapes")]
    assert page.map_name("shapes") in text


def test_a_far_limit_wants_a_reason():
    row = {"name": "rows", "job": FIT, "limit": 0.01, "bound": "reading", "ours": [0.2]}
    assert page.of_the_limit(row) == "5% (reading): not explained yet"
    assert page.of_the_limit(row | {"ours": [0.015]}) == "67% (reading)"
    assert page.of_the_limit(row | {"ours": [0.04]}) == "25% (reading)"  # too short to matter
    assert page.of_the_limit(row | {"limit": None}) == ""
