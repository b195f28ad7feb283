# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Factorisations of symmetric matrices by LAPACK, without the GIL.

SciPy's wrappers of the same routines hold it, and so block all other threads. These functions check
shapes, so no call reads or writes outside its arrays.
"""

from cpython.exc cimport PyErr_CheckSignals
from libc.limits cimport INT_MAX
from scipy.linalg.cython_blas cimport dgemm, dsymm, dsyr2k, dsyrk, dtrmm, dtrsm, sgemm
from scipy.linalg.cython_lapack cimport (
    dgeqrt,
    dlarfb,
    dpbcon,
    dpbtrf,
    dpotrf,
    dpotrs,
    dsyevd,
    dtrtri,
)

from ._expect cimport expect

import numpy as np

ctypedef fused real:
    float
    double

# Right-hand sides that `solution_squares` solves for at a time: two blocks of them stay in a core's cache.
cdef Py_ssize_t SQUARES_ROWS = 256


cdef double[::1] workspace(double size):
    """Memory of the size that LAPACK asks for."""
    if size > INT_MAX:
        raise MemoryError(f"LAPACK needs {size:.0f} numbers of workspace, more than it can count.")
    return np.empty(<int> size)


def eigenvectors(double[::1, :] matrix, double[::1] values):
    """Replace a lower triangle by its eigenvectors, eigenvalues ascending; return LAPACK's info."""
    cdef int info = 0, order = <int> matrix.shape[0], n_integers = 0, ask = -1
    cdef double size = 0.0
    expect(
        matrix.shape[1] == order and values.shape[0] == order,
        "a square matrix, and one value per column",
    )
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


