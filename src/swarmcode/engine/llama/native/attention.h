// Attention of many sequences over one KV cache.

#pragma once

#include <ggml.h>

namespace attention {

// Whether `attend` can compute a GGML_OP_FLASH_ATTN_EXT: keys and values in f16, no ALiBi, no soft cap, one mask for all heads.
bool supports(const ggml_tensor * op);

// Computes one that `supports` accepts, in up to so many threads.
void attend(const ggml_tensor * op, int threads);

}  // namespace attention
