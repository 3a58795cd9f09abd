// The few vector operations that attention needs, on whatever the compiler's target has: AVX-512, AVX2, NEON, or plain
// C++. GCC and Clang.

#pragma once

#include <ggml.h>

#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

// Floats in a vector, and vectors that a micro-kernel keeps for each of its rows: as many as there are registers for.
#if defined(__AVX512F__)
constexpr int WIDTH = 16, WIDE = 4;
#elif defined(__AVX__)
constexpr int WIDTH = 8, WIDE = 2;
#elif defined(__aarch64__)
constexpr int WIDTH = 4, WIDE = 4;
#else
constexpr int WIDTH = 4, WIDE = 2;
#endif

typedef float Vec __attribute__((vector_size(WIDTH * 4)));
typedef int32_t Ints __attribute__((vector_size(WIDTH * 4)));

inline Vec load(const float * from) {
    Vec found;
    std::memcpy(&found, from, sizeof found);
    return found;
}

inline void store(float * to, Vec what) { std::memcpy(to, &what, sizeof what); }

inline Vec all(float value) { return Vec{} + value; }

inline Vec load_halves(const uint16_t * from) {
#if defined(__AVX512F__)
    return (Vec)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)from));
#elif defined(__AVX__) && defined(__F16C__)
    return (Vec)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)from));
#elif defined(__aarch64__)
    return (Vec)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from)));
#else
    Vec found;
    for (int lane = 0; lane < WIDTH; lane++) found[lane] = ggml_fp16_to_fp32(from[lane]);
    return found;
#endif
}

// The first `count` of WIDTH, then zeros; reads no further.
inline Vec load_halves(const uint16_t * from, int count) {
    if (count >= WIDTH) return load_halves(from);
    uint16_t padded[WIDTH] = {};
    std::memcpy(padded, from, sizeof(uint16_t) * count);
    return load_halves(padded);
}

// Rounds `count` numbers to halves, each to the nearest.
inline void store_halves(uint16_t * to, const float * from, int count) {
    int at = 0;
#if defined(__AVX512F__)
    for (; at + WIDTH <= count; at += WIDTH)
        _mm256_storeu_si256((__m256i *)(to + at), _mm512_cvtps_ph((__m512)load(from + at), _MM_FROUND_TO_NEAREST_INT));
#elif defined(__AVX__) && defined(__F16C__)
    for (; at + WIDTH <= count; at += WIDTH)
        _mm_storeu_si128((__m128i *)(to + at), _mm256_cvtps_ph((__m256)load(from + at), _MM_FROUND_TO_NEAREST_INT));
#endif
    for (; at < count; at++) to[at] = ggml_fp32_to_fp16(from[at]);
}

inline Vec higher(Vec one, Vec other) {
#if defined(__AVX512F__)
    return (Vec)_mm512_max_ps((__m512)one, (__m512)other);
#else
    return one > other ? one : other;
#endif
}

inline float highest(Vec of) {
#if defined(__AVX512F__)
    return _mm512_reduce_max_ps((__m512)of);
#endif
    float found = of[0];
    for (int lane = 1; lane < WIDTH; lane++) found = of[lane] > found ? of[lane] : found;
    return found;
}

inline float sum(Vec of) {
#if defined(__AVX512F__)
    return _mm512_reduce_add_ps((__m512)of);
#endif
    float found = 0.0f;
    for (int lane = 0; lane < WIDTH; lane++) found += of[lane];
    return found;
}

// The sum of `count` numbers.
inline float total(const float * from, int64_t count) {
    Vec sums = {};
    int64_t at = 0;
    for (; at + WIDTH <= count; at += WIDTH) sums += load(from + at);
    float found = sum(sums);
    for (; at < count; at++) found += from[at];
    return found;
}

// Whether any number is greater than a limit.
inline bool any_above(Vec of, float limit) {
#if defined(__AVX512F__)
    return _mm512_cmp_ps_mask((__m512)of, _mm512_set1_ps(limit), _CMP_GT_OQ) != 0;
#else
    return highest(of) > limit;
#endif
}

// e to the power of numbers below 87: within 2 ulp, and 0 below -87.
inline Vec exponential(Vec x) {
    const Vec magic = all(12582912.0f);  // 1.5 * 2^23: what is added to it is rounded to an integer
    const Vec shifted = x * 1.44269504f + magic;
    const Vec whole = shifted - magic;
    const Vec rest = (x - whole * 0.693145752f) - whole * 1.42860677e-6f;
    Vec power = all(1.0f / 5040.0f);
    power = power * rest + 1.0f / 720.0f;
    power = power * rest + 1.0f / 120.0f;
    power = power * rest + 1.0f / 24.0f;
    power = power * rest + 1.0f / 6.0f;
    power = power * rest + 0.5f;
    power = power * rest + 1.0f;
    power = power * rest + 1.0f;
    const Vec scaled = (Vec)((Ints)power + ((Ints)shifted << 23));
    return x < -87.0f ? all(0.0f) : scaled;
}

