/* One kind of fold at one CPU level: fold_level.c includes this file once per kind, with these
 * defined:
 *
 *   NAME          of the kind
 *   IN, PACKED    element types of the rows, and of the packed panels
 *   PRODUCT       element type of a sum of products in a register;  TOTAL: of the totals
 *   VECTORS       width of a panel in vectors
 *   CHUNK         rows per chunk: at least 64 times the rows that PRODUCT sums over
 *   PIECE         chunks that are packed before they are multiplied
 *
 * and, if the instruction set has something better than PRODUCT = PRODUCT + PACKED * PACKED:
 *
 *   MULTIPLY(s, a, b)  s + a . b on vectors, summing over the elements of PACKED that fill one PRODUCT
 *
 * If MULTIPLY cannot take both operands unchanged, panels hold elements minus OFFSET, and quads are
 * stored separately, unchanged:
 *
 *   INTERLEAVE(rows, panel, quads, step)  packs a group of rows into the panel, and into quads
 *                      that are step bytes apart
 *   COLUMN_SUMS(s, a)  s + the sums of a quad's columns; OFFSET times these corrects the products
 *
 * TILE is the element type of a tile: PRODUCT if a sum over a piece fits in it, otherwise TOTAL.
 */
#ifndef MULTIPLY
#define MULTIPLY(s, a, b) ((s) + (a) * (b)) /* a fused multiply-add if the level has one */
#endif

#ifndef TILE
#define TILE TOTAL
#endif

#define JOIN_(a, b, c) a##_##b##_##c
#define JOIN(a, b, c) JOIN_(a, b, c)
#define KIND(name) JOIN(name, NAME, LEVEL)
#define GROUP ((int)(sizeof(PRODUCT) / sizeof(PACKED))) /* rows packed side by side */
#define GROUPS (CHUNK / GROUP)
#define LANES (VECTOR_BYTES / (int)sizeof(PRODUCT))
#define PANEL (VECTORS * LANES) /* columns per panel */
#define PANEL_ROW_BYTES (VECTORS * VECTOR_BYTES)
#ifdef OFFSET
#define QUAD_STEP QUAD_BYTES
#define PACKED_ZERO UINT64_C(0x8080808080808080) /* in panels */
#else
#define QUAD_STEP PANEL_ROW_BYTES
#define PACKED_ZERO 0
#endif
#define AHEAD 32 /* rows */
#define BAND 8   /* stripes */
#define QUAD_BYTES (QUAD * (int)sizeof(PRODUCT))

typedef PRODUCT KIND(vector) __attribute__((vector_size(VECTOR_BYTES), may_alias));

/* One stripe of a chunk: panels of packed columns, and one bit per row group that is set if any of
 * a quad's four columns is nonzero there.  A group is multiplied only if both the quad and the
 * panel have the bit set: images, counts and rectified features are mostly zeros, in runs.  On
 * MNIST 17 % (single rows), 28 % (pairs) or 40 % (groups of four) of the work remains. */
struct KIND(stripe) {
    char panels[STRIPE / PANEL][GROUPS][PANEL_ROW_BYTES];
#ifdef OFFSET
    char quads[STRIPE / QUAD][GROUPS][QUAD_BYTES];
#endif
    uint64_t quad_masks[STRIPE / QUAD][GROUPS / 64];
    uint64_t panel_masks[STRIPE / PANEL][GROUPS / 64];
} __attribute__((aligned(64)));

/* The first group of a quad; the next one follows QUAD_STEP bytes later. */
static inline const char *KIND(quad)(const struct KIND(stripe) *stripe, int q)
{
#ifdef OFFSET
    return stripe->quads[q][0];
#else
    return stripe->panels[q / (PANEL / QUAD)][0] + q % (PANEL / QUAD) * QUAD_BYTES;
#endif
}

