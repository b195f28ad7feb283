# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Python interface to the C kernel of decisions: one job per function, without the GIL.

These functions check shapes and types, so no call reads or writes outside its arrays. Each returns the
first row with a value that is not finite, or the number of rows; what they have written about such a
row is meaningless.
"""

from cpython.buffer cimport PyBUF_STRIDED_RO, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int32_t, int64_t

from ._expect cimport expect
from ._fold cimport (
    DECIDE_F32,
    DECIDE_F64,
    DECIDE_I8,
    DECIDE_I16,
    DECIDE_I32,
    DECIDE_I64,
    DECIDE_U8,
    DECIDE_U16,
    DECIDE_U32,
    DECIDE_U64,
    _level,
    decide_function,
    decide_job,
)

ctypedef fused real:
    float
    double

cdef dict _TYPES = {
    "f4": DECIDE_F32, "f8": DECIDE_F64, "b1": DECIDE_U8,
    "u1": DECIDE_U8, "u2": DECIDE_U16, "u4": DECIDE_U32, "u8": DECIDE_U64,
    "i1": DECIDE_I8, "i2": DECIDE_I16, "i4": DECIDE_I32, "i8": DECIDE_I64,
}


def reads(X):
    """Whether the kernel reads rows of an array as they are."""
    return X.dtype.str[1:] in _TYPES and X.dtype.isnative and X.flags.aligned


cdef Py_ssize_t _run(
    decide_job *job, X, const real[::1] intercepts, const real[:, ::1] coefs, Py_ssize_t n_targets, int n_threads
) except -1:
    """Set up the rows and coefficients of a job, and do it; rows are products if `coefs` is None."""
    cdef Py_buffer rows
    cdef decide_function *decide = _level().decide[1 if real is double else 0]
    cdef Py_ssize_t bad
    expect(X.ndim == 2 and reads(X), "a matrix of aligned native numbers")
    job.multiplied = coefs is None
    job.n_rows, job.n_columns = X.shape
    job.n_values, job.n_targets = intercepts.shape[0], n_targets
    expect(n_threads >= 1, "a positive number of threads")
    expect(n_targets >= 1 and job.n_values % n_targets == 0, "groups of n_targets intercepts")
    if coefs is None:
        expect(job.n_columns == job.n_values, "a column per value")
    else:
        expect(
            coefs.shape[0] == job.n_values and coefs.shape[1] == job.n_columns,
            "coefficients per value and per column",
        )
    if job.n_rows == 0 or job.n_values == 0:
        return job.n_rows
    job.coefs = NULL if coefs is None or job.n_columns == 0 else <const void *> &coefs[0, 0]
    job.intercepts = <const void *> &intercepts[0]
    job.type = _TYPES[X.dtype.str[1:]]
    PyObject_GetBuffer(X, &rows, PyBUF_STRIDED_RO)
    job.rows = rows.buf
    job.row_stride, job.column_stride = rows.strides[0], rows.strides[1]
    with nogil:
        bad = decide(job, n_threads)
    PyBuffer_Release(&rows)
    if bad < 0:
        raise MemoryError(f"No memory for the decision values of {n_threads} threads.")
    return bad


def values(
    X, const real[::1] intercepts, const real[:, ::1] coefs, real[:, ::1] out, int n_threads=1
):
    """Decision values, shape (n, values); `coefs` is None if X holds the products."""
    cdef decide_job job
    expect(
        out.shape[0] == X.shape[0] and out.shape[1] == intercepts.shape[0], "an output per row and value"
    )
    job.codes, job.errors = NULL, NULL
    job.values = <void *> &out[0, 0] if out.shape[0] and out.shape[1] else NULL
    return _run(&job, X, intercepts, coefs, 1, n_threads)


def codes(
    X,
    const real[::1] intercepts,
    const real[:, ::1] coefs,
    Py_ssize_t n_targets,
    int64_t[:, ::1] out,
    const int64_t[::1] table=None,
    int n_threads=1,
):
    """Position of the first largest value of each group, or whether a single target is positive.

    `out` has shape (n, groups). Entries of `table` are written in place of the positions.
    """
    cdef decide_job job
    expect(
        n_targets >= 1 and out.shape[0] == X.shape[0] and out.shape[1] * n_targets == intercepts.shape[0],
        "an output per row and group",
    )
    expect(table is None or table.shape[0] == max(2, n_targets), "an entry per position")
    job.values, job.errors = NULL, NULL
    job.table = NULL if table is None else &table[0]
    job.codes = &out[0, 0] if out.shape[0] and out.shape[1] else NULL
    return _run(&job, X, intercepts, coefs, n_targets, n_threads)


def add_errors(
    X,
    const real[::1] intercepts,
    const real[:, ::1] coefs,
    double[:, ::1] out,
    const double[::1] offsets=None,
    const double[:, ::1] scales=None,
    const double[::1] weights=None,
    const int32_t[::1] labels=None,
    const int64_t[::1] label_ptr=None,
    Py_ssize_t first_target=0,
):
    """Add sums of squared errors, shape (groups, targets), and sums of squares of their row means.

    The error of a value is its target, less `offsets` (targets) and the value, times `scales` (n,
    groups). Targets are 1 for the classes of `labels` and -1 for others, or 0 without labels; a
    square counts `weights` (n) times. Classes before `first_target` are no targets.
    """
    cdef decide_job job
    cdef Py_ssize_t i, n = X.shape[0], n_groups = out.shape[0], n_targets = out.shape[1] - 1, n_labels
    cdef bint fits = True
    expect(n_targets >= 1 and n_groups * n_targets == intercepts.shape[0], "an output per group and target")
    expect(offsets is None or offsets.shape[0] == n_targets, "an offset per target")
    expect(scales is None or (scales.shape[0] == n and scales.shape[1] == n_groups), "a scale per row and group")
    expect(weights is None or weights.shape[0] == n, "a weight per row")
    expect(first_target >= 0, "a class")
    if labels is not None:
        n_labels = labels.shape[0]
        if label_ptr is None:
            expect(n_labels == n, "a label per row")
        else:
            expect(
                label_ptr.shape[0] == n + 1 and label_ptr[0] == 0 and label_ptr[n] == n_labels, "labels of each row"
            )
            for i in range(n):
                fits = fits and label_ptr[i] <= label_ptr[i + 1]
        for i in range(n_labels):
            fits = fits and 0 <= labels[i] < first_target + n_targets
        expect(fits, "labels that are classes")
    job.values, job.codes = NULL, NULL
    job.errors = &out[0, 0] if n_groups else NULL
    job.offsets = NULL if offsets is None else &offsets[0]
    job.scales = NULL if scales is None or not scales.size else &scales[0, 0]
    job.weights = NULL if weights is None or not n else &weights[0]
    job.label_ptr = NULL if label_ptr is None else &label_ptr[0]
    job.labels = NULL
    cdef int32_t none = 0
    if labels is not None:
        job.labels = &labels[0] if labels.shape[0] else &none
    job.first_target = first_target
    return _run(&job, X, intercepts, coefs, n_targets, 1)
