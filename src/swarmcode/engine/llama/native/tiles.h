// Tiles of cells, and what attention makes of them for some rows: a query head of a token each.

#pragma once

#include "vectors.h"

#include <ggml.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace attention {

constexpr int TILE = 64;  // cells
constexpr int CHUNK = 8;  // tiles that are summed before they are added to the others
constexpr int ROWS = 6;   // rows of a micro-kernel: a query head of a token each
constexpr int BLOCK = 32; // tokens whose rows are computed together, at most
constexpr int64_t SMALL = 1 << 18;  // multiplications that are not worth a second thread
constexpr uint16_t NEVER = 0xFC00;  // minus infinity
constexpr float NONE = -INFINITY;

inline int padded(int64_t count) { return int((count + WIDTH - 1) / WIDTH * WIDTH); }

inline int ceiling(int64_t count, int64_t of) { return int((count + of - 1) / of); }

template <typename T>
const T * at(const ggml_tensor * tensor, int64_t one, int64_t two, int64_t three) {
    const char * data = (const char *)tensor->data;
    return (const T *)(data + one * tensor->nb[1] + two * tensor->nb[2] + three * tensor->nb[3]);
}

// What is known of an operation.
struct Shape {
    const ggml_tensor *op, *q, *k, *v, *mask, *sinks;
    int keys, values;             // numbers in a key, in a value
    int key_room, value_room;     // the same in whole vectors
    int cells, tiles, chunks;
    int tokens, streams;          // tokens: of each stream
    int groups, heads;            // KV heads; query heads of each
    int block, blocks;            // tokens in a block; blocks of a stream
    float scale;

    Shape(const ggml_tensor * op, int threads)
        : op(op), q(op->src[0]), k(op->src[1]), v(op->src[2]), mask(op->src[3]), sinks(op->src[4]),
          keys(int(k->ne[0])), values(int(v->ne[0])), key_room(padded(keys)), value_room(padded(values)),
          cells(int(k->ne[1])), tiles(ceiling(cells, TILE)), chunks(ceiling(tiles, CHUNK)),
          tokens(int(q->ne[1])), streams(int(q->ne[3])), groups(int(k->ne[2])), heads(int(q->ne[2] / k->ne[2])) {
        std::memcpy(&scale, op->op_params, sizeof scale);
        const int shares = std::max(1, 2 * threads / (streams * groups));
        block = std::clamp(ceiling(tokens, shares), 1, BLOCK);
        blocks = ceiling(tokens, block);
    }

    int64_t stream_of_keys(int stream) const { return stream / (q->ne[3] / k->ne[3]); }

    const uint16_t * masked(int stream, int token) const {
        return mask ? at<uint16_t>(mask, token, 0, stream % mask->ne[3]) : nullptr;
    }
};

// What attention is, as far as it is computed: for each row the highest score, the sum of the exponentials, and the
// values weighted by them.
struct State {
    int room = 0;
    std::vector<float> best, total, values;

    void clear(int rows, int value_room) {
        room = value_room;
        best.assign(rows, NONE);
        total.assign(rows, 0.0f);
        values.assign(size_t(rows) * value_room, 0.0f);
    }

    float * of(int row) { return &values[size_t(row) * room]; }

    void add(int row, State & other) {
        if (other.best[row] == NONE) return;
        const float high = std::max(best[row], other.best[row]);
        const float mine = std::exp(best[row] - high), its = std::exp(other.best[row] - high);
        best[row] = high;
        total[row] = total[row] * mine + other.total[row] * its;
        float *to = of(row), *more = other.of(row);
        for (int at = 0; at < room; at += WIDTH) store(to + at, load(to + at) * mine + load(more + at) * its);
    }
};

// 64 cells as the micro-kernels read them.
class Tile {
  public:
    std::vector<float> keys, values;  // keys: number by number, 64 cells each; values: cell by cell
    int cells = 0;                    // with values

