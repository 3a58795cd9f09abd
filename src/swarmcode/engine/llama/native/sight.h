// What tokens see of the cells, read from the mask once a step.

#pragma once

#include "attention.h"
#include "tiles.h"

namespace attention {

// The cells of a tile that a token sees.
inline uint64_t seen(const Shape & shape, int row, int tile) {
    const uint16_t * mask = shape.masked(row / shape.tokens, row % shape.tokens);
    const int count = std::min(TILE, shape.cells - tile * TILE);
    if (mask) return differing(mask + tile * TILE, count, NEVER);
    return count == TILE ? ~uint64_t(0) : (uint64_t(1) << count) - 1;
}

// Whether the mask adds to the score of any cell of a tile that the token sees.
inline bool adds(const Shape & shape, int row, int tile, uint64_t seen) {
    const uint16_t * mask = shape.masked(row / shape.tokens, row % shape.tokens);
    return mask && seen & differing(mask + tile * TILE, std::min(TILE, shape.cells - tile * TILE), 0);
}

// Fills in what a token sees.
inline void look(Sight & sight, const Shape & shape, int row) {
    uint64_t * bits = &sight.bits[size_t(row) * shape.tiles];
    sight.last[row] = sight.added[row] = 0;
    for (int tile = 0; tile < shape.tiles; tile++) {
        if ((bits[tile] = seen(shape, row, tile))) sight.last[row] = tile;
        sight.added[row] |= adds(shape, row, tile, bits[tile]);
    }
}

// Whether the sight is that of this operation: of the same mask, which no step has changed since. A layer that was
// computed with it belongs to a new step; that the last cell of each token is where it was makes sure of it.
inline bool recall(Sight & sight, const Shape & shape) {
    const int64_t now[] = {shape.cells, shape.tokens, shape.streams};
    const int rows = shape.streams * shape.tokens;
    const ggml_tensor * keys = shape.k;
    while (keys->view_src) keys = keys->view_src;  // the layer's own, whichever streams of it are computed
    bool known = shape.mask && sight.mask == shape.mask && sight.data == shape.mask->data &&
                 std::equal(now, now + 3, sight.shape) &&
                 std::find(sight.keys.begin(), sight.keys.end(), keys->data) == sight.keys.end();
    for (int row = 0; known && row < rows; row++)
        known = sight.bits[size_t(row) * shape.tiles + sight.last[row]] == seen(shape, row, sight.last[row]);
    if (!known) {
        sight.mask = shape.mask;
        sight.data = shape.mask ? shape.mask->data : nullptr;
        std::copy(now, now + 3, sight.shape);
        sight.keys.clear();
        sight.bits.resize(size_t(rows) * shape.tiles);
        sight.last.resize(rows);
        sight.added.resize(rows);
    }
    sight.keys.push_back(keys->data);
    return known;
}

}  // namespace attention
