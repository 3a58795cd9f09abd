// Products of weights with many tokens: of dense layers, and of the experts that a router chose for each token.
//
// llama.cpp multiplies an expert's weights row by row, and reads each again for every token. Here 16 rows are transposed
// once, so that a vector holds four numbers of each, and are multiplied with all tokens that want them, several at once.
//
// Numbers are rounded as ggml rounds them (Q8_0: blocks of 32 share a scale). Products within a block are summed as
// integers, blocks in their order in f32: a token's result depends on nothing else in the batch, to the last bit.

#include "products.h"
#include "vectors.h"

#include <algorithm>
#include <vector>

namespace products {

#if defined(__AVX512VNNI__) && defined(__AVX512BW__)

namespace {

constexpr int SIZE = 32;      // numbers in a block
constexpr int QUADS = SIZE / 4;
constexpr int LANES = 16;     // rows of weights
constexpr int TOKENS = 8;     // that are multiplied at once
constexpr int64_t SMALL = 1 << 18;  // multiplications that are not worth a second thread

struct Block {  // ggml's block_q8_0
    uint16_t scale;
    int8_t numbers[SIZE];
};
static_assert(sizeof(Block) == 34);

// Rows of f32, rounded.
struct Rounded {
    int blocks = 0;
    std::vector<int8_t> numbers;
    std::vector<float> scales;
    std::vector<int32_t> offsets;  // what weights that are 128 too large add to each block, to be taken away

    void room(int rows, int blocks_of_a_row) {
        blocks = blocks_of_a_row;
        numbers.resize(size_t(rows) * blocks * SIZE);
        scales.resize(size_t(rows) * blocks);
        offsets.resize(size_t(rows) * blocks);
    }

    void round(int row, const float * from) {
        for (int block = 0; block < blocks; block++) {
            const size_t at = size_t(row) * blocks + block;
            const Vec one = load(from + block * SIZE), two = load(from + block * SIZE + LANES);
            const float high = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps((__m512)one), _mm512_abs_ps((__m512)two)));
            const float inverse = high != 0.0f ? 127.0f / high : 0.0f;
            const __m512i first = _mm512_cvtps_epi32((__m512)(one * inverse));
            const __m512i second = _mm512_cvtps_epi32((__m512)(two * inverse));
            _mm_storeu_si128((__m128i *)&numbers[at * SIZE], _mm512_cvtepi32_epi8(first));
            _mm_storeu_si128((__m128i *)&numbers[at * SIZE + LANES], _mm512_cvtepi32_epi8(second));
            scales[at] = _cvtsh_ss(_cvtss_sh(high / 127.0f, _MM_FROUND_TO_NEAREST_INT));
            offsets[at] = -128 * _mm512_reduce_add_epi32(_mm512_add_epi32(first, second));
        }
    }
};

// 16 rows of weights: of each block, quads of numbers, each of all rows.
struct Weights {
    std::vector<uint8_t> numbers;  // each 128 too large, and so without a sign
    std::vector<uint16_t> scales;  // halves

    void fill(const char * from, size_t stride, int blocks) {
        numbers.resize(size_t(blocks + 1) / 2 * 2 * SIZE * LANES);
        scales.resize(size_t(blocks) * LANES);
        for (int lane = 0; lane < LANES; lane++)  // first, because so all the rows are on their way from memory at once
            for (int block = 0; block < blocks; block++)
                scales[block * LANES + lane] = ((const Block *)(from + lane * stride))[block].scale;
        const __m512i sign = _mm512_set1_epi8((char)0x80);
        for (int block = 0; block < blocks; block += 2) {
            const bool pair = block + 1 < blocks;
            Vec rows[LANES];
            for (int lane = 0; lane < LANES; lane++) {
                const Block * at = (const Block *)(from + lane * stride) + block;
                const __m256i one = _mm256_loadu_si256((const __m256i *)at->numbers);
                const __m256i two = pair ? _mm256_loadu_si256((const __m256i *)at[1].numbers) : one;
                rows[lane] = (Vec)_mm512_inserti64x4(_mm512_castsi256_si512(one), two, 1);
            }
            transpose(rows);
            uint8_t * to = &numbers[size_t(block) * SIZE * LANES];
            for (int quad = 0; quad < LANES; quad++)
                _mm512_storeu_si512(to + quad * 4 * LANES, _mm512_xor_si512((__m512i)rows[quad], sign));
        }
    }
};

// Products of 16 rows of weights with COUNT rows of numbers, to where each wants them.
template <int COUNT>
void product(const Weights & weights, const Rounded & rounded, const int * rows, float * const * to) {
    const int blocks = rounded.blocks;
    const int8_t * numbers[COUNT];
    Vec sums[COUNT] = {};
    for (int row = 0; row < COUNT; row++) numbers[row] = &rounded.numbers[size_t(rows[row]) * blocks * SIZE];
    for (int block = 0; block < blocks; block++) {
        const uint8_t * weight = &weights.numbers[size_t(block) * SIZE * LANES];
        __m512i whole[COUNT];
        for (int row = 0; row < COUNT; row++)
            whole[row] = _mm512_set1_epi32(rounded.offsets[size_t(rows[row]) * blocks + block]);
        for (int quad = 0; quad < QUADS; quad++) {
            const __m512i four = _mm512_loadu_si512(weight + quad * 4 * LANES);
            for (int row = 0; row < COUNT; row++) {
                int32_t its;
                std::memcpy(&its, numbers[row] + block * SIZE + quad * 4, sizeof its);
                whole[row] = _mm512_dpbusd_epi32(whole[row], four, _mm512_set1_epi32(its));
            }
        }
        const Vec scale = load_halves(&weights.scales[size_t(block) * LANES]);
        for (int row = 0; row < COUNT; row++) {
            const Vec both = scale * rounded.scales[size_t(rows[row]) * blocks + block];
            sums[row] = (Vec)_mm512_fmadd_ps(_mm512_cvtepi32_ps(whole[row]), (__m512)both, (__m512)sums[row]);
        }
    }
    for (int row = 0; row < COUNT; row++) store(to[row], sums[row]);
}

