"""Files of statistics."""

import io
import json
import os
import pickle
import re
import stat
import sys
import tracemalloc
import zipfile
from dataclasses import fields, replace

import numpy as np
import pytest
from _data.statistics import make_table, named, of
from numpy.testing import assert_array_equal

from parallel_ridge import SufficientStatistics, sufficient_statistics


def dump(statistics):
    stream = io.BytesIO()
    statistics.save(stream)
    return stream.getvalue()


def parse(content):
    return SufficientStatistics.load(io.BytesIO(content))


def assert_restored(loaded, statistics):
    assert loaded == statistics
    for field in fields(statistics):
        value, expected = getattr(loaded, field.name), getattr(statistics, field.name)
        assert type(value) is type(expected)
        if isinstance(expected, np.ndarray):
            assert value.dtype == expected.dtype
            assert value.flags.writeable
    assert loaded + loaded == statistics + statistics


def test_saving_and_loading_changes_nothing(some, tmp_path):
    for path in (tmp_path / "a.npz", str(tmp_path / "no suffix")):
        some.save(path)
        assert_restored(SufficientStatistics.load(path), some)
    assert sorted(os.listdir(tmp_path)) == ["a.npz", "no suffix"]
    assert_restored(parse(dump(some)), some)
    assert dump(some) == (tmp_path / "a.npz").read_bytes()


def test_a_stream_may_begin_anywhere():
    some, stream = of(make_table(9)), io.BytesIO()
    stream.write(b"before")
    some.save(stream)
    stream.seek(6)
    assert_restored(SufficientStatistics.load(stream), some)


def test_a_saved_file_holds_one_triangle():
    assert len(dump(of(make_table(9, d=300)))) < 0.6 * 300 * 300 * 8


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of files are not of this kind")
def test_a_saved_file_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "any").write_bytes(b"")
    of(make_table(9)).save(tmp_path / "saved")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("any", "saved")]
    assert modes[0] == modes[1]


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path, old = tmp_path / "statistics.npz", of(make_table(9))
    old.save(path)

    def full_disk(stream, **arrays):
        stream.write(b"half of it")
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full_disk)
        with pytest.raises(OSError, match="No space left"):
            of(make_table(20)).save(path)
    with pytest.raises(ValueError, match="neither numbers, strings nor dates"):
        replace(old, classes=np.array([None, 1, 2, 3], dtype=object)).save(path)
    assert SufficientStatistics.load(path) == old
    assert os.listdir(tmp_path) == ["statistics.npz"]
    of(make_table(20)).save(path)
    assert SufficientStatistics.load(path) == of(make_table(20))


def test_a_file_that_is_not_there_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        SufficientStatistics.load(tmp_path / "nothing.npz")
    with pytest.raises(FileNotFoundError):
        of(make_table(9)).save(tmp_path / "no folder" / "statistics.npz")


def not_loaded(path):
    return pytest.raises(
        ValueError, match=f"Cannot load sufficient statistics from {re.escape(repr(str(path)))}: "
    )


def test_a_truncated_file_is_refused_at_every_length(tmp_path):
    content, path = dump(of(make_table(9, d=2))), tmp_path / "cut.npz"
    for length in [*range(0, len(content), 7), *range(len(content) - 60, len(content))]:
        path.write_bytes(content[:length])
        with not_loaded(path):
            SufficientStatistics.load(path)


@pytest.mark.parametrize("flip", [0xFF, 0x01, 0x20, 0x80])
def test_a_flipped_byte_is_refused_or_does_not_matter(flip):
    some = of(make_table(9, d=2, dtype="uint8"))
    content, n_refused = dump(some), 0
    for position in range(flip % 3, len(content), 3):
        damaged = bytearray(content)
        damaged[position] ^= flip
        try:
            assert parse(bytes(damaged)) == some
        except ValueError as error:
            assert "Cannot load sufficient statistics from the stream: " in str(error)
            n_refused += 1
    assert n_refused > 0.5 * len(content) / 3


def crafted(changes=None, **arrays):
    """A file like a saved one but for these entries; None leaves one out."""
    with np.load(io.BytesIO(dump(three_classes()))) as archive:
        entries = {name: archive[name] for name in archive.files}
    changed = json.loads(entries["header"].tobytes()) | (changes or {})
    entries["header"] = np.frombuffer(json.dumps(changed).encode(), np.uint8)
    stream = io.BytesIO()
    np.savez(stream, **{k: v for k, v in (entries | arrays).items() if v is not None})
    return stream.getvalue()


