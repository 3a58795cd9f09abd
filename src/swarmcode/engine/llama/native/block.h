// A block of tokens whose attention is computed together.

#pragma once

#include "attention.h"
#include "tiles.h"

#include <numeric>

namespace attention {

// What one thread computes with.
struct Bench {
    std::vector<float> queries;
    std::vector<float> spare;      // where rows go that a micro-kernel has too many
    std::vector<uint16_t> zeros;   // a cell that nobody sees
    State whole, part;
    Tile tile;
    int cells[TILE];               // that are in it
    std::vector<int> active;       // tokens that see something of a tile
    std::vector<int> left;         // tiles that are gathered
    std::vector<uint64_t> any;     // cells of these that some tokens see
};

// The tokens of a block, for one KV head.
template <typename Numbers>
class Block {
  public:
    Block(const Shape & shape, const Sight & sight, Bench & bench, int number)
        : shape_(shape), sight_(sight), bench_(bench),
          stream_(number / (shape.blocks * shape.groups)), group_(number / shape.blocks % shape.groups),
          first_(number % shape.blocks * shape.block), count_(std::min(shape.block, shape.tokens - first_)) {
        bench.queries.resize(size_t(rows()) * shape.key_room);
        bench.spare.resize(shape.value_room);
        bench.zeros.resize(std::max(shape.keys, shape.values));
        for (int token = 0; token < count_; token++)
            for (int head = 0; head < shape.heads; head++) {
                const float * from = at<float>(shape.q, first_ + token, group_ * shape.heads + head, stream_);
                float * to = query(token * shape.heads + head);
                for (int number = 0; number < shape.keys; number++) to[number] = from[number] * (shape.scale * LOG2E);
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
            compute(state, [&](int token) { return seen(token, tile); });
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
                    const float sink = ((const float *)shape_.sinks->data)[whole_head] * LOG2E;
                    const float high = std::max(state.best[row], sink);
                    scale = std::exp2(state.best[row] - high);
                    total = total * scale + std::exp2(sink - high);
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
        return sight_.bits[(size_t(stream_) * shape_.tokens + first_ + token) * shape_.tiles + tile];
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
        for (int cell = 0; cell < TILE; cell++) {
            bench_.cells[cell] = tile * TILE + cell;
            point(wanted >> cell & 1, bench_.cells[cell], keys[cell], values[cell]);
        }
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
        uint64_t its[BLOCK] = {};  // of the cells that are gathered, those that a token sees
        int count = 0;
        bench_.active.resize(end - first);
        std::iota(bench_.active.begin(), bench_.active.end(), first);
        const auto flush = [&] {
            if (!count) return;
            std::fill(keys + count, keys + TILE, bench_.zeros.data());
            std::fill(values + count, values + TILE, bench_.zeros.data());
            bench_.tile.template fill<Numbers>(shape_, keys, values, count);
            compute(state, [&](int token) { return its[token]; });
            std::fill_n(its, BLOCK, 0);
            count = 0;
        };
        for (int tile : bench_.left) {
            uint64_t any = 0;
            for (int token = first; token < end; token++) any |= seen(token, tile);
            for (; any; any &= any - 1) {
                const int cell = __builtin_ctzll(any);
                bench_.cells[count] = tile * TILE + cell;
                point(true, bench_.cells[count], keys[count], values[count]);
                for (int token = first; token < end; token++) its[token] |= (seen(token, tile) >> cell & 1) << count;
                if (++count == TILE) flush();
            }
        }
        flush();
    }

    // The tile for all rows of the active tokens. `seen_by`: the cells of it that a token sees.
    template <typename Seen>
    void compute(State & state, Seen seen_by) {
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
                const int token = numbers[row] / shape_.heads;
                const uint64_t seen = seen_by(token);
                if (sight_.added[size_t(stream_) * shape_.tokens + first_ + token]) add_mask(scores[row], token, seen);
                soften<Numbers::DEGREE>(scores[row], seen, state, numbers[row]);
                Numbers::pack(scores[row], TILE);
            }
            weigh_all(scores, to);
        }
    }

    void add_mask(float * scores, int token, uint64_t seen) const {
        const uint16_t * mask = shape_.masked(stream_, first_ + token);
        for (; seen; seen &= seen - 1) {
            const int cell = __builtin_ctzll(seen);
            scores[cell] += ggml_fp16_to_fp32(mask[bench_.cells[cell]]) * LOG2E;
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
    const Sight & sight_;
    Bench & bench_;
    const int stream_, group_, first_, count_;
};

}  // namespace attention
