# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Factorisations of symmetric matrices by LAPACK, without the GIL.

SciPy's wrappers of the same routines hold it, and so block all other threads. These functions check
shapes, so no call reads or writes outside its arrays.
"""

from cpython.exc cimport PyErr_CheckSignals
from libc.limits cimport INT_MAX
from scipy.linalg.cython_blas cimport dgemm, dsymm, dsyrk, dtrsm, sgemm, ssyrk, strsm
from scipy.linalg.cython_lapack cimport dormtr, dpotrf, dpotrs, dsyevd, dsytrd, spotrf, spotrs

from ._expect cimport expect

import numpy as np

ctypedef fused real:
    float
    double


cdef double[::1] workspace(double size):
    """Memory of the size that LAPACK asks for."""
    if size > INT_MAX:
        raise MemoryError(f"LAPACK needs {size:.0f} numbers of workspace, more than it can count.")
    return np.empty(<int> size)


def eigenvectors(double[::1, :] matrix, double[::1] values):
    """Replace a lower triangle by its eigenvectors, eigenvalues ascending; return LAPACK's info.

    SciPy's wrapper of the same routine holds the GIL, and so blocks all other threads.
    """
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


def tridiagonal(double[::1, :] matrix, double[::1] diagonal, double[::1] off_diagonal, double[::1] factors):
    """Rotate a lower triangle to a tridiagonal matrix; its memory and `factors` keep the rotation.

    The last elements of `off_diagonal` and `factors` are meaningless.
    """
    cdef int info = 0, order = <int> matrix.shape[0], ask = -1
    cdef double size = 0.0
    expect(
        matrix.shape[1] == order and diagonal.shape[0] == order and off_diagonal.shape[0] == order
        and factors.shape[0] == order,
        "a square matrix, and three numbers per column",
    )
    if order == 0:
        return
    dsytrd(b"L", &order, &matrix[0, 0], &order, &diagonal[0], &off_diagonal[0], &factors[0], &size, &ask, &info)
    cdef double[::1] work = workspace(size)
    cdef int n_work = <int> size
    with nogil:
        dsytrd(
            b"L", &order, &matrix[0, 0], &order, &diagonal[0], &off_diagonal[0], &factors[0], &work[0], &n_work, &info
        )


def rotate(double[::1, :] rotation, double[::1] factors, double[::1, :] columns, bint back):
    """Rotate columns in place as `tridiagonal` rotated the matrix, or rotate them back."""
    cdef int info = 0, order = <int> columns.shape[0], width = <int> columns.shape[1], ask = -1
    cdef double size = 0.0
    cdef char *way = b"N" if back else b"T"
    expect(
        rotation.shape[0] == order and rotation.shape[1] == order and factors.shape[0] >= order - 1,
        "a rotation with as many rows as the columns",
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


def cholesky(real[::1, :] matrix, int panel):
    """Replace a matrix by its lower Cholesky factor; return 0, or the order of a bad minor.

    A minor is bad if it is not positive. A single LAPACK call would ignore Ctrl-C for minutes, so
    each `panel` of columns has its own call.
    """
    cdef int info, left, width, below, order = <int> matrix.shape[0]
    cdef real one = 1.0, minus = -1.0
    expect(matrix.shape[1] == order and panel > 0, "a square matrix, and a panel of columns")
    for left in range(0, order, panel):
        width = min(panel, order - left)
        below = order - left - width
        with nogil:
            if left > 0:
                if real is double:
                    dsyrk(b"L", b"N", &width, &left, &minus, &matrix[left, 0], &order, &one, &matrix[left, left],
                          &order)
                else:
                    ssyrk(b"L", b"N", &width, &left, &minus, &matrix[left, 0], &order, &one, &matrix[left, left],
                          &order)
            if real is double:
                dpotrf(b"L", &width, &matrix[left, left], &order, &info)
            else:
                spotrf(b"L", &width, &matrix[left, left], &order, &info)
        if info > 0:
            return left + info
        PyErr_CheckSignals()
        if below > 0:
            with nogil:
                if left > 0:
                    if real is double:
                        dgemm(b"N", b"T", &below, &width, &left, &minus, &matrix[left + width, 0], &order,
                              &matrix[left, 0], &order, &one, &matrix[left + width, left], &order)
                    else:
                        sgemm(b"N", b"T", &below, &width, &left, &minus, &matrix[left + width, 0], &order,
                              &matrix[left, 0], &order, &one, &matrix[left + width, left], &order)
                if real is double:
                    dtrsm(b"R", b"L", b"T", b"N", &below, &width, &one, &matrix[left, left], &order,
                          &matrix[left + width, left], &order)
                else:
                    strsm(b"R", b"L", b"T", b"N", &below, &width, &one, &matrix[left, left], &order,
                          &matrix[left + width, left], &order)
            PyErr_CheckSignals()
    return 0


def solve(real[::1, :] factor, real[::1, :] columns):
    """Replace columns by the solutions of a system, given its lower Cholesky factor."""
    cdef int info, order = <int> factor.shape[0], width = <int> columns.shape[1]
    expect(factor.shape[1] == order and columns.shape[0] == order, "a square factor with as many rows as the columns")
    if order == 0 or width == 0:
        return
    with nogil:
        if real is double:
            dpotrs(b"L", &order, &width, &factor[0, 0], &order, &columns[0, 0], &order, &info)
        else:
            spotrs(b"L", &order, &width, &factor[0, 0], &order, &columns[0, 0], &order, &info)


def multiply(double[::1, :] matrix, double[::1, :] columns, double[::1, :] out):
    """Write the products of a symmetric matrix, given its lower triangle, with columns."""
    cdef int order = <int> matrix.shape[0], width = <int> columns.shape[1]
    cdef double one = 1.0, zero = 0.0
    expect(
        matrix.shape[1] == order and columns.shape[0] == order and out.shape[0] == order and out.shape[1] == width,
        "a square matrix, and columns as long in and out",
    )
    if order == 0 or width == 0:
        return
    with nogil:
        dsymm(
            b"L", b"L", &order, &width, &one, &matrix[0, 0], &order, &columns[0, 0], &order, &zero, &out[0, 0], &order
        )
