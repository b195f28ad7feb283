/* Weighted sums of rows and of their outer products, one block of rows per call.
 *
 * A *chunk* is a fixed number of consecutive rows; the chunks are divided evenly among *lanes*, and
 * every lane has its own totals.  A *stripe* is STRIPE columns, a *tile* a pair of stripes.  A
 * *piece* is some of a lane's chunks: it is packed, stripe by stripe, and then multiplied, tile by
 * tile.  If all threads get the same number of lanes, each lane is the work of one thread: then no
 * thread reads what another has written, which is slow between cores that share no cache.
 * Otherwise the threads share the stripes and the tiles of all lanes.  In either case each number
 * of the totals is updated in row order, so the result does not depend on the number of threads.
 */
#ifndef PARALLEL_RIDGE_FOLD_H
#define PARALLEL_RIDGE_FOLD_H

#include <stddef.h>
#include <stdint.h>

#include "decide.h"

#define STRIPE 96    /* a multiple of every panel width below and of QUAD */
#define QUAD 4       /* columns that one micro-tile multiplies with a whole panel */
#define MAX_LANES 16

/* Whether one thread does all the work of a lane. */
#define OWNED(n_lanes, n_threads) ((n_lanes) % (n_threads) == 0)

/* Pieces are longer if the Gram matrix does not fit in a cache: each piece updates it once. */
#define LONGER(n_columns) ((n_columns) < 1536 ? 1 : 4)

/* Types of the rows that are multiplied, and of the totals. */
enum fold_kind {
    FOLD_F32,     /* float rows, double totals */
    FOLD_F64,     /* double rows, double totals */
    FOLD_F64_INT, /* double rows that hold integers, int64 totals: exact while a chunk's sums stay below 2^53 */
    FOLD_U8,      /* uint8 rows, int64 totals: exact */
    FOLD_I8,      /* int8 rows, int64 totals: exact */
    FOLD_KINDS
};

struct fold_rows {
    const void *rows;         /* (n_rows, n_columns), unit column stride */
    ptrdiff_t stride;         /* elements from one row to the next */
    ptrdiff_t n_rows, n_columns;
    const void *shift;        /* (n_columns,) of the rows' type, or NULL: subtracted from each row */
    const double *weights;    /* (n_rows,) or NULL: ones; for float rows only */
    const int32_t *labels;    /* row i: labels[i], or labels[label_ptr[i]:label_ptr[i + 1]] */
    const int64_t *label_ptr; /* (n_rows + 1,) or NULL */
};

struct fold_totals {
    int n_lanes;
    ptrdiff_t n_classes;
    void *gram[MAX_LANES]; /* one per lane: (n_columns, n_columns), upper triangle */
    void *class_sums;      /* (n_lanes, n_classes, n_columns) */
};

typedef void fold_function(const struct fold_rows *, const struct fold_totals *, void *workspace, int n_threads);

/* Types of rows that may hold nothing but small integers. */
enum narrow_kind { NARROW_F32, NARROW_F64, NARROW_I32, NARROW_I64, NARROW_KINDS };

/* Narrow rows of at least one value to bytes, the last one of each value, if all values are integers
 * in a range around zero: return 1, and replace it by that of the values and zero.  Otherwise return 0,
 * soon after the first value that is not. */
typedef int narrow_function(const void *rows, ptrdiff_t stride, ptrdiff_t n_rows, ptrdiff_t n_columns, uint8_t *bytes,
                            int32_t range[2], int n_threads);

struct fold_level {
    const char *name;
    fold_function *fold[FOLD_KINDS];
    int piece_rows[FOLD_KINDS];      /* rows packed at a time, before the factor LONGER */
    size_t stripe_bytes[FOLD_KINDS]; /* bytes of one packed stripe of a piece */
    narrow_function *narrow[NARROW_KINDS];
    decide_function *const *decide;  /* decisions in float, and in double */
};

/* Bytes of workspace; 64-byte aligned. */
size_t fold_workspace(const struct fold_level *, enum fold_kind, ptrdiff_t n_columns, int n_lanes, int n_threads);

/* The levels that this processor supports, best first, then NULL.  "portable" is always last. */
const struct fold_level *const *fold_levels(void);

/* Rows in CSR form.  INDEX and VALUE vary; totals are double. */
#define DECLARE_FOLD_CSR(NAME, INDEX, VALUE)                                                                          \
    void NAME(const INDEX *indptr, const INDEX *indices, const VALUE *data, ptrdiff_t n_rows, ptrdiff_t n_columns,    \
              const double *weights, const int32_t *labels, const int64_t *label_ptr,                                 \
              const struct fold_totals *totals, int n_threads)
DECLARE_FOLD_CSR(fold_csr_32_f32, int32_t, float);
DECLARE_FOLD_CSR(fold_csr_32_f64, int32_t, double);
DECLARE_FOLD_CSR(fold_csr_64_f32, int64_t, float);
DECLARE_FOLD_CSR(fold_csr_64_f64, int64_t, double);

int fold_max_threads(void); /* 1 in a build without OpenMP */
int fold_has_openmp(void);

#endif
