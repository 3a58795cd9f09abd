// Attention of many sequences over one KV cache.

#pragma once

#include <ggml.h>

#include <cstdint>
#include <vector>

namespace attention {

// Which cells each token sees, as bits; kept from layer to layer, because all layers of a step have the same mask.
struct Sight {
    const ggml_tensor * mask = nullptr;
    const void * data = nullptr;
    int64_t shape[3] = {};
    std::vector<const void *> keys;  // of the layers that were computed with it
    std::vector<uint64_t> bits;      // by token and tile of 64 cells
    std::vector<int> last;           // of each token, the last tile in which it sees anything
    std::vector<char> added;         // of each token, whether the mask adds to the score of a cell that it sees
};

// Whether `attend` can compute a GGML_OP_FLASH_ATTN_EXT: keys and values in f16, no ALiBi, no soft cap, one mask for all heads.
bool supports(const ggml_tensor * op);

// Computes one that `supports` accepts, in up to so many threads. `sight` belongs to the graph's context. `rounded`: numbers
// to bf16 before they are multiplied, where the processor gains by it.
void attend(const ggml_tensor * op, Sight & sight, bool rounded, int threads);

}  // namespace attention
