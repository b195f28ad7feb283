#include "columns.h"

#include <math.h>
#include <string.h>

#define GROUP 64 /* columns per task: whole cache lines, and few pages, of each row */
#define AHEAD 16 /* rows */

static inline ptrdiff_t least(ptrdiff_t a, ptrdiff_t b)
{
    return a < b ? a : b;
}

/* Columns [first, last), four rows by four columns at a time where a row is contiguous. */
#define DEFINE_GROUP(NAME, ROW, OUT, MASK)                                                                            \
    typedef ROW NAME##_rows __attribute__((vector_size(4 * sizeof(ROW))));                                            \
    typedef OUT NAME##_columns __attribute__((vector_size(4 * sizeof(OUT))));                                         \
    typedef MASK NAME##_mask __attribute__((vector_size(4 * sizeof(ROW))));                                           \
    static void NAME(const ROW *rows, ptrdiff_t row_stride, ptrdiff_t column_stride, ptrdiff_t n_rows,                \
                     ptrdiff_t first, ptrdiff_t last, OUT *out)                                                       \
    {                                                                                                                 \
        ptrdiff_t done = 0;                                                                                           \
        for (; column_stride == 1 && done + 4 <= n_rows; done += 4) {                                                 \
            for (ptrdiff_t i = done + AHEAD; i < least(done + AHEAD + 4, n_rows); i++)                                \
                for (ptrdiff_t j = first; j < last; j += 64 / (ptrdiff_t)sizeof(ROW))                                 \
                    __builtin_prefetch(rows + i * row_stride + j);                                                    \
            ptrdiff_t j = first;                                                                                      \
            for (; j + 4 <= last; j += 4) {                                                                           \
                const ROW *x = rows + done * row_stride + j;                                                          \
                NAME##_rows a, b, c, d;                                                                               \
                memcpy(&a, x, sizeof a);                                                                              \
                memcpy(&b, x + row_stride, sizeof b);                                                                 \
                memcpy(&c, x + 2 * row_stride, sizeof c);                                                             \
                memcpy(&d, x + 3 * row_stride, sizeof d);                                                             \
                const NAME##_mask low = {0, 4, 1, 5}, high = {2, 6, 3, 7}, left = {0, 1, 4, 5}, right = {2, 3, 6, 7}; \
                const NAME##_rows ab = __builtin_shuffle(a, b, low), AB = __builtin_shuffle(a, b, high);              \
                const NAME##_rows cd = __builtin_shuffle(c, d, low), CD = __builtin_shuffle(c, d, high);              \
                const NAME##_columns column[4] = {                                                                    \
                    __builtin_convertvector(__builtin_shuffle(ab, cd, left), NAME##_columns),                         \
                    __builtin_convertvector(__builtin_shuffle(ab, cd, right), NAME##_columns),                        \
                    __builtin_convertvector(__builtin_shuffle(AB, CD, left), NAME##_columns),                         \
                    __builtin_convertvector(__builtin_shuffle(AB, CD, right), NAME##_columns),                        \
                };                                                                                                    \
                for (int k = 0; k < 4; k++)                                                                           \
                    memcpy(out + (j + k) * n_rows + done, &column[k], sizeof column[k]);                              \
            }                                                                                                         \
            for (; j < last; j++)                                                                                     \
                for (int k = 0; k < 4; k++)                                                                           \
                    out[j * n_rows + done + k] = (OUT)rows[(done + k) * row_stride + j];                              \
        }                                                                                                             \
        for (ptrdiff_t j = first; j < last; j++)                                                                      \
            for (ptrdiff_t i = done; i < n_rows; i++)                                                                 \
                out[j * n_rows + i] = (OUT)rows[i * row_stride + j * column_stride];                                  \
    }

#define DEFINE_FORM(NAME, OUT)                                                                                        \
    static void NAME(const struct column_form *form, ptrdiff_t n_rows, OUT *restrict column, double *mean,            \
                     double *variance)                                                                                \
    {                                                                                                                 \
        const double *restrict weights = form->weights;                                                               \
        const OUT anchor = column[form->anchor];                                                                      \
        double away = 0.0, squares = 0.0;                                                                             \
        _Pragma("omp simd reduction(+ : away)")                                                                       \
        for (ptrdiff_t i = 0; i < n_rows; i++)                                                                        \
            away += weights[i] * (double)(OUT)(column[i] - anchor);                                                   \
        *mean = (double)anchor + away;                                                                                \
        if (variance) {                                                                                               \
            _Pragma("omp simd reduction(+ : squares)")                                                                \
            for (ptrdiff_t i = 0; i < n_rows; i++) {                                                                  \
                const double z = (double)(OUT)(column[i] - anchor) - away;                                            \
                squares += weights[i] * z * z;                                                                        \
            }                                                                                                         \
            *variance = squares;                                                                                      \
        }                                                                                                             \
        const OUT shift = form->centre ? anchor : (OUT)0;                                                             \
        const double rest = form->centre ? away : 0.0;                                                                \
        const double factor = form->scale && squares > 0.0 ? 1.0 / sqrt(squares) : 1.0;                               \
        if (form->centre || form->scale)                                                                              \
            for (ptrdiff_t i = 0; i < n_rows; i++)                                                                    \
                column[i] = (OUT)(((double)(OUT)(column[i] - shift) - rest) * factor);                                \
    }

#define DEFINE_COLUMNS(NAME, ROW, OUT, MASK)                                                                          \
    DEFINE_GROUP(NAME##_group, ROW, OUT, MASK)                                                                        \
    DEFINE_FORM(NAME##_form, OUT)                                                                                     \
    DECLARE_COLUMNS(NAME, ROW, OUT)                                                                                   \
    {                                                                                                                 \
        _Pragma("omp parallel for num_threads(n_threads) schedule(static)") for (ptrdiff_t j0 = 0; j0 < n_columns;    \
                                                                                 j0 += GROUP)                         \
        {                                                                                                             \
            const ptrdiff_t j1 = least(j0 + GROUP, n_columns);                                                        \
            NAME##_group(rows, row_stride, column_stride, n_rows, j0, j1, out);                                       \
            for (ptrdiff_t j = j0; j < j1; j++)                                                                       \
                NAME##_form(form, n_rows, out + j * n_rows, means + j, variances ? variances + j : NULL);             \
        }                                                                                                             \
    }
DEFINE_COLUMNS(columns_f32, float, float, int32_t)
DEFINE_COLUMNS(columns_f32_f64, float, double, int32_t)
DEFINE_COLUMNS(columns_f64, double, double, int64_t)

#define DEFINE_TRANSPOSE(NAME, ROW, MASK)                                                                             \
    DEFINE_GROUP(NAME##_group, ROW, ROW, MASK)                                                                        \
    DECLARE_TRANSPOSE(NAME, ROW)                                                                                      \
    {                                                                                                                 \
        _Pragma("omp parallel for num_threads(n_threads) schedule(static)") for (ptrdiff_t j0 = 0; j0 < n_columns;    \
                                                                                 j0 += GROUP)                         \
            NAME##_group(rows, row_stride, column_stride, n_rows, j0, least(j0 + GROUP, n_columns), out);             \
    }
DEFINE_TRANSPOSE(transpose_8, uint8_t, int8_t)
DEFINE_TRANSPOSE(transpose_f32, float, int32_t)
DEFINE_TRANSPOSE(transpose_f64, double, int64_t)
