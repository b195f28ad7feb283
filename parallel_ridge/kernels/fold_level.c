/* Every kind of fold, and the narrowing of rows, at one CPU level.  The build compiles this file once per level, with that
 * level's instruction set enabled and LEVEL set to its name; nothing else in the package is
 * compiled with those flags. */
#include <math.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
#endif

#include "fold.h"

/* The widest vectors, and as many per panel as fill the registers: QUAD x VECTORS sums, one row of
 * the panel, one broadcast, and one product for integers without a fused instruction. */
#if defined(__AVX512BW__)
#define VECTOR_BYTES 64
#define FLOAT_VECTORS 6
#define INTEGER_VECTORS 6
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#define FLOAT_VECTORS 3
#define INTEGER_VECTORS 2
#elif defined(__aarch64__)
#define VECTOR_BYTES 16
#define FLOAT_VECTORS 6
#define INTEGER_VECTORS 6
#else
#define VECTOR_BYTES 16
#define FLOAT_VECTORS 2
#define INTEGER_VECTORS 2
#endif

/* float rows: float sums over one piece only, chunk by chunk; double totals.  A chunk's panel (12
 * KiB of AVX2 vectors) and the panel of the quads stay in the L1 cache together. */
#define NAME f32
#define IN float
#define PACKED float
#define PRODUCT float
#define VECTORS FLOAT_VECTORS
#define TOTAL double
#define CHUNK 128
#define PIECE 4
#define TILE PRODUCT
#include "fold_kind.h"

#define NAME f64
#define IN double
#define PACKED double
#define PRODUCT double
#define VECTORS FLOAT_VECTORS
#define TOTAL double
#define CHUNK 128
#define PIECE 4
#include "fold_kind.h"

#define NAME f64_int
#define IN double
#define PACKED double
#define PRODUCT double
#define VECTORS FLOAT_VECTORS
#define TOTAL int64_t
#define CHUNK 128
#define PIECE 4
#include "fold_kind.h"

#if defined(__AVX512BW__)
#define PAIRS(s, a, b) ((s) + (__typeof__(s))_mm512_madd_epi16((__m512i)(a), (__m512i)(b)))
#elif defined(__AVX2__)
#define PAIRS(s, a, b) ((s) + (__typeof__(s))_mm256_madd_epi16((__m256i)(a), (__m256i)(b)))
#endif

#if defined(__AVX512VNNI__)
/* Four rows of bytes side by side: a panel with the sign bits flipped, and quads. */
static inline void interleave_bytes(const void *rows, char *panel, char *quads, ptrdiff_t step)
{
    for (int j = 0; j < STRIPE; j += 32) {
        __m256i row[4], columns[4];
        for (int g = 0; g < 4; g++)
            row[g] = _mm256_loadu_si256((const __m256i *)((const char *)rows + g * STRIPE + j));
        const __m256i low01 = _mm256_unpacklo_epi8(row[0], row[1]), high01 = _mm256_unpackhi_epi8(row[0], row[1]);
        const __m256i low23 = _mm256_unpacklo_epi8(row[2], row[3]), high23 = _mm256_unpackhi_epi8(row[2], row[3]);
        columns[0] = _mm256_unpacklo_epi16(low01, low23); /* columns 0 to 3, and 16 to 19 */
        columns[1] = _mm256_unpackhi_epi16(low01, low23); /* 4 to 7, and 20 to 23: and so on */
        columns[2] = _mm256_unpacklo_epi16(high01, high23);
        columns[3] = _mm256_unpackhi_epi16(high01, high23);
        for (int q = 0; q < 4; q++)
            for (int half = 0; half < 2; half++) {
                const __m128i quad = half ? _mm256_extracti128_si256(columns[q], 1) : _mm256_castsi256_si128(columns[q]);
                const int column = j + 16 * half + QUAD * q;
                _mm_store_si128((__m128i *)(quads + column / QUAD * step), quad);
                _mm_store_si128((__m128i *)(panel + 4 * column), _mm_xor_si128(quad, _mm_set1_epi8(-128)));
            }
    }
}
#endif

#define NAME u8
#define IN uint8_t
#define TOTAL int64_t
#if defined(__AVX512VNNI__)
/* Four rows per group.  The instruction multiplies unsigned by signed bytes: quads hold x, panels
 * hold x - 128, and adding 128 times the quads' column sums corrects the products. */
