/* Rows of one type as bytes, at one CPU level: fold_level.c includes this file once per type, with
 * these defined:
 *
 *   NAME   of the type
 *   IN     element type of the rows
 *   WORD   unsigned integer as wide as IN
 *
 * and for floating-point types:
 *
 *   MAGIC  1.5 times the power of two from which on IN has no fractions: a small integer x is the
 *          difference of the bits of MAGIC + x and of MAGIC
 */
#define JOIN_(a, b, c) a##_##b##_##c
#define JOIN(a, b, c) JOIN_(a, b, c)
#define KIND(name) JOIN(name, NAME, LEVEL)
#define SPAN 512 /* values, between two looks at what they were */

/* Narrow n values, and widen range to theirs; return whether they are integers that int32 holds. */
static inline int KIND(narrow_span)(const IN *restrict x, ptrdiff_t n, uint8_t *restrict bytes, int32_t range[2])
{
    WORD other = 0;
    int32_t low = range[0], high = range[1];
    for (ptrdiff_t j = 0; j < n; j++) {
#ifdef MAGIC
        const IN magic = MAGIC, sum = x[j] + magic;
        WORD base, bits;
        memcpy(&base, &magic, sizeof base);
        memcpy(&bits, &sum, sizeof bits);
        const int32_t value = (int32_t)(uint32_t)(bits - base);
#else
        const int32_t value = (int32_t)(uint32_t)(WORD)x[j];
#endif
        other |= (IN)value != x[j]; /* fractions, large values, NaN and infinity */
        low = value < low ? value : low;
        high = value > high ? value : high;
        bytes[j] = (uint8_t)value;
    }
    range[0] = low;
    range[1] = high;
    return !other;
}

/* Narrow one span of the rows, as above; return whether its values are integers from least to most. */
static inline int KIND(narrow_item)(const IN *rows, ptrdiff_t stride, ptrdiff_t n_columns, ptrdiff_t item,
                                    uint8_t *bytes, const int32_t limits[2], int32_t range[2])
{
    const ptrdiff_t n_spans = (n_columns + SPAN - 1) / SPAN, i = item / n_spans, j = item % n_spans * SPAN;
    const ptrdiff_t n = n_columns - j < SPAN ? n_columns - j : SPAN;
    return KIND(narrow_span)(rows + i * stride + j, n, bytes + i * n_columns + j, range) && range[0] >= limits[0] &&
           range[1] <= limits[1];
}

static int KIND(narrow)(const void *rows, ptrdiff_t stride, ptrdiff_t n_rows, ptrdiff_t n_columns, uint8_t *bytes,
                        int32_t range[2], int n_threads)
{
    if (stride == n_columns) { /* one long row */
        n_columns *= n_rows;
        n_rows = 1;
    }
    const ptrdiff_t n_items = n_rows * ((n_columns + SPAN - 1) / SPAN);
    const int32_t limits[2] = {range[0], range[1]};
    int32_t first[2] = {0, 0};
    /* Most rows that are not integers stop here, before a thread is woken. */
    if (!KIND(narrow_item)(rows, stride, n_columns, 0, bytes, limits, first))
        return 0;
    int32_t low = first[0], high = first[1];
    int all = 1;
#pragma omp parallel for num_threads(n_threads) schedule(static) reduction(min : low) reduction(max : high)
    for (ptrdiff_t item = 1; item < n_items; item++) {
        int go_on;
#pragma omp atomic read
        go_on = all;
        if (!go_on)
            continue;
        int32_t found[2] = {low, high};
        if (!KIND(narrow_item)(rows, stride, n_columns, item, bytes, limits, found)) {
#pragma omp atomic write
            all = 0;
        }
        low = found[0];
        high = found[1];
    }
    range[0] = low;
    range[1] = high;
    return all;
}

#undef NAME
#undef IN
#undef WORD
#undef MAGIC
#undef JOIN_
#undef JOIN
#undef KIND
#undef SPAN
