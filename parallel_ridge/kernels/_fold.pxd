from libc.stddef cimport ptrdiff_t, size_t
from libc.stdint cimport int32_t, int64_t, uint8_t

cdef extern from "decide.h" nogil:
    enum decide_rows:
        DECIDE_F32, DECIDE_F64, DECIDE_U8, DECIDE_I8, DECIDE_U16, DECIDE_I16, DECIDE_U32, DECIDE_I32, DECIDE_U64
        DECIDE_I64

    struct decide_job:
        const void *rows
        decide_rows type
        ptrdiff_t row_stride, column_stride, n_rows, n_columns
        const void *coefs
        const void *intercepts
        bint multiplied
        ptrdiff_t n_values, n_targets
        void *values
        int64_t *codes
        double *errors
        const int64_t *table
        const double *scales
        const double *weights
        const int32_t *labels
        const int64_t *label_ptr
        ptrdiff_t first_target
        const double *offsets

    ctypedef ptrdiff_t decide_function(const decide_job *, int) noexcept

cdef extern from "fold.h" nogil:
    enum fold_kind:
        FOLD_F32, FOLD_F64, FOLD_F64_INT, FOLD_U8, FOLD_I8

    struct fold_rows:
        const void *rows
        ptrdiff_t stride, n_rows, n_columns
        const void *shift
        const double *weights
        const int32_t *labels
        const int64_t *label_ptr

    struct fold_totals:
        int n_lanes
        ptrdiff_t n_classes
        void **gram
        void *class_sums

    ctypedef void fold_function(const fold_rows *, const fold_totals *, void *, int) noexcept

    enum narrow_kind:
        NARROW_F32, NARROW_F64, NARROW_I32, NARROW_I64

    ctypedef int narrow_function(const void *, ptrdiff_t, ptrdiff_t, ptrdiff_t, uint8_t *, int32_t *, int) noexcept

    struct fold_level:
        const char *name
        fold_function **fold
        int *piece_rows
        narrow_function **narrow
        decide_function **decide

    int LONGER(ptrdiff_t)
    const int MAX_LANES
    size_t fold_workspace(const fold_level *, fold_kind, ptrdiff_t, int, int)
    const fold_level *const *fold_levels()
    int fold_max_threads()
    int fold_has_openmp()

    void fold_csr_32_f32(const int32_t *, const int32_t *, const float *, ptrdiff_t, ptrdiff_t, const double *,
                         const int32_t *, const int64_t *, const fold_totals *, int) noexcept
    void fold_csr_32_f64(const int32_t *, const int32_t *, const double *, ptrdiff_t, ptrdiff_t, const double *,
                         const int32_t *, const int64_t *, const fold_totals *, int) noexcept
    void fold_csr_64_f32(const int64_t *, const int64_t *, const float *, ptrdiff_t, ptrdiff_t, const double *,
                         const int32_t *, const int64_t *, const fold_totals *, int) noexcept
    void fold_csr_64_f64(const int64_t *, const int64_t *, const double *, ptrdiff_t, ptrdiff_t, const double *,
                         const int32_t *, const int64_t *, const fold_totals *, int) noexcept

cdef const fold_level *_level() except NULL
