"""Arrow arrays as rows: every layout gives the values, views where there can be, and clear errors."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

pa = pytest.importorskip("pyarrow")

from parallel_ridge.sources import Target  # noqa: E402
from parallel_ridge.spark._readers import (  # noqa: E402
    BatchReader,
    BlockReader,
    Groups,
    PartitionSource,
)
from parallel_ridge.streams import (  # noqa: E402
    FoundLabels,
    read_features,
    read_labels,
    read_weights,
)

VECTOR = pa.struct(
    [
        pa.field("type", pa.int8()),
        pa.field("size", pa.int32()),
        pa.field("indices", pa.list_(pa.int32())),
        pa.field("values", pa.list_(pa.float64())),
    ]
)
WHOLE = {
    "binary": pa.binary(),
    "large_binary": pa.large_binary(),
    "fixed_binary": pa.binary(4),
    "list": pa.list_(pa.float32()),
    "large_list": pa.large_list(pa.float64()),
    "fixed_list": pa.list_(pa.int16(), 4),
    "booleans": pa.list_(pa.bool_()),
    "decimals": pa.list_(pa.decimal128(6, 2)),
}


def dense(values):
    return {"type": 1, "size": None, "indices": None, "values": values}


def sparse(size, indices, values):
    return {"type": 0, "size": size, "indices": indices, "values": values}


def rows_of(X, kind):
    if "binary" in str(kind):
        return [bytes(row) for row in X.tolist()]
    if "bool" in str(kind):
        return (X > 3).tolist()
    if "decimal" in str(kind):
        from decimal import Decimal

        return [[Decimal(v) for v in row] for row in X.tolist()]
    return X.tolist()


@pytest.mark.parametrize("kind", WHOLE.values(), ids=WHOLE)
@pytest.mark.parametrize("cut", [slice(0, 9), slice(2, 7), slice(8, 9)])
def test_whole_rows_are_read_from_every_layout_and_slice(kind, cut):
    X = np.random.default_rng(0).integers(0, 9, (9, 4))
    array = pa.array(rows_of(X, kind), kind)[cut]
    read = read_features([array], ("x",))
    np.testing.assert_array_equal(read, X[cut] > 3 if "bool" in str(kind) else X[cut])
    if "bool" not in str(kind) and "decimal" not in str(kind):
        memory = (array if "binary" in str(kind) else array.values).buffers()[-1]
        assert memory.address <= read.ctypes.data < memory.address + memory.size


def test_an_array_with_a_validity_bitmap_but_no_nulls_is_read():
    array = pa.array([[1.0, 2.0], None, [3.0, 4.0]], pa.list_(pa.float64()))
    np.testing.assert_array_equal(read_features([array[2:]], ("x",)), [[3.0, 4.0]])
    array = pa.array([b"ab", None, b"cd"])
    np.testing.assert_array_equal(read_features([array[2:]], ("x",)), [[99, 100]])


def test_columns_of_numbers_get_their_common_type():
    columns = [pa.array([1, 2], pa.int8()), pa.array([0.5, 1.5], pa.float32())]
    X = read_features(columns, ("a", "b"))
    assert X.dtype == np.float32
    np.testing.assert_array_equal(X, [[1, 0.5], [2, 1.5]])
    X = read_features([pa.array([True, False]), pa.array([3, 4], pa.uint8())], ("a", "b"))
    assert X.dtype == np.uint8


@given(
    st.lists(st.lists(st.integers(-3, 3), min_size=40, max_size=40), min_size=1, max_size=8),
    st.data(),
)
def test_vectors_dense_and_sparse_are_read(rows, data):
    X = np.array(rows, dtype=np.float64)
    structs = []
    for row in X:
        if data.draw(st.booleans()):
            structs.append(dense(row.tolist()))
        else:
            at = np.flatnonzero(row)
            structs.append(sparse(40, at.tolist(), row[at].tolist()))
    first = data.draw(st.integers(0, len(X) - 1))
    read = read_features([pa.array(structs, VECTOR)[first:]], ("v",))
    np.testing.assert_array_equal(read.toarray() if sp.issparse(read) else read, X[first:])


def test_sparse_vectors_stay_sparse_and_dense_ones_become_dense():
    few = pa.array([sparse(100, [3], [2.0])] * 5, VECTOR)
    assert sp.issparse(read_features([few], ("v",)))
    many = pa.array([sparse(4, [1, 3], [1.0, 2.0])] * 5, VECTOR)
    assert isinstance(read_features([many], ("v",)), np.ndarray)
    swapped = pa.array([sparse(100, [5, 3], [2.0, 1.0])], VECTOR)  # made by hand
    assert read_features([swapped], ("v",)).has_canonical_format


@pytest.mark.parametrize(
    ("arrays", "names", "message"),
    [
        ([pa.array([b"ab", None])], ("x",), r"'x' is null in row 8"),
        ([pa.array([b"ab", b"abc"])], ("x",), r"'x' has 3 bytes in row 8 and 2 in row 7"),
        ([pa.array([[1.0, None], [2.0, 3.0]])], ("x",), r"'x'.*null in row 7, at position 1"),
        ([pa.array([[1.0], [2.0, 3.0]])], ("x",), r"'x' has 2 values in row 8"),
        ([pa.array(["a"])], ("x",), r"'x' is string; rows are binary"),
        ([pa.array([["a"]])], ("x",), r"must hold numbers"),
        ([pa.array([b""])], ("x",), r"no features in row 7"),
        ([pa.array([1, 2]), pa.array([1, None])], ("a", "b"), r"'b' is null in row 8"),
        ([pa.array([1]), pa.array(["a"])], ("a", "b"), r"'b' is string"),
        ([pa.array([dense([1.0]), dense([1.0, 2.0])], VECTOR)], ("v",), r"'v' has 2 values in row 8"),
        ([pa.array([sparse(3, [0], [1.0]), dense([1.0])], VECTOR)], ("v",), r"'v' has 1 values"),
        ([pa.array([sparse(3, [3], [1.0])], VECTOR)], ("v",), "damaged sparse vector"),
    ],
)  # fmt: skip
def test_bad_features_are_named(arrays, names, message):
    with pytest.raises(ValueError, match=message):
        read_features(arrays, names, start=7)


@pytest.mark.parametrize(
    "values",
    [
        pa.array([3, -1, 3, 7], pa.int32()),
        pa.array([1.0, 0.0, 1.0, 2.0]),
        pa.array([True, False, True, True]),
        pa.array(["b", "a", "b", "ç"]),
        pa.array(["b", "a", "b", "c"]).dictionary_encode(),
        pa.array([1, 0, 1, 2]).cast(pa.decimal128(20, 0)),
        pa.array([2**63, 2**63 + 1, 2**63, 5], pa.uint64()),
    ],
)
def test_labels_are_encoded_whatever_they_are(values):
    labels, target = read_labels(values, "y")
    assert (target.classes[:-1] < target.classes[1:]).all()
    plain = values.dictionary_decode() if pa.types.is_dictionary(values.type) else values
    assert target.classes[labels.codes].tolist() == plain.to_pylist()


def test_lists_of_labels_are_multilabel():
    labels, target = read_labels(pa.array([[0, 1, 1], [0, 0, 0]]), "y")
    assert target.multilabel
    np.testing.assert_array_equal(labels.indicator(3), [[-1, 1, 1], [-1, -1, -1]])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (pa.array([1, None]), "'y' is null in row 6"),
        (pa.array([1.0, float("nan")]), "'y' holds nan in row 6"),
        (pa.array([1.0, 0.5]), "'y' holds 0.5 in row 6"),
        (pa.array([{"a": 1}]), "labels are numbers or strings"),
    ],
)
def test_bad_labels_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        read_labels(values, "y", start=5)


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf"), None])
def test_bad_weights_are_named(bad):
    with pytest.raises(ValueError, match=r"'w'.*row 4"):
        read_weights(pa.array([1.0, bad]), "w", start=3)


def batch(X, y, *more):
    arrays = [pa.array([bytes(row) for row in X.tolist()]), pa.array(y), *map(pa.array, more)]
    return pa.RecordBatch.from_arrays(arrays, names=[f"c{i}" for i in range(len(arrays))])


def test_blocks_number_their_rows_over_batches_and_groups():
    X = np.arange(24, dtype=np.uint8).reshape(12, 2)
    groups = Groups(np.array([2, 5, 9]), (0, -1, 1))
    said = np.array([2, 9, 5, 9] * 3)
    reader = BatchReader(features=("x",), label="y", weight="w", groups=groups)
    batches = [
        batch(X[part], [1] * 6, [2.0] * 6, said[part]) for part in (slice(0, 6), slice(6, 12))
    ]
    blocks = list(PartitionSource(reader.blocks(batches)).blocks(2))
    rows = np.concatenate([np.atleast_1d(block.rows) for block in blocks])
    assert sorted(rows.tolist()) == np.flatnonzero(said != 5).tolist()
    for block in blocks:
        assert len(block.X) <= 2
        np.testing.assert_array_equal(block.X, X[block.rows])
        assert {2: 0, 9: 1}[int(said[block.rows][0])] == block.group
        assert isinstance(block.labels, FoundLabels)
        np.testing.assert_array_equal(block.weights, 2.0)


def test_labels_that_are_not_classes_are_an_error_or_have_a_code():
    X = np.zeros((3, 2), np.uint8)
    target = Target(np.array([1, 4]), multilabel=False)
    reader = BatchReader(features=("x",), label="y", target=target)
    with pytest.raises(ValueError, match=r"\[3\] \(the first in row 1\) not in \[1, 4\]"):
        list(reader.blocks([batch(X, [4, 3, 1])]))
    reader = BatchReader(features=("x",), label="y", target=target, unknown=2)
    (block,) = reader.blocks([batch(X, [4, 3, 1])])
    assert block.labels.codes.tolist() == [1, 2, 0]
    with pytest.raises(ValueError, match="strings and numbers have no common order"):
        list(reader.blocks([batch(X, ["a", "b", "c"])]))


def test_arrays_of_a_partition_are_checked():
    X = np.zeros((3, 2))
    reader = BlockReader()
    for item, message in (
        (X, r"\(X, y\)"),
        ((X, [0, 1]), "3 rows and y has 2 labels, at row 0"),
        ((X[0], [0, 1]), "expected"),
        ((X, [0, 1, 1], [1.0, -1.0, 1.0]), "not negative"),
    ):
        with pytest.raises(ValueError, match=message):
            list(reader.blocks([item]))
    with pytest.raises(ValueError, match="Row 3 has 1 features"):
        list(reader.blocks([(X, [0, 1, 1]), (X[:, :1], [0, 1, 1])]))
