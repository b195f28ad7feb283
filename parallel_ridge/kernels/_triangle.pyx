# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Operations on upper triangles of C-ordered square matrices, the lower ones of their transposes.

They release the GIL. NumPy would pass over the memory several times, including the meaningless
half. These functions check shapes, so no call reads or writes outside its arrays.
"""

from libc.math cimport fabs
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memmove, memset

from ._expect cimport expect

ctypedef fused total:
    double
    int64_t

ctypedef fused real:
    float
    double

ctypedef fused stored:
    double
    int32_t
    int64_t


def add(total[:, ::1] into, const total[:, ::1] other):
    """Add one triangle to another in place."""
    cdef Py_ssize_t i, j, d = into.shape[0]
    expect(
        into.shape[1] == d and other.shape[0] == d and other.shape[1] == d,
        "two square matrices of the same size",
    )
    with nogil:
        for i in range(d):
            for j in range(i, d):
                into[i, j] += other[i, j]


def pour(total[:, ::1] into, total[:, ::1] other):
    """Add one triangle to another in place and leave zeros, so that a second call adds nothing."""
    cdef Py_ssize_t i, j, d = into.shape[0]
    expect(
        into.shape[1] == d and other.shape[0] == d and other.shape[1] == d,
        "two square matrices of the same size",
    )
    with nogil:
        for i in range(d):
            for j in range(i, d):
                into[i, j] += other[i, j]
            memset(&other[i, i], 0, (d - i) * sizeof(total))


def pack(const total[:, ::1] matrix, total[::1] packed):
    """Copy the triangle row by row, possibly to the start of its own memory."""
    cdef Py_ssize_t i, at = 0, d = matrix.shape[0]
    expect(matrix.shape[1] == d and packed.shape[0] == d * (d + 1) // 2, "a square matrix and its triangle")
    with nogil:
        for i in range(d):  # no row overwrites one that has not moved yet
            memmove(&packed[at], &matrix[i, i], (d - i) * sizeof(total))
            at += d - i


def unpack(const stored[::1] packed, total[:, ::1] matrix):
    """Undo `pack`, possibly from shorter integers, or from the start of the memory of `matrix`."""
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
    """Move the shift of a triangle of integers by `step`; `sums` are the feature sums before that.

    The arithmetic is unsigned because intermediate sums may wrap around: only the results must fit.
    `out` gets zeros below the diagonal, unless it is the memory of `gram`.
    """
    cdef Py_ssize_t i, j, d = gram.shape[0]
    cdef uint64_t left, right
    expect(
        gram.shape[1] == d and out.shape[0] == d and out.shape[1] == d and step.shape[0] == d and sums.shape[0] == d,
        "square matrices, and one step and one sum per column",
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
    """Compact some rows and columns of a triangle into a smaller one at the start of its memory."""
    cdef Py_ssize_t i, j, d = matrix.shape[0], m = kept.shape[0], before = -1
    expect(matrix.shape[1] == d, "a square matrix")
    for i in range(m):
        expect(before < kept[i] < d, "ascending column numbers")
        before = kept[i]
    if m == 0 or m == d:
        return
    cdef double *out = &matrix[0, 0]
    with nogil:
        for i in range(m):
            for j in range(i, m):
                out[i * m + j] = matrix[kept[i], kept[j]]


def scale(const double[:, ::1] matrix, const double[::1] factors, double[:, ::1] out, double[::1] norm):
    """Scale rows and columns to a unit diagonal, possibly in place.

    Sums of magnitudes in each row of the whole symmetric matrix are added to `norm`, which must be
    zero.
    """
    cdef Py_ssize_t i, j, d = matrix.shape[0]
    cdef double factor, value, magnitudes
    expect(
        matrix.shape[1] == d and out.shape[0] == d and out.shape[1] == d and factors.shape[0] == d
        and norm.shape[0] == d,
        "square matrices, and one factor and one norm per column",
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