def three_classes():
    return of(make_table(9, d=2, dtype="uint8", n_classes=3))


def test_a_crafted_file_without_changes_loads():
    assert parse(crafted()) == three_classes()


UNLIKE = {
    "other format": ({"format": "something else"}, {}, "format is 'something else'"),
    "newer version": ({"version": 3}, {}, "version 3 is newer than 2"),
    "text version": ({"version": "1"}, {}, ""),
    "other dtype": ({"dtype": "<i4"}, {}, "coefficients cannot be int32"),
    "object dtype": ({"dtype": "|O"}, {}, "coefficients cannot be object"),
    "no dtype": ({"dtype": "none"}, {}, ""),
    "endless rows": ({"n_samples": float("inf")}, {}, ""),
    "negative rows": ({"n_samples": -1}, {}, ""),
    "other rows": ({"n_samples": 10}, {}, ""),
    "weights not a number": ({"weight_sum": float("nan")}, {}, ""),
    "no header": ({}, {"header": None}, "header"),
    "header of text": ({}, {"header": np.array("text")}, ""),
    "header of objects": ({}, {"header": np.frombuffer(b"[1, 2]", np.uint8)}, ""),
    "header without end": ({}, {"header": np.frombuffer(b"[" * 99_999, np.uint8)}, ""),
    "no shift": ({}, {"shift": None}, "shift"),
    "no triangle": ({}, {"triangle": None}, "triangle"),
    "short shift": ({}, {"shift": np.zeros(1)}, "feature_sums has shape"),
    "scalar shift": ({}, {"shift": np.array(0.0)}, ""),
    "long triangle": ({}, {"triangle": np.zeros(4, np.int64)}, "triangle has shape"),
    "square triangle": ({}, {"triangle": np.zeros((2, 2), np.int64)}, "triangle has shape"),
    "class sums": ({}, {"class_sums": np.zeros((2, 3), np.int64)}, "class_sums has shape"),
    "column of classes": ({}, {"classes": np.zeros((3, 1))}, "classes has shape"),
    "other sums": ({}, {"triangle": np.zeros(3, np.float32)}, "sums are float32"),
    "mixed sums": ({}, {"triangle": np.zeros(3)}, "feature_sums is int64"),
    "float counts": ({}, {"class_counts": np.ones(3)}, "class_counts is float64"),
    "negative counts": ({}, {"class_counts": np.array([10, -4, 3])}, ""),
    "other counts": ({}, {"class_counts": np.array([1, 1, 1])}, ""),
    "classes descending": ({}, {"classes": np.array([2, 1, 0])}, "classes"),
    "classes repeated": ({}, {"classes": np.array([0, 1, 1])}, "classes"),
    "feature names": ({"feature_names": ["a"]}, {}, "feature_names has shape"),
    "no features": (
        {},
        {
            **{name: np.zeros(0) for name in ("shift", "rounding")},
            **{name: np.zeros(0, np.int64) for name in ("feature_sums", "triangle")},
            "class_sums": np.zeros((3, 0), np.int64),
        },
        "no features",
    ),
    "more rows than can be": ({"n_samples": 10**30}, {}, "cannot be 10+ rows"),
    "negative squares": ({}, {"triangle": np.array([-1, 0, 1])}, "sum of squares is negative"),
    "sums beyond squares": ({}, {"feature_sums": np.array([10**6, 0])}, "sums of a column"),
    "negative weights": (
        {},
        {"class_weights": np.array([12.0, -4.0, 1.0])},
        "weights of the classes",
    ),
    "other weights": ({}, {"class_weights": np.ones(3)}, "do not add up"),
    "weighted integers": (
        {"weight_sum": 18.0},
        {"class_weights": 2.0 * np.bincount(make_table(9, d=2, dtype="uint8", n_classes=3).y)},
        "not the numbers of rows",
    ),
    "endless weights": ({"weight_sum": 1e308}, {}, "do not add up"),
    "negative rounding": ({}, {"rounding": np.full(2, -1.0)}, "rounding"),
    "endless rounding": ({}, {"rounding": np.full(2, np.inf)}, "rounding"),
    "no rounding": ({}, {"rounding": None}, "rounding"),
    "rows as a float": ({"n_samples": 9.0}, {}, "header's n_samples is 9.0"),
    "rows as text": ({"n_samples": "9"}, {}, "header's n_samples is '9'"),
    "weights as text": ({"weight_sum": "9"}, {}, "header's weight_sum"),
    "multilabel as a number": ({"multilabel": 1}, {}, "header's multilabel is 1"),
    "labels as a number": ({"labels_are_objects": 0}, {}, "header's labels_are_objects"),
    "version as a flag": ({"version": True}, {}, "header's version is True"),
    "labels that are no text": ({"labels": [1, 2, 3]}, {}, "header's labels are not strings"),
    "names that are no text": ({"feature_names": [1, 2]}, {}, "feature_names are not strings"),
    "short rounding": ({}, {"rounding": np.zeros(1)}, "rounding"),
    "no label": ({}, {"classes": np.array([0.0, 1.0, np.nan])}, "classes"),
    "no time": ({}, {"classes": np.array([1, 2, "NaT"], "M8[D]")}, "classes"),
    "not finite": ({}, {"class_weights": np.array([1, np.nan, 1])}, "class_weights is not finite"),
}


