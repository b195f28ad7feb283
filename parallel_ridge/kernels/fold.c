#include "fold.h"

#ifdef _OPENMP
#include <omp.h>
#endif
#ifdef FOLD_DOTPROD
#if defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__linux__)
#include <sys/auxv.h>
#endif
#endif

extern const struct fold_level fold_level_portable, fold_level_avx2, fold_level_avx512, fold_level_avx512vnni,
    fold_level_dotprod;

#ifdef FOLD_DOTPROD
static int has_dotprod(void)
{
#if defined(__APPLE__)
    int has = 0;
    size_t size = sizeof has;
    return sysctlbyname("hw.optional.arm.FEAT_DotProd", &has, &size, NULL, 0) == 0 && has;
#elif defined(__linux__)
    return (getauxval(AT_HWCAP) >> 20) & 1; /* HWCAP_ASIMDDP */
#else
    return 0;
#endif
}
#endif

const struct fold_level *const *fold_levels(void)
{
    static const struct fold_level *levels[5];
    int n = 0;
#ifdef FOLD_AVX2
    __builtin_cpu_init();
    const int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
#ifdef FOLD_AVX512
    const int avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                       __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
#endif
#ifdef FOLD_AVX512VNNI
    if (avx512 && __builtin_cpu_supports("avx512vnni"))
        levels[n++] = &fold_level_avx512vnni;
#endif
#ifdef FOLD_AVX512
    if (avx512)
        levels[n++] = &fold_level_avx512;
#endif
#ifdef FOLD_AVX2
    if (avx2)
        levels[n++] = &fold_level_avx2;
#endif
#ifdef FOLD_DOTPROD
    if (has_dotprod())
        levels[n++] = &fold_level_dotprod;
#endif
    levels[n++] = &fold_level_portable;
    levels[n] = NULL;
    return levels;
}

size_t fold_workspace(const struct fold_level *level, enum fold_kind kind, ptrdiff_t n_columns, int n_lanes,
                      int n_threads)
{
    const size_t n_places = (size_t)(OWNED(n_lanes, n_threads) ? n_threads : n_lanes);
    const size_t n_stripes = (size_t)((n_columns + STRIPE - 1) / STRIPE);
    return n_places * LONGER(n_columns) * n_stripes * level->stripe_bytes[kind] +
           (size_t)n_threads * STRIPE * STRIPE * sizeof(double);
}

int fold_has_openmp(void)
{
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}

int fold_max_threads(void)
{
#ifdef _OPENMP
    return omp_in_parallel() ? 1 : omp_get_max_threads();
#else
    return 1;
#endif
}
