// What is computed row by row between products. None of it is slow; but where llama.cpp computes it, ggml hands the graph
// back and forth, and each time costs as much as several of these operations.
//
// Rows are f32 throughout, and what a row gives depends on that row alone.

#include "rows.h"
#include "vectors.h"

#include <algorithm>
#include <cmath>

namespace rows {
namespace {

constexpr int64_t SMALL = 1 << 14;  // numbers that are not worth a second thread

// Where a row is, by its place in the last three dimensions.
struct Place {
    int64_t one, two, three;

    Place(const ggml_tensor * of, int64_t row)
        : one(row % of->ne[1]), two(row / of->ne[1] % of->ne[2]), three(row / (of->ne[1] * of->ne[2])) {}
};

// A row of a tensor, which is repeated where it has fewer of them.
float * row_of(const ggml_tensor * tensor, const Place & at) {
    char * data = (char *)tensor->data;
    return (float *)(data + at.one % tensor->ne[1] * tensor->nb[1] + at.two % tensor->ne[2] * tensor->nb[2] +
                     at.three % tensor->ne[3] * tensor->nb[3]);
}

// to[...] = one[...] (operation) other[...], or the only number of `other`.
template <typename Operation>
void combine(const float * one, const float * other, bool only, float * to, int64_t count, Operation operation) {
    int64_t at = 0;
    for (; at + WIDTH <= count; at += WIDTH)
        store(to + at, operation(load(one + at), only ? all(*other) : load(other + at)));
    for (; at < count; at++) to[at] = operation(all(one[at]), all(only ? *other : other[at]))[0];
}

void normalize(const float * from, float * to, int64_t count, float least) {
    Vec sums = {};
    int64_t at = 0;
    for (; at + WIDTH <= count; at += WIDTH) sums += load(from + at) * load(from + at);
    float squares = sum(sums);
    for (; at < count; at++) squares += from[at] * from[at];
    const float scale = 1.0f / std::sqrt(squares / float(count) + least);
    for (int64_t number = 0; number < count; number++) to[number] = from[number] * scale;
}

// x / (1 + e^-x) * gate; the exponent is never positive.
Vec swiglu(Vec x, Vec gate) {
    const Vec power = exponential(x > 0.0f ? -x : x);
    return (x > 0.0f ? x : x * power) / (power + 1.0f) * gate;
}

// 1 / (1 + e^-x)
Vec sigmoid(Vec x, Vec) {
    const Vec power = exponential(x > 0.0f ? -x : x);
    return (x > 0.0f ? all(1.0f) : power) / (power + 1.0f);
}

void soften(const float * from, float * to, int64_t count) {
    const float high = *std::max_element(from, from + count);
    combine(from, &high, true, to, count, [](Vec x, Vec most) { return exponential(x - most); });
    const float sum = total(to, count);
    combine(to, &sum, true, to, count, [](Vec x, Vec all) { return x / all; });
}

bool numbers(const ggml_tensor * tensor) { return tensor->type == GGML_TYPE_F32 && tensor->nb[0] == sizeof(float); }

bool repeats(const ggml_tensor * other, const ggml_tensor * op) {
    bool fits = other->ne[0] == op->ne[0] || other->ne[0] == 1;
    for (int dimension = 1; dimension < 4; dimension++) fits &= op->ne[dimension] % other->ne[dimension] == 0;
    return fits;
}

// Rows that are computed one by one: those of the result, but where it has other rows than what it comes from.
const ggml_tensor * rows_of(const ggml_tensor * op) {
    return op->op == GGML_OP_CONT || op->op == GGML_OP_SUM_ROWS ? op->src[0] : op;
}

struct Pair {
    float first, second;

