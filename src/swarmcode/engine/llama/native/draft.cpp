#include "draft.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

using namespace draft;

namespace {

constexpr int LONGS[] = {8, 4}, SHORT = 2, REACH = 16384, NEAR = 16;
constexpr double INERTIA = 0.9, FIRST_INERTIA = 0.7, SUREST = 0.99;
constexpr int BLOCK = 32;  // tokens that are looked at at once

// The last place from `first` on and before `last` at which the token stands; -1: none.
int last_place(const uint32_t * tokens, int first, int last, uint32_t token) {
    for (; last - first >= BLOCK; last -= BLOCK) {
        bool there = false;
        for (int at = 0; at < BLOCK; at++) there |= tokens[last - BLOCK + at] == token;
        if (there) break;
    }
    while (--last >= first)
        if (tokens[last] == token) return last;
    return -1;
}

// How many tokens to guess, so that most come out of a step for its time.
int depth(double first, double further, const double * costs) {
    int best = 0;
    double most = 1 / costs[0];
    further = std::min(further, SUREST);
    if (first > 0)
        for (const int count : DEPTHS) {
            const double rate = (1 + first * (1 - std::pow(further, count)) / (1 - further)) / *++costs;
            if (rate > most) best = count, most = rate;
        }
    return best;
}

}  // namespace

Drafter::Drafter(const uint32_t * prompt, int count) : tokens(prompt, prompt + count) { find(-1); }

void Drafter::extend(const uint32_t * more, int count) {
    for (int at = 0; at < count; at++) take(more[at]);
}

int Drafter::propose(const double * costs, int most, uint32_t * to) const {
    if (places.empty()) return 0;
    const int at = places[0].at;
    const int count = std::min({depth(trust(), goes_on, costs), most, int(tokens.size()) - at});
    std::copy_n(&tokens[at], std::max(count, 0), to);
    return std::max(count, 0);
}

double Drafter::trust() const { return proven ? goes_on : trusts[places[0].way]; }

void Drafter::take(uint32_t token) {
    const auto right = [&](const Place & place) { return tokens[place.at] == token; };
    const int left = places.empty() ? -1 : places[0].at;
    if (left >= 0 && proven) goes_on += (1 - INERTIA) * (right(places[0]) - goes_on);
    else
        for (const Place & place : places) trusts[place.way] += (1 - FIRST_INERTIA) * (right(place) - trusts[place.way]);
    places.erase(std::remove_if(places.begin(), places.end(), std::not_fn(right)), places.end());
    tokens.push_back(token);
    proven = !places.empty();
    for (Place & place : places) place.at++;
    if (!proven) find(left);
}

void Drafter::find(int left) {
    for (const int length : LONGS)
        if (const int at = behind_last(length); at >= 0) return add(at, LONG);
    if (left >= 0) {
        add(behind_next(SHORT, left), AHEAD);
        add(left + 1, REPLACED);
        add(left, ADDED);
    }
    add(behind_last(SHORT), ELSEWHERE);
    std::stable_sort(places.begin(), places.end(),
                     [&](const Place & one, const Place & other) { return trusts[one.way] > trusts[other.way]; });
}

// No place twice.
void Drafter::add(int at, Way way) {
    if (at < 0 || at >= int(tokens.size())) return;
    for (const Place & place : places)
        if (place.at == at) return;
    places.push_back({at, way});
}

// Behind the last place where the end of the sequence stood before; -1: nowhere.
int Drafter::behind_last(int length) const {
    const int count = int(tokens.size()), first = std::max(0, count - REACH);
    if (count <= length) return -1;
    const uint32_t * const end = tokens.data() + count - length;
    // By its last token.
    for (int at = count - 1; (at = last_place(tokens.data(), first + length - 1, at, end[length - 1])) >= 0;)
        if (!std::memcmp(&tokens[at - length + 1], end, length * sizeof *end)) return at + 1;
    return -1;
}

// Behind the first place where it stands at or behind `left`; -1: not near it.
int Drafter::behind_next(int length, int left) const {
    const int count = int(tokens.size()), last = std::min(count - 1, left + NEAR);
    if (count <= length) return -1;
    const uint32_t * const end = tokens.data() + count - length;
    for (int at = std::max(0, left - length + 1); at + length <= last; at++)
        if (!std::memcmp(&tokens[at], end, length * sizeof *end)) return at + length;
    return -1;
}

#define EXPORTED extern "C" __attribute__((visibility("default")))

EXPORTED Drafter * swarmcode_drafter(const uint32_t * prompt, int count) { return new Drafter(prompt, count); }

EXPORTED void swarmcode_drafter_free(Drafter * drafter) { delete drafter; }

EXPORTED int swarmcode_drafter_length(const Drafter * drafter) { return drafter->length(); }

EXPORTED void swarmcode_drafter_extend(Drafter * drafter, const uint32_t * more, int count) { drafter->extend(more, count); }

EXPORTED int swarmcode_drafter_propose(const Drafter * drafter, const double * costs, uint32_t * to) {
    return drafter->propose(costs, DEEPEST, to);
}
