// Draws tokens from logits as `swarmcode.engine.sampling` describes and does it: top-p, min-p, temperature, then a race of
// the tokens, of many those of the block that wins a race of blocks. What is drawn from a row depends on that row alone.

#include "draw.h"

#include "vectors.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
#include <vector>

namespace {

using drawing::Rule;

constexpr int BLOCK = 256;              // candidates that race each other at once
constexpr uint64_t GOLDEN = 0x9E3779B97F4A7C15, FIRST = 0xBF58476D1CE4E5B9, SECOND = 0x94D049BB133111EB;

// The tokens that may be drawn, with weights of which the largest is 1.
struct Candidates {
    int count = 0;
    bool every = true;            // candidate i is token i
    std::vector<int32_t> tokens;  // else; ascending
    std::vector<float> weights;

    int token(int at) const { return every ? at : tokens[at]; }
};

// The output function of SplitMix64 (Steele, Lea, Flood 2014).
uint64_t shuffled(uint64_t word) {
    word = (word ^ (word >> 30)) * FIRST;
    word = (word ^ (word >> 27)) * SECOND;
    return word ^ (word >> 31);
}

// When a candidate arrives: sooner, the heavier it is.
double arrival(uint64_t key, uint64_t name, double weight) {
    const double uniform = (double(shuffled(key + (name + 1) * GOLDEN) >> 11) + 0.5) * 0x1p-53;
    return -std::log(uniform) / weight;
}

// The likeliest token's place; the first of equals.
int best_of(const float * row, int count) {
    float high = -INFINITY;
    int at = 0;
    Vec highs = all(high);
    for (; at + WIDTH <= count; at += WIDTH) highs = higher(load(row + at), highs);
    high = highest(highs);
    for (; at < count; at++) high = std::max(high, row[at]);
    return int(std::find(row, row + count, high) - row) % count;
}

// to[...] = e^((row[...] - top) * sharpness)
void exponentials(const float * row, int count, float top, float sharpness, float * to) {
    int at = 0;
    for (; at + WIDTH <= count; at += WIDTH) store(to + at, exponential((load(row + at) - top) * sharpness));
    for (; at < count; at++) to[at] = std::exp((row[at] - top) * sharpness);
}

// Leaves those that top-p and then min-p leave, by their weights at temperature 1, whose sum is `total`.
void keep(const Rule & rule, float total, Candidates & of) {
    const std::vector<float> & weights = of.weights;
    const bool top = rule.top_p < 1.0f;
    if (!top && rule.min_p <= 0.0f) return;
    // Top-p takes the heaviest: none that is below an equal part of what it leaves out.
    const float least = top ? std::max(rule.min_p, (1.0f - rule.top_p) * total / float(of.count)) : rule.min_p;
    std::vector<int32_t> & tokens = of.tokens;
    tokens.clear();
    for (int token = 0; token < of.count; token++)
        if (weights[token] >= least) tokens.push_back(token);
    if (top) {
        std::stable_sort(tokens.begin(), tokens.end(), [&](int32_t one, int32_t other) { return weights[one] > weights[other]; });
        double sum = 0.0;
        size_t kept = 0;
        do sum += weights[tokens[kept++]];
        while (kept < tokens.size() && sum < double(rule.top_p) * total);
        tokens.resize(kept);
        std::sort(tokens.begin(), tokens.end());
    }
    of.every = false;
    of.count = int(tokens.size());
    for (int at = 0; at < of.count; at++) of.weights[at] = weights[tokens[at]];
}

// Weights at another temperature, of those that are left.
void temper(const float * row, float top, float sharpness, Candidates & of) {
    if (of.every) return exponentials(row, of.count, top, sharpness, of.weights.data());
    for (int at = 0; at < of.count; at++) of.weights[at] = std::exp((row[of.tokens[at]] - top) * sharpness);
}

// The candidates from `first` on that lie in its block: their end.
int end_of_block(const Candidates & of, int first) {
    const int block = of.token(first) / BLOCK;
    if (of.every) return std::min((block + 1) * BLOCK, of.count);
    return int(std::lower_bound(of.tokens.begin() + first, of.tokens.begin() + of.count, (block + 1) * BLOCK) - of.tokens.begin());
}

// The place of the candidate that arrives first.
int race(const Candidates & of, uint64_t key) {
    int first = 0, last = of.count;
    if (of.count > BLOCK) {
        double soonest = INFINITY;
        for (int begin = 0, end; begin < of.count; begin = end) {
            end = end_of_block(of, begin);
            const double when = arrival(shuffled(key + GOLDEN), of.token(begin) / BLOCK, total(&of.weights[begin], end - begin));
            if (when < soonest) soonest = when, first = begin, last = end;
        }
    }
    double soonest = INFINITY;
    int winner = first;
    for (int at = first; at < last; at++) {
        const double when = arrival(key, of.token(at), of.weights[at]);
        if (when < soonest) soonest = when, winner = at;
    }
    return winner;
}

}  // namespace

std::pair<int32_t, float> drawing::drawn(const float * row, int count, const Rule & rule, uint64_t key) {
    static thread_local Candidates of;
    of.every = true, of.count = count;
    of.weights.resize(count);
    const int best = best_of(row, count);
    const float top = row[best];
    exponentials(row, count, top, 1.0f, of.weights.data());
    const float sum = total(of.weights.data(), count);
    const double whole = double(top) + std::log(double(sum));
    if (!std::isfinite(whole)) return {0, std::numeric_limits<float>::quiet_NaN()};
    int token = best;
    if (rule.temperature != 0.0f) {
        keep(rule, sum, of);
        if (rule.temperature != 1.0f) temper(row, top, 1.0f / rule.temperature, of);
        token = of.token(race(of, shuffled(key + GOLDEN)));
    }
    return {token, float(std::min(double(row[token]) - whole, 0.0))};
}

// For each of `count` rows of logits: a token by its rule and its key, and its log-probability.
extern "C" __attribute__((visibility("default"))) void swarmcode_draw(
        int count, const float * const * rows, const Rule * rules, const uint64_t * keys, int vocabulary, int threads,
        int32_t * tokens, float * logprobs) {
    if (!drawing::worth_threads(count, vocabulary)) threads = 1;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
    for (int pick = 0; pick < count; pick++)
        std::tie(tokens[pick], logprobs[pick]) = drawing::drawn(rows[pick], vocabulary, rules[pick], keys[pick]);
}
