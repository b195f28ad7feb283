# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Python interface to the C kernels: takes typed views, and releases the GIL around each call.

These functions check shapes and bounds, so no call reads or writes outside its arrays.
"""

import os

from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t

ctypedef fused row:
    float
    double
    uint8_t
    int8_t

ctypedef fused total:
    double
    int64_t

ctypedef fused index:
    int32_t
    int64_t

ctypedef fused value:
    float
    double

ctypedef fused wide:
    float
    double
    int32_t
    int64_t


def levels():
    """Names of the CPU levels that this processor supports, best first."""
    cdef const fold_level *const *level = fold_levels()
    names = []
    while level[0] != NULL:
        names.append(level[0].name.decode())
        level += 1
    return names


cdef const fold_level *_level() except NULL:
    """The level that PARALLEL_RIDGE_CPU names, or the best one.

    The variable is read at each call, so that tests can run every level.
    """
    names = levels()
    name = os.environ.get("PARALLEL_RIDGE_CPU") or names[0]
    if name not in names:
        raise ValueError(
            f"PARALLEL_RIDGE_CPU={name!r} is not a CPU level of this machine; "
            f"choose one of {names}, or unset it."
        )
    return fold_levels()[<Py_ssize_t> names.index(name)]


def level():
    """The name of the level in use."""
    return _level().name.decode()


def max_threads():
    """Threads that OpenMP would use: its setting; 1 in a parallel region or without OpenMP."""
    return fold_max_threads()


def has_openmp():
    return bool(fold_has_openmp())


cdef fold_kind _kind(row_is_float, row_is_double, row_is_unsigned, total_is_double):
    if row_is_float:
        return FOLD_F32
    if row_is_double:
        return FOLD_F64 if total_is_double else FOLD_F64_INT
    return FOLD_U8 if row_is_unsigned else FOLD_I8


cdef int _set_lanes(
    fold_totals *totals, list grams, total[:, :, ::1] class_sums, Py_ssize_t n_columns
) except -1:
    cdef total[:, ::1] gram
    if not 1 <= len(grams) <= MAX_LANES or class_sums.shape[0] < len(grams) or class_sums.shape[1] < 1:
        raise ValueError(
            f"Got {len(grams)} Gram matrices, and class sums of {class_sums.shape[0]} lanes and "
            f"{class_sums.shape[1]} classes; expected 1 to {MAX_LANES} matrices, at least as many "
            "lanes, and at least one class."
        )
    if class_sums.shape[2] != n_columns:
        raise ValueError(f"class_sums has {class_sums.shape[2]} columns; expected {n_columns}.")
    totals.n_lanes = <int> len(grams)
    totals.n_classes = class_sums.shape[1]
    totals.class_sums = <void *> &class_sums[0, 0, 0]
    cdef int lane
    for lane in range(totals.n_lanes):
        gram = grams[lane]
        if gram.shape[0] != n_columns or gram.shape[1] != n_columns:
            raise ValueError(f"Gram matrix {lane} is not {n_columns} x {n_columns}.")
        totals.gram[lane] = <void *> &gram[0, 0]


cdef int _check_rows(
    Py_ssize_t n_rows,
    Py_ssize_t n_classes,
    const double[::1] weights,
    const int32_t[::1] labels,
    const int64_t[::1] label_ptr,
    int n_threads,
) except -1:
    """Check that every row has a weight and labels, and that labels are classes."""
    cdef Py_ssize_t i, n_labels = labels.shape[0]
    cdef int32_t low = 0, high = 0
    cdef bint ordered = True
    if n_threads < 1:
        raise ValueError(f"n_threads must be positive; got {n_threads}.")
    if weights is not None and weights.shape[0] != n_rows:
        raise ValueError(f"Got {weights.shape[0]} weights for {n_rows} rows.")
    if label_ptr is None:
        if n_labels != n_rows:
            raise ValueError(f"Got {n_labels} labels for {n_rows} rows.")
    else:
        if label_ptr.shape[0] != n_rows + 1 or label_ptr[0] != 0 or label_ptr[n_rows] != n_labels:
            raise ValueError(f"label_ptr does not divide {n_labels} labels among {n_rows} rows.")
        with nogil:
            for i in range(n_rows):
                ordered = ordered and label_ptr[i] <= label_ptr[i + 1]
        if not ordered:
            raise ValueError("label_ptr must not decrease.")
    with nogil:
        for i in range(n_labels):
            low = min(low, labels[i])
            high = max(high, labels[i])
    if low < 0 or high >= n_classes:
        raise ValueError(f"Labels range from {low} to {high}; expected 0 to {n_classes - 1}.")


cdef int _check_csr(
    const index[::1] indptr, const index[::1] indices, Py_ssize_t n_values, Py_ssize_t n_columns
) except -1:
    """Check that column indices exist and ascend within each row."""
    cdef Py_ssize_t i, n_rows = indptr.shape[0] - 1, bad = -1
    cdef index j, before
    if n_rows < 0 or indptr[0] != 0 or indptr[n_rows] != n_values or indices.shape[0] != n_values:
        raise ValueError(f"indptr does not divide {n_values} values among {n_rows} rows.")
    with nogil:
        for i in range(n_rows):
            if indptr[i] > indptr[i + 1] or indptr[i + 1] > n_values:
                bad = i
                break
            before = -1
            for j in range(indptr[i], indptr[i + 1]):
                if indices[j] <= before or indices[j] >= n_columns:
                    bad = i
                    break
                before = indices[j]
            if bad >= 0:
                break
    if bad >= 0:
        raise ValueError(f"Row {bad}: column indices must ascend, from 0 to {n_columns - 1}.")


cdef fold_kind _kind_of(dtype, exact):
    char = dtype.char
    return _kind(char == "f", char == "d", char == "B", not exact)


def piece_rows(dtype, exact, n_columns):
    """Rows that `fold_dense` works on at a time: give each lane at least this many."""
    return _level().piece_rows[<int> _kind_of(dtype, exact)] * LONGER(n_columns)


def workspace_bytes(dtype, exact, n_columns, n_lanes, n_threads):
    """Bytes of workspace that `fold_dense` needs."""
    return fold_workspace(_level(), _kind_of(dtype, exact), n_columns, n_lanes, n_threads)


def fold_dense(
    const row[:, :] X,
    const row[::1] shift,
    const double[::1] weights,
    const int32_t[::1] labels,
    const int64_t[::1] label_ptr,
    list grams,
    total[:, :, ::1] class_sums,
    uint8_t[::1] workspace,
    int n_threads,
):
    """Add the rows of X, minus `shift`, to `grams` and `class_sums`.

    There is one (d, d) Gram matrix per lane; `class_sums` has shape (lanes, k, d). Rows of X must
    have unit column stride; `shift`, `weights` and `label_ptr` may be None.
    """
    cdef fold_rows rows
    cdef fold_totals totals
    cdef const fold_level *level = _level()
    cdef fold_kind kind = _kind(row is float, row is double, row is uint8_t, total is double)
    _check_rows(X.shape[0], class_sums.shape[1], weights, labels, label_ptr, n_threads)
    _set_lanes(&totals, grams, class_sums, X.shape[1])
    if X.shape[0] == 0 or X.shape[1] == 0:
        return  # &X[0, 0] would not exist
    if X.strides[1] != sizeof(row) or X.strides[0] % <Py_ssize_t> sizeof(row):
        raise ValueError("Rows must have unit column stride and a row stride of whole elements.")
    if shift is not None and shift.shape[0] != X.shape[1]:
        raise ValueError(f"shift has {shift.shape[0]} columns; expected {X.shape[1]}.")
    need = fold_workspace(level, kind, X.shape[1], totals.n_lanes, n_threads)
    if workspace.shape[0] < need or <size_t> &workspace[0] % 64:
        raise ValueError(
            f"workspace must have {need} bytes, aligned to 64; got {workspace.shape[0]}."
        )
    rows.rows = <const void *> &X[0, 0]
    rows.stride = X.strides[0] // <Py_ssize_t> sizeof(row)
    rows.n_rows = X.shape[0]
    rows.n_columns = X.shape[1]
    rows.shift = NULL if shift is None else <const void *> &shift[0]
    rows.weights = NULL if weights is None else &weights[0]
    rows.labels = &labels[0] if labels.shape[0] else NULL
    rows.label_ptr = NULL if label_ptr is None else &label_ptr[0]
    with nogil:
        level.fold[<int> kind](&rows, &totals, <void *> &workspace[0], n_threads)


def narrow(const wide[:, :] X, uint8_t[:, ::1] out, int32_t least, int32_t most, int n_threads):
    """Write the last byte of each value to `out`, if all are integers from `least` to `most`.

    Rows of X must have unit column stride. Returns the smallest and the largest value, or zero where
    that lies outside of them; None if X holds anything else: `out` is then meaningless.
    """
    cdef const fold_level *level = _level()
    cdef narrow_kind kind
    cdef int32_t *bounds = [least, most]
    cdef bint narrow
    if out.shape[0] != X.shape[0] or out.shape[1] != X.shape[1]:
        raise ValueError(f"out is not {X.shape[0]} x {X.shape[1]}.")
    if n_threads < 1:
        raise ValueError(f"n_threads must be positive; got {n_threads}.")
    if X.shape[0] == 0 or X.shape[1] == 0:
        return 0, 0  # &X[0, 0] would not exist
    if X.strides[1] != sizeof(wide) or X.strides[0] % <Py_ssize_t> sizeof(wide):
        raise ValueError("Rows must have unit column stride and a row stride of whole elements.")
    kind = (
        NARROW_F32 if wide is float else NARROW_F64 if wide is double else NARROW_I32 if wide is int32_t else NARROW_I64
    )
    with nogil:
        narrow = level.narrow[<int> kind](
            <const void *> &X[0, 0], X.strides[0] // <Py_ssize_t> sizeof(wide), X.shape[0], X.shape[1], &out[0, 0],
            bounds, n_threads,
        )
    return (bounds[0], bounds[1]) if narrow else None


def fold_csr(
    const index[::1] indptr,
    const index[::1] indices,
    const value[::1] data,
    Py_ssize_t n_columns,
    const double[::1] weights,
    const int32_t[::1] labels,
    const int64_t[::1] label_ptr,
    list grams,
    double[:, :, ::1] class_sums,
    int n_threads,
):
    """Add CSR rows to `grams` and `class_sums`.

    There is one (d, d) Gram matrix per lane; `class_sums` has shape (lanes, k, d). Indices must
    ascend within each row.
    """
    cdef fold_totals totals
    cdef Py_ssize_t n_rows = indptr.shape[0] - 1
    cdef const double *weight = NULL if weights is None else &weights[0]
    cdef const int32_t *label = &labels[0] if labels.shape[0] else NULL
    cdef const int64_t *label_start = NULL if label_ptr is None else &label_ptr[0]
    _check_csr(indptr, indices, data.shape[0], n_columns)
    _check_rows(n_rows, class_sums.shape[1], weights, labels, label_ptr, n_threads)
    _set_lanes(&totals, grams, class_sums, n_columns)
    if n_rows == 0 or data.shape[0] == 0:
        return
    with nogil:
        if index is int32_t and value is float:
            fold_csr_32_f32(&indptr[0], &indices[0], &data[0], n_rows, n_columns, weight, label, label_start,
                            &totals, n_threads)
        elif index is int32_t:
            fold_csr_32_f64(&indptr[0], &indices[0], <const double *> &data[0], n_rows, n_columns, weight, label,
                            label_start, &totals, n_threads)
        elif value is float:
            fold_csr_64_f32(<const int64_t *> &indptr[0], <const int64_t *> &indices[0], <const float *> &data[0],
                            n_rows, n_columns, weight, label, label_start, &totals, n_threads)
        else:
            fold_csr_64_f64(<const int64_t *> &indptr[0], <const int64_t *> &indices[0], <const double *> &data[0],
                            n_rows, n_columns, weight, label, label_start, &totals, n_threads)
