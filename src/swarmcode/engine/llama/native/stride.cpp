// Decodes several tokens of each of some sequences, where nothing has to be decided between them that is not decided here:
// which token is drawn, and which ones are guessed to follow it.

#include "draft.h"
#include "draw.h"
#include "taking.h"

#include <llama.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

// What llama.cpp gives us: its functions, its context, and a batch with a token for each sequence.
struct Model {
    int32_t (*decode)(llama_context *, llama_batch);
    float * (*logits)(llama_context *);
    bool (*cut)(llama_memory_t, llama_seq_id, llama_pos, llama_pos);
    llama_context * context;
    llama_memory_t memory;
    llama_batch batch;
    int32_t vocabulary;
    int32_t rows;           // of a batch, at most
    int32_t products_from;  // rows of a batch whose products are ours
    int32_t threads;
};

// Arrays have an element for each sequence, in the order of the batch, or `most` of them.
struct Stride {
    const drawing::Rule * rules;
    uint64_t * keys;                     // of the next token; counted on
    const int32_t * left;                // tokens that each may still get, `most` at most
    draft::Drafter * const * drafters;   // null where nothing is guessed
    const double * costs;                // as `Drafter::propose` wants them; null: nothing is guessed at all
    const int32_t * ends;                // tokens that end a sequence
    const volatile char * called;        // whether somebody waits for the end
    double seconds;                      // that may pass before the last time
    int32_t count, most, end_count;
    int32_t cells;                       // that are free, beside those for the batch
    // What came of it:
    int32_t * tokens;                    // drawn; all but the last one of each sequence are computed
    float * logprobs;
    int32_t * drawn;                     // how many
    int32_t * rows;                      // of each batch that was computed
    double * times;                      // seconds that it took, with all that belongs to it
    int32_t drafted, accepted, code;     // the latter llama.cpp's, where it failed
};

// A sequence, whose last token is at `position` of the batch's row `row`, with guesses in the rows behind it.
struct Going {
    llama_token token;
    llama_pos position;
    llama_seq_id id;
    int row = 0, guessed = 0, got = 0;
    bool over = false;
};

class Run {
public:
    Run(Model & model, Stride & stride) : model(model), stride(stride), batch(model.batch), going(stride.count) {
        for (int row = 0; row < stride.count; row++)
            going[row].token = batch.token[row], going[row].position = batch.pos[row], going[row].id = batch.seq_id[row][0];
    }

    // As often as it may be; how often it was.
    int run() {
        const auto began = Clock::now();
        auto before = began;
        for (int time = 0;;) {
            fill();
            taking.products = batch.n_tokens >= model.products_from;
            if ((stride.code = model.decode(model.context, batch))) return time;
            draw();
            for (int at = 0; at < stride.count; at++) forget(going[at]);
            const auto now = Clock::now();
            stride.rows[time] = batch.n_tokens;
            stride.times[time++] = seconds(before, now);
            if (*stride.called || seconds(began, now) >= stride.seconds || got() > stride.cells || over()) return time;
            before = now;
        }
    }

    int got(int at) const { return going[at].got; }

private:
    static double seconds(Clock::time_point from, Clock::time_point to) { return std::chrono::duration<double>(to - from).count(); }

    int got() const {
        return std::accumulate(going.begin(), going.end(), 0, [](int sum, const Going & of) { return sum + of.got; });
    }

    bool over() const {
        return std::any_of(going.begin(), going.end(), [](const Going & of) { return of.over; });
    }

    void fill() {
        batch.n_tokens = 0;
        int room = std::min(model.rows - stride.count, stride.cells - got());
        for (int at = 0; at < stride.count; at++) {
            Going & of = going[at];
            of.row = batch.n_tokens, of.guessed = 0;
            put(of, of.token);
            if (!stride.costs || !stride.drafters[at]) continue;
            uint32_t guess[draft::DEEPEST];
            of.guessed = stride.drafters[at]->propose(stride.costs, std::min(room, stride.left[at] - of.got - 1), guess);
            for (int ahead = 0; ahead < of.guessed; ahead++) put(of, guess[ahead]);
            room -= of.guessed;
            stride.drafted += of.guessed;
        }
    }

    void put(const Going & of, llama_token token) {
        const int row = batch.n_tokens++;
        batch.token[row] = token;
        batch.pos[row] = of.position + row - of.row;
        batch.seq_id[row][0] = of.id;
        batch.logits[row] = 1;
    }

    void draw() {
        const float * const logits = model.logits(model.context);
        const int threads = drawing::worth_threads(batch.n_tokens, model.vocabulary) ? model.threads : 1;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
        for (int at = 0; at < stride.count; at++) draw(at, logits);
    }

    // A token, and one behind each guess as long as these are what is drawn.
    void draw(int at, const float * logits) {
        Going & of = going[at];
        int32_t * const tokens = stride.tokens + int64_t(at) * stride.most;
        float * const logprobs = stride.logprobs + int64_t(at) * stride.most;
        const int before = of.got;
        for (int row = of.row;; row++) {
            const float * const numbers = logits + int64_t(row) * model.vocabulary;
            const auto [token, logprob] = drawing::drawn(numbers, model.vocabulary, stride.rules[at], stride.keys[at]++);
            tokens[of.got] = token, logprobs[of.got] = logprob;
            of.got++;
            of.over = of.got == stride.left[at] || !std::isfinite(logprob) || ends(token);
            if (of.over || row == of.row + of.guessed || batch.token[row + 1] != token) break;
        }
        of.token = tokens[of.got - 1];
        of.position += of.got - before;
        if (stride.drafters[at]) stride.drafters[at]->extend((const uint32_t *)tokens + before, of.got - before);
    }

    bool ends(int32_t token) const {
        return std::find(stride.ends, stride.ends + stride.end_count, token) != stride.ends + stride.end_count;
    }

    // Guesses that were wrong.
    void forget(Going & of) {
        if (!of.guessed) return;
        const int right = of.position - batch.pos[of.row] - 1;
        stride.accepted += right;
        if (right < of.guessed) model.cut(model.memory, of.id, of.position, -1);
    }

    Model & model;
    Stride & stride;
    llama_batch & batch;
    std::vector<Going> going;
};

}  // namespace

// Computes the batch, draws a token for each sequence, computes these with what is guessed to follow, and so on: until
// something calls, time or cells are up, or a sequence has ended or has logits that are no numbers. Gives how often the
// model was computed; where llama.cpp failed at last, `code` is not 0.
extern "C" __attribute__((visibility("default"))) int swarmcode_stride(Model * model, Stride * stride) {
    const Taking before = taking;
    Run run(*model, *stride);
    const int times = run.run();
    for (int at = 0; at < stride->count; at++) stride->drawn[at] = run.got(at);
    taking = before;
    return times;
}