static inline void KIND(mark)(struct KIND(stripe) *stripe, int n_groups, int n_panels)
{
    typedef uint64_t words __attribute__((vector_size(VECTOR_BYTES), may_alias));
    for (int p = 0; p < n_panels; p++)
        for (int w = 0; w < GROUPS / 64; w++) {
            words any[VECTORS];
            for (int v = 0; v < VECTORS; v++)
                any[v] = (words){0};
            for (int r = 0; r < 64 && w * 64 + r < n_groups; r++) {
                const words *row = (const words *)stripe->panels[p][w * 64 + r];
                for (int v = 0; v < VECTORS; v++)
                    any[v] |= (words)(row[v] != PACKED_ZERO) & (UINT64_C(1) << r);
            }
            uint64_t masks[VECTORS * VECTOR_BYTES / 8], panel = 0;
            memcpy(masks, any, sizeof masks);
            for (int q = 0; q < PANEL / QUAD; q++) {
                uint64_t mask = 0;
                for (int i = 0; i < QUAD_BYTES / 8; i++)
                    mask |= masks[q * (QUAD_BYTES / 8) + i];
                stripe->quad_masks[p * (PANEL / QUAD) + q][w] = mask;
                panel |= mask;
            }
            stripe->panel_masks[p][w] = panel;
        }
}

/* Pack columns [first, first + width) of rows [begin, end), and add them to the class sums. */
static inline __attribute__((always_inline)) void KIND(pack)(const struct fold_rows *job, ptrdiff_t begin,
                                                             ptrdiff_t end, ptrdiff_t first, const int width,
                                                             TOTAL *class_sums, struct KIND(stripe) *out)
{
    const int n_groups = (int)((end - begin + GROUP - 1) / GROUP);
    const int n_panels = (width + PANEL - 1) / PANEL; /* nobody reads the others */
    const IN *shift = job->shift ? (const IN *)job->shift + first : NULL;
    IN rows[GROUP][STRIPE];
    memset(rows, 0, sizeof rows);

    for (int r = 0; r < n_groups; r++) {
        for (int g = 0; g < GROUP; g++) {
            const ptrdiff_t i = begin + (ptrdiff_t)r * GROUP + g;
            IN *row = rows[g];
            if (i >= end) { /* rows past the end count as zeros */
                memset(row, 0, sizeof rows[g]);
                continue;
            }
            const IN *x = (const IN *)job->rows + i * job->stride + first;
            const char *ahead = (const char *)(x + AHEAD * job->stride); /* AHEAD rows on */
            for (int j = 0; j < width * (int)sizeof(IN); j += 64)
                __builtin_prefetch(ahead + j);
            __builtin_prefetch(ahead + width * (int)sizeof(IN) - 1);
            if (shift)
                for (int j = 0; j < width; j++)
                    row[j] = (IN)(x[j] - shift[j]);
            else
                memcpy(row, x, (size_t)width * sizeof(IN));

            const double weight = job->weights ? job->weights[i] : 1.0;
            const int64_t from = job->label_ptr ? job->label_ptr[i] : i;
            const int64_t to = job->label_ptr ? job->label_ptr[i + 1] : i + 1;
            for (int64_t l = from; l < to; l++) {
                TOTAL *sums = class_sums + (ptrdiff_t)job->labels[l] * job->n_columns + first;
                if (job->weights)
                    for (int j = 0; j < width; j++)
                        sums[j] += (TOTAL)(weight * (double)row[j]);
                else
                    for (int j = 0; j < width; j++)
                        sums[j] += (TOTAL)row[j];
            }
            if (job->weights) {
                const IN root = (IN)sqrt(weight);
                for (int j = 0; j < width; j++)
                    row[j] = (IN)(row[j] * root);
            }
        }
#ifdef OFFSET
        INTERLEAVE(rows, out->panels[0][r], out->quads[0][r], sizeof out->quads[0]);
#else
        for (int p = 0; p < n_panels; p++) {
            PACKED *panel = (PACKED *)out->panels[p][r];
            for (int j = 0; j < PANEL; j++)
                for (int g = 0; g < GROUP; g++)
                    panel[j * GROUP + g] = rows[g][p * PANEL + j];
        }
#endif
    }
    KIND(mark)(out, n_groups, n_panels);
}

