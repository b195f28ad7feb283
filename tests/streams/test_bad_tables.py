"""Bad tables and files: errors name column, row and file; nothing is half fitted, no thread is left."""

import threading

import numpy as np
import pytest
from numpy.testing import assert_array_equal

pytest.importorskip("pyarrow")

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from _data.streams import digits, in_folder, table, wide_table

from parallel_ridge import OpenMPBackend, ParallelRidgeClassifier, ParallelRidgeClassifierCV


@pytest.fixture(autouse=True)
def no_threads_left():
    yield
    assert not [t.name for t in threading.enumerate() if t.name.startswith("read-ahead")]


@pytest.fixture
def model():
    return ParallelRidgeClassifier().partial_fit(*digits())


def refused(model, match, X, y="label", sample_weight=None, kind=ValueError):
    """Fit and partial_fit raise; the estimator is as it was."""
    before, statistics = model.coef_.copy(), model.statistics_
    for method in (model.fit, model.partial_fit):
        with pytest.raises(kind, match=match):
            method(X, y, sample_weight=sample_weight)
    assert_array_equal(model.coef_, before)
    assert model.statistics_ == statistics


def test_a_missing_column(model):
    rows = table(*digits())
    refused(model, r"no column 'target'; the columns are \['pixels', 'label'\]", rows, "target")
    refused(model, "no column 'w'", rows, "label", "w")
    refused(model, r"y is missing.*\['pixels', 'label'\]", rows, None)
    with pytest.raises(ValueError, match="no column 'subject'"):
        ParallelRidgeClassifierCV(cv=3).fit(rows, "label", groups="subject")
    backend = OpenMPBackend(features=["x1", "x9"])
    with pytest.raises(ValueError, match="no column 'x1'"):
        ParallelRidgeClassifier(backend=backend).fit(rows, "label")
    fitted = ParallelRidgeClassifier().fit(rows, "label")
    with pytest.raises(ValueError, match="no column 'pixels'"):
        fitted.predict(rows.select(["label"]))


def test_no_column_of_features_or_several(model):
    X, y = digits()
    rows = pa.table({"label": y, "name": [str(label) for label in y]})
    refused(model, "No column holds features", rows)
    rows = table(X, y).append_column("more", table(X, y).column("pixels"))
    refused(model, r"Several columns hold whole rows: \['pixels', 'more'\]", rows)
    twice = pa.Table.from_arrays([*rows.columns], names=["pixels", "label", "pixels"])
    refused(model, "2 columns 'pixels'", twice)


@pytest.mark.parametrize("column", ["pixels", "label", "w"])
def test_nulls(model, column, tmp_path):
    X, y = digits()
    rows = table(X, y, w=np.ones(len(X)))
    values = rows.column(column).to_pylist()
    values[301] = None
    rows = rows.set_column(rows.schema.get_field_index(column), column, [values])
    message = f"Column '{column}' is null in row 301"
    refused(model, message, rows, "label", "w")
    refused(model, message, str(in_folder(rows, tmp_path, n_files=1)), "label", "w")


def test_ragged_lists(model):
    X, y = digits()
    lists = X.tolist()
    lists[500] = lists[500][:-1]
    refused(model, "63 values in row 500", pa.table({"pixels": lists, "label": y}))


def test_not_finite_rows_and_bad_weights(model, tmp_path):
    X, y = digits(np.float64)
    X[444, 5] = np.nan
    folder = str(in_folder(table(X, y), tmp_path))
    refused(model, "NaN: row 444, column 5", folder)
    X, y = digits()
    w = np.where(np.arange(len(X)) == 600, -2.0, 1.0)
    refused(model, "column 'w' has -2.0 in row 600", table(X, y, w=w), "label", "w")


def test_files_that_differ(model, tmp_path):
    X, y = digits()
    folder = in_folder(table(X, y), tmp_path)
    pq.write_table(table(X.astype(np.float32), y), folder / "part-1.parquet")
    refused(model, r"column 'pixels': .*uint8.* in .*part-0.*float.* in .*part-1", str(folder))
    pq.write_table(table(X, y).rename_columns(["pixels", "class"]), folder / "part-1.parquet")
    refused(model, r"column 'label': int64 in .*part-0.*no such column in .*part-1", str(folder))


@pytest.mark.parametrize("damage", ["truncated", "overwritten"])
def test_a_damaged_file(model, damage, tmp_path):
    X, y = digits()
    rng = np.random.default_rng(0)
    X = rng.integers(0, 255, (3000, 64)).astype(np.uint8)
    y = rng.integers(0, 3, 3000)
    folder = in_folder(table(X, y), tmp_path, row_group_size=200)
    path = folder / "part-1.parquet"
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 2]
    else:  # what is in the middle is no longer compressed data
        middle = len(content) // 2
        content[middle : middle + 3000] = b"\xff" * 3000
    path.write_bytes(content)
    refused(model, r"part-1\.parquet cannot be read", str(folder))