cdef int panels(Py_ssize_t order, Py_ssize_t width):
    """Panels of columns that `banded` reduces: all but the last `width` columns, or fewer."""
    return <int> ((order - 1) // width) if order > 0 else 0


def banded(double[::1, :] matrix, double[::1, :, :] triangles):
    """Reduce a symmetric matrix, its lower triangle, to a band; its memory below the band and `triangles` keep Q.

    `triangles` has shape (b, b, (order - 1) // b) for a band of b diagonals below the main one. The
    reflections of a panel of b columns are ``I - V T V^T``: V stays below the band, T in `triangles`.
    Nearly all of the work is products of matrices.
    """
    cdef int i, j, k, left, first, below, size, info = 0
    cdef int order = <int> matrix.shape[0], width = <int> triangles.shape[0], n_panels
    cdef double zero = 0.0, one = 1.0, minus = -1.0, half = -0.5
    expect(
        matrix.shape[1] == order and width > 0 and triangles.shape[1] == width
        and triangles.shape[2] == panels(order, width),
        "a square matrix, and a triangle per panel",
    )
    n_panels = panels(order, width)
    if n_panels == 0:
        return
    cdef double[::1, :] V = np.empty((order, width), order="F"), W = np.empty((order, width), order="F")
    cdef double[::1, :] S = np.empty((width, width), order="F")
    cdef double[::1] work = np.empty(width * width)
    for k in range(n_panels):
        left = k * width
        first = left + width
        below = order - first
        size = min(below, width)
        with nogil:
            dgeqrt(
                &below, &width, &size, &matrix[first, left], &order, &triangles[0, 0, k], &width, &work[0], &info
            )
            for j in range(size):
                for i in range(below):
                    V[i, j] = matrix[first + i, left + j] if i > j else 1.0 if i == j else 0.0
            # W = A V T - V (T^T V^T A V T) / 2; the rotated rest is A - V W^T - W V^T.
            dsymm(
                b"L", b"L", &below, &size, &one, &matrix[first, first], &order, &V[0, 0], &order, &zero, &W[0, 0],
                &order,
            )
            dtrmm(
                b"R", b"U", b"N", b"N", &below, &size, &one, &triangles[0, 0, k], &width, &W[0, 0], &order
            )
            dgemm(
                b"T", b"N", &size, &size, &below, &one, &V[0, 0], &order, &W[0, 0], &order, &zero, &S[0, 0], &width
            )
            dtrmm(b"L", b"U", b"T", b"N", &size, &size, &one, &triangles[0, 0, k], &width, &S[0, 0], &width)
            dgemm(
                b"N", b"N", &below, &size, &size, &half, &V[0, 0], &order, &S[0, 0], &width, &one, &W[0, 0], &order
            )
            dsyr2k(
                b"L", b"N", &below, &size, &minus, &V[0, 0], &order, &W[0, 0], &order, &one, &matrix[first, first],
                &order,
            )
        PyErr_CheckSignals()


def rotate(
    double[::1, :] matrix, double[::1, :, :] triangles, double[::1, :] columns, bint back, bint identity=False
):
    """Rotate columns in place as `banded` rotated the matrix, or rotate them back.

    `identity` says that the columns are those of the identity, to be rotated back, which saves a third.
    """
    cdef int i, k, left, first, below, size, across, skip
    cdef int order = <int> matrix.shape[0], width = <int> triangles.shape[0], n_panels
    cdef char *way = b"N" if back else b"T"
    expect(
        matrix.shape[1] == order and columns.shape[0] == order and width > 0 and triangles.shape[1] == width
        and triangles.shape[2] == panels(order, width) and (not identity or columns.shape[1] >= order),
        "a rotation with as many rows as the columns",
    )
    n_panels = panels(order, width)
    if n_panels == 0 or columns.shape[1] == 0:
        return
    cdef double[::1] work = np.empty(columns.shape[1] * width)
    for i in range(n_panels):
        k = n_panels - 1 - i if back else i
        left = k * width
        first = left + width
        below = order - first
        size = min(below, width)
        skip = first if identity else 0
        across = <int> columns.shape[1] - skip
        with nogil:
            dlarfb(
                b"L", way, b"F", b"C", &below, &across, &size, &matrix[first, left], &order, &triangles[0, 0, k],
                &width, &columns[first, skip], &order, &work[0], &across,
            )
        PyErr_CheckSignals()


def band_cholesky(double[::1, :] band, double norm):
    """Replace the lower band of a matrix by that of its Cholesky factor; return one over its condition.

    `norm` is the matrix's 1-norm, of which the condition is an estimate. Zero: not positive definite.
    """
    cdef int info = 0, order = <int> band.shape[1], below = <int> band.shape[0] - 1, rows = <int> band.shape[0]
    cdef double reciprocal = 0.0
    expect(below >= 0, "a diagonal")
    if order == 0:
        return 1.0
    cdef double[::1] work = np.empty(3 * order)
    cdef int[::1] integers = np.empty(order, np.intc)
    with nogil:
        dpbtrf(b"L", &order, &below, &band[0, 0], &rows, &info)
        if info == 0:
            dpbcon(
                b"L", &order, &below, &band[0, 0], &rows, &norm, &reciprocal, &work[0], &integers[0], &info
            )
    return reciprocal


def invert_triangles(double[:, :, ::1] lower):
    """Replace lower triangles with positive diagonals by their inverses."""
    cdef int info, width = <int> lower.shape[1]
    cdef Py_ssize_t k
    expect(lower.shape[2] == width, "square matrices")
    if width == 0:
        return
    with nogil:
        for k in range(lower.shape[0]):  # the transpose of a C-ordered lower triangle is LAPACK's upper one
            dtrtri(b"U", b"N", &width, &lower[k, 0, 0], &width, &info)


def solution_squares(
    const real[:, ::1] rows, const real[:, :, :, ::1] own, const real[:, :, :, ::1] before, real[:, ::1] out
):
    """Squared lengths of the solutions of block bidiagonal systems with several right-hand sides.

    Block k of the solution for a row r of `rows`, shape (n, K b), is ``z[k] = own[k] @ r[k] - before[k]
    @ z[k - 1]``; `own` and `before` have shape (p, K, b, b), for p systems, and `out` (n, p).
    """
    cdef Py_ssize_t i, j, k, s, part, start, n = rows.shape[0], p = own.shape[0], K = own.shape[1]
    cdef int b = <int> own.shape[2], stride = <int> rows.shape[1], m
    cdef real one = 1.0, minus = -1.0, zero = 0.0
    cdef Py_ssize_t length
    cdef real *z
    cdef real *last
    expect(
        own.shape[3] == b and before.shape[0] == p and before.shape[1] == K and before.shape[2] == b
        and before.shape[3] == b and stride == K * b and out.shape[0] == n and out.shape[1] == p,
        "blocks as long as the rows",
    )
    if n == 0 or p == 0:
        return
    if K == 0 or b == 0:
        np.asarray(out)[:] = 0.0
        return
    cdef Py_ssize_t most = min(n, SQUARES_ROWS)
    dtype = np.float64 if real is double else np.float32
    cdef real[:, ::1] held = np.empty((2, most * b), dtype)
    cdef real[::1] squares = np.empty(most * b, dtype)
    with nogil:
        for part in range((n + most - 1) // most):
            start = part * most
            m = <int> min(most, n - start)
            length = m * b
            for s in range(p):
                for k in range(K):
                    z, last = &held[k % 2, 0], &held[1 - k % 2, 0]
                    if real is double:
                        dgemm(b"T", b"N", &b, &m, &b, &one, <double *> &own[s, k, 0, 0], &b,
                              <double *> &rows[start, k * b], &stride, &zero, z, &b)
                        if k > 0:
                            dgemm(b"T", b"N", &b, &m, &b, &minus, <double *> &before[s, k, 0, 0], &b, last, &b, &one,
                                  z, &b)
                    else:
                        sgemm(b"T", b"N", &b, &m, &b, &one, <float *> &own[s, k, 0, 0], &b,
                              <float *> &rows[start, k * b], &stride, &zero, z, &b)
                        if k > 0:
                            sgemm(b"T", b"N", &b, &m, &b, &minus, <float *> &before[s, k, 0, 0], &b, last, &b, &one,
                                  z, &b)
                    if k == 0:
                        for i in range(length):
                            squares[i] = z[i] * z[i]
                    else:
                        for i in range(length):
                            squares[i] += z[i] * z[i]
                for i in range(m):
                    out[start + i, s] = 0.0
                    for j in range(b):
                        out[start + i, s] += squares[i * b + j]


def cholesky(double[::1, :] matrix, int panel):
    """Replace a matrix by its lower Cholesky factor; return 0, or the order of a bad minor.

    A minor is bad if it is not positive. A single LAPACK call would ignore Ctrl-C for minutes, so
    each `panel` of columns has its own call.
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
                    dgemm(b"N", b"T", &below, &width, &left, &minus, &matrix[left + width, 0], &order,
                          &matrix[left, 0], &order, &one, &matrix[left + width, left], &order)
                dtrsm(b"R", b"L", b"T", b"N", &below, &width, &one, &matrix[left, left], &order,
                      &matrix[left + width, left], &order)
            PyErr_CheckSignals()
    return 0


def solve(double[::1, :] factor, double[::1, :] columns):
    """Replace columns by the solutions of a system, given its lower Cholesky factor."""
    cdef int info, order = <int> factor.shape[0], width = <int> columns.shape[1]
    expect(factor.shape[1] == order and columns.shape[0] == order, "a square factor with as many rows as the columns")
    if order == 0 or width == 0:
        return
    with nogil:
        dpotrs(b"L", &order, &width, &factor[0, 0], &order, &columns[0, 0], &order, &info)
