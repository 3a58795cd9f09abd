// What depends on where a token or a cell is: rows that are taken from places or put there, and rotations by position.

#pragma once

#include <ggml.h>

#include <cstdint>
#include <vector>

namespace places {

// Cosines and sines of positions; kept from layer to layer, because all layers of a step have the same.
struct Angles {
    const ggml_tensor * positions = nullptr;
    int32_t params[16] = {};
    std::vector<float> numbers;

    // Before a graph whose positions may be others.
    void forget() { positions = nullptr; }
};

// Whether `compute` can compute an operation: a GGML_OP_GET_ROWS of f32, a GGML_OP_SET_ROWS of f32 into f16 or f32, a
// GGML_OP_ROPE without factors of its own.
bool supports(const ggml_tensor * op);

// Computes one that `supports` accepts, in up to so many threads.
void compute(const ggml_tensor * op, Angles & angles, int threads);

}  // namespace places