    explicit Pair(const ggml_tensor * op) { std::memcpy(this, op->op_params, sizeof *this); }
};

void compute(const ggml_tensor * op, int64_t row) {
    const ggml_tensor *one = op->src[0], *other = op->src[1];
    const Place at(rows_of(op), row);
    const int64_t count = rows_of(op)->ne[0];
    float * to = op->op == GGML_OP_CONT ? (float *)op->data + row * count : row_of(op, at);
    switch (op->op) {
        case GGML_OP_ADD:
            combine(row_of(one, at), row_of(other, at), other->ne[0] < count, to, count, [](Vec a, Vec b) { return a + b; });
            break;
        case GGML_OP_MUL:
            combine(row_of(one, at), row_of(other, at), other->ne[0] < count, to, count, [](Vec a, Vec b) { return a * b; });
            break;
        case GGML_OP_DIV:
            combine(row_of(one, at), row_of(other, at), other->ne[0] < count, to, count, [](Vec a, Vec b) { return a / b; });
            break;
        case GGML_OP_SCALE: {
            const Pair by(op);
            combine(row_of(one, at), &by.first, true, to, count, [&](Vec a, Vec b) { return a * b + by.second; });
            break;
        }
        case GGML_OP_CLAMP: {
            const Pair bounds(op);
            combine(row_of(one, at), &bounds.first, true, to, count,
                    [&](Vec a, Vec low) { return a < low ? low : a > bounds.second ? all(bounds.second) : a; });
            break;
        }
        case GGML_OP_UNARY: {
            const float none = 0.0f;
            combine(row_of(one, at), &none, true, to, count, sigmoid);
            break;
        }
        case GGML_OP_SOFT_MAX:
            soften(row_of(one, at), to, count);
            break;
        case GGML_OP_SUM_ROWS:
            *to = total(row_of(one, at), count);
            break;
        case GGML_OP_RMS_NORM: {
            float least;
            std::memcpy(&least, op->op_params, sizeof least);
            normalize(row_of(one, at), to, count, least);
            break;
        }
        case GGML_OP_GLU: {
            const bool swapped = op->op_params[1];
            const float * from = row_of(one, at) + (!other && swapped ? count : 0);
            const float * gate = other ? row_of(other, at) : row_of(one, at) + (swapped ? 0 : count);
            combine(from, gate, false, to, count, swiglu);
            break;
        }
        case GGML_OP_CONCAT:
            to = std::copy_n(row_of(one, at), one->ne[0], to);
            std::copy_n(row_of(other, at), other->ne[0], to);
            break;
        default:  // GGML_OP_CONT
            std::copy_n(row_of(one, at), count, to);
    }
}

}  // namespace

bool supports(const ggml_tensor * op) {
    const ggml_tensor *one = op->src[0], *other = op->src[1];
    if (!numbers(op) || !one || !numbers(one) || (other && !numbers(other))) return false;
    switch (op->op) {
        case GGML_OP_ADD:
        case GGML_OP_MUL:
        case GGML_OP_DIV:
            return repeats(other, op) && ggml_are_same_shape(one, op);
        case GGML_OP_RMS_NORM:
        case GGML_OP_SCALE:
        case GGML_OP_CLAMP:
        case GGML_OP_SUM_ROWS:
            return true;
        case GGML_OP_UNARY:
            return ggml_get_unary_op(op) == GGML_UNARY_OP_SIGMOID;
        case GGML_OP_SOFT_MAX: {
            const Pair scale_and_bias(op);
            return !other && !op->src[2] && scale_and_bias.first == 1.0f && scale_and_bias.second == 0.0f;
        }
        case GGML_OP_GLU:
            return ggml_get_glu_op(op) == GGML_GLU_OP_SWIGLU;
        case GGML_OP_CONCAT:
            return op->op_params[0] == 0;
        case GGML_OP_CONT:
            return ggml_is_contiguous(op);
        default:
            return false;
    }
}

void compute(const ggml_tensor * op, int threads) {
    const int64_t count = ggml_nrows(rows_of(op));
    if (ggml_nelements(op) < SMALL) threads = 1;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int64_t row = 0; row < count; row++) compute(op, row);
}

}  // namespace rows
