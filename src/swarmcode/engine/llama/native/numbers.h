// How numbers are held while they are multiplied: whole, or rounded to 16 bits.

#pragma once

#include "vectors.h"

#include <algorithm>

namespace attention {

// Nothing is rounded: a lane is a number.
struct Whole {
    static constexpr int EACH = 1;    // numbers in a lane
    static constexpr int DEGREE = 7;  // of the polynomial that exponentials are taken by

    // WIDTH lanes from numbers that follow each other; of the first `count`, then zeros, and reads no further.
    static Vec along(const uint16_t * from, int count) { return load_halves(from, count); }

    // WIDTH lanes, each from the same number of EACH neighbours.
    static Vec across(const uint16_t * const * from, int number, int count) { return load_halves(from[0] + number, count); }

    // Numbers become lanes, in place.
    static void pack(float *, int) {}

    // What WIDTH lanes add, each times the same.
    static Vec add(Vec sums, Vec lanes, const float * same) { return sums + lanes * *same; }
};

#if defined(__AVX512BF16__) && defined(__AVX512BW__)

// Rounded to bf16, which has 8 of the 11 bits of a half: a lane is two numbers, and what is multiplied twice as much.
// Sums are f32. GPUs compute attention so (Dao: FlashAttention-2, 2023).
struct Rounded {
    static constexpr int EACH = 2;
    static constexpr int DEGREE = 4;

    static Vec along(const uint16_t * from, int count) {
        const Vec first = load_halves(from, count);
        const Vec second = count > WIDTH ? load_halves(from + WIDTH, count - WIDTH) : Vec{};
        return (Vec)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
    }

    static Vec across(const uint16_t * const * from, int number, int count) {
        static const __m512i in_turn = [] {
            uint16_t order[2 * WIDTH];
            for (int lane = 0; lane < 2 * WIDTH; lane++) order[lane] = lane / 2 + lane % 2 * WIDTH;
            return _mm512_loadu_si512(order);
        }();
        const Vec one = load_halves(from[0] + number, count), other = load_halves(from[1] + number, count);
        return (Vec)_mm512_permutexvar_epi16(in_turn, (__m512i)_mm512_cvtne2ps_pbh((__m512)other, (__m512)one));
    }

    static void pack(float * numbers, int count) {
        for (int lane = 0; lane < count / 2; lane += WIDTH) {
            const Vec first = load(numbers + 2 * lane), second = load(numbers + 2 * lane + WIDTH);
            store(numbers + lane, (Vec)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first));
        }
    }

    static Vec add(Vec sums, Vec lanes, const float * same) {
        int32_t bits;
        std::memcpy(&bits, same, sizeof bits);
        return (Vec)_mm512_dpbf16_ps((__m512)sums, (__m512bh)lanes, (__m512bh)_mm512_set1_epi32(bits));
    }
};

#else

typedef Whole Rounded;  // nothing is won by it here

#endif

}  // namespace attention
