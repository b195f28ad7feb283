/* Decisions in one type of numbers at one CPU level: decide_level.c includes this file once per type,
 * with NAME and REAL defined. */
#define JOIN_(a, b, c) a##_##b##_##c
#define JOIN(a, b, c) JOIN_(a, b, c)
#define KIND(name) JOIN(name, NAME, LEVEL)
#define LANES ((int)(VECTOR_BYTES / sizeof(REAL)))
#define PANEL ((int)(PANEL_BYTES / sizeof(REAL)))
#define VECTORS (PANEL_BYTES / VECTOR_BYTES)
#define LINE (64 / (int)sizeof(REAL))

typedef REAL KIND(vector) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));

/* A thread's memory, and how the work is divided. */
struct KIND(plan) {
    ptrdiff_t depth;       /* columns that are multiplied before the tile is updated */
    ptrdiff_t strip;       /* values per strip, in whole panels */
    ptrdiff_t tile_rows;
    REAL *packed;          /* (n_columns, strip), in blocks of depth, panel by panel */
    REAL *intercepts;      /* (strip,) */
    REAL *tile;            /* (tile_rows, strip) */
    REAL *converted;       /* (tile_rows or, with several strips, task_rows; n_columns), or NULL: rows as they are */
    REAL *best;            /* (task_rows,): largest value of a group so far */
    double *sums;          /* (task_rows,): squared errors of a group so far */
    double *aims;          /* (n_targets,): -1, but 1 for the targets of the row at hand; less the offsets */
};

/* Pack the coefficients of values [first, first + n) for products `depth` columns at a time. */
static void KIND(pack)(const struct decide_job *job, const struct KIND(plan) *plan, ptrdiff_t first, ptrdiff_t n)
{
    const ptrdiff_t d = job->n_columns;
    REAL *out = plan->packed;
    for (ptrdiff_t j = 0; j < plan->strip; j++)
        plan->intercepts[j] = j < n ? ((const REAL *)job->intercepts)[first + j] : 0;
    if (job->multiplied || job->n_values == 1)
        return;
    for (ptrdiff_t from = 0; from < d; from += plan->depth) {
        const ptrdiff_t depth = d - from < plan->depth ? d - from : plan->depth;
        for (ptrdiff_t p = 0; p < n; p += PANEL, out += depth * PANEL)
            for (int c = 0; c < PANEL; c++) {
                if (p + c >= n) {
                    for (ptrdiff_t j = 0; j < depth; j++)
                        out[j * PANEL + c] = 0;
                    continue;
                }
                const REAL *coefs = (const REAL *)job->coefs + (first + p + c) * d + from;
                for (ptrdiff_t j = 0; j < depth; j++)
                    out[j * PANEL + c] = coefs[j];
            }
    }
}

/* Row r times `vectors` vectors of a panel: begin tile[r][:], or add to it; add `intercepts`, if any. */
static inline __attribute__((always_inline)) void KIND(micro)(const int rows, const int vectors, const REAL *x,
                                                              ptrdiff_t stride, const REAL *panel, ptrdiff_t depth,
                                                              int ahead, int begin, const REAL *intercepts, REAL *tile,
                                                              ptrdiff_t tile_stride)
{
    typedef KIND(vector) vector;
    vector sum[MICRO_ROWS][VECTORS];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++)
            sum[r][v] = begin ? (vector){0} : *(const vector *)(tile + r * tile_stride + v * LANES);
    for (ptrdiff_t from = 0; from < depth; from += LINE) {
        if (ahead)
            for (int r = 0; r < rows; r++)
                __builtin_prefetch(x + (AHEAD + r) * stride + from);
        for (ptrdiff_t j = from; j < from + LINE && j < depth; j++, panel += PANEL)
            for (int r = 0; r < rows; r++) {
                const vector a = x[r * stride + j] - (vector){0};
                for (int v = 0; v < vectors; v++)
                    sum[r][v] += a * *(const vector *)(panel + v * LANES);
            }
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) {
            if (intercepts)
                sum[r][v] += *(const vector *)(intercepts + v * LANES);
            *(vector *)(tile + r * tile_stride + v * LANES) = sum[r][v];
        }
}

