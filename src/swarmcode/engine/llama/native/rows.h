// What is computed row by row between products: sums, norms, gates.

#pragma once

#include <ggml.h>

namespace rows {

// Whether `compute` can compute an operation, of at least so many tokens.
bool supports(const ggml_tensor * op, int least_tokens);

// Computes one that `supports` accepts, in up to so many threads.
void compute(const ggml_tensor * op, int threads);

}  // namespace rows
