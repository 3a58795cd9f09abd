// Tiles of cells, and what attention makes of them for some rows: a query head of a token each.

#pragma once

#include "numbers.h"

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
constexpr float LOG2E = 1.44269504f;  // scores are taken times this, so that exponentials are powers of two

inline int padded(int64_t count, int to = WIDTH) { return int((count + to - 1) / to * to); }

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
          keys(int(k->ne[0])), values(int(v->ne[0])), key_room(padded(keys, 2 * WIDTH)), value_room(padded(values)),
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

// What attention is, as far as it is computed: for each row a score that exponentials are taken from, nearly the highest;
// the sum of these exponentials, lane by lane; and the values weighted by them.
struct State {
    int room = 0;
    std::vector<float> best, total, values;

    void clear(int rows, int value_room) {
        room = value_room;
        best.assign(rows, NONE);
        total.assign(size_t(rows) * WIDTH, 0.0f);
        values.assign(size_t(rows) * value_room, 0.0f);
    }

    float * of(int row) { return &values[size_t(row) * room]; }

    float sum_of(int row) const { return sum(load(&total[size_t(row) * WIDTH])); }

    // Takes the exponentials of a row from a higher score.
    void raise(int row, float to) {
        const float kept = std::exp2(best[row] - to);
        best[row] = to;
        scale(&total[size_t(row) * WIDTH], WIDTH, kept);
        scale(of(row), room, kept);
    }

    void add(int row, State & other) {
        if (other.best[row] == NONE) return;
        if (other.best[row] > best[row]) raise(row, other.best[row]);
        const float its = std::exp2(other.best[row] - best[row]);
        join(&total[size_t(row) * WIDTH], &other.total[size_t(row) * WIDTH], WIDTH, its);
        join(of(row), other.of(row), room, its);
    }

  private:
    static void scale(float * numbers, int count, float by) {
        for (int at = 0; at < count; at += WIDTH) store(numbers + at, load(numbers + at) * by);
    }

    static void join(float * to, const float * more, int count, float by) {
        for (int at = 0; at < count; at += WIDTH) store(to + at, load(to + at) + load(more + at) * by);
    }
};

// 64 cells as the micro-kernels read them.
class Tile {
  public:
    std::vector<float> keys, values;  // lanes: of keys, lane by lane those of 64 cells; of values, cell by cell
    int cells = 0;                    // with values

    // `count` cells by their keys and values.
    template <typename Numbers>
    void fill(const Shape & shape, const uint16_t * const * from_keys, const uint16_t * const * from_values, int count) {
        keys.resize(size_t(shape.key_room) * TILE);
        values.resize(size_t(shape.value_room) * TILE);
        cells = count;
        constexpr int STEP = WIDTH * Numbers::EACH;
        for (int cell = 0; cell < TILE; cell += WIDTH)
            for (int number = 0; number < shape.keys; number += STEP)
                columns<Numbers>(from_keys + cell, &keys[cell], number, std::min(STEP, shape.keys - number));
        for (int cell = 0; cell < count; cell += Numbers::EACH) {
            float * to = &values[size_t(cell / Numbers::EACH) * shape.value_room];
            for (int number = 0; number < shape.values; number += WIDTH)
                store(to + number, Numbers::across(from_values + cell, number, std::min(WIDTH, shape.values - number)));
        }
    }

  private:
    // `count` numbers of WIDTH cells, from `number` on.
    template <typename Numbers>
    static void columns(const uint16_t * const * from, float * to, int number, int count) {
        Vec rows[WIDTH];
        for (int row = 0; row < WIDTH; row++) rows[row] = Numbers::along(from[row] + number, count);
        transpose(rows);
        for (int row = 0; row < WIDTH; row++) store(to + size_t(number / Numbers::EACH + row) * TILE, rows[row]);
    }
};

// scores[r][c] = sum over d of queries[r][d] * keys[d][c], for 64 cells.
template <typename Numbers>
void score(const float * const * queries, const float * keys, int lanes, float (*scores)[TILE]) {
    for (int cell = 0; cell < TILE; cell += WIDE * WIDTH) {
        Vec sums[ROWS][WIDE] = {};
        for (int lane = 0; lane < lanes; lane++) {
            Vec key[WIDE];
            for (int part = 0; part < WIDE; part++) key[part] = load(keys + lane * TILE + cell + part * WIDTH);
            for (int row = 0; row < ROWS; row++)
                for (int part = 0; part < WIDE; part++)
                    sums[row][part] = Numbers::add(sums[row][part], key[part], queries[row] + lane);
        }
        for (int row = 0; row < ROWS; row++)
            for (int part = 0; part < WIDE; part++) store(scores[row] + cell + part * WIDTH, sums[row][part]);
    }
}

// to[r][...] += sum over c of shares[r][c] * values[c][...], for PARTS vectors of the values.
template <typename Numbers, int PARTS>
void weigh(const float (*shares)[TILE], const float * values, int room, int lanes, float * const * to) {
    Vec sums[ROWS][PARTS];
    for (int row = 0; row < ROWS; row++)
        for (int part = 0; part < PARTS; part++) sums[row][part] = load(to[row] + part * WIDTH);
    for (int lane = 0; lane < lanes; lane++) {
        Vec value[PARTS];
        for (int part = 0; part < PARTS; part++) value[part] = load(values + size_t(lane) * room + part * WIDTH);
        for (int row = 0; row < ROWS; row++)
            for (int part = 0; part < PARTS; part++)
                sums[row][part] = Numbers::add(sums[row][part], value[part], shares[row] + lane);
    }
    for (int row = 0; row < ROWS; row++)
        for (int part = 0; part < PARTS; part++) store(to[row] + part * WIDTH, sums[row][part]);
}

// Scores become powers of two, those of cells that are not seen none at all; the row's state is ready for the tile's values.
// What they are taken from is raised only by scores that are far above it: their sum does not overflow before (as in
// FlashAttention-4).
template <int DEGREE>
void soften(float * scores, uint64_t seen, State & state, int row) {
    constexpr float FAR = 11.0f;
    Vec parts[TILE / WIDTH], high = all(NONE);
    for (int part = 0; part < TILE / WIDTH; part++) {
        parts[part] = load(scores + part * WIDTH);
        if (seen != ~uint64_t(0)) parts[part] = chosen(seen, part * WIDTH, parts[part], NONE);
        high = higher(parts[part], high);
    }
    if (any_above(high, state.best[row] + FAR)) state.raise(row, highest(high));
    const float best = state.best[row];
    if (best == NONE) {
        std::fill_n(scores, TILE, 0.0f);
        return;
    }
    Vec sums = load(&state.total[size_t(row) * WIDTH]);
    for (int part = 0; part < TILE / WIDTH; part++) {
        const Vec share = power_of_two<DEGREE>(parts[part] - best);
        store(scores + part * WIDTH, share);
        sums += share;
    }
    store(&state.total[size_t(row) * WIDTH], sums);
}

}  // namespace attention