static inline __attribute__((always_inline)) void KIND(multiply_panel)(const int vectors, ptrdiff_t n_rows,
                                                                       const REAL *x, ptrdiff_t stride,
                                                                       const REAL *panel, ptrdiff_t depth,
                                                                       const int ahead, int begin,
                                                                       const REAL *intercepts, REAL *tile,
                                                                       ptrdiff_t tile_stride)
{
#define MICRO(rows)                                                                                                    \
    for (; i + rows <= n_rows; i += rows)                                                                              \
    KIND(micro)(rows, vectors, x + i * stride, stride, panel, depth, ahead, begin, intercepts, tile + i * tile_stride, \
                tile_stride)
    ptrdiff_t i = 0;
    MICRO(MICRO_ROWS);
    MICRO(2);
    MICRO(1);
#undef MICRO
}

/* Values of some rows for the packed strip of values [first, first + n), in the tile. */
static void KIND(multiply)(const struct decide_job *job, const struct KIND(plan) *plan, const REAL *rows,
                           ptrdiff_t stride, ptrdiff_t n_rows, ptrdiff_t first, ptrdiff_t n)
{
    const ptrdiff_t d = job->n_columns;
    const REAL *panel = plan->packed;
    if (job->multiplied || d == 0) {
        for (ptrdiff_t i = 0; i < n_rows; i++)
            for (ptrdiff_t j = 0; j < plan->strip; j++)
                plan->tile[i * plan->strip + j] =
                    j < n ? (d ? rows[i * stride + first + j] : 0) + plan->intercepts[j] : 0;
        return;
    }
    for (ptrdiff_t from = 0; from < d; from += plan->depth) {
        const ptrdiff_t depth = d - from < plan->depth ? d - from : plan->depth;
        for (ptrdiff_t p = 0; p < n; p += PANEL, panel += depth * PANEL) {
            const int vectors = n - p < PANEL ? (int)((n - p + LANES - 1) / LANES) : VECTORS;
            const REAL *const intercepts = from + depth == d ? plan->intercepts + p : NULL;
            /* Converted rows are in the cache, and what lies beyond them may be no memory at all. */
            const int ahead = p == 0 && !plan->converted;
#define CASE(v)                                                                                                        \
    case v:                                                                                                            \
        KIND(multiply_panel)(v <= VECTORS ? v : VECTORS, n_rows, rows + from, stride, panel, depth, ahead, from == 0,  \
                             intercepts, plan->tile + p, plan->strip);                                                 \
        break
            switch (vectors) {
                CASE(1);
                CASE(2);
                CASE(3);
                CASE(4);
            }
#undef CASE
        }
    }
}

static inline REAL KIND(sum)(KIND(vector) v)
{
    REAL parts[LANES], halves[LANES / 2];
    *(KIND(vector) *)parts = v;
    for (int l = 0; l < LANES / 2; l++)
        halves[l] = parts[l] + parts[l + LANES / 2];
    REAL sum = 0;
    for (int l = 0; l < LANES / 2; l++)
        sum += halves[l];
    return sum;
}

/* Products of a few rows and one vector: columns in vectors, the last of which, `end`, overlaps the one
 * before. */
static inline __attribute__((always_inline)) void KIND(dot_rows)(const int rows, const REAL *coefs,
                                                                 KIND(vector) end, ptrdiff_t d, const REAL *x,
                                                                 ptrdiff_t stride, REAL *products)
{
    typedef KIND(vector) vector;
    vector sum[DOT_ROWS];
    for (int r = 0; r < rows; r++)
        sum[r] = *(const vector *)(x + r * stride + d - LANES) * end;
    for (ptrdiff_t j = 0; j <= d - LANES; j += LANES) {
        const vector w = *(const vector *)(coefs + j);
        for (int r = 0; r < rows; r++)
            sum[r] += *(const vector *)(x + r * stride + j) * w;
    }
    for (int r = 0; r < rows; r++)
        products[r] = KIND(sum)(sum[r]);
}

/* Products of rows and one vector, plus intercepts that are `step` apart. */
static void KIND(dots)(const REAL *coefs, ptrdiff_t d, const REAL *rows, ptrdiff_t stride, ptrdiff_t n_rows,
                       const REAL *intercepts, ptrdiff_t step, REAL *tile)
{
    KIND(vector) end = {0};
    ptrdiff_t i = 0;
    if (d >= LANES) {
        for (ptrdiff_t j = d / LANES * LANES; j < d; j++)
            end[j - d + LANES] = coefs[j];
        for (; i + DOT_ROWS <= n_rows; i += DOT_ROWS)
            KIND(dot_rows)(DOT_ROWS, coefs, end, d, rows + i * stride, stride, tile + i);
        for (; i < n_rows; i++)
            KIND(dot_rows)(1, coefs, end, d, rows + i * stride, stride, tile + i);
    }
    for (; i < n_rows; i++) {
        REAL sum = 0;
        for (ptrdiff_t j = 0; j < d; j++)
            sum += rows[i * stride + j] * coefs[j];
        tile[i] = sum;
    }
    for (i = 0; i < n_rows; i++)
        tile[i] += intercepts[i * step];
}

