// Attention of many sequences over one KV cache, as matrix products of tiles.
//
// What llama.cpp computes on a CPU row by row, once for every query head, is computed here for all query heads of a KV
// head together, and for all tokens that see the same cells: a tile of 64 cells is read, converted and transposed once
// for a block of tokens. Where tokens share a tile with few of their cells (a hundred sequences that decode write their
// cells side by side), each token's cells are gathered into tiles of its own first.
//
// Softmax is computed online (Milakov and Gimelshein 2018; Dao et al.: FlashAttention, 2022). Partial results of every
// eight tiles are combined in a fixed order (as in Flash-Decoding, 2023), so the threads share long sequences, too; the
// idea of computing a prefix once for all who share it is that of Juravsky et al.: Hydragen, 2024.
//
// Everything is summed in f32 and, but for what is gathered, in an order that depends on the row and its cells alone:
// on neither the other rows nor the number of threads. So a sequence with a KV stream of its own gets the same bits
// whatever else is computed beside it.

#include "attention.h"
#include "sight.h"
#include "tiles.h"

#include <numeric>

namespace attention {
namespace {

// What one thread computes with.
struct Bench {
    std::vector<float> queries;
    std::vector<float> spare;      // where rows go that a micro-kernel has too many
    std::vector<uint16_t> zeros;   // a cell that nobody sees
    State whole, part;
    Tile tile;
    std::vector<int> active;       // tokens that see something of a tile
    std::vector<int> left;         // tiles that are gathered
    std::vector<uint64_t> any;     // cells of these that some tokens see
};

// The tokens of a block, for one KV head.
template <typename Numbers>
class Block {
  public:
    Block(const Shape & shape, const std::vector<uint64_t> & bits, Bench & bench, int number)
        : shape_(shape), bits_(bits), bench_(bench),
          stream_(number / (shape.blocks * shape.groups)), group_(number / shape.blocks % shape.groups),
          first_(number % shape.blocks * shape.block), count_(std::min(shape.block, shape.tokens - first_)) {
        bench.queries.resize(size_t(rows()) * shape.key_room);
        bench.spare.resize(shape.value_room);
        bench.zeros.resize(std::max(shape.keys, shape.values));
        for (int token = 0; token < count_; token++)
            for (int head = 0; head < shape.heads; head++) {
                const float * from = at<float>(shape.q, first_ + token, group_ * shape.heads + head, stream_);
                float * to = query(token * shape.heads + head);
                for (int number = 0; number < shape.keys; number++) to[number] = from[number] * shape.scale;
                std::fill(to + shape.keys, to + shape.key_room, 0.0f);
                Numbers::pack(to, shape.key_room);
            }
    }

    int rows() const { return count_ * shape_.heads; }

    // Makes a state of what a chunk's tiles give, but for those that are better gathered; false: of nothing.
    bool chunk(int number, State & state) {
        const int end = std::min((number + 1) * CHUNK, shape_.tiles);
        bool any = false;
        for (int tile = number * CHUNK; tile < end; tile++) {
            const uint64_t wanted = active(tile);
            if (!wanted || scattered(tile)) continue;
            if (!any) state.clear(rows(), shape_.value_room);
            any = true;
            fill(tile, wanted);
            compute(state, [&](int token) { return mask(token, tile); });
        }
        return any;
    }

    // The same of what is left to be gathered, for tokens that see nearly the same together.
    bool gather(State & state) {
        std::vector<int> & left = bench_.left;
        left.clear();
        for (int tile = 0; tile < shape_.tiles; tile++)
            if (active(tile) && scattered(tile)) left.push_back(tile);
        if (left.empty()) return false;
        state.clear(rows(), shape_.value_room);
        for (int token = 0; token < count_;) {
            const int end = alike(token);
            gather(token, end, state);
            token = end;
        }
        return true;
    }

    // Part `number` of the whole, in the order in which they are added: the chunks, then what is gathered.
    bool part(int number, State & state) { return number < shape_.chunks ? chunk(number, state) : gather(state); }