    // `count` cells by their keys and values.
    void fill(const Shape & shape, const uint16_t * const * from_keys, const uint16_t * const * from_values, int count) {
        keys.resize(size_t(shape.key_room) * TILE);
        values.resize(size_t(shape.value_room) * TILE);
        cells = count;
        const int whole = shape.keys / WIDTH * WIDTH;
        for (int cell = 0; cell < TILE; cell += WIDTH) {
            float * to = &keys[cell];
            for (int number = 0; number < whole; number += WIDTH)
                columns(from_keys + cell, to, number, [](const uint16_t * from) { return load_halves(from); });
            if (const int rest = shape.keys - whole)
                columns(from_keys + cell, to, whole, [=](const uint16_t * from) { return load_halves(from, rest); });
        }
        for (int cell = 0; cell < count; cell++) {
            float * to = &values[size_t(cell) * shape.value_room];
            int number = 0;
            for (; number + WIDTH <= shape.values; number += WIDTH) store(to + number, load_halves(from_values[cell] + number));
            if (number < shape.values) store(to + number, load_halves(from_values[cell] + number, shape.values - number));
        }
    }

  private:
    // Numbers of WIDTH cells, from `number` on.
    template <typename Load>
    static void columns(const uint16_t * const * from, float * to, int number, Load load) {
        Vec rows[WIDTH];
        for (int row = 0; row < WIDTH; row++) rows[row] = load(from[row] + number);
        transpose(rows);
        for (int row = 0; row < WIDTH; row++) store(to + size_t(number + row) * TILE, rows[row]);
    }
};

// scores[r][c] = sum over d of queries[r][d] * keys[d][c], for 64 cells.
inline void score(const float * const * queries, const float * keys, int count, float (*scores)[TILE]) {
    for (int cell = 0; cell < TILE; cell += WIDE * WIDTH) {
        Vec sums[ROWS][WIDE] = {};
        for (int number = 0; number < count; number++) {
            Vec key[WIDE];
            for (int part = 0; part < WIDE; part++) key[part] = load(keys + number * TILE + cell + part * WIDTH);
            for (int row = 0; row < ROWS; row++)
                for (int part = 0; part < WIDE; part++) sums[row][part] += queries[row][number] * key[part];
        }
        for (int row = 0; row < ROWS; row++)
            for (int part = 0; part < WIDE; part++) store(scores[row] + cell + part * WIDTH, sums[row][part]);
    }
}

// to[r][...] += sum over c of shares[r][c] * values[c][...], for PARTS vectors of the values.
template <int PARTS>
void weigh(const float (*shares)[TILE], const float * values, int room, int cells, float * const * to) {
    Vec sums[ROWS][PARTS];
    for (int row = 0; row < ROWS; row++)
        for (int part = 0; part < PARTS; part++) sums[row][part] = load(to[row] + part * WIDTH);
    for (int cell = 0; cell < cells; cell++) {
        Vec value[PARTS];
        for (int part = 0; part < PARTS; part++) value[part] = load(values + size_t(cell) * room + part * WIDTH);
        for (int row = 0; row < ROWS; row++)
            for (int part = 0; part < PARTS; part++) sums[row][part] += shares[row][cell] * value[part];
    }
    for (int row = 0; row < ROWS; row++)
        for (int part = 0; part < PARTS; part++) store(to[row] + part * WIDTH, sums[row][part]);
}

// Scores become exponentials; the row's state is ready for the tile's values.
inline void soften(float * scores, const uint16_t * mask, State & state, int row) {
    Vec high = all(NONE);
    for (int cell = 0; cell < TILE; cell += WIDTH) {
        const Vec bias = load_halves(mask + cell);
        const Vec score = bias == NONE ? all(NONE) : load(scores + cell) + bias;
        store(scores + cell, score);
        high = higher(score, high);
    }
    const float before = state.best[row];
    const float now = std::max(before, highest(high));
    if (now == NONE) {
        std::fill_n(scores, TILE, 0.0f);
        return;
    }
    Vec sums = {};
    for (int cell = 0; cell < TILE; cell += WIDTH) {
        const Vec share = exponential(load(scores + cell) - now);
        store(scores + cell, share);
        sums += share;
    }
    if (now != before) {
        const float kept = std::exp(before - now);
        state.best[row] = now;
        state.total[row] *= kept;
        float * values = state.of(row);
        for (int at = 0; at < state.room; at += WIDTH) store(values + at, load(values + at) * kept);
    }
    state.total[row] += sum(sums);
}

}  // namespace attention
