/* Every kind of fold at one CPU level.  The build compiles this file once a level, with that level's instruction set
 * switched on and LEVEL set to its name; nothing else in the package is compiled with those switches. */
#include <math.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "fold.h"

/* The widest vectors, and as many of them a panel as fill the registers: QUAD x VECTORS sums, one row of the panel, one
 * broadcast, and for integers without a fused instruction one product. */
#if defined(__AVX512BW__)
#define VECTOR_BYTES 64
#define FLOAT_VECTORS 6
#define INTEGER_VECTORS 6
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#define FLOAT_VECTORS 3
#define INTEGER_VECTORS 2
#else
#define VECTOR_BYTES 16
#define FLOAT_VECTORS 2
#define INTEGER_VECTORS 2
#endif

/* float rows: products in float over one chunk only, double totals. A chunk's panel, 12 KiB of AVX2 vectors, and the
 * quads' panel beside it stay in the first-level cache. */
#define NAME f32
#define IN float
#define PACKED float
#define PRODUCT float
#define VECTORS FLOAT_VECTORS
#define TOTAL double
#define CHUNK 128
#include "fold_kind.h"

#define NAME f64
#define IN double
#define PACKED double
#define PRODUCT double
#define VECTORS FLOAT_VECTORS
#define TOTAL double
#define CHUNK 128
#include "fold_kind.h"

#define NAME f64_int
#define IN double
#define PACKED double
#define PRODUCT double
#define VECTORS FLOAT_VECTORS
#define TOTAL int64_t
#define CHUNK 128
#include "fold_kind.h"

#if defined(__AVX512BW__)
#define PAIRS(s, a, b) ((s) + (__typeof__(s))_mm512_madd_epi16((__m512i)(a), (__m512i)(b)))
#elif defined(__AVX2__)
#define PAIRS(s, a, b) ((s) + (__typeof__(s))_mm256_madd_epi16((__m256i)(a), (__m256i)(b)))
#endif

#define NAME u8
#define IN uint8_t
#define TOTAL int64_t
#if defined(__AVX512VNNI__)
/* Four rows a group.  The instruction multiplies unsigned by signed bytes: the panels hold x - 128, the quads x, and
 * 128 times the quads' column sums make up for it.  A zero in a quad still contributes zero, and can be left out. */
#define PACKED uint8_t
#define PRODUCT int32_t
#define VECTORS INTEGER_VECTORS
#define CHUNK 512
#define MULTIPLY(s, a, b) ((__typeof__(s))_mm512_dpbusd_epi32((__m512i)(s), (__m512i)(a), (__m512i)(b)))
#define PACK(x) ((uint8_t)((x) ^ 0x80))
#define FLIP 0x80808080
#define CORRECTION 128
#elif defined(PAIRS)
/* Two rows a group, as 16-bit integers: at most 130,050 a step, and 16,512 such steps fit in 32 bits. */
#define PACKED int16_t
#define PRODUCT int32_t
#define VECTORS INTEGER_VECTORS
#define CHUNK 512
#define MULTIPLY PAIRS
#else
/* Bytes in float: exact, since 256 rows of 255 * 255 stay below 2^24. */
#define PACKED float
#define PRODUCT float
#define VECTORS FLOAT_VECTORS
#define CHUNK 256
#endif
#include "fold_kind.h"

#define NAME i8
#define IN int8_t
#define TOTAL int64_t
#if defined(PAIRS)
#define PACKED int16_t
#define PRODUCT int32_t
#define VECTORS INTEGER_VECTORS
#define CHUNK 512
#define MULTIPLY PAIRS
#else
#define PACKED float
#define PRODUCT float
#define VECTORS FLOAT_VECTORS
#define CHUNK 256
#endif
#include "fold_kind.h"

#define JOIN_(a, b, c) a##b##c
#define JOIN(a, b, c) JOIN_(a, b, c)
#define STRING_(a) #a
#define STRING(a) STRING_(a)
#define EACH(name)                                                                                                     \
    {                                                                                                                  \
        [FOLD_F32] = JOIN(name, _f32_, LEVEL), [FOLD_F64] = JOIN(name, _f64_, LEVEL),                                  \
        [FOLD_F64_INT] = JOIN(name, _f64_int_, LEVEL), [FOLD_U8] = JOIN(name, _u8_, LEVEL),                            \
        [FOLD_I8] = JOIN(name, _i8_, LEVEL)                                                                            \
    }

const struct fold_level JOIN(fold_level_, LEVEL, ) = {
    .name = STRING(LEVEL), .fold = EACH(fold), .chunk = EACH(chunk), .stripe_bytes = EACH(stripe_bytes)};
