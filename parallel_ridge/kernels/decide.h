/* Decision values of rows, and what becomes of them, one block of rows per call.
 *
 * The values of a row are its products with `n_values` rows of coefficients, plus intercepts.  They
 * come in groups of `n_targets` (the classes of one penalty), and each group gives one answer.  A
 * *panel* is PANEL_BYTES of packed coefficients, side by side; a *strip* is as many panels as stay in
 * a cache.  A thread packs a strip, multiplies a few rows at a time with it into a *tile*, and reads
 * the tile while it is in the cache, so no matrix of all values ever exists.  The values of a row
 * depend on that row alone: any division of rows into threads, and into calls of more than a few rows
 * (which are not packed and sum in another order), gives the same bits.
 */
#ifndef PARALLEL_RIDGE_DECIDE_H
#define PARALLEL_RIDGE_DECIDE_H

#include <stddef.h>
#include <stdint.h>

#define PANEL_BYTES 64
#define TASK_ROWS 2048 /* rows that a packed strip serves, if there are several strips */

/* Types of the rows. */
enum decide_rows {
    DECIDE_F32, DECIDE_F64, DECIDE_U8, DECIDE_I8, DECIDE_U16, DECIDE_I16, DECIDE_U32, DECIDE_I32, DECIDE_U64, DECIDE_I64
};

struct decide_job {
    const void *rows;
    enum decide_rows type;
    ptrdiff_t row_stride, column_stride; /* bytes */
    ptrdiff_t n_rows, n_columns;
    const void *coefs;      /* (n_values, n_columns), of the values' type */
    const void *intercepts; /* (n_values,), of the values' type */
    int multiplied;         /* whether the rows are products already, (n_rows, n_values), and `coefs` is unused */
    ptrdiff_t n_values, n_targets;

    /* What to make of the values; exactly one of these is not NULL. */
    void *values;   /* (n_rows, n_values): copy them */
    int64_t *codes; /* (n_rows, n_groups): the first largest of a group, or whether a single one is positive */
    double *errors; /* (n_groups, n_targets + 1): add squared errors; only one thread */

    const int64_t *table;      /* (n_targets,), or (2,) for a single target, or NULL: written in place of codes */
    const double *scales;      /* (n_rows, n_groups) or NULL: factors of the errors */
    const double *weights;     /* (n_rows,) or NULL: factors of the squares */
    const int32_t *labels;     /* or NULL: targets are zero; row i: labels[i], or labels[label_ptr[i]:label_ptr[i + 1]] */
    const int64_t *label_ptr;  /* (n_rows + 1,) or NULL */
    ptrdiff_t first_target;    /* the class that is the first target */
    const double *offsets;     /* (n_targets,) or NULL: subtracted from the targets */
};

/* Return the first row with a value that is not finite, or n_rows; or -1 without memory. */
typedef ptrdiff_t decide_function(const struct decide_job *, int n_threads);

#endif
