# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Upper triangles of C-ordered square matrices, the lower ones of their transposes; the GIL is released.

NumPy would pass over the memory several times, and over the half that means nothing too. Shapes are
checked here, so that no call reads or writes memory of others.
"""

from cpython.exc cimport PyErr_CheckSignals
from libc.limits cimport INT_MAX
from libc.math cimport fabs
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memmove, memset
from scipy.linalg.cython_blas cimport dgemm, dsyrk, dtrsm
from scipy.linalg.cython_lapack cimport dormtr, dpotrf, dsyevd, dsytrd

import numpy as np

ctypedef fused total:
    double
    int64_t

ctypedef fused stored:
    double
    int32_t
    int64_t


cdef int expect(bint holds, str what) except -1:
    if not holds:
        raise ValueError(f"The arrays do not fit each other: {what}.")


def add(total[:, ::1] into, const total[:, ::1] other):
    """Add a triangle to another in place."""
    cdef Py_ssize_t i, j, d = into.shape[0]
    expect(into.shape[1] == d and other.shape[0] == d and other.shape[1] == d, "two square matrices of one size")
    with nogil:
        for i in range(d):
            for j in range(i, d):
                into[i, j] += other[i, j]


def pack(const total[:, ::1] matrix, total[::1] packed):
    """The triangle row by row, perhaps to the front of its own memory."""
    cdef Py_ssize_t i, at = 0, d = matrix.shape[0]
    expect(matrix.shape[1] == d and packed.shape[0] == d * (d + 1) // 2, "a square matrix and its triangle")
    with nogil:
        for i in range(d):  # no row is moved to where one is that has not moved yet
            memmove(&packed[at], &matrix[i, i], (d - i) * sizeof(total))
            at += d - i


def unpack(const stored[::1] packed, total[:, ::1] matrix):
    """What `pack` makes, perhaps of shorter integers, or from the front of the memory of `matrix`."""
    cdef Py_ssize_t i, j, at = packed.shape[0], d = matrix.shape[0]
    expect(matrix.shape[1] == d and at == d * (d + 1) // 2, "a square matrix and its triangle")
    with nogil:
        for i in range(d - 1, -1, -1):
            at -= d - i
            for j in range(d - i - 1, -1, -1):
                matrix[i, i + j] = <total> packed[at + j]


def move_shift(
    const uint64_t[:, ::1] gram,
    const uint64_t[::1] step,
    const uint64_t[::1] sums,
    uint64_t n_rows,
    total[:, ::1] out,
):
    """A triangle of integers about a shift moved by `step`; `sums` are the features' before.

    Unsigned, since sums on the way may wrap around: only the results must fit. `out` has zeros below,
    unless it is the memory of `gram`.
    """
    cdef Py_ssize_t i, j, d = gram.shape[0]
    cdef uint64_t left, right
    expect(
        gram.shape[1] == d and out.shape[0] == d and out.shape[1] == d and step.shape[0] == d and sums.shape[0] == d,
        "square matrices, and a step and a sum for each column",
    )
    if d == 0:
        return
    cdef bint in_place = <const void *> &gram[0, 0] == <const void *> &out[0, 0]
    with nogil:
        for i in range(d):
            left = step[i]
            right = sums[i] - n_rows * step[i]
            if not in_place and i > 0:
                memset(&out[i, 0], 0, i * sizeof(total))
            for j in range(i, d):
                out[i, j] = <total> <int64_t> (gram[i, j] - (left * sums[j] + right * step[j]))


def select(double[:, ::1] matrix, const Py_ssize_t[::1] kept):
    """Move some rows and columns of a triangle together, as a smaller one at the start of its memory."""
    cdef Py_ssize_t i, j, d = matrix.shape[0], m = kept.shape[0], before = -1
    expect(matrix.shape[1] == d, "a square matrix")
    for i in range(m):
        expect(before < kept[i] < d, "ascending numbers of columns")
        before = kept[i]
    if m == 0 or m == d:
        return
    cdef double *out = &matrix[0, 0]
    with nogil:
        for i in range(m):
            for j in range(i, m):
                out[i * m + j] = matrix[kept[i], kept[j]]


def scale(const double[:, ::1] matrix, const double[::1] factors, double[:, ::1] out, double[::1] norm):
    """Scale rows and columns to a unit diagonal, perhaps in place.

    Sums of magnitudes in each row of the whole symmetric matrix go to `norm`, which is zero before.
    """
    cdef Py_ssize_t i, j, d = matrix.shape[0]
    cdef double factor, value, magnitudes
    expect(
        matrix.shape[1] == d and out.shape[0] == d and out.shape[1] == d and factors.shape[0] == d
        and norm.shape[0] == d,
        "square matrices, and a factor and a norm for each column",
    )
    with nogil:
        for i in range(d):
            factor = factors[i]
            magnitudes = 1.0
            out[i, i] = 1.0
            for j in range(i + 1, d):
                value = matrix[i, j] * factor * factors[j]
                out[i, j] = value
                value = fabs(value)
                norm[j] += value
                magnitudes += value
            norm[i] += magnitudes


cdef double[::1] workspace(double size):
    """Memory of the size that LAPACK asks for."""
    if size > INT_MAX:
        raise MemoryError(f"LAPACK cannot count the {size:.0f} numbers that it needs to work with.")
    return np.empty(<int> size)


def eigenvectors(double[::1, :] matrix, double[::1] values):
    """Eigenvectors of a lower triangle in its memory, and their values in ascending order; LAPACK's info.

    SciPy's call of the same routine keeps the GIL, and so all other threads.
    """
    cdef int info = 0, order = <int> matrix.shape[0], n_integers = 0, ask = -1
    cdef double size = 0.0
    expect(matrix.shape[1] == order and values.shape[0] == order, "a square matrix, and a value for each column")
    if order == 0:
        return 0
    dsyevd(b"V", b"L", &order, &matrix[0, 0], &order, &values[0], &size, &ask, &n_integers, &ask, &info)
    cdef double[::1] work = workspace(size)
    cdef int[::1] integers = np.empty(n_integers, np.intc)
    cdef int n_work = <int> size
    with nogil:
        dsyevd(
            b"V", b"L", &order, &matrix[0, 0], &order, &values[0], &work[0], &n_work, &integers[0], &n_integers,
            &info,
        )
    return info


def tridiagonal(double[::1, :] matrix, double[::1] diagonal, double[::1] beside, double[::1] factors):
    """Rotate a lower triangle to a tridiagonal matrix; what rotates stays in its memory, with `factors`.

    The last of `beside` and of `factors` mean nothing.
    """
    cdef int info = 0, order = <int> matrix.shape[0], ask = -1
    cdef double size = 0.0
    expect(
        matrix.shape[1] == order and diagonal.shape[0] == order and beside.shape[0] == order
        and factors.shape[0] == order,
        "a square matrix, and three numbers for each column",
    )
    if order == 0:
        return
    dsytrd(b"L", &order, &matrix[0, 0], &order, &diagonal[0], &beside[0], &factors[0], &size, &ask, &info)
    cdef double[::1] work = workspace(size)
    cdef int n_work = <int> size
    with nogil:
        dsytrd(
            b"L", &order, &matrix[0, 0], &order, &diagonal[0], &beside[0], &factors[0], &work[0], &n_work, &info
        )


def rotate(double[::1, :] rotation, double[::1] factors, double[::1, :] columns, bint back):
    """Rotate columns in place, as `tridiagonal` has rotated the matrix's, or back."""
    cdef int info = 0, order = <int> columns.shape[0], width = <int> columns.shape[1], ask = -1
    cdef double size = 0.0
    cdef char *way = b"N" if back else b"T"
    expect(
        rotation.shape[0] == order and rotation.shape[1] == order and factors.shape[0] >= order - 1,
        "a rotation of as many rows",
    )
    if order == 0 or width == 0:
        return
    dormtr(
        b"L", b"L", way, &order, &width, &rotation[0, 0], &order, &factors[0], &columns[0, 0], &order, &size,
        &ask, &info,
    )
    cdef double[::1] work = workspace(size)
    cdef int n_work = <int> size
    with nogil:
        dormtr(
            b"L", b"L", way, &order, &width, &rotation[0, 0], &order, &factors[0], &columns[0, 0], &order,
            &work[0], &n_work, &info,
        )


