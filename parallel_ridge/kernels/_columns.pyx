# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Columns of a block of rows, each as a contiguous row of its own.

These functions check shapes and bounds, so no call reads or writes outside its arrays.
"""

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int8_t, uint8_t

from ._expect cimport expect

cdef extern from "columns.h" nogil:
    struct column_form:
        const double *weights
        ptrdiff_t anchor
        int centre, scale

    void columns_f32(const float *, ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t, const column_form *, float *,
                     double *, double *, int) noexcept
    void columns_f32_f64(const float *, ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t, const column_form *, double *,
                         double *, double *, int) noexcept
    void columns_f64(const double *, ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t, const column_form *, double *,
                     double *, double *, int) noexcept
    void transpose_8(const uint8_t *, ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t, uint8_t *, int) noexcept
    void transpose_f32(const float *, ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t, float *, int) noexcept
    void transpose_f64(const double *, ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t, double *, int) noexcept

ctypedef fused value:
    float
    double
    uint8_t
    int8_t

ctypedef fused row:
    float
    double

ctypedef fused column:
    float
    double


def transpose(const value[:, :] X, value[:, ::1] out, int n_threads):
    """Copy the columns of X, shape (n, m), to the rows of `out`, shape (m, n)."""
    cdef Py_ssize_t n = X.shape[0], m = X.shape[1]
    expect(out.shape[0] == m and out.shape[1] == n, "one row per column")
    expect(X.strides[0] % sizeof(value) == 0 and X.strides[1] % sizeof(value) == 0, "strides of whole elements")
    expect(n_threads > 0, "at least one thread")
    if n == 0 or m == 0:
        return
    cdef ptrdiff_t down = X.strides[0] // <Py_ssize_t> sizeof(value), right = X.strides[1] // <Py_ssize_t> sizeof(value)
    with nogil:
        if value is float:
            transpose_f32(&X[0, 0], down, right, n, m, &out[0, 0], n_threads)
        elif value is double:
            transpose_f64(&X[0, 0], down, right, n, m, &out[0, 0], n_threads)
        else:
            transpose_8(<const uint8_t *> &X[0, 0], down, right, n, m, <uint8_t *> &out[0, 0], n_threads)


def form(
    const row[:, :] X,
    const double[::1] weights,
    Py_ssize_t anchor,
    bint centre,
    bint scale,
    column[:, ::1] out,
    double[::1] means,
    double[::1] variances,
    int n_threads,
):
    """Copy the columns of X, shape (n, m), to the rows of `out`; write their means and variances.

    Weights add up to 1. Columns are counted from row `anchor`, so that constant ones have exactly no
    variance. If asked to, subtract the means, and divide by the standard deviations that are not 0.
    `variances` may be None unless columns are scaled.
    """
    cdef Py_ssize_t n = X.shape[0], m = X.shape[1]
    cdef column_form how
    expect(out.shape[0] == m and out.shape[1] == n, "one row per column")
    expect(weights.shape[0] == n and 0 <= anchor < max(n, 1), "one weight per row, and a row to count from")
    expect(means.shape[0] == m, "one mean per column")
    if variances is not None or scale:
        expect(variances is not None and variances.shape[0] == m, "one variance per column")
    expect(X.strides[0] % sizeof(row) == 0 and X.strides[1] % sizeof(row) == 0, "strides of whole elements")
    expect(n_threads > 0, "at least one thread")
    if n == 0 or m == 0:
        return
    cdef ptrdiff_t down = X.strides[0] // <Py_ssize_t> sizeof(row), right = X.strides[1] // <Py_ssize_t> sizeof(row)
    how.weights, how.anchor, how.centre, how.scale = &weights[0], anchor, centre, scale
    cdef double *squares = NULL if variances is None else &variances[0]
    with nogil:
        if row is float and column is float:
            columns_f32(&X[0, 0], down, right, n, m, &how, &out[0, 0], &means[0], squares, n_threads)
        elif row is float and column is double:
            columns_f32_f64(&X[0, 0], down, right, n, m, &how, &out[0, 0], &means[0], squares, n_threads)
        elif row is double and column is double:
            columns_f64(&X[0, 0], down, right, n, m, &how, &out[0, 0], &means[0], squares, n_threads)
        else:
            with gil:
                raise TypeError("float64 columns do not fit into float32.")