#define PACKED uint8_t
#define PRODUCT int32_t
#define VECTORS INTEGER_VECTORS
#define CHUNK 512
#define PIECE 4
#define TILE PRODUCT
#define MULTIPLY(s, a, b) ((__typeof__(s))_mm512_dpbusd_epi32((__m512i)(s), (__m512i)(a), (__m512i)(b)))
#define INTERLEAVE interleave_bytes
#define OFFSET 128
#define COLUMN_SUMS(s, a)                                                                                              \
    ((__typeof__(s))_mm_dpbusd_epi32((__m128i)(s), _mm_loadu_si128((const __m128i *)(a)), _mm_set1_epi8(1)))
#elif defined(__ARM_FEATURE_DOTPROD)
/* Four rows per group: at most 260,100 per step. */
#define PACKED uint8_t
#define PRODUCT int32_t
#define VECTORS INTEGER_VECTORS
#define CHUNK 512
#define PIECE 4
#define TILE PRODUCT
#define MULTIPLY(s, a, b) ((__typeof__(s))vdotq_u32((uint32x4_t)(s), (uint8x16_t)(a), (uint8x16_t)(b)))
#elif defined(PAIRS)
/* Two rows per group, as 16-bit integers: at most 130,050 per step. */
#define PACKED int16_t
#define PRODUCT int32_t
#define VECTORS INTEGER_VECTORS
#define CHUNK 512
#define PIECE 4
#define TILE PRODUCT
#define MULTIPLY PAIRS
#else
/* Bytes in float: exact, since 256 rows of 255 * 255 stay below 2^24. */
#define PACKED float
#define PRODUCT float
#define VECTORS FLOAT_VECTORS
#define CHUNK 256
#define PIECE 8
#endif
#include "fold_kind.h"

#define NAME i8
#define IN int8_t
#define TOTAL int64_t
#if defined(__AVX512VNNI__)
/* As above, but the signed operand is in the quads: panels hold x + 128. */
#define PACKED uint8_t
#define PRODUCT int32_t
#define VECTORS INTEGER_VECTORS
#define CHUNK 512
#define PIECE 4
#define TILE PRODUCT
#define MULTIPLY(s, a, b) ((__typeof__(s))_mm512_dpbusd_epi32((__m512i)(s), (__m512i)(b), (__m512i)(a)))
#define INTERLEAVE interleave_bytes
#define OFFSET -128
#define COLUMN_SUMS(s, a)                                                                                              \
    ((__typeof__(s))_mm_dpbusd_epi32((__m128i)(s), _mm_set1_epi8(1), _mm_loadu_si128((const __m128i *)(a))))
#elif defined(__ARM_FEATURE_DOTPROD)
#define PACKED int8_t
#define PRODUCT int32_t
#define VECTORS INTEGER_VECTORS
#define CHUNK 512
#define PIECE 4
#define TILE PRODUCT
#define MULTIPLY(s, a, b) ((__typeof__(s))vdotq_s32((int32x4_t)(s), (int8x16_t)(a), (int8x16_t)(b)))
#elif defined(PAIRS)
#define PACKED int16_t
#define PRODUCT int32_t
#define VECTORS INTEGER_VECTORS
#define CHUNK 512
#define PIECE 4
#define TILE PRODUCT
#define MULTIPLY PAIRS
#else
#define PACKED float
#define PRODUCT float
#define VECTORS FLOAT_VECTORS
#define CHUNK 256
#define PIECE 8
#endif
#include "fold_kind.h"

#define NAME f32
#define IN float
#define WORD uint32_t
#define MAGIC 0x1.8p23f
#include "narrow_kind.h"

#define NAME f64
#define IN double
#define WORD uint64_t
#define MAGIC 0x1.8p52
#include "narrow_kind.h"

#define NAME i32
#define IN int32_t
#define WORD uint32_t
#include "narrow_kind.h"

#define NAME i64
#define IN int64_t
#define WORD uint64_t
#include "narrow_kind.h"

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

extern decide_function *const JOIN(decide_level_, LEVEL, )[2];

const struct fold_level JOIN(fold_level_, LEVEL, ) = {
    .name = STRING(LEVEL),
    .fold = EACH(fold),
    .piece_rows = EACH(piece_rows),
    .stripe_bytes = EACH(stripe_bytes),
    .narrow = {[NARROW_F32] = JOIN(narrow, _f32_, LEVEL),
               [NARROW_F64] = JOIN(narrow, _f64_, LEVEL),
               [NARROW_I32] = JOIN(narrow, _i32_, LEVEL),
               [NARROW_I64] = JOIN(narrow, _i64_, LEVEL)},
    .decide = JOIN(decide_level_, LEVEL, )};
