// Guessing what a sequence goes on with: the same guesses as those of `swarmcode.engine.draft`, which describes them.

#pragma once

#include <cstdint>
#include <vector>

namespace draft {

constexpr int DEPTHS[] = {31, 23, 15, 11, 7, 4, 2, 1};  // tokens that are guessed at once
constexpr int DEEPEST = DEPTHS[0];

enum Way { LONG, AHEAD, REPLACED, ADDED, ELSEWHERE, WAYS };

class Drafter {
public:
    Drafter(const uint32_t * prompt, int count);

    int length() const { return int(tokens.size()); }

    // The sequence has gone on.
    void extend(const uint32_t * more, int count);

    // Guesses `most` tokens at most; how many. `costs` has what a step costs without guesses, and with each of DEPTHS.
    int propose(const double * costs, int most, uint32_t * to) const;

private:
    struct Place {
        int at;  // where the next token may stand
        Way way;
    };

    void take(uint32_t token);
    void find(int left);
    void add(int at, Way way);
    int behind_last(int length) const;
    int behind_next(int length, int left) const;
    double trust() const;

    std::vector<uint32_t> tokens;
    std::vector<Place> places;  // the likeliest first
    double trusts[WAYS] = {0.7, 0.6, 0.5, 0.3, 0.4};
    double goes_on = 0.8;
    bool proven = false;
};

}  // namespace draft