    // Writes the result.
    void finish(State & state) {
        for (int token = 0; token < count_; token++)
            for (int head = 0; head < shape_.heads; head++) {
                const int row = token * shape_.heads + head, whole_head = group_ * shape_.heads + head;
                float scale = 1.0f, total = state.sum_of(row);
                if (shape_.sinks) {
                    const float sink = ((const float *)shape_.sinks->data)[whole_head];
                    const float high = std::max(state.best[row], sink);
                    scale = std::exp(state.best[row] - high);
                    total = total * scale + std::exp(sink - high);
                }
                const float share = total == 0.0f ? 0.0f : scale / total;
                const float * from = state.of(row);
                float * to = (float *)at<float>(shape_.op, whole_head, first_ + token, stream_);
                for (int number = 0; number < shape_.values; number++) to[number] = from[number] * share;
            }
    }

  private:
    float * query(int row) { return &bench_.queries[size_t(row) * shape_.key_room]; }

    uint64_t seen(int token, int tile) const {
        return bits_[(size_t(stream_) * shape_.tokens + first_ + token) * shape_.tiles + tile];
    }

    // Notes which tokens see something of a tile; the cells that any of them sees.
    uint64_t active(int tile) {
        uint64_t any = 0;
        bench_.active.clear();
        for (int token = 0; token < count_; token++)
            if (const uint64_t cells = seen(token, tile)) {
                any |= cells;
                bench_.active.push_back(token);
            }
        return any;
    }

    // Whether the active tokens see so little of a tile, here and there, that gathering is cheaper. Never where all
    // see it from its first cell on, as in the stream of one sequence.
    bool scattered(int tile) const {
        size_t pairs = 0;
        bool begun = true;
        for (int token : bench_.active) {
            const uint64_t cells = seen(token, tile);
            pairs += __builtin_popcountll(cells);
            begun &= (cells & (cells + 1)) == 0;
        }
        return !begun && pairs * 2 < bench_.active.size() * TILE;
    }

    void fill(int tile, uint64_t wanted) {
        const uint16_t *keys[TILE], *values[TILE];
        for (int cell = 0; cell < TILE; cell++) point(wanted >> cell & 1, tile * TILE + cell, keys[cell], values[cell]);
        const int next = std::min(TILE, shape_.cells - (tile + 1) * TILE);
        for (int cell = 0; cell < next; cell++) {
            fetch(shape_.k, (tile + 1) * TILE + cell, shape_.keys);
            if (shape_.k->data != shape_.v->data) fetch(shape_.v, (tile + 1) * TILE + cell, shape_.values);
        }
        bench_.tile.template fill<Numbers>(shape_, keys, values, TILE - __builtin_clzll(wanted));
    }

    // What is computed next comes into the cache meanwhile.
    void fetch(const ggml_tensor * from, int cell, int count) const {
        const char * row = at<char>(from, cell, group_, shape_.stream_of_keys(stream_));
        for (size_t byte = 0; byte < count * sizeof(uint16_t); byte += 64) __builtin_prefetch(row + byte);
    }

    void point(bool wanted, int cell, const uint16_t *& key, const uint16_t *& value) const {
        const int64_t stream = shape_.stream_of_keys(stream_);
        key = wanted ? at<uint16_t>(shape_.k, cell, group_, stream) : bench_.zeros.data();
        value = wanted ? at<uint16_t>(shape_.v, cell, group_, stream) : bench_.zeros.data();
    }

    // 64 halves; a copy where the mask has fewer.
    const uint16_t * mask(int token, int tile) {
        const uint16_t * whole = shape_.masked(stream_, first_ + token);
        const int count = std::min(TILE, shape_.cells - tile * TILE);
        if (whole && count == TILE) return whole + tile * TILE;
        std::fill_n(mask_, TILE, NEVER);
        for (int cell = 0; cell < count; cell++) mask_[cell] = whole ? whole[tile * TILE + cell] : 0;
        return mask_;
    }

    // The end of the tokens, from `first` on, that see nearly the same of what is left: three quarters of it at least.
    int alike(int first) {
        std::vector<uint64_t> & any = bench_.any;
        any.assign(bench_.left.size(), 0);
        size_t pairs = 0;
        for (int token = first; token < count_; token++) {
            size_t both = 0, its = 0;
            for (size_t at = 0; at < any.size(); at++) {
                const uint64_t cells = seen(token, bench_.left[at]);
                its += __builtin_popcountll(cells);
                both += __builtin_popcountll(any[at] | cells);
            }
            pairs += its;
            if (token > first && pairs * 4 < both * (token + 1 - first) * 3) return token;
            for (size_t at = 0; at < any.size(); at++) any[at] |= seen(token, bench_.left[at]);
        }
        return count_;
    }

