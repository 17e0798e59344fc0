// The vector code of float rows: what a decoder or encoder keeps of each stream, and the functions of each instruction set.
// Files that use an instruction set include nothing else that defines functions: an inline function compiled there with that set
// could replace its portable twin in the whole program.
#pragma once
#include <cstddef>
#include <cstdint>

#include "tersor/lane_table.hpp"

namespace tersor {

constexpr std::size_t kGroup = 32;     // elements that vector code takes at a time: one of each lane
constexpr int kSlack = 64;             // vector loads reach at most so far behind the bytes that a group uses

// How the words of a row are coded.
struct RowCode {
    const LaneTable* table;
    const std::uint16_t* slot;  // encoder: AliasTable::slot
    std::uint16_t addend;
};

// One stream of a block on its way through whole rows of whole groups.
struct FloatCursor {
    alignas(64) std::uint32_t states[kGroup];
    const std::uint8_t* words;
    const std::uint8_t* raw;
    std::uint16_t* out;
    std::uint32_t* escaped;  // where a mask of the escapes among its elements is left for each group; they get their fields later
    const RowCode* row;
    const RowCode* end_row;
    std::size_t group;  // of the row, the next to be decoded
};

// A kernel decodes its cursors in lockstep until one has no rows left or comes within reach of the payload's end.
// It never reads at or behind `payload_end`. Escapes are left alone: a branch for them, which is taken for one group in 30, would cost
// a fifth of the speed, since all that has been begun behind it is lost.
struct FloatDecodeJob {
    std::size_t groups_per_row;
    const std::uint8_t* payload_end;
};
using FloatDecodeKernel = void (*)(FloatCursor* cursors, const FloatDecodeJob& job);

struct FloatDecodeKernels {
    FloatDecodeKernel one, two, four;  // by number of streams in lockstep; null if fewer are as fast
};

// Kernels for words with 8 (BF16) or 5 (F16) exponent bits; null members where there are none.
#define TERSOR_FLOAT_DECODE_KERNELS(name) FloatDecodeKernels name(bool fast, int exponent_bits)
#if defined(__x86_64__)
TERSOR_FLOAT_DECODE_KERNELS(float_decode_avx512);
TERSOR_FLOAT_DECODE_KERNELS(float_decode_avx2);
TERSOR_FLOAT_DECODE_KERNELS(float_decode_sse41);
#elif defined(__aarch64__)
TERSOR_FLOAT_DECODE_KERNELS(float_decode_neon);
#endif

// Where the parts of an encoded row go. Vector code may write up to kSlack bytes behind what it produces.
struct SplitCursor {
    std::uint8_t* symbols;
    std::uint8_t* raw;
    std::uint8_t* escapes;
};

// One stream on its way from its last whole row to its first. Words are written below `words`, which moves down.
struct EncodeCursor {
    alignas(64) std::uint32_t states[kGroup];
    const std::uint8_t* symbols;  // behind those still to be coded
    std::uint8_t* words;
    const RowCode* first_row;
    const RowCode* row;  // behind the rows still to be coded
};

struct FloatEncodeKernels {
    // Adds the squares of whole groups to square[lane], and their squares to fourth[lane] unless it is null, in element order.
    // Squares not below 1e30, NaNs among them, count as 0.
    void (*sums)(const std::uint16_t* words, std::size_t groups, float* square, float* fourth);
    double (*total)(const float* lanes);  // the sum of kGroup lanes: those of equal number modulo 8 first; null if portable code is as fast
    void (*split)(const std::uint16_t* words, std::size_t groups, const RowCode& row, SplitCursor& out);
    void (*code_one)(EncodeCursor* cursors, std::size_t groups_per_row);
    void (*code_two)(EncodeCursor* cursors, std::size_t groups_per_row);  // in lockstep, until one has no rows left
    void (*code_four)(EncodeCursor* cursors, std::size_t groups_per_row);
};

#if defined(__x86_64__)
FloatEncodeKernels float_encode_avx512(bool fast, int exponent_bits);
FloatEncodeKernels float_encode_avx2(bool fast, int exponent_bits);
#endif

// ---- shared by the kernels

// Number of groups of their rows that all n cursors, whose pointers are at `words` and `raw`, can decode without another check; 0 if one has no
// rows left or comes too near to the payload's end. word_bytes, raw_bytes: what a group uses of each at most.
template <int n, std::size_t word_bytes, std::size_t raw_bytes>
static inline std::size_t common_groups(const FloatCursor* cursors, const std::uint8_t* const* words, const std::uint8_t* const* raw, const FloatDecodeJob& job) {
    std::size_t groups = job.groups_per_row;
    for (int k = 0; k < n; ++k) {
        const FloatCursor& c = cursors[k];
        if (c.row == c.end_row) return 0;
        const std::size_t wanted = job.groups_per_row - c.group;
        if (wanted < groups) groups = wanted;
        const auto words_left = job.payload_end - words[k], raw_left = job.payload_end - raw[k];
        const auto word_groups = words_left < kSlack ? 0 : static_cast<std::size_t>(words_left - kSlack) / word_bytes;
        const auto raw_groups = raw_left < kSlack ? 0 : static_cast<std::size_t>(raw_left - kSlack) / raw_bytes;
        if (word_groups < groups) groups = word_groups;
        if (raw_groups < groups) groups = raw_groups;
    }
    return groups;
}

static inline void advance(FloatCursor& cursor, std::size_t groups, const FloatDecodeJob& job) {
    cursor.group += groups;
    if (cursor.group == job.groups_per_row) cursor.group = 0, ++cursor.row;
}

// A block is read and written in up to twelve places at a time, which is more than processors foresee: 15% to 25% faster at level fast.
static inline void prefetch(const std::uint8_t* raw, const std::uint8_t* words, const std::uint16_t* out) {
    constexpr std::size_t distance = 512;
    __builtin_prefetch(raw + distance);
    __builtin_prefetch(words + distance);
    __builtin_prefetch(out + distance, 1);
}

// Appends the escapes of a group, the other way round. `words`: of the group.
template <bool fast, int exponent_bits>
static inline void put_escapes(std::uint32_t mask, const std::uint16_t* words, std::uint16_t addend, std::uint8_t*& escapes) {
    for (; mask != 0; mask &= mask - 1) {
        const unsigned u = static_cast<std::uint16_t>(words[__builtin_ctz(mask)] - addend);
        if constexpr (fast) {
            *escapes++ = static_cast<std::uint8_t>(u >> (15 - exponent_bits) & ((1u << exponent_bits) - 1));
        } else {
            const unsigned field = u >> (13 - exponent_bits), d = (0u - (field >> 2)) & ((1u << exponent_bits) - 1);
            *escapes++ = static_cast<std::uint8_t>((d < 63 ? d : 63) << 2 | (field & 3));
            if (d >= 63) *escapes++ = static_cast<std::uint8_t>(d);
        }
    }
}

}  // namespace tersor
