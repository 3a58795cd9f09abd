#include "router.h"
#include "vectors.h"

#include <algorithm>
#include <vector>

namespace router {
namespace {

constexpr int64_t SMALL = 1 << 16;  // multiplications or comparisons that are not worth a second thread
constexpr int SIDE = 4;             // tokens, and rows of weights, that are multiplied at once

const float * row_of(const ggml_tensor * tensor, int64_t row) {
    return (const float *)((const char *)tensor->data + row * tensor->nb[1]);
}

// Products of SIDE rows of each, token by token: what a row gives depends on nothing else.
void products(const float * const * weights, const float * const * numbers, int64_t length, float * to) {
    Vec sums[SIDE * SIDE] = {};
    int64_t at = 0;
    for (; at + WIDTH <= length; at += WIDTH) {
        Vec weight[SIDE];
        for (int row = 0; row < SIDE; row++) weight[row] = load(weights[row] + at);
        for (int token = 0; token < SIDE; token++) {
            const Vec number = load(numbers[token] + at);
            for (int row = 0; row < SIDE; row++) sums[token * SIDE + row] += weight[row] * number;
        }
    }
    for (int first = 0; first < SIDE * SIDE; first += WIDTH) {  // the sum of each vector, WIDTH of them at once
        transpose(sums + first);
        Vec total = {};
        for (int lane = 0; lane < WIDTH; lane++) total += sums[first + lane];
        store(to + first, total);
    }
    for (; at < length; at++)
        for (int pair = 0; pair < SIDE * SIDE; pair++) to[pair] += weights[pair % SIDE][at] * numbers[pair / SIDE][at];
}

void multiply(const ggml_tensor * op, int threads) {
    const ggml_tensor *weights = op->src[0], *numbers = op->src[1];
    const int64_t length = weights->ne[0], rows = weights->ne[1], tokens = numbers->ne[1];
    if (length * rows * tokens < SMALL) threads = 1;
    // Threads share the tokens, so that each has the weights in its cache.
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int64_t token = 0; token < tokens; token += SIDE)
        for (int64_t row = 0; row < rows; row += SIDE) {
            const float *its_weights[SIDE], *its_numbers[SIDE];
            for (int one = 0; one < SIDE; one++) {
                its_weights[one] = row_of(weights, std::min(row + one, rows - 1));
                its_numbers[one] = row_of(numbers, std::min(token + one, tokens - 1));
            }
            float found[SIDE * SIDE];
            products(its_weights, its_numbers, length, found);
            for (int64_t one = token; one < std::min(token + SIDE, tokens); one++)
                std::copy_n(found + (one - token) * SIDE, std::min<int64_t>(SIDE, rows - row), (float *)row_of(op, one) + row);
        }
}

// One more in each lane whose number `other` comes before: where it is greater, or as great if TIES.
template <bool TIES>
Ints one_more(Ints count, float other, Vec its) {
#if defined(__AVX512F__)
    const __mmask16 before = _mm512_cmp_ps_mask((__m512)all(other), (__m512)its, TIES ? _CMP_GE_OQ : _CMP_GT_OQ);
    return (Ints)_mm512_mask_add_epi32((__m512i)count, before, (__m512i)count, _mm512_set1_epi32(1));
#else
    return count - (TIES ? all(other) >= its : all(other) > its);
#endif
}

// Numbers' places by size, the largest first; of equals the first one. The place of a number is how many come before it:
// all comparisons, without a branch, take an eighth of the time that sorting takes for 48 numbers, two fifths for 384, and as
// long for a thousand.
void order(const float * numbers, int count, int32_t * to) {
    static thread_local std::vector<float> padded;
    const int room = (count + WIDTH - 1) / WIDTH * WIDTH;
    padded.assign(room, 0.0f);
    std::copy_n(numbers, count, padded.begin());
    for (int place = 0; place < count; place++) to[place] = place;  // whatever there is that is not a number
    Ints lanes;
    for (int lane = 0; lane < WIDTH; lane++) lanes[lane] = lane;
    for (int first = 0; first < count; first += WIDTH) {
        const Vec its = load(&padded[first]);
        const int last = std::min(first + WIDTH, count);
        Ints before = {};
        for (int other = 0; other < first; other++) before = one_more<true>(before, padded[other], its);
        for (int other = first; other < last; other++)
            before -= (all(padded[other]) > its) | ((all(padded[other]) == its) & (lanes > other - first));
        for (int other = last; other < count; other++) before = one_more<false>(before, padded[other], its);
        for (int place = first; place < last; place++) to[before[place - first]] = place;
    }
}

void sort(const ggml_tensor * op, int threads) {
    const ggml_tensor * numbers = op->src[0];
    const int64_t rows = ggml_nrows(numbers);
    if (rows * numbers->ne[0] * numbers->ne[0] < SMALL) threads = 1;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int64_t row = 0; row < rows; row++)
        order(row_of(numbers, row), int(numbers->ne[0]), (int32_t *)row_of(op, row));
}

bool plain(const ggml_tensor * tensor) {
    return tensor->type == GGML_TYPE_F32 && tensor->nb[0] == sizeof(float) && ggml_is_contiguous_rows(tensor) &&
           tensor->ne[2] == 1 && tensor->ne[3] == 1;
}

}  // namespace

bool supports(const ggml_tensor * op) {
    switch (op->op) {
        case GGML_OP_MUL_MAT:
            return plain(op->src[0]) && plain(op->src[1]) && plain(op);
        case GGML_OP_ARGSORT:
            return op->op_params[0] == GGML_SORT_ORDER_DESC && plain(op->src[0]) && op->type == GGML_TYPE_I32 &&
                   op->src[0]->ne[0] <= 1024;
        default:
            return false;
    }
}

void compute(const ggml_tensor * op, int threads) {
    op->op == GGML_OP_MUL_MAT ? multiply(op, threads) : sort(op, threads);
}

}  // namespace router