// Two to the power of numbers below 127, by a Taylor polynomial: off by 4e-5 of it for a DEGREE of 4, by 1e-7 for 7. Below
// -126 it is 2^-126.
template <int DEGREE>
inline Vec power_of_two(Vec x) {
    constexpr float terms[] = {1.0f, 0.693147181f, 0.240226507f, 0.0555041087f, 0.00961812911f, 0.00133335581f, 1.54035304e-4f,
                               1.52527338e-5f};
    const Vec magic = all(12582912.0f);  // 1.5 * 2^23: what is added to it is rounded to an integer
    const Vec bounded = higher(x, all(-126.0f));
    const Vec shifted = bounded + magic;
    const Vec rest = bounded - (shifted - magic);
    Vec power = all(terms[DEGREE]);
    for (int term = DEGREE - 1; term >= 0; term--) power = power * rest + terms[term];
    return (Vec)((Ints)power + ((Ints)shifted << 23));
}

// The numbers whose bits are set, from bit `first` on; `other` in the place of the rest.
inline Vec chosen(uint64_t bits, int first, Vec numbers, float other) {
#if defined(__AVX512F__)
    return (Vec)_mm512_mask_mov_ps((__m512)all(other), (__mmask16)(bits >> first), (__m512)numbers);
#else
    Ints each;
    for (int lane = 0; lane < WIDTH; lane++) each[lane] = 1 << lane;
    const Ints its = Ints{} + int32_t(bits >> first & ((1 << WIDTH) - 1));
    return (each & its) != 0 ? numbers : all(other);
#endif
}

#if defined(__clang__)
#define SHUFFLED(one, other, ...) __builtin_shufflevector(one, other, __VA_ARGS__)
#else
#define SHUFFLED(one, other, ...) __builtin_shuffle(one, other, Ints{__VA_ARGS__})
#endif

template <int STEP, int... LANE>
inline void exchange(Vec & one, Vec & other, std::integer_sequence<int, LANE...>) {
    const Vec first = SHUFFLED(one, other, ((LANE & STEP) ? WIDTH + LANE - STEP : LANE)...);
    const Vec second = SHUFFLED(one, other, ((LANE & STEP) ? WIDTH + LANE : LANE + STEP)...);
    one = first, other = second;
}

// Rows become columns: of each pair of neighbouring blocks of STEP rows, the blocks off the diagonal change places.
template <int STEP = 1>
inline void transpose(Vec * rows) {
    for (int row = 0; row < WIDTH; row++)
        if (!(row & STEP)) exchange<STEP>(rows[row], rows[row + STEP], std::make_integer_sequence<int, WIDTH>());
    if constexpr (STEP * 2 < WIDTH) transpose<STEP * 2>(rows);
}

// Bit c is set where the bits of halves[c] are others than these, for the first `count` of 64.
inline uint64_t differing(const uint16_t * halves, int count, uint16_t bits) {
#if defined(__AVX512BW__)
    if (count == 64) {
        const __m512i all = _mm512_set1_epi16((short)bits);
        const uint64_t low = _mm512_cmpneq_epi16_mask(_mm512_loadu_si512(halves), all);
        const uint64_t high = _mm512_cmpneq_epi16_mask(_mm512_loadu_si512(halves + 32), all);
        return low | high << 32;
    }
#elif defined(__AVX2__)
    if (count == 64) {
        const __m256i all = _mm256_set1_epi16((short)bits);
        uint64_t equal = 0;
        for (int part = 0; part < 2; part++) {
            const __m256i * from = (const __m256i *)(halves + 32 * part);
            const __m256i one = _mm256_cmpeq_epi16(_mm256_loadu_si256(from), all);
            const __m256i two = _mm256_cmpeq_epi16(_mm256_loadu_si256(from + 1), all);
            const __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi16(one, two), 0xD8);
            equal |= (uint64_t)(uint32_t)_mm256_movemask_epi8(both) << (32 * part);
        }
        return ~equal;
    }
#endif
    uint64_t found = 0;
    for (int cell = 0; cell < count; cell++) found |= (uint64_t)(halves[cell] != bits) << cell;
    return found;
}