def test_paths_without_rows(model, tmp_path):
    refused(model, "names no file", "mnist.parquet")
    refused(model, "names no file", f"{tmp_path}/*.parquet")
    refused(model, "no files of parquet", tmp_path)
    refused(model, r"h5py\.File\('rows\.h5'\)", "rows.h5")
    (tmp_path / "notes.parquet").write_text("no table")
    refused(model, "notes.parquet", tmp_path)
    X, y = digits()
    empty = tmp_path / "empty"
    empty.mkdir()
    in_folder(table(X, y).slice(0, 0), empty)
    refused(model, "There are no rows", str(empty))
    refused(model, "There are no rows", table(X, y).slice(0, 0))
    fitted = ParallelRidgeClassifier().fit(X, y)
    with pytest.raises(ValueError, match="There are no rows"):
        fitted.predict(str(empty))


def test_arrays_beside_a_table_have_its_length(model):
    X, y = digits()
    rows = table(X, y).select(["pixels"])
    refused(model, r"X has 700 rows, and y .* has 701", rows, np.append(y, 0))
    refused(model, r"more than the 699 rows", rows, y[:-1])
    refused(model, r"expected \(700,\)", rows, y, np.ones(699))


def test_a_reader_used_twice_says_so(model):
    X, y = digits()
    reader = table(X, y).to_reader(100)
    ParallelRidgeClassifier().fit(reader, "label")
    refused(model, "There are no rows|can be read once", reader)
    with pytest.raises(ValueError, match="RecordBatchReader, can be read once"):
        ParallelRidgeClassifierCV(cv=3).fit(table(X, y).to_reader(100), "label")


def test_rows_that_change_between_passes(tmp_path):
    X, y = digits()
    flips = iter([y, y])  # for the schema, and for the first pass

    class Changing:
        def __arrow_c_stream__(self, requested_schema=None):
            labels = next(flips, y[::-1])
            return table(X, labels).__arrow_c_stream__(requested_schema)

    with pytest.raises(ValueError, match="other labels than in the first pass"):
        ParallelRidgeClassifierCV(cv=3).fit(Changing(), "label")


def test_an_error_of_the_fold_ends_the_reader(tmp_path, monkeypatch):
    X, y = digits()
    rows = str(in_folder(table(X, y), tmp_path))
    for error in (KeyboardInterrupt, MemoryError):

        def add(self, total, block, error=error):
            raise error

        with monkeypatch.context() as patch:
            patch.setattr("parallel_ridge.reductions.StatisticsReduction.add", add)
            try:
                ParallelRidgeClassifier().fit(rows, "label")
            except error as raised:  # its traceback is alive, and the thread is not
                assert raised.__traceback__ is not None
                names = [t.name for t in threading.enumerate()]
                assert not [name for name in names if name.startswith("read-ahead")]
            else:
                pytest.fail("no error")


def test_only_the_columns_needed_are_read(tmp_path):
    X, y = digits()
    note = [f"a text without an end, {i}" for i in range(len(X))]
    folder = in_folder(table(X, y, note=note), tmp_path)
    for path in folder.glob("*.parquet"):  # what nobody reads may be damaged
        content = bytearray(path.read_bytes())
        metadata = pq.read_metadata(path)
        for group in range(metadata.num_row_groups):
            chunk = metadata.row_group(group).column(metadata.num_columns - 1)
            assert chunk.path_in_schema == "note"
            start = chunk.dictionary_page_offset or chunk.data_page_offset
            content[start : start + chunk.total_compressed_size] = (
                b"\xff" * chunk.total_compressed_size
            )
        path.write_bytes(content)
    with pytest.raises((OSError, pa.ArrowException)):
        ds.dataset(folder).to_table(columns=["note"])
    model = ParallelRidgeClassifier().fit(folder, "label")
    assert_array_equal(model.predict(folder), ParallelRidgeClassifier().fit(X, y).predict(X))


def test_names_of_columns_need_columns():
    X, _y = digits()
    with pytest.raises(
        ValueError, match="y='label' would be the name of a column, and X is a ndarray"
    ):
        ParallelRidgeClassifier().fit(X, "label")


@pytest.mark.parametrize("make", [table, wide_table])
def test_a_missing_pyarrow_names_the_extra(make, monkeypatch):
    import sys

    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"parallel-ridge\[arrow\]"):
        ParallelRidgeClassifier().fit("rows.parquet", "label")
