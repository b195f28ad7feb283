"""The benchmarks run, their page is drawn from results, and the README quotes that page."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))  # the benchmarks are not installed

from benchmarks import features, images, measure, page, scale, shapes, study  # noqa: E402
from benchmarks.__main__ import PAGE, RESULTS, find_groups  # noqa: E402
from benchmarks.figures import draw, draw_overview  # noqa: E402

GROUPS = find_groups()
# Those of other engines, and scikit-learn's searches of minutes, are left to `make bench-quick`.
SHORT = [
    name
    for name in GROUPS
    if name.startswith(("peers", "study", "scale"))
    or name in ("statistics", "dense", "threads", "shapes", "batches", "features", "streams")
]
OTHERS = {"series", "curves", "split", "lines"}  # what holds measurements that are no comparison's
NUMBER = re.compile(r"([\d,]+(?:\.\d+)?) (ms|s|MiB)\b")


def test_the_page_is_that_of_the_results():
    """`python -m benchmarks --render` would change nothing."""
    results = json.loads(RESULTS.read_text())
    assert page.render(results, GROUPS) == PAGE.read_text()


@pytest.mark.parametrize("name", SHORT)
def test_a_group_is_measured_rendered_and_drawn(name, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(measure.Options, "images", 200)
    monkeypatch.setattr(study, "QUICK_SIZES", (60, 120))
    monkeypatch.setattr(study, "HAND_SHAPE", (6, 4))
    monkeypatch.setattr(images, "HAND_SHAPE", (6, 4))
    monkeypatch.setattr(scale, "QUICK_STREAM", 2_000)
    monkeypatch.setattr(shapes, "QUICK", shapes.QUICK[:2])
    monkeypatch.setattr(features, "find_spec", lambda name: None)  # compiling takes long
    images.hands.cache_clear()
    options = measure.Options(quick=True)
    rows = [json.loads(json.dumps(row.measure(1))) for row in GROUPS[name](options)]
    images.hands.cache_clear()
    results = {name: {"quick": True, "machine": page.machine(), "rows": rows}}
    text = page.render(results, GROUPS)
    for row in rows:
        assert row["name"] in text
        assert row.get("ours") or row.get("note") or OTHERS & set(row), row
    draw(results, tmp_path)
    draw_overview(results, GROUPS, tmp_path)
    shown = re.findall(r"\(figures/([^)]+)\)", text)
    assert sorted(shown) == sorted(file.name for file in tmp_path.iterdir())


def test_exponents_and_overheads_are_those_of_the_law():
    assert page.exponent({str(n): [3e-9 * n**2.5] for n in (10, 100, 1000)}) == pytest.approx(2.5)
    split = {"split": {str(p): [0.25 + 3 / p] for p in (1, 2, 4)}}
    assert page.amdahl(split) == pytest.approx((0.25, 3))
    # More threads take longer: nothing is parallel, and nothing is negative.
    assert page.amdahl({"split": {"1": [1.0], "2": [2.0]}}) == pytest.approx((1.5, 0), abs=1e-9)


@pytest.mark.parametrize(("seconds", "warm_ups"), [(5, 0), (30, 1)])  # long warm-ups count
def test_a_long_comparison_is_measured_less_often(monkeypatch, seconds, warm_ups):
    monkeypatch.setattr(measure, "PAUSE", 0)
    clock = iter(range(0, 10_000, seconds))
    monkeypatch.setattr(measure.time, "monotonic", lambda: next(clock))
    calls = []
    a, b = measure.in_turns([lambda: calls.append(0) or 1.0, lambda: 2.0], [7, 7])
    assert len(a) == len(b) == measure.LEAST
    assert len(calls) == measure.LEAST + 1 - warm_ups
    a, b = measure.in_turns([lambda: 1.0, lambda: 2.0], [7, 1])  # once, in the middle
    assert len(a) == 4 + warm_ups and len(b) == 1


@pytest.mark.parametrize("move", [(0, 0), (2, -1), (-1, 3)])
def test_shifted_images_are_images_moved(move):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (3, 7, 6), dtype=np.uint8)
    moved = images.shifted(pictures, *move, np.empty_like(pictures))
    rows = (np.arange(7) - move[0]).clip(0, 6)
    columns = (np.arange(6) - move[1]).clip(0, 5)
    assert np.array_equal(moved, pictures[:, rows][:, :, columns])


def test_a_stream_has_the_images_asked_for():
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 256, (50, 35), dtype=np.uint8), np.arange(50, dtype=np.uint8)
    batches = [
        (rows.copy(), labels.copy()) for rows, labels in images.stream(X, y, (7, 5), 135 * 50, 20)
    ]
    rows, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    assert len(rows) == 135 * 50 and np.all(np.bincount(labels) == 135)
    assert len(np.unique(rows, axis=0)) == len(rows)  # no image twice
    assert sum(len(part) for part, _ in images.stream(X, y, (7, 5), 333, 20)) == 333


def test_the_readme_quotes_the_page():
    """Both sides and the ratio of each row stand in one row of the page, to the digits shown."""

    def numbers(text):
        return [(float(n.replace(",", "")), unit, n) for n, unit in NUMBER.findall(text)]

    def decimals(text):
        return len(text.partition(".")[2])

    quoted = [
        line.strip("| ").split(" | ")
        for line in (ROOT / "README.md").read_text().splitlines()
        if line.startswith("| ") and NUMBER.search(line)
    ]
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    assert quoted
    for cells in quoted:
        wanted = [number for cell in cells[1:3] for number in numbers(cell)[:1]]
        ratio = cells[3]
        fitting = [
            line
            for line in lines
            if all(
                any(abs(n - m) < 10.0 ** -decimals(text) and unit == u for m, u, _ in numbers(line))
                for n, unit, text in wanted
            )
            and any(
                abs(float(ratio) - float(cell)) < 10.0 ** -decimals(ratio)
                for cell in line.split(" | ")
                if re.fullmatch(r"\d+\.\d+", cell)
            )
        ]
        assert fitting, f"{cells} is not on the page of benchmarks"