/* Whether all numbers are finite. */
static inline int KIND(finite)(const REAL *values, ptrdiff_t n)
{
    enum { CHAINS = 4 };
    KIND(vector) zeros[CHAINS] = {{0}};
    REAL zero = 0;
    ptrdiff_t j = 0;
    for (; j + CHAINS * LANES <= n; j += CHAINS * LANES)
        for (int c = 0; c < CHAINS; c++)
            zeros[c] += *(const KIND(vector) *)(values + j + c * LANES) * 0;
    for (; j < n; j++)
        zero += values[j] * 0;
    for (int c = 1; c < CHAINS; c++)
        zeros[0] += zeros[c];
    return zero + KIND(sum)(zeros[0]) == 0;
}

/* Position of the first largest of some numbers, if that is above `best`, which it becomes; else -1. */
static inline ptrdiff_t KIND(largest)(const REAL *values, ptrdiff_t n, REAL *best)
{
    ptrdiff_t found = -1, j = 0;
    REAL top = *best;
    if (n >= 4 * LANES) {
        REAL most[LANES];
        memcpy(most, values, sizeof most);
        for (j = LANES; j + LANES <= n; j += LANES)
            for (int l = 0; l < LANES; l++)
                most[l] = values[j + l] > most[l] ? values[j + l] : most[l];
        for (int l = 0; l < LANES; l++)
            top = most[l] > top ? most[l] : top;
    }
    for (; j < n; j++)
        top = values[j] > top ? values[j] : top;
    if (!(top > *best))
        return -1;
    *best = top;
    if (n >= 4 * LANES)
        for (found = 0; values[found] != top;)
            found++;
    else
        for (j = n - 1; j >= 0; j--) /* no branch to mispredict */
            found = values[j] == top ? j : found;
    return found;
}

/* Add squared errors of the values [first, first + n) of row i, all of one group. */
static inline void KIND(add_errors)(const struct decide_job *job, ptrdiff_t i, ptrdiff_t group, ptrdiff_t target,
                                    const REAL *values, ptrdiff_t n, const double *aims, double *row_sum)
{
    const ptrdiff_t n_groups = job->n_values / job->n_targets;
    const double scale = job->scales ? job->scales[i * n_groups + group] : 1.0;
    const double weight = job->weights ? job->weights[i] : 1.0;
    double *restrict sums = job->errors + group * (job->n_targets + 1) + target;
    double squares[LANES] = {0};
    ptrdiff_t j = 0;
    for (; j + LANES <= n; j += LANES)
        for (int l = 0; l < LANES; l++) {
            const double error = (aims[target + j + l] - (double)values[j + l]) * scale, square = weight * (error * error);
            sums[j + l] += square;
            squares[l] += square;
        }
    for (; j < n; j++) {
        const double error = (aims[target + j] - (double)values[j]) * scale, square = weight * (error * error);
        sums[j] += square;
        squares[0] += square;
    }
    for (int l = 0; l < LANES; l++)
        *row_sum += squares[l];
    if (target + n == job->n_targets) {
        const double mean = *row_sum / (double)job->n_targets;
        job->errors[group * (job->n_targets + 1) + job->n_targets] += mean * mean;
        *row_sum = 0.0;
    }
}

static inline double KIND(aim)(const struct decide_job *job, ptrdiff_t target, double aim)
{
    return job->offsets ? aim - job->offsets[target] : aim;
}

/* Set the aims of the targets of row i. */
static void KIND(mark)(const struct decide_job *job, double *aims, ptrdiff_t i, double aim)
{
    const int64_t from = job->label_ptr ? job->label_ptr[i] : i, to = job->label_ptr ? job->label_ptr[i + 1] : i + 1;
    for (int64_t l = from; l < to; l++) {
        const ptrdiff_t target = job->labels[l] - job->first_target;
        if (target >= 0)
            aims[target] = KIND(aim)(job, target, aim);
    }
}

