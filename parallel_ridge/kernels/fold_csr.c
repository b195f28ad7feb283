/* Sums and outer products of CSR rows.  Only one item writes a given row of the Gram matrix, in the
 * order of the data's rows, so the result does not depend on the number of threads. */
#include "fold.h"

#define MAX_STRIPES 16  /* each stripe searches every row for its first entry: keep them few */
#define MIN_STRIPE 48   /* columns: as many rows of a 1,000-column Gram matrix fit a core's cache */

/* Indices ascend within a row, without repeats. */
#define DEFINE_FOLD_CSR(NAME, INDEX, VALUE)                                                                            \
    DECLARE_FOLD_CSR(NAME, INDEX, VALUE)                                                                               \
    {                                                                                                                  \
        const ptrdiff_t d = n_columns, n_lanes = totals->n_lanes;                                                      \
        ptrdiff_t width = (d + MAX_STRIPES - 1) / MAX_STRIPES;                                                         \
        width = width < MIN_STRIPE ? MIN_STRIPE : width;                                                               \
        const ptrdiff_t n_stripes = (d + width - 1) / width;                                                           \
        (void)n_threads; /* unused in a build without OpenMP */                                                       \
        _Pragma("omp parallel for schedule(dynamic) num_threads(n_threads)")                                           \
        for (ptrdiff_t item = 0; item < n_lanes * n_stripes; item++) {                                                 \
            const ptrdiff_t lane = item % n_lanes, first = item / n_lanes * width;                                     \
            double *gram = (double *)totals->gram[lane];                                                               \
            double *class_sums = (double *)totals->class_sums + lane * totals->n_classes * d;                          \
            for (ptrdiff_t i = n_rows * lane / n_lanes; i < n_rows * (lane + 1) / n_lanes; i++) {                     \
                const INDEX end = indptr[i + 1];                                                                       \
                INDEX low = indptr[i], high = end; /* bisection for the stripe's first entry */                        \
                while (low < high) {                                                                                   \
                    const INDEX middle = low + (high - low) / 2;                                                       \
                    if (indices[middle] < first)                                                                       \
                        low = middle + 1;                                                                              \
                    else                                                                                               \
                        high = middle;                                                                                 \
                }                                                                                                      \
                const double weight = weights ? weights[i] : 1.0;                                                      \
                const int64_t from = label_ptr ? label_ptr[i] : i, to = label_ptr ? label_ptr[i + 1] : i + 1;          \
                for (INDEX a = low; a < end && indices[a] < first + width; a++) {                                      \
                    const double value = weight * (double)data[a];                                                     \
                    double *row = gram + (ptrdiff_t)indices[a] * d;                                                    \
                    for (INDEX b = a; b < end; b++)                                                                    \
                        row[indices[b]] += value * (double)data[b];                                                    \
                    for (int64_t l = from; l < to; l++)                                                                \
                        class_sums[(ptrdiff_t)labels[l] * d + indices[a]] += value;                                    \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }

DEFINE_FOLD_CSR(fold_csr_32_f32, int32_t, float)
DEFINE_FOLD_CSR(fold_csr_32_f64, int32_t, double)
DEFINE_FOLD_CSR(fold_csr_64_f32, int64_t, float)
DEFINE_FOLD_CSR(fold_csr_64_f64, int64_t, double)
