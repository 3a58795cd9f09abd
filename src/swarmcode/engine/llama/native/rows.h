// What is computed row by row between products: sums, norms, gates, shares.

#pragma once

#include <ggml.h>

namespace rows {

// Whether `compute` can compute an operation.
bool supports(const ggml_tensor * op);

// Computes one that `supports` accepts, in up to so many threads.
void compute(const ggml_tensor * op, int threads);

}  // namespace rows
