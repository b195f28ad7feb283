/* Decisions at one CPU level, compiled like fold_level.c. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "decide.h"

/* The widest vectors, and as many rows as fill the registers: sums, one vector of coefficients, one
 * broadcast. */
#if defined(__AVX512BW__)
#define VECTOR_BYTES 64
#define MICRO_ROWS 14
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#define MICRO_ROWS 6
#else
#define VECTOR_BYTES 16
#define MICRO_ROWS 2
#endif

#define DOT_ROWS 4

/* A panel of DEPTH columns stays in the L1 cache; rows and tile stay in L2. */
#define DEPTH 400
#define STRIP_BYTES (1 << 22)
#define STRIP_PANELS 64
#define TILE_BYTES (1 << 17)
#define AHEAD 12                  /* rows to prefetch */
#define CONVERTED_BYTES (1 << 26) /* most to convert at a time for several strips */
#define FEW_ROWS 6                /* up to this many rows packing costs more than it gains */

#define NAME f32
#define REAL float
#include "decide_kind.h"

#define NAME f64
#define REAL double
#include "decide_kind.h"

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
decide_function *const JOIN(decide_level_, LEVEL)[2] = {JOIN(decide_f32_, LEVEL), JOIN(decide_f64_, LEVEL)};