static inline KIND(vector) KIND(broadcast)(const char *p)
{
    PRODUCT value;
    memcpy(&value, p, sizeof value);
    return value - (KIND(vector)){0};
}

/* tile[r][:] += quad column r times `vectors` vectors of panel columns, over the row groups in both
 * masks. */
static inline __attribute__((always_inline)) void KIND(micro)(const int vectors, const char *quad,
                                                              const uint64_t *quad_mask, const char *panel,
                                                              const uint64_t *panel_mask, TILE *tile)
{
    KIND(vector) sum[QUAD][VECTORS];
    for (int r = 0; r < QUAD; r++)
        for (int v = 0; v < vectors; v++)
            sum[r][v] = (KIND(vector)){0};
#ifdef COLUMN_SUMS
    PRODUCT columns __attribute__((vector_size(QUAD * sizeof(PRODUCT)))) = {0};
#define ADD_COLUMN_SUMS(group) (columns = COLUMN_SUMS(columns, quad + (group) * QUAD_STEP))
#else
#define ADD_COLUMN_SUMS(group)
#endif
#define STEP(group)                                                                                                    \
    do {                                                                                                               \
        const KIND(vector) *row = (const KIND(vector) *)(panel + (size_t)(group) * PANEL_ROW_BYTES);                   \
        for (int r = 0; r < QUAD; r++) {                                                                               \
            const KIND(vector) a = KIND(broadcast)(quad + (size_t)(group) * QUAD_STEP + r * sizeof(PRODUCT));         \
            for (int v = 0; v < vectors; v++)                                                                          \
                sum[r][v] = MULTIPLY(sum[r][v], a, row[v]);                                                            \
        }                                                                                                              \
        ADD_COLUMN_SUMS(group);                                                                                        \
    } while (0)
    for (int w = 0; w < GROUPS / 64; w++) {
        uint64_t mask = quad_mask[w] & panel_mask[w];
        if (mask == UINT64_MAX) /* dense rows: no need to search for bits */
            for (int group = w * 64; group < w * 64 + 64; group++)
                STEP(group);
        else
            for (; mask; mask &= mask - 1)
                STEP(w * 64 + __builtin_ctzll(mask));
    }
#undef STEP
#undef ADD_COLUMN_SUMS
    for (int r = 0; r < QUAD; r++) {
        PRODUCT products[PANEL] __attribute__((aligned(VECTOR_BYTES)));
        for (int v = 0; v < vectors; v++)
#ifdef COLUMN_SUMS
            *(KIND(vector) *)(products + v * LANES) = sum[r][v] + OFFSET * columns[r];
#else
            *(KIND(vector) *)(products + v * LANES) = sum[r][v];
#endif
        for (int j = 0; j < vectors * LANES; j++)
            tile[r * STRIPE + j] += (TILE)products[j];
    }
}

/* Add the products of two stripes of a chunk to their tile.  If the tile goes to `totals` next
 * (rows of d numbers), prefetch these meanwhile: with many columns they come from far away, in
 * short pieces that no processor predicts. */