// Rows of numbers that are multiplied with one matrix, and where their products go.
struct Share {
    std::vector<int> rows;
    std::vector<float *> to;
};

// All products of an operation.
struct Work {
    std::vector<Share> shares;  // by matrix
    std::vector<int> wanted;    // matrices that have a share

    void clear(size_t matrices) {
        shares.resize(std::max(shares.size(), matrices));
        for (int matrix : wanted) shares[matrix].rows.clear(), shares[matrix].to.clear();
        wanted.clear();
    }

    void add(int matrix, int row, const ggml_tensor * op, int64_t one, int64_t two) {
        if (shares[matrix].rows.empty()) wanted.push_back(matrix);
        shares[matrix].rows.push_back(row);
        shares[matrix].to.push_back((float *)((char *)op->data + one * op->nb[1] + two * op->nb[2]));
    }

    // Every row with its matrix; neighbouring ones share it.
    void dense(const ggml_tensor * op) {
        const ggml_tensor * numbers = op->src[1];
        const int64_t each = numbers->ne[2] / op->src[0]->ne[2];
        for (int64_t two = 0; two < numbers->ne[2]; two++)
            for (int64_t one = 0; one < numbers->ne[1]; one++)
                add(int(two / each), int(two * numbers->ne[1] + one), op, one, two);
    }

    // Every row with the experts that its token's router chose.
    void routed(const ggml_tensor * op) {
        const ggml_tensor *numbers = op->src[1], *ids = op->src[2];
        for (int64_t token = 0; token < ids->ne[1]; token++)
            for (int64_t one = 0; one < ids->ne[0]; one++) {
                const char * id = (const char *)ids->data + token * ids->nb[1] + one * ids->nb[0];
                add(*(const int32_t *)id, int(token * numbers->ne[1] + one % numbers->ne[1]), op, one, token);
            }
    }
};

// Products of 16 rows of a matrix with all rows that want it.
void all_products(const Weights & weights, const Rounded & rounded, const Share & share, int first) {
    const int count = int(share.rows.size());
    for (int row = 0; row < count; row += TOKENS) {
        const int left = std::min(TOKENS, count - row), *from = &share.rows[row];
        float * to[TOKENS];
        for (int one = 0; one < left; one++) to[one] = share.to[row + one] + first;
        switch (left) {
            case 8: product<8>(weights, rounded, from, to); break;
            case 7: product<7>(weights, rounded, from, to); break;
            case 6: product<6>(weights, rounded, from, to); break;
            case 5: product<5>(weights, rounded, from, to); break;
            case 4: product<4>(weights, rounded, from, to); break;
            case 3: product<3>(weights, rounded, from, to); break;
            case 2: product<2>(weights, rounded, from, to); break;
            default: product<1>(weights, rounded, from, to);
        }
    }
}

}  // namespace

bool supports(const ggml_tensor * op) {
    const ggml_tensor *weights = op->src[0], *numbers = op->src[1];
    const bool alike = op->op == GGML_OP_MUL_MAT_ID || numbers->ne[2] % weights->ne[2] == 0;
    return alike && weights->type == GGML_TYPE_Q8_0 && numbers->type == GGML_TYPE_F32 && op->type == GGML_TYPE_F32 &&
           weights->nb[0] == sizeof(Block) && numbers->nb[0] == sizeof(float) && op->nb[0] == sizeof(float) &&
           weights->ne[0] % SIZE == 0 && weights->ne[1] % LANES == 0 && weights->ne[3] == 1 && numbers->ne[3] == 1;
}

void multiply(const ggml_tensor * op, int threads) {
    const ggml_tensor *weights = op->src[0], *numbers = op->src[1];
    const int blocks = int(weights->ne[0] / SIZE), parts = int(weights->ne[1] / LANES);
    const int matrices = int(weights->ne[2]), rows = int(numbers->ne[1] * numbers->ne[2]);
    static thread_local Rounded rounded;
    static thread_local Work work;
    rounded.room(rows, blocks);
    work.clear(matrices);
    op->op == GGML_OP_MUL_MAT_ID ? work.routed(op) : work.dense(op);
    Rounded & its = rounded;
    const Work & all = work;
    if (ggml_nelements(op) * weights->ne[0] < SMALL) threads = 1;
    // Where there are many matrices, one thread reads and writes all of one, from beginning to end.
    const int split = all.wanted.size() < size_t(4 * threads) ? parts : 1, each = parts / split;

#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (int row = 0; row < rows; row++) {
            const int64_t one = row % numbers->ne[1], two = row / numbers->ne[1];
            its.round(row, (const float *)((const char *)numbers->data + one * numbers->nb[1] + two * numbers->nb[2]));
        }
        static thread_local Weights mine;
#pragma omp for schedule(dynamic, 1)
        for (int task = 0; task < int(all.wanted.size()) * split; task++) {
            const int matrix = all.wanted[task / split];
            for (int part = task % split * each; part < (task % split + 1) * each; part++) {
                const int first = part * LANES;
                mine.fill((const char *)weights->data + matrix * weights->nb[2] + first * weights->nb[1], weights->nb[1], blocks);
                all_products(mine, its, all.shares[matrix], first);
            }
        }
    }
}

#else

bool supports(const ggml_tensor *) { return false; }

void multiply(const ggml_tensor *, int) {}

#endif

}  // namespace products
