// Attention of many sequences over one KV cache, as matrix products of tiles.
//
// What llama.cpp computes on a CPU row by row, once for every query head, is computed here for all query heads of a KV
// head together, and for all tokens that see the same cells: a tile of 64 cells is read, converted and transposed once
// for a block of tokens. Where tokens share a tile with few of their cells (a hundred sequences that decode write their
// cells side by side), the cells of those that see nearly the same are gathered into tiles of their own first.
//
// Softmax is computed online (Milakov and Gimelshein 2018; Dao et al.: FlashAttention, 2022). Partial results of every
// eight tiles are combined in a fixed order (as in Flash-Decoding, 2023), so the threads share long sequences, too; the
// idea of computing a prefix once for all who share it is that of Juravsky et al.: Hydragen, 2024.
//
// Everything is summed in f32 and, but for what is gathered, in an order that depends on the row and its cells alone:
// on neither the other rows nor the number of threads. So a sequence with a KV stream of its own gets the same bits
// whatever else is computed beside it.

#include "attention.h"
#include "block.h"
#include "sight.h"

namespace attention {
namespace {

// A whole block by one thread.
template <typename Numbers>
void whole(Block<Numbers> & block, const Shape & shape, Bench & bench) {
    bench.whole.clear(block.rows(), shape.value_room);
    for (int number = 0; number <= shape.chunks; number++)
        if (block.part(number, bench.part))
            for (int row = 0; row < block.rows(); row++) bench.whole.add(row, bench.part);
    block.finish(bench.whole);
}

Bench & mine() {
    thread_local Bench bench;
    return bench;
}

template <typename Numbers>
void attend_with(const ggml_tensor * op, Sight & sight, int threads) {
    if (op->src[0]->ne[0] * ggml_nrows(op->src[0]) * op->src[1]->ne[1] < SMALL) threads = 1;
    const Shape shape(op, threads);
    const int rows = shape.streams * shape.tokens, blocks = shape.streams * shape.groups * shape.blocks;
    const int parts = shape.chunks + 1;
    const bool split = blocks < threads && shape.chunks > 1;
    const bool known = recall(sight, shape);
    std::vector<State> states(split ? size_t(blocks) * parts : 0);
    std::vector<char> any(states.size());

#pragma omp parallel num_threads(threads)
    {
        if (!known) {
#pragma omp for schedule(static)
            for (int row = 0; row < rows; row++) look(sight, shape, row);
        }
        if (!split) {
#pragma omp for schedule(dynamic, 1)
            for (int number = 0; number < blocks; number++) {
                Block<Numbers> block(shape, sight, mine(), number);
                whole(block, shape, mine());
            }
        } else {
#pragma omp for schedule(dynamic, 1)
            for (int number = 0; number < blocks * parts; number++) {
                Block<Numbers> block(shape, sight, mine(), number / parts);
                any[number] = block.part(number % parts, states[number]);
            }
#pragma omp for schedule(dynamic, 1)
            for (int number = 0; number < blocks; number++) {
                Block<Numbers> block(shape, sight, mine(), number);
                State & all = mine().whole;
                all.clear(block.rows(), shape.value_room);
                for (int part = number * parts; part < (number + 1) * parts; part++)
                    for (int row = 0; any[part] && row < block.rows(); row++) all.add(row, states[part]);
                block.finish(all);
            }
        }
    }
}

}  // namespace

bool supports(const ggml_tensor * op) {
    const ggml_tensor *q = op->src[0], *k = op->src[1], *v = op->src[2], *mask = op->src[3], *sinks = op->src[4];
    float bias, cap;
    std::memcpy(&bias, (const float *)op->op_params + 1, sizeof bias);
    std::memcpy(&cap, (const float *)op->op_params + 2, sizeof cap);
    return bias == 0.0f && cap == 0.0f && op->type == GGML_TYPE_F32 && q->type == GGML_TYPE_F32 &&
           k->type == GGML_TYPE_F16 && v->type == GGML_TYPE_F16 && q->nb[0] == sizeof(float) &&
           k->nb[0] == sizeof(uint16_t) && v->nb[0] == sizeof(uint16_t) && k->ne[1] > 0 && k->ne[2] == v->ne[2] &&
           k->ne[3] == v->ne[3] && q->ne[2] % k->ne[2] == 0 && q->ne[3] % k->ne[3] == 0 &&
           (!mask || (mask->type == GGML_TYPE_F16 && mask->nb[0] == sizeof(uint16_t) && mask->ne[2] == 1)) &&
           (!sinks || sinks->type == GGML_TYPE_F32);
}

void attend(const ggml_tensor * op, Sight & sight, bool rounded, int threads) {
    rounded ? attend_with<Rounded>(op, sight, threads) : attend_with<Whole>(op, sight, threads);
}

}  // namespace attention
