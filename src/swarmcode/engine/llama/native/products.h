// Products with weights of eight bits.

#pragma once

#include <ggml.h>

namespace products {

// Whether `multiply` can compute a GGML_OP_MUL_MAT or GGML_OP_MUL_MAT_ID: weights in Q8_0, on a processor with AVX-512
// VNNI.
bool supports(const ggml_tensor * op);

// Computes one that `supports` accepts, in up to so many threads.
void multiply(const ggml_tensor * op, int threads);

}  // namespace products