/* Codes of the single values of rows from row `start` on. */
static void KIND(read_signs)(const struct decide_job *job, const REAL *tile, ptrdiff_t start, ptrdiff_t n_rows)
{
    const int64_t no = job->table ? job->table[0] : 0, yes = job->table ? job->table[1] : 1;
    for (ptrdiff_t i = 0; i < n_rows; i++)
        job->codes[start + i] = tile[i] > 0 ? yes : no;
}

/* Codes of row i from its values [first, first + n); `best` is the largest value of an open group. */
static void KIND(read_codes)(const struct decide_job *job, const REAL *values, ptrdiff_t i, ptrdiff_t first,
                             ptrdiff_t n, REAL *best)
{
    const ptrdiff_t t = job->n_targets, n_groups = job->n_values / t;
    ptrdiff_t group = first / t, target = first - group * t;
    for (int64_t *code = job->codes + i * n_groups + group; n > 0; code++) {
        const ptrdiff_t width = t - target < n ? t - target : n;
        ptrdiff_t found = -1;
        if (t == 1)
            found = values[0] > 0;
        else {
            if (target == 0)
                *best = -(REAL)INFINITY;
            found = KIND(largest)(values, width, best);
            if (found >= 0)
                found += target;
            else if (target == 0)
                found = 0; /* not finite: there will be an error */
        }
        if (found >= 0)
            *code = job->table ? job->table[found] : found;
        values += width;
        n -= width;
        target = 0;
    }
}

/* Add the squared errors of row i, from its values [first, first + n). */
static void KIND(read_errors)(const struct decide_job *job, const REAL *values, ptrdiff_t i, ptrdiff_t first,
                              ptrdiff_t n, double *aims, double *row_sum)
{
    const ptrdiff_t t = job->n_targets;
    ptrdiff_t group = first / t, target = first - group * t;
    if (job->labels)
        KIND(mark)(job, aims, i, 1.0);
    for (; n > 0; group++) {
        const ptrdiff_t width = t - target < n ? t - target : n;
        KIND(add_errors)(job, i, group, target, values, width, aims, row_sum);
        values += width;
        n -= width;
        target = 0;
    }
    if (job->labels)
        KIND(mark)(job, aims, i, -1.0);
}

/* Read the tile: values [first, first + n) of n_rows rows from row `start` on, of a task that begins
 * with row `task`.  Return the first row that is not finite, or `bad`. */
static ptrdiff_t KIND(read)(const struct decide_job *job, const struct KIND(plan) *plan, ptrdiff_t task,
                            ptrdiff_t start, ptrdiff_t n_rows, ptrdiff_t first, ptrdiff_t n, ptrdiff_t bad)
{
    const ptrdiff_t strip = plan->strip;
    const REAL *tile = plan->tile;
    if (!(n + PANEL > strip && KIND(finite)(tile, n_rows * strip)))
        for (ptrdiff_t i = 0; i < n_rows && start + i < bad; i++)
            if (!KIND(finite)(tile + i * strip, n))
                bad = start + i;
    if (job->codes && job->n_values == 1) {
        KIND(read_signs)(job, tile, start, n_rows);
        return bad;
    }
    for (ptrdiff_t i = start; i < start + n_rows; i++, tile += strip)
        if (job->values)
            memcpy((REAL *)job->values + i * job->n_values + first, tile, (size_t)n * sizeof(REAL));
        else if (job->codes)
            KIND(read_codes)(job, tile, i, first, n, plan->best + i - task);
        else
            KIND(read_errors)(job, tile, i, first, n, plan->aims, plan->sums + i - task);
    return bad;
}

/* Copy rows in another type, or with another column stride. */
static void KIND(convert)(const struct decide_job *job, ptrdiff_t start, ptrdiff_t n_rows, REAL *out)
{
    const ptrdiff_t d = job->n_columns, across = job->column_stride, down = job->row_stride;
    const char *rows = (const char *)job->rows + start * down;
    const int by_columns = (across < 0 ? -across : across) > (down < 0 ? -down : down);
#define CASE(type, IN)                                                                                                 \
    case type:                                                                                                         \
        if (across == (ptrdiff_t)sizeof(IN))                                                                           \
            for (ptrdiff_t i = 0; i < n_rows; i++)                                                                     \
                for (ptrdiff_t j = 0; j < d; j++)                                                                      \
                    out[i * d + j] = (REAL)((const IN *)(rows + i * down))[j];                                         \
        else if (by_columns)                                                                                           \
            for (ptrdiff_t j = 0; j < d; j++)                                                                          \
                for (ptrdiff_t i = 0; i < n_rows; i++)                                                                 \
                    out[i * d + j] = (REAL) * (const IN *)(rows + i * down + j * across);                              \
        else                                                                                                           \
            for (ptrdiff_t i = 0; i < n_rows; i++)                                                                     \
                for (ptrdiff_t j = 0; j < d; j++)                                                                      \
                    out[i * d + j] = (REAL) * (const IN *)(rows + i * down + j * across);                              \
        break
    switch (job->type) {
        CASE(DECIDE_F32, float);
        CASE(DECIDE_F64, double);
        CASE(DECIDE_U8, uint8_t);
        CASE(DECIDE_I8, int8_t);
        CASE(DECIDE_U16, uint16_t);
        CASE(DECIDE_I16, int16_t);
        CASE(DECIDE_U32, uint32_t);
        CASE(DECIDE_I32, int32_t);
        CASE(DECIDE_U64, uint64_t);
        CASE(DECIDE_I64, int64_t);
    }
#undef CASE
}