def cholesky(double[::1, :] matrix, int panel):
    """Lower Cholesky factor of a matrix in its memory; 0, or the order of a minor that is not positive.

    LAPACK takes one call for it, and hears no Ctrl-C for minutes: here it is one for each `panel` of columns.
    """
    cdef int info, left, width, below, order = <int> matrix.shape[0]
    cdef double one = 1.0, minus = -1.0
    expect(matrix.shape[1] == order and panel > 0, "a square matrix, and a panel of columns")
    for left in range(0, order, panel):
        width = min(panel, order - left)
        below = order - left - width
        with nogil:
            if left > 0:
                dsyrk(b"L", b"N", &width, &left, &minus, &matrix[left, 0], &order, &one, &matrix[left, left], &order)
            dpotrf(b"L", &width, &matrix[left, left], &order, &info)
        if info > 0:
            return left + info
        PyErr_CheckSignals()
        if below > 0:
            with nogil:
                if left > 0:
                    dgemm(
                        b"N", b"T", &below, &width, &left, &minus, &matrix[left + width, 0], &order,
                        &matrix[left, 0], &order, &one, &matrix[left + width, left], &order,
                    )
                dtrsm(
                    b"R", b"L", b"T", b"N", &below, &width, &one, &matrix[left, left], &order,
                    &matrix[left + width, left], &order,
                )
            PyErr_CheckSignals()
    return 0