    void gather(int first, int end, State & state) {
        const uint16_t *keys[TILE], *values[TILE];
        int cells[TILE], count = 0;
        bench_.active.resize(end - first);
        std::iota(bench_.active.begin(), bench_.active.end(), first);
        const auto flush = [&] {
            if (!count) return;
            std::fill(keys + count, keys + TILE, bench_.zeros.data());
            std::fill(values + count, values + TILE, bench_.zeros.data());
            bench_.tile.template fill<Numbers>(shape_, keys, values, count);
            compute(state, [&](int token) { return mask(token, cells, count); });
            count = 0;
        };
        for (int tile : bench_.left) {
            uint64_t any = 0;
            for (int token = first; token < end; token++) any |= seen(token, tile);
            for (; any; any &= any - 1) {
                cells[count] = tile * TILE + __builtin_ctzll(any);
                point(true, cells[count], keys[count], values[count]);
                if (++count == TILE) flush();
            }
        }
        flush();
    }

    // The mask of gathered cells.
    const uint16_t * mask(int token, const int * cells, int count) {
        const uint16_t * whole = shape_.masked(stream_, first_ + token);
        std::fill_n(mask_, TILE, NEVER);
        for (int at = 0; at < count; at++) mask_[at] = whole ? whole[cells[at]] : 0;
        return mask_;
    }

    // The tile for all rows of the active tokens.
    template <typename Mask>
    void compute(State & state, Mask mask) {
        const Tile & tile = bench_.tile;
        const int rows = int(bench_.active.size()) * shape_.heads;
        for (int first = 0; first < rows; first += ROWS) {
            const int count = std::min(ROWS, rows - first);
            const float * queries[ROWS];
            float * to[ROWS];
            float scores[ROWS][TILE];
            int numbers[ROWS];
            for (int row = 0; row < ROWS; row++) {
                const int from = first + std::min(row, count - 1);
                numbers[row] = bench_.active[from / shape_.heads] * shape_.heads + from % shape_.heads;
                queries[row] = query(numbers[row]);
                to[row] = row < count ? state.of(numbers[row]) : bench_.spare.data();
            }
            score<Numbers>(queries, tile.keys.data(), ceiling(shape_.keys, Numbers::EACH), scores);
            for (int row = 0; row < count; row++) {
                soften(scores[row], mask(numbers[row] / shape_.heads), state, numbers[row]);
                Numbers::pack(scores[row], TILE);
            }
            weigh_all(scores, to);
        }
    }

    void weigh_all(const float (*shares)[TILE], float ** to) {
        const Tile & tile = bench_.tile;
        const float * values = tile.values.data();
        const int room = shape_.value_room;
        int done = 0;
        const auto go = [&](auto weigh, int parts) {
            weigh(shares, values + done, room, ceiling(tile.cells, Numbers::EACH), to);
            done += parts * WIDTH;
            for (int row = 0; row < ROWS; row++) to[row] += to[row] == bench_.spare.data() ? 0 : parts * WIDTH;
        };
        while (room - done >= WIDE * WIDTH) go(weigh<Numbers, WIDE>, WIDE);
        while (room - done >= 2 * WIDTH) go(weigh<Numbers, 2>, 2);
        if (room - done > 0) go(weigh<Numbers, 1>, 1);
    }

    const Shape & shape_;
    const std::vector<uint64_t> & bits_;
    Bench & bench_;
    const int stream_, group_, first_, count_;
    uint16_t mask_[TILE];
};

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
                Block<Numbers> block(shape, sight.bits, mine(), number);
                whole(block, shape, mine());
            }
        } else {
#pragma omp for schedule(dynamic, 1)
            for (int number = 0; number < blocks * parts; number++) {
                Block<Numbers> block(shape, sight.bits, mine(), number / parts);
                any[number] = block.part(number % parts, states[number]);
            }
#pragma omp for schedule(dynamic, 1)
            for (int number = 0; number < blocks; number++) {
                Block<Numbers> block(shape, sight.bits, mine(), number);
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