@pytest.mark.parametrize(("header", "arrays", "message"), UNLIKE.values(), ids=UNLIKE)
def test_a_file_that_is_not_like_a_saved_one_is_refused(header, arrays, message, tmp_path):
    path = tmp_path / "crafted.npz"
    path.write_bytes(crafted(header, **arrays))
    with not_loaded(path) as caught:
        SufficientStatistics.load(path)
    assert re.search(message, str(caught.value))


def npy_header(shape):
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def zipped(name, content):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, content)
    return stream.getvalue()


def npy():
    stream = io.BytesIO()
    np.save(stream, np.arange(3))
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no archive",
        npy(),
        zipped("header", "text"),
        zipped("header.npy", "text"),
        zipped("header.npy", npy_header(f"({10**15},)")),
        zipped("header.npy", npy_header(f"({10**21},)")),
        pickle.dumps(three_classes()),
    ],
    ids=["empty", "text", "npy", "text entry", "no npy", "huge", "huger", "pickle"],
)
def test_a_file_of_another_kind_is_refused(content, tmp_path):
    path = tmp_path / "other.npz"
    path.write_bytes(content)
    with not_loaded(path):
        SufficientStatistics.load(path)


class MakesFolder:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_an_unknown_member_is_not_read():
    stream = io.BytesIO(crafted())
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("anything.npy", npy_header(f"({2**25},)") + bytes(2**28))
    assert len(stream.getvalue()) < 2**20
    tracemalloc.start()
    assert parse(stream.getvalue()) == three_classes()
    assert tracemalloc.get_traced_memory()[1] < 2**23
    tracemalloc.stop()


