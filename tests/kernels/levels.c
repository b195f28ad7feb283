/* Folds at every level of this processor, against sums in plain loops: test_other_processors.py compiles this for ARM
 * and runs it in an emulator.  Prints the names of the levels; stops at the first difference. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fold.h"

static uint32_t state = 1;

static uint32_t draw(void)
{
    state = state * 1664525u + 1013904223u;
    return state >> 8;
}

/* A value of row i, column j; most are zeros if the rows are sparse. */
static int value(enum fold_kind kind, int sparse)
{
    const int x = (int)(draw() % 256);
    if (sparse && draw() % 8)
        return 0;
    return kind == FOLD_I8 ? x - 128 : kind == FOLD_F64_INT ? 8191 * x - 1000000 : x;
}

static int check(const struct fold_level *level, enum fold_kind kind, ptrdiff_t n, ptrdiff_t d, int k, int sparse)
{
    const size_t size = kind == FOLD_F64_INT ? sizeof(double) : 1;
    char *rows = malloc(n * d * size);
    int32_t *labels = malloc(n * sizeof *labels);
    int64_t *gram = calloc(d * d, sizeof *gram), *sums = calloc(k * d, sizeof *sums);
    int64_t *gram_found = calloc(d * d, sizeof *gram), *sums_found = calloc(k * d, sizeof *sums);
    int *x = malloc(d * sizeof *x);
    for (ptrdiff_t i = 0; i < n; i++) {
        labels[i] = (int32_t)(draw() % (uint32_t)k);
        for (ptrdiff_t j = 0; j < d; j++) {
            x[j] = value(kind, sparse);
            if (kind == FOLD_F64_INT)
                ((double *)rows)[i * d + j] = x[j];
            else
                rows[i * d + j] = (char)x[j];
            sums[labels[i] * d + j] += x[j];
        }
        for (ptrdiff_t a = 0; a < d; a++)
            for (ptrdiff_t b = a; b < d; b++)
                gram[a * d + b] += (int64_t)x[a] * x[b];
    }
    const struct fold_rows job = {.rows = rows, .stride = d, .n_rows = n, .n_columns = d, .labels = labels};
    struct fold_totals totals = {.n_lanes = 1, .n_classes = k, .gram = {gram_found}, .class_sums = sums_found};
    void *workspace = aligned_alloc(64, (fold_workspace(level, kind, d, 1, 1) + 63) / 64 * 64);
    level->fold[kind](&job, &totals, workspace, 1);
    int same = !memcmp(sums, sums_found, k * d * sizeof *sums);
    for (ptrdiff_t a = 0; a < d; a++)
        for (ptrdiff_t b = a; b < d; b++)
            same = same && gram[a * d + b] == gram_found[a * d + b];
    if (!same)
        printf("%s differs: kind %d, %td rows, %td columns, sparse %d\n", level->name, kind, n, d, sparse);
    free(rows), free(labels), free(gram), free(sums), free(gram_found), free(sums_found), free(x), free(workspace);
    return same;
}

int main(void)
{
    const ptrdiff_t rows[] = {1, 3, 127, 700}, columns[] = {1, 5, 24, 97, 130};
    const enum fold_kind kinds[] = {FOLD_U8, FOLD_I8, FOLD_F64_INT};
    for (const struct fold_level *const *level = fold_levels(); *level; level++) {
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < 5; j++)
                for (int l = 0; l < 3; l++)
                    for (int sparse = 0; sparse < 2; sparse++)
                        if (!check(*level, kinds[l], rows[i], columns[j], 3, sparse))
                            return 1;
        printf("%s\n", (*level)->name);
    }
    return 0;
}
