/* Columns of a block of rows as contiguous rows of their own, centred and scaled on the way.
 *
 * With fewer rows than features the products of all pairs of rows, `Z Z^T`, are summed over columns;
 * the fold's kernels then take columns in place of rows.
 */
#ifndef PARALLEL_RIDGE_COLUMNS_H
#define PARALLEL_RIDGE_COLUMNS_H

#include <stddef.h>
#include <stdint.h>

/* What is done to each column: subtract its weighted mean, divide by its weighted deviation. */
struct column_form {
    const double *weights; /* (n_rows,), sum 1 */
    ptrdiff_t anchor;      /* a row to count from, so that a constant column becomes exact zeros */
    int centre, scale;
};

/* ROW: type of the rows, OUT: of the columns.  Strides are in elements; `out` is (n_columns, n_rows).
 * `means` and `variances`, (n_columns,), are written; `variances` may be NULL unless columns are scaled. */
#define DECLARE_COLUMNS(NAME, ROW, OUT)                                                                               \
    void NAME(const ROW *rows, ptrdiff_t row_stride, ptrdiff_t column_stride, ptrdiff_t n_rows, ptrdiff_t n_columns,  \
              const struct column_form *form, OUT *out, double *means, double *variances, int n_threads)
DECLARE_COLUMNS(columns_f32, float, float);
DECLARE_COLUMNS(columns_f32_f64, float, double);
DECLARE_COLUMNS(columns_f64, double, double);

#define DECLARE_TRANSPOSE(NAME, ROW)                                                                                  \
    void NAME(const ROW *rows, ptrdiff_t row_stride, ptrdiff_t column_stride, ptrdiff_t n_rows, ptrdiff_t n_columns,  \
              ROW *out, int n_threads)
DECLARE_TRANSPOSE(transpose_8, uint8_t);
DECLARE_TRANSPOSE(transpose_f32, float);
DECLARE_TRANSPOSE(transpose_f64, double);

#endif
