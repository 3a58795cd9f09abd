// Drawing a token from a row of logits, for `swarmcode_draw` and for strides.

#pragma once

#include <cstdint>
#include <utility>

namespace drawing {

struct Rule {
    float temperature, top_p, min_p;
};

// A token, and its log-probability at temperature 1; that is no number where logits are none.
std::pair<int32_t, float> drawn(const float * row, int count, const Rule & rule, uint64_t key);

// Whether so many rows are worth more than one thread.
inline bool worth_threads(int rows, int vocabulary) { return int64_t(rows) * vocabulary >= 1 << 16; }

}  // namespace drawing