/* Answers for rows [task, end) from values [first, first + n), whose coefficients are packed. */
static ptrdiff_t KIND(answer)(const struct decide_job *job, const struct KIND(plan) *plan, ptrdiff_t task,
                              ptrdiff_t end, ptrdiff_t first, ptrdiff_t n, ptrdiff_t bad)
{
    for (ptrdiff_t start = task; start < end; start += plan->tile_rows) {
        const ptrdiff_t n_rows = end - start < plan->tile_rows ? end - start : plan->tile_rows;
        const REAL *rows = (const REAL *)((const char *)job->rows + start * job->row_stride);
        ptrdiff_t stride = job->row_stride / (ptrdiff_t)sizeof(REAL);
        if (plan->converted) {
            rows = plan->converted;
            stride = job->n_columns;
            if (n == job->n_values)
                KIND(convert)(job, start, n_rows, plan->converted);
            else /* all rows of the task are there */
                rows += (start - task) * stride;
        }
        if (job->n_values == 1 && !job->multiplied)
            KIND(dots)(job->coefs, job->n_columns, rows, stride, n_rows, plan->intercepts, 0, plan->tile);
        else
            KIND(multiply)(job, plan, rows, stride, n_rows, first, n);
        bad = KIND(read)(job, plan, task, start, n_rows, first, n, bad);
    }
    return bad;
}

/* Few rows do not pay for packing: multiply each with the coefficients where they are. */
static ptrdiff_t KIND(decide_few)(const struct decide_job *job)
{
    const ptrdiff_t d = job->n_columns, n = job->n_values;
    const size_t doubles = job->errors ? (size_t)(1 + job->n_targets) : 0;
    double *const memory = malloc(doubles * sizeof(double) + (size_t)(n + d + 1) * sizeof(REAL));
    ptrdiff_t bad = job->n_rows;
    if (!memory)
        return -1;
    struct KIND(plan) plan = {.strip = n, .sums = memory, .aims = memory + 1, .tile = (REAL *)(memory + doubles)};
    plan.best = plan.tile + n;
    plan.converted = plan.best + 1;
    if (job->errors) {
        plan.sums[0] = 0.0;
        for (ptrdiff_t j = 0; j < job->n_targets; j++)
            plan.aims[j] = KIND(aim)(job, j, job->labels ? -1.0 : 0.0);
    }
    for (ptrdiff_t i = 0; i < job->n_rows; i++) {
        KIND(convert)(job, i, 1, plan.converted);
        KIND(dots)(plan.converted, d, job->coefs, d, n, job->intercepts, 1, plan.tile);
        bad = KIND(read)(job, &plan, i, i, 1, 0, n, bad);
    }
    free(memory);
    return bad;
}