static void KIND(multiply)(const struct KIND(stripe) *left, int n_left, const struct KIND(stripe) *right, int n_right,
                           TILE *tile, const TOTAL *totals, ptrdiff_t d)
{
    for (int p = 0; p * PANEL < n_right; p++) {
        const int end = n_right - p * PANEL < PANEL ? (n_right - p * PANEL + LANES - 1) / LANES : VECTORS;
        for (int q = 0; q * QUAD < n_left; q++) {
            int start = 0; /* the diagonal tile needs only columns from the quad's own on */
            if (left == right) {
                start = (q * QUAD - p * PANEL) / LANES;
                start = start < 0 ? 0 : start;
                if (start >= end)
                    break;
            }
            if (totals)
                for (int i = q * QUAD; i < (q + 1) * QUAD && i < n_left; i++)
                    for (int j = p * PANEL; j < (p + 1) * PANEL && j < n_right; j += 64 / (int)sizeof(TOTAL))
                        __builtin_prefetch(totals + i * d + j, 1);
            const char *quad = KIND(quad)(left, q);
            const char *panel = right->panels[p][0] + start * VECTOR_BYTES;
            TILE *out = tile + q * QUAD * STRIPE + p * PANEL + start * LANES;
#define CASE(n)                                                                                                        \
    case n:                                                                                                            \
        KIND(micro)(n <= VECTORS ? n : VECTORS, quad, left->quad_masks[q], panel, right->panel_masks[p], out);         \
        break
            switch (end - start) {
                CASE(1);
                CASE(2);
                CASE(3);
                CASE(4);
                CASE(5);
                CASE(6);
            }
#undef CASE
        }
    }
}

/* Order the tiles of the upper triangle in bands of BAND stripes from the top, each band from left
 * to right: consecutive tiles, in whatever thread, share packed rows while those are in a cache. */
static void KIND(place)(ptrdiff_t item, ptrdiff_t n_stripes, ptrdiff_t *left, ptrdiff_t *right)
{
    for (ptrdiff_t top = 0; top < n_stripes; top += BAND)
        for (ptrdiff_t j = top; j < n_stripes; j++) {
            const ptrdiff_t height = j - top < BAND ? j - top + 1 : BAND;
            if (item < height) {
                *left = top + item;
                *right = j;
                return;
            }
            item -= height;
        }
}

/* Pack stripe s of chunk c for a lane. */
static void KIND(pack_stripe)(const struct fold_rows *job, const struct fold_totals *totals, int lane, ptrdiff_t c,
                              ptrdiff_t s, struct KIND(stripe) *stripe)
{
    const ptrdiff_t d = job->n_columns, first = s * STRIPE;
    const ptrdiff_t begin = c * CHUNK, end = begin + CHUNK < job->n_rows ? begin + CHUNK : job->n_rows;
    TOTAL *sums = (TOTAL *)totals->class_sums + lane * totals->n_classes * d;
    if (d - first >= STRIPE) /* the usual case: loops of constant length */
        KIND(pack)(job, begin, end, first, STRIPE, sums, stripe);
    else
        KIND(pack)(job, begin, end, first, (int)(d - first), sums, stripe);
}

/* Add a tile of the products of n_chunks packed chunks to the Gram matrix of a lane. */
static void KIND(multiply_tile)(TOTAL *gram, ptrdiff_t d, ptrdiff_t item, const struct KIND(stripe) *stripes,
                                ptrdiff_t n_chunks, TILE *tile)
{
    const ptrdiff_t n_stripes = (d + STRIPE - 1) / STRIPE;
    ptrdiff_t left, right;
    KIND(place)(item, n_stripes, &left, &right);
    const int n_left = d - left * STRIPE < STRIPE ? (int)(d - left * STRIPE) : STRIPE;
    const int n_right = d - right * STRIPE < STRIPE ? (int)(d - right * STRIPE) : STRIPE;
    gram += left * STRIPE * d + right * STRIPE;
    memset(tile, 0, STRIPE * STRIPE * sizeof(TILE));
    for (ptrdiff_t c = 0; c < n_chunks; c++, stripes += n_stripes)
        KIND(multiply)(stripes + left, n_left, stripes + right, n_right, tile, c + 1 < n_chunks ? NULL : gram, d);
    for (int i = 0; i < n_left; i++)
        for (int j = left == right ? i : 0; j < n_right; j++)
            gram[i * d + j] += tile[i * STRIPE + j];
}

