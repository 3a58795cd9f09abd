#include "places.h"
#include "vectors.h"

#include <algorithm>
#include <cmath>

namespace places {
namespace {

constexpr int64_t SMALL = 1 << 14;  // numbers that are not worth a second thread

char * at(const ggml_tensor * tensor, int64_t zero, int64_t one, int64_t two, int64_t three) {
    return (char *)tensor->data + zero * tensor->nb[0] + one * tensor->nb[1] + two * tensor->nb[2] + three * tensor->nb[3];
}

int64_t place(const ggml_tensor * places, int64_t zero, int64_t one, int64_t two) {
    const char * found = at(places, zero, one, two, 0);
    return places->type == GGML_TYPE_I64 ? *(const int64_t *)found : *(const int32_t *)found;
}

// to[...][i] = from[...][places[i]]
void get(const ggml_tensor * op) {
    const ggml_tensor *from = op->src[0], *places = op->src[1];
    for (int64_t three = 0; three < op->ne[3]; three++)
        for (int64_t two = 0; two < op->ne[2]; two++)
            for (int64_t one = 0; one < op->ne[1]; one++) {
                const int64_t row = place(places, one, two, three);
                GGML_ASSERT(row >= 0 && row < from->ne[1]);
                std::copy_n((const float *)at(from, 0, row, two, three), from->ne[0], (float *)at(op, 0, one, two, three));
            }
}

// to[...][places[i]] = from[...][i]
void set(const ggml_tensor * op) {
    const ggml_tensor *from = op->src[0], *places = op->src[1];
    for (int64_t three = 0; three < from->ne[3]; three++)
        for (int64_t two = 0; two < from->ne[2]; two++)
            for (int64_t one = 0; one < from->ne[1]; one++) {
                const int64_t row = place(places, one, two % places->ne[1], three % places->ne[2]);
                GGML_ASSERT(row >= 0 && row < op->ne[1]);
                const float * its = (const float *)at(from, 0, one, two, three);
                char * to = at(op, 0, row, two, three);
                if (op->type == GGML_TYPE_F16) store_halves((uint16_t *)to, its, int(from->ne[0]));
                else std::copy_n(its, from->ne[0], (float *)to);
            }
}

// YaRN (Peng et al. 2023, https://arxiv.org/abs/2309.00071), as ggml computes it: slow rotations are interpolated, fast
// ones are not, and those between are mixed.
struct Rotation {
    int dims, mode, trained;
    float base, scale, mixed, magnitude, fast, slow;
    float low = 0, high = 0;

    explicit Rotation(const ggml_tensor * op) : dims(op->op_params[1]), mode(op->op_params[2]), trained(op->op_params[4]) {
        float numbers[6];
        std::memcpy(numbers, op->op_params + 5, sizeof numbers);
        base = numbers[0], scale = numbers[1], mixed = numbers[2], magnitude = numbers[3], fast = numbers[4], slow = numbers[5];
        float bounds[2];
        ggml_rope_yarn_corr_dims(dims, trained, base, fast, slow, bounds);
        low = bounds[0], high = bounds[1];
        if (mixed != 0.0f) magnitude *= 1.0f + 0.1f * std::log(1.0f / scale);
    }

    // Cosines and sines of a position, in turns.
    void angles(int32_t position, float * to) const {
        const float step = std::pow(base, -2.0f / float(dims));
        float fast_angle = float(position);
        for (int pair = 0; pair < dims / 2; pair++, fast_angle *= step) {
            float angle = scale * fast_angle;
            if (mixed != 0.0f) {
                const float share = (1.0f - std::clamp((float(pair) - low) / std::max(0.001f, high - low), 0.0f, 1.0f)) * mixed;
                angle = angle * (1.0f - share) + fast_angle * share;
            }
            to[2 * pair] = std::cos(angle) * magnitude;
            to[2 * pair + 1] = std::sin(angle) * magnitude;
        }
    }
};

const float * angles_of(const ggml_tensor * op, Angles & angles) {
    const ggml_tensor * positions = op->src[1];
    if (angles.positions != positions || std::memcmp(angles.params, op->op_params, sizeof angles.params)) {
        const Rotation rotation(op);
        angles.positions = positions;
        std::memcpy(angles.params, op->op_params, sizeof angles.params);
        angles.numbers.resize(size_t(op->ne[2]) * rotation.dims);
        for (int64_t token = 0; token < op->ne[2]; token++)
            rotation.angles(((const int32_t *)positions->data)[token], &angles.numbers[size_t(token) * rotation.dims]);
    }
    return angles.numbers.data();
}

void rotate(const ggml_tensor * op, Angles & angles, int threads) {
    const ggml_tensor * from = op->src[0];
    const int dims = op->op_params[1];
    const int64_t apart = op->op_params[2] == GGML_ROPE_TYPE_NEOX ? dims / 2 : 1, next = apart == 1 ? 2 : 1;
    const float * all_angles = angles_of(op, angles);
    if (ggml_nelements(op) < SMALL) threads = 1;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int64_t token = 0; token < op->ne[2]; token++) {
        const float * its = all_angles + token * dims;
        for (int64_t head = 0; head < op->ne[1]; head++) {
            const float * numbers = (const float *)at(from, 0, head, token, 0);
            float * to = (float *)at(op, 0, head, token, 0);
            for (int64_t pair = 0; pair < dims / 2; pair++) {
                const float one = numbers[pair * next], other = numbers[pair * next + apart];
                to[pair * next] = one * its[2 * pair] - other * its[2 * pair + 1];
                to[pair * next + apart] = one * its[2 * pair + 1] + other * its[2 * pair];
            }
            if (to != numbers) std::copy(numbers + dims, numbers + op->ne[0], to + dims);
        }
    }
}

bool numbers(const ggml_tensor * tensor) { return tensor->type == GGML_TYPE_F32 && tensor->nb[0] == sizeof(float); }

bool whole(const ggml_tensor * tensor) { return tensor->type == GGML_TYPE_I32 || tensor->type == GGML_TYPE_I64; }

}  // namespace

bool supports(const ggml_tensor * op) {
    const ggml_tensor *from = op->src[0], *places = op->src[1];
    switch (op->op) {
        case GGML_OP_GET_ROWS:
            return numbers(op) && numbers(from) && whole(places);
        case GGML_OP_SET_ROWS:
            return numbers(from) && whole(places) && (numbers(op) || (op->type == GGML_TYPE_F16 && op->nb[0] == 2));
        case GGML_OP_ROPE:
            return numbers(op) && numbers(from) && !op->src[2] && op->ne[3] == 1 && !op->op_params[15] &&
                   (op->op_params[2] == GGML_ROPE_TYPE_NORMAL || op->op_params[2] == GGML_ROPE_TYPE_NEOX);
        default:
            return false;
    }
}

void compute(const ggml_tensor * op, Angles & angles, int threads) {
    switch (op->op) {
        case GGML_OP_GET_ROWS: return get(op);
        case GGML_OP_SET_ROWS: return set(op);
        default: rotate(op, angles, threads);
    }
}

}  // namespace places