static ptrdiff_t KIND(decide)(const struct decide_job *job, int n_threads)
{
    const ptrdiff_t d = job->n_columns, n = job->n_values, n_panels = (n + PANEL - 1) / PANEL;
    if (job->n_rows <= FEW_ROWS && !job->multiplied)
        return KIND(decide_few)(job);
    struct KIND(plan) plan;
    const ptrdiff_t n_blocks = d > DEPTH ? (d + DEPTH - 1) / DEPTH : 1;
    plan.depth = d ? (d + n_blocks - 1) / n_blocks : 1;
    ptrdiff_t strip = job->multiplied ? STRIP_PANELS : STRIP_BYTES / PANEL_BYTES / (d + 1);
    strip = strip < 1 ? 1 : strip > STRIP_PANELS ? STRIP_PANELS : strip;
    const ptrdiff_t n_strips = (n_panels + strip - 1) / strip;
    plan.strip = n == 1 ? 1 : (n_panels + n_strips - 1) / n_strips * PANEL;
    plan.tile_rows = TILE_BYTES / (ptrdiff_t)sizeof(REAL) / (d > plan.strip ? d : plan.strip);
    plan.tile_rows = plan.tile_rows < 4 * MICRO_ROWS ? 4 * MICRO_ROWS : plan.tile_rows > TASK_ROWS ? TASK_ROWS : plan.tile_rows;
    plan.tile_rows -= plan.tile_rows % MICRO_ROWS;
    const int as_it_is = job->type == (sizeof(REAL) == 4 ? DECIDE_F32 : DECIDE_F64) &&
                         (job->column_stride == (ptrdiff_t)sizeof(REAL) || d < 2) &&
                         job->row_stride % (ptrdiff_t)sizeof(REAL) == 0;
    ptrdiff_t most = n_strips == 1 ? plan.tile_rows : TASK_ROWS;
    if (n_strips > 1 && !as_it_is && d > 0 && most > CONVERTED_BYTES / (ptrdiff_t)sizeof(REAL) / d)
        most = CONVERTED_BYTES / (ptrdiff_t)sizeof(REAL) / d + plan.tile_rows;
    const ptrdiff_t share = n_threads * most;
    const ptrdiff_t n_tasks = (job->n_rows + share - 1) / share * n_threads;
    const ptrdiff_t task_rows = n_tasks ? (job->n_rows + n_tasks - 1) / n_tasks : 0;
    if (plan.tile_rows > task_rows)
        plan.tile_rows = task_rows;
    const size_t packed = n == 1 || job->multiplied ? 0 : (size_t)(d * plan.strip), tile = (size_t)(plan.tile_rows * plan.strip);
    const size_t converted = as_it_is ? 0 : (size_t)((n_strips > 1 ? task_rows : plan.tile_rows) * d);
    const size_t reals = packed + tile + converted + (size_t)(plan.strip + task_rows);
    const size_t bytes = (reals * sizeof(REAL) + 127) / 64 * 64;
    const size_t doubles = job->errors ? (size_t)(task_rows + job->n_targets) : 0;
    ptrdiff_t bad = job->n_rows;
    int failed = 0;

#pragma omp parallel num_threads(n_threads) firstprivate(plan) reduction(min : bad) reduction(max : failed)
    {
        char *const memory = malloc(bytes + doubles * sizeof(double) + 64);
        if (memory) {
            plan.packed = (REAL *)(memory + (64 - (uintptr_t)memory % 64) % 64);
            plan.tile = plan.packed + packed;
            memset(plan.tile, 0, tile * sizeof(REAL)); /* `finite` reads lanes beyond the last value */
            plan.converted = as_it_is ? NULL : plan.tile + tile;
            plan.intercepts = plan.tile + tile + converted;
            plan.best = plan.intercepts + plan.strip;
            plan.sums = (double *)((char *)plan.packed + bytes - 64);
            plan.aims = plan.sums + task_rows;
            if (job->errors) {
                memset(plan.sums, 0, (size_t)task_rows * sizeof(double));
                for (ptrdiff_t j = 0; j < job->n_targets; j++)
                    plan.aims[j] = KIND(aim)(job, j, job->labels ? -1.0 : 0.0);
            }
            if (n_strips == 1)
                KIND(pack)(job, &plan, 0, n);
        } else
            failed = 1;
#pragma omp for schedule(dynamic)
        for (ptrdiff_t item = 0; item < n_tasks; item++) {
            const ptrdiff_t task = item * task_rows;
            const ptrdiff_t end = task + task_rows < job->n_rows ? task + task_rows : job->n_rows;
            if (!memory || task >= end)
                continue;
            if (n_strips == 1) {
                bad = KIND(answer)(job, &plan, task, end, 0, n, bad);
                continue;
            }
            if (plan.converted)
                KIND(convert)(job, task, end - task, plan.converted);
            for (ptrdiff_t first = 0; first < n; first += plan.strip) {
                const ptrdiff_t width = n - first < plan.strip ? n - first : plan.strip;
                KIND(pack)(job, &plan, first, width);
                bad = KIND(answer)(job, &plan, task, end, first, width, bad);
            }
        }
        free(memory);
    }
    return failed ? -1 : bad;
}

#undef NAME
#undef REAL
#undef JOIN_
#undef JOIN
#undef KIND
#undef LANES
#undef PANEL
#undef VECTORS
#undef LINE