static void KIND(fold)(const struct fold_rows *job, const struct fold_totals *totals, void *workspace, int n_threads)
{
    const ptrdiff_t d = job->n_columns, n_stripes = (d + STRIPE - 1) / STRIPE, n_tiles = n_stripes * (n_stripes + 1) / 2;
    const ptrdiff_t n_chunks = (job->n_rows + CHUNK - 1) / CHUNK;
    const int n_lanes = totals->n_lanes, n_places = OWNED(n_lanes, n_threads) ? n_threads : n_lanes;
    const ptrdiff_t piece = PIECE * LONGER(d);
    struct KIND(stripe) *const packed = workspace; /* (n_places, piece, n_stripes) */
    TILE *const tiles = (TILE *)(packed + n_places * piece * n_stripes);
#define FROM(lane) (n_chunks * (lane) / n_lanes)
#define TO(lane, from) (FROM((lane) + 1) < (from) + piece ? FROM((lane) + 1) : (from) + piece)

#pragma omp parallel num_threads(n_threads)
    {
#ifdef _OPENMP
        const int thread = omp_get_thread_num();
#else
        const int thread = 0;
#endif
        TILE *const tile = tiles + (size_t)thread * STRIPE * STRIPE;
        if (OWNED(n_lanes, n_threads)) {
            struct KIND(stripe) *const stripes = packed + thread * piece * n_stripes;
#pragma omp for schedule(dynamic)
            for (int lane = 0; lane < n_lanes; lane++)
                for (ptrdiff_t from = FROM(lane), to; from < FROM(lane + 1); from = to) {
                    to = TO(lane, from);
                    for (ptrdiff_t c = from; c < to; c++)
                        for (ptrdiff_t s = 0; s < n_stripes; s++)
                            KIND(pack_stripe)(job, totals, lane, c, s, stripes + (c - from) * n_stripes + s);
                    for (ptrdiff_t item = 0; item < n_tiles; item++)
                        KIND(multiply_tile)(totals->gram[lane], d, item, stripes, to - from, tile);
                }
        } else
            for (ptrdiff_t done = 0; done < n_chunks / n_lanes + 1; done += piece) {
#pragma omp for schedule(dynamic)
                for (ptrdiff_t item = 0; item < n_lanes * n_stripes; item++) {
                    const int lane = (int)(item / n_stripes);
                    const ptrdiff_t s = item % n_stripes, from = FROM(lane) + done;
                    struct KIND(stripe) *const stripes = packed + lane * piece * n_stripes;
                    for (ptrdiff_t c = from; c < TO(lane, from); c++)
                        KIND(pack_stripe)(job, totals, lane, c, s, stripes + (c - from) * n_stripes + s);
                }
#pragma omp for schedule(dynamic)
                for (ptrdiff_t item = 0; item < n_lanes * n_tiles; item++) {
                    const int lane = (int)(item / n_tiles);
                    const ptrdiff_t from = FROM(lane) + done;
                    if (from < FROM(lane + 1))
                        KIND(multiply_tile)(totals->gram[lane], d, item % n_tiles, packed + lane * piece * n_stripes,
                                            TO(lane, from) - from, tile);
                }
            }
    }
#undef FROM
#undef TO
}

enum { KIND(stripe_bytes) = PIECE * sizeof(struct KIND(stripe)), KIND(piece_rows) = PIECE * CHUNK };

#undef NAME
#undef IN
#undef PACKED
#undef PRODUCT
#undef VECTORS
#undef TOTAL
#undef CHUNK
#undef MULTIPLY
#undef INTERLEAVE
#undef COLUMN_SUMS
#undef OFFSET
#undef TILE
#undef PIECE
#undef JOIN_
#undef JOIN
#undef KIND
#undef GROUP
#undef GROUPS
#undef LANES
#undef PANEL
#undef PANEL_ROW_BYTES
#undef QUAD_BYTES
#undef QUAD_STEP
#undef PACKED_ZERO
#undef AHEAD
#undef BAND