def test_a_member_larger_than_the_file_is_refused_before_it_is_read():
    content, many = bytearray(zipped("header.npy", npy_header(f"({2**27},)"))), 2**30 + 128
    entry = content.index(b"PK\x01\x02")  # of the central directory
    content[entry + 20 : entry + 28] = many.to_bytes(4, "little") * 2
    tracemalloc.start()
    with pytest.raises(ValueError, match=f"'header' claims to have {many} bytes"):
        parse(bytes(content))
    assert tracemalloc.get_traced_memory()[1] < 2**23
    tracemalloc.stop()


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("multilabel", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_differences_are_saved_and_loaded_whatever_rounding_left_of_them(
    dtype, multilabel, version
):
    rng = np.random.default_rng(0)
    for _ in range(60):
        n, d = rng.integers(4, 40), rng.integers(1, 4)
        X = 10.0 ** rng.uniform(0, 2) * (rng.normal(size=(n, d)) + 10.0 ** rng.uniform(0, 4))
        X = (X % 256).astype(dtype) if dtype == "uint8" else X.astype(dtype)
        y = rng.integers(0, 2, (n, 3)) if multilabel else np.arange(n) % 3
        weights = 10.0 ** rng.uniform(-9, 9, n) if rng.random() < 0.7 else None
        some = slice(0, rng.integers(1, n + 1))
        parts = [
            sufficient_statistics(
                X[rows], y[rows], sample_weight=None if weights is None else weights[rows],
                classes=np.arange(3),
            )
            for rows in (slice(None), some)
        ]  # fmt: skip
        rest = parts[0] - parts[1]
        assert rest.weight_sum >= 0.0 and (rest.class_weights >= 0.0).all()
        empty = rest.class_counts == 0
        assert not rest.class_sums[empty].any() and not rest.class_weights[empty].any()
        if rest.n_samples == 0:
            assert not rest.gram.any() and rest.weight_sum == 0.0
        stream = io.BytesIO()
        if version == 2:
            rest.save(stream)
            assert parse(stream.getvalue()) == rest
            continue
        # Version 1 kept what rounding left.
        some = replace(
            rest,
            gram=rest.gram - np.triu(np.ones_like(rest.gram)),
            class_weights=rest.class_weights - 1e-3,
        )
        loaded = parse(as_first_version(some))
        assert_array_equal(loaded.gram, some.gram if rest.n_samples else rest.gram)
        assert (loaded.class_weights >= 0.0).all()
        assert (loaded.rounding >= -loaded.gram.diagonal()).all()


def as_first_version(statistics):
    """What version 1 wrote, which had no rounding errors."""
    header = {
        "format": "parallel_ridge.SufficientStatistics", "version": 1,
        "n_samples": int(statistics.n_samples), "weight_sum": float(statistics.weight_sum),
        "dtype": statistics.dtype.str, "multilabel": statistics.multilabel,
        "labels_are_objects": False,
    }  # fmt: skip
    arrays = ["shift", "feature_sums", "classes", "class_counts", "class_weights", "class_sums"]
    entries = {name: getattr(statistics, name) for name in arrays}
    entries["triangle"] = statistics.gram[np.triu_indices(statistics.n_features)]
    if statistics.feature_names is not None:
        entries["feature_names"] = statistics.feature_names.astype(str)
    stream = io.BytesIO()
    np.savez(stream, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **entries)
    return stream.getvalue()


@pytest.mark.parametrize("member", ["triangle", "header", "classes"])
def test_a_compressed_or_doubled_member_is_refused(member, tmp_path):
    with zipfile.ZipFile(io.BytesIO(crafted())) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    for number, kind in enumerate((zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED)):
        path = tmp_path / f"{number}.npz"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in entries.items():
                own = kind if name == f"{member}.npy" else zipfile.ZIP_STORED
                archive.writestr(name, content, own)
            if kind == zipfile.ZIP_STORED:
                with pytest.warns(UserWarning, match="Duplicate name"):
                    archive.writestr(f"{member}.npy", entries[f"{member}.npy"])
        with not_loaded(path) as caught:
            SufficientStatistics.load(path)
        assert re.search(f"{member}.* is compressed|two members .*{member}", str(caught.value))


@pytest.mark.parametrize("names", [None, ["a", "b"]])
@pytest.mark.parametrize("labels", [[0, 1, 2], ["a", "b", "c"]])
def test_files_of_the_first_version_load(labels, names, tmp_path):
    table = make_table(300, d=2, n_classes=3)
    y = np.array(labels)[table.y]
    statistics = sufficient_statistics(table.X, y)
    if names:
        statistics = named(statistics, names)
    path = tmp_path / "first.npz"
    path.write_bytes(as_first_version(statistics))
    assert SufficientStatistics.load(path) == statistics


@pytest.mark.parametrize("entry", ["header", "classes", "feature_names"])
def test_nothing_in_a_file_is_executed(entry, tmp_path):
    trap = np.array([MakesFolder(tmp_path / "executed")] * 3, dtype=object)
    path = tmp_path / "trap.npz"
    path.write_bytes(crafted(**{entry: trap}))
    with not_loaded(path):
        SufficientStatistics.load(path)
    assert os.listdir(tmp_path) == ["trap.npz"]
    np.load(path, allow_pickle=True)[entry]  # the trap does work
    assert (tmp_path / "executed").is_dir()


@pytest.mark.parametrize("shift", [[1.0], [np.nan] * 5, np.zeros((5, 1))], ids=str)
def test_a_shift_that_does_not_fit_the_features_is_refused(shift):
    X = np.random.default_rng(0).normal(size=(20, 5))
    with pytest.raises(ValueError, match="shift must be 5 finite numbers"):
        sufficient_statistics(X, np.arange(20) % 2, shift=shift)
