// How a token finds its experts: products with weights that are not rounded, and the order of what comes of them.

#pragma once

#include <ggml.h>

namespace router {

// Whether `compute` can compute an operation: a GGML_OP_MUL_MAT of f32, or a descending GGML_OP_ARGSORT.
bool supports(const ggml_tensor * op);

// Computes one that `supports` accepts, in up to so many threads.
void compute(const ggml_tensor * op, int threads);

}  // namespace router
